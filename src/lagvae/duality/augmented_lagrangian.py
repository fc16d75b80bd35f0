"""The method of multipliers: a quadratic penalty next to the Lagrangian."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.ascent import Ascent
from lagvae.problem.problem import Problem


class AugmentedLagrangian(Ascent):
    """The weights descend on the augmented Lagrangian, the multipliers ascend as plainly as ever.

        L_c(θ, μ) = f + Σ (max(0, μ + c v)² - μ²) / 2c,   ∇L_c = ∇f + Σ max(0, μ + c v) ∇v
        μ ← max(0, μ + learning_rate v)

    with μ = λ · unit and v = violation / unit: ``primal_multipliers`` are max(0, μ + c v) / unit. For
    equalities the term is μ v + c v²/2, and nothing is clipped. The penalty reacts at once where the
    multiplier integrates, which damps the oscillation of plain ascent and moves no solution: there
    v = 0, or μ = 0 and v < 0.

    v is a batch's, and enters its own gradient: E[c v ∇v] adds c/2 times the variance of v to the
    objective. An inactive bound weighs c E[max(0, v)], which is nothing beyond the noise.

    Source: [Hestenes1969], [Powell1969]; inequalities [Rockafellar1973].

    Args:
        problem: Whose constraints.
        start: First multipliers; 0 if none are given.
        learning_rate: Of the multipliers. The method of multipliers takes c, but solves for the
            weights in between; with one step in between it has to be slower than the weights.
        penalty: c. A batch's mean is about a nat off: 0.1 lets a tenth of that reach the weights of
            the loss, and adds a twentieth of a nat to the objective.
        models: How many models share the rule.
    """

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        learning_rate: float = 1e-2,
        penalty: float = 0.1,
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, models=models)
        self.learning_rate, self.penalty = learning_rate, penalty

    def primal_multipliers(
        self, violations: Float[Tensor, "models constraints"]
    ) -> Float[Tensor, "models constraints"]:
        """Returns the derivative of the augmented terms by the violations."""
        penalties = self.penalty * self.gradient(violations) / self.units
        return torch.maximum(self.multipliers + penalties, self.low)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Takes one projected step upwards."""
        self.climb(self.learning_rate * self.gradient(violations))
