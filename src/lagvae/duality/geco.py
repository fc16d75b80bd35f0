"""GECO's dual rule: multiplicative steps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.ascent import Ascent
from lagvae.problem.problem import Problem


class Geco(Ascent):
    """Multipliers grow and shrink by factors, so that they stay positive without a projection.

        C̄ ← decay C̄ + (1 - decay) v,   λ ← clip(λ exp(learning_rate C̄), low, high)

    with v the violation in natural units and C̄ = v at the first step. λ approaches 0 only slowly
    and comes back as slowly: its speed is proportional to itself. Equalities move by
    λ exp(learning_rate C̄ sign λ), which ascends on either side of 0, but **keep the sign they start
    with**: where a negative multiplier is needed, ``start`` has to be negative.

    Source: [Rezende2018].

    Args:
        problem: Whose constraints.
        start: First multipliers; 1 per natural unit if none are given.
        learning_rate: 3e-4 moves a multiplier by a factor of e where a nat lasts for 3000 steps. With 1e-3
            the hundreds of nats that a run starts with wind it up by thousands.
        decay: Of the moving average.
        clip: Smallest and largest |λ|, in natural units. Beyond six powers of ten the lighter side of
            the loss is lost in float32, and more changes nothing but the time it takes to come back.
        models: How many models share the rule.
    """

    tensors = ("multipliers", "average")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        learning_rate: float = 3e-4,
        decay: float = 0.99,
        clip: tuple[float, float] = (1e-6, 1e6),
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, natural_start=1.0, clip=clip, models=models)
        self.learning_rate, self.decay = learning_rate, decay
        self.least = clip[0] / self.units
        self.average = torch.full_like(self.multipliers, torch.nan)  # until the first violation

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Multiplies every multiplier by the exponential of its smoothed violation."""
        gradient = self.gradient(violations)
        self.average = torch.where(self.average.isnan(), gradient, self.average).lerp_(gradient, 1 - self.decay)
        side = torch.where(self.multipliers < 0, -1.0, 1.0)
        size = self.multipliers.abs() * (self.learning_rate * side * self.average).exp()
        self.multipliers.copy_(side * size.clamp(self.least, self.largest))
