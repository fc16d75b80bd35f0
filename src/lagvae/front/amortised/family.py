"""The two-number family: which weights a front covers, and how they are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BEYOND = 1.3
"""How far beyond the highest β members are trained: the last one has neighbours on both sides."""
TILT = 0.3
"""How much more often the highest log β is drawn than those in the middle, and how much less often the lowest: it has
most to lose against a run of its own."""


@dataclass(frozen=True)
class Family:
    """min D + β R + γ mmd, for every (log β, log γ) in a rectangle.

    Up to scale these are the weights of every problem over distortion, rate and mmd.

    Attributes:
        beta: Lowest and highest β.
        gamma: Lowest and highest γ, in nats per unit of MMD²; the lowest is as good as none.
        share: Of the examples that train with more than the lowest γ.
    """

    beta: tuple[float, float] = (0.1, 10.0)
    gamma: tuple[float, float] = (10.0, 1e5)
    share: float = 0.5

    def conditions(self, weights: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
        """Returns (β, γ) on the logarithmic scale that goes from -1 to 1 over what is trained."""
        ends = zip(weights.log().unbind(-1), self._ends, strict=True)
        return torch.stack([2 * (value - low) / (high - low) - 1 for value, (low, high) in ends], dim=-1)

    def weights(self, conditions: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
        """Returns the (β, γ) of conditions: the inverse of :meth:`conditions`."""
        ends = zip(conditions.unbind(-1), self._ends, strict=True)
        return torch.stack([(low + (high - low) * (value + 1) / 2).exp() for value, (low, high) in ends], dim=-1)

    def draw(self, blocks: int, groups: int, generator: torch.Generator) -> Float[Tensor, "blocks groups 2"]:
        """Draws conditions, one for each group of examples; the groups of a block are neighbours in β and share γ.

        β goes up to ``BEYOND`` times the highest. Log β has the density 1 + ``TILT`` (2 s - 1), s in [0, 1],
        and is stratified: each of ``blocks · groups`` equal parts of the density is drawn from once, in order. γ is the
        lowest, but for ``share`` of the blocks, where it is log-uniform.
        """
        device = generator.device
        within = torch.rand(blocks, groups, generator=generator, device=device)
        strata = torch.arange(blocks * groups, device=device).reshape(blocks, groups)
        quantile = (strata + within) / (blocks * groups)  # of the density, whose integral is (1 - TILT) s + TILT s²
        beta = 2 * quantile / (1 - TILT + ((1 - TILT) ** 2 + 4 * TILT * quantile).sqrt())
        chosen, uniform = torch.rand(2, blocks, 1, generator=generator, device=device)
        gamma = torch.where(chosen < self.share, uniform, 0.0).expand_as(beta)
        return 2 * torch.stack([beta, gamma], dim=-1) - 1

    @property
    def _ends(self) -> list[tuple[float, float]]:
        """Logarithms of the lowest and highest β and γ that are trained: numbers, which a recorded step may hold."""
        (low, high), (least, most) = self.beta, self.gamma
        return [(math.log(low), math.log(BEYOND * high)), (math.log(least), math.log(most))]
