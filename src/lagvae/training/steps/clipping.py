"""Keeps one batch from undoing a run: a gradient far larger than they have been is scaled down."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

LIMIT = 5.0
"""The largest norm, in multiples of what is usual.

Healthy steps stay under 2.3 on distortion and rate alone; the noise of a divergence among few codes reaches 7. One
k times the usual moves weights by some k / (1 + k² / 1000)^0.5 learning rates before Adam forgets it: 17 at 20,
which undid a front at 3e-3, and 5 at 5 (with β₂ = 0.999; smaller ones move less)."""
MEMORY = 0.99
"""The moving average's share of the step before."""


class Clipping:
    """Scales the gradients of all weights by min(1, limit · u / n), n their norm, u the moving average of what is left.

    The first step's norm begins the average. Under the limit no gradient changes, to the bit. A norm that is not finite
    leaves gradients that are not finite: it is for the log to find, and not to hide.

    Args:
        device: Of the weights.

    Attributes:
        usual: u, 0 before the first step; a run that goes on copies it back.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.usual = torch.zeros((), device=device)

    @torch.no_grad()
    def __call__(self, weights: Iterable[nn.Parameter], norm: Float[Tensor, ""], *, look: bool) -> None:
        """Scales the gradients where they lie.

        Args:
            weights: All of them.
            norm: n, of their gradients, or of some in which the rest would show.
            look: Whether to find out first if it is needed, which saves a pass over the gradients, but waits for them.
        """
        usual = torch.where(self.usual > 0, self.usual, norm)
        limit = LIMIT * usual
        if not look or bool(norm > limit):
            factor = (limit / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1.0)
            for weight in weights:
                if weight.grad is not None:
                    weight.grad.mul_(factor)
        self.usual.copy_(usual.lerp(torch.minimum(norm, limit), 1 - MEMORY))
