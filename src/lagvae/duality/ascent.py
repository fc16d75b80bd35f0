"""Steps in natural units, and the projection: what the textbook rules share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.rule import DualRule
from lagvae.problem.problem import Problem


class Ascent(DualRule):
    """A rule that climbs along the violations, each constraint counted in its own natural unit.

        μ ← clip(μ + step, low, high),   μ = λ · unit,   dL/dμ = violation / unit

    One learning rate then means the same for a bound in nats and for one in MMD²: for the plain
    step, λ += learning_rate · violation / unit². Equalities are clipped to [-high, high].

    Args:
        problem: Whose constraints.
        start: First multipliers; ``natural_start`` per natural unit if none are given.
        natural_start: First multipliers in natural units.
        clip: Smallest and largest multiplier of an inequality, in natural units.
        models: How many models share the rule.
    """

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        natural_start: float = 0.0,
        clip: tuple[float, float] = (0.0, math.inf),
        models: int = 1,
    ) -> None:
        units = torch.tensor([c.unit for c in problem.subject_to])
        super().__init__(problem, natural_start / units if start is None else start, models=models)
        self.largest = clip[1] / self.units
        self.low = torch.where(self.is_equality, -self.largest, clip[0] / self.units)

    def gradient(self, violations: Float[Tensor, "models constraints"]) -> Float[Tensor, "models constraints"]:
        """Returns dL/dμ: the violations in natural units."""
        return violations / self.units

    def climb(self, step: Float[Tensor, "models constraints"]) -> None:
        """Adds a step in natural units to the multipliers, and projects."""
        self.multipliers.add_(step / self.units).clamp_(self.low, self.largest)
