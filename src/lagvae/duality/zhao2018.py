"""The original's dual rule."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.ascent import Ascent
from lagvae.problem.problem import Problem


class Zhao2018(Ascent):
    """RMSProp ascent with clipping, in the original's units (1 nat, 1e-4 of MMD²).

        s ← decay s + (1 - decay) v²,   λ ← clip(λ + learning_rate v / √(s + ε), low, high)

    with v the violation in natural units and s starting at 1, as TensorFlow 1 does. λ moves by about
    one learning rate a step whatever the violation: hence the original's 1.1 million steps. The
    multipliers of equalities are clipped to [-high, high].

    Source: [LagVAE] and the authors' code.
    """

    tensors = ("multipliers", "mean_square")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        learning_rate: float = 1e-4,
        decay: float = 0.9,
        epsilon: float = 1e-10,
        clip: tuple[float, float] = (0.001, 100.0),
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, natural_start=1.0, clip=clip, models=models)
        self.learning_rate, self.decay, self.epsilon = learning_rate, decay, epsilon
        self.mean_square = torch.ones_like(self.multipliers)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Takes one clipped RMSProp step upwards."""
        gradient = self.gradient(violations)
        self.mean_square.mul_(self.decay).addcmul_(gradient, gradient, value=1 - self.decay)
        self.climb(self.learning_rate * gradient * (self.mean_square + self.epsilon).rsqrt())
