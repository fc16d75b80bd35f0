"""νPI: proportional-integral control of the multipliers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.ascent import Ascent
from lagvae.problem.problem import Problem


class NuPI(Ascent):
    """Gradient ascent plus a share of the smoothed violation ξ itself, which damps the oscillation.

        ξ_t = ν ξ_{t-1} + (1 - ν) e_t,   θ_{t+1} = θ_0 + κ_p ξ_t + κ_i Σ_{s≤t} e_s

    in the recursive form that can be projected, θ_{t+1} = max(0, θ_t + κ_i e_t + κ_p (ξ_t - ξ_{t-1})),
    with θ = λ · unit and e = violation / unit. Equalities are not clipped. ν = 0 and κ_p = κ_i is
    optimistic ascent, κ_p = 0 is plain ascent, and a negative ν extrapolates.

    Source: [Sohrabi2024].

    Args:
        problem: Whose constraints.
        start: First multipliers θ_0; 0 if none are given.
        learning_rate: κ_i.
        proportional: κ_p; κ_p / κ_i is the number of steps by which the violation is anticipated,
            which should be about what the weights take to follow a multiplier.
        smoothing: ν, in (-1, 1). The noise of a batch reaches the multipliers (1 - ν) κ_p times.
        from_zero: Whether ξ_0 = 0. Else ξ starts at the first violation: the first step is plain
            ascent's, and what the first, large violations wind up is taken back as they shrink.
        models: How many models share the rule.
    """

    tensors = ("multipliers", "average")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        learning_rate: float = 1e-2,
        proportional: float = 1.0,
        smoothing: float = 0.9,
        from_zero: bool = False,
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, models=models)
        self.learning_rate, self.proportional, self.smoothing = learning_rate, proportional, smoothing
        # NaN stands for the first violation until it is seen.
        self.average = torch.full_like(self.multipliers, 0.0 if from_zero else torch.nan)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Takes one projected step of the controller."""
        error = self.gradient(violations)
        before = torch.where(self.average.isnan(), error, self.average)
        change = (1 - self.smoothing) * (error - before)
        self.average = before + change
        self.climb(self.learning_rate * error + self.proportional * change)
