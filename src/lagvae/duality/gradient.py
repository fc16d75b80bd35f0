"""Plain gradient ascent: the textbook rule."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lagvae.duality.ascent import Ascent
from lagvae.problem.problem import Problem


class GradientAscent(Ascent):
    """μ ← max(0, μ + learning_rate v); equalities are not clipped.

    μ = λ · unit is the multiplier and v = violation / unit the violation in natural units.

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
        super().__init__(problem, start, models=models)
        self.learning_rate = learning_rate

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Takes one projected step upwards."""
        self.climb(self.learning_rate * self.gradient(violations))
