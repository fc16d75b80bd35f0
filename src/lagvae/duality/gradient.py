"""Plain gradient ascent: the textbook rule."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.rule import DualRule
from lagvae.problem.problem import Problem


class GradientAscent(DualRule):
    """λ ← max(0, λ + learning_rate · violation); equalities are not clipped.

    Source: [Arrow1958].
    """

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        learning_rate: float = 1e-2,
        models: int = 1,
    ) -> None:
        if start is None:
            start = torch.zeros(len(problem.subject_to))
        super().__init__(problem, start, models=models)
        self.learning_rate = learning_rate
        self.low = torch.where(self.is_equality, -torch.inf, 0.0)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Takes one projected step upwards."""
        self.multipliers.add_(self.learning_rate * violations).clamp_(min=self.low)
