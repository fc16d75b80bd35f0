"""Keeps one batch from undoing a run: a gradient far larger than they have been is scaled down."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

LIMIT = 20.0
"""The largest norm of all gradients together, in multiples of what is usual.

Healthy steps stay under 2.3 on distortion and rate alone; the noise of a divergence among few codes reaches 7."""
MEMORY = 0.99
"""The moving average's share of the step before."""


class Clipping:
    """Scales the gradients g of all weights by min(1, limit · u / ‖g‖), u the moving average of what is left of ‖g‖.

    The first step's norm begins the average. Under the limit no gradient changes, to the bit. A norm that is not finite
    leaves gradients that are not finite: it is for the log to find, and not to hide.

    Args:
        device: Of the weights.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.usual = torch.zeros((), device=device)

    @torch.no_grad()
    def __call__(self, weights: Iterable[nn.Parameter], *, look: bool) -> None:
        """Scales the gradients where they lie.

        Args:
            weights: All of them.
            look: Whether to find out first if it is needed, which saves a pass over the gradients, but waits for them.
        """
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = get_total_norm(gradients)
        limit = torch.where(self.usual > 0, LIMIT * self.usual, norm)
        if not look or bool(norm > limit):
            factor = (limit / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1.0)
            for gradient in gradients:
                gradient.mul_(factor)
        kept = torch.minimum(norm, limit)
        self.usual.copy_(torch.where(self.usual > 0, self.usual.lerp(kept, 1 - MEMORY), kept))

    def load(self, usual: Tensor) -> None:
        """Puts the average back."""
        self.usual.copy_(usual)
