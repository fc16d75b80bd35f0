"""Bits."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor

from lagvae.data.checks import check_unit_interval
from lagvae.data.examples import Examples, binarise


class Bernoulli:
    """Independent bits: log p(x|z) = Σ x log σ(l) + (1-x) log σ(-l), with logits l.

    Grey values are probabilities: an intensity v is binarised afresh at each visit, x = [v > u],
    u ~ U[0,1], for training and evaluation alike.
    """

    name = "bernoulli"

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Binarises stored intensities afresh."""
        return binarise(raw, generator)

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch ..."], x: Float[Tensor, "*stack batch ..."]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats."""
        return -F.binary_cross_entropy_with_logits(parameters.float(), x, reduction="none").sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns σ(l), the probability of each bit."""
        return parameters.float().sigmoid()

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws bits."""
        return torch.bernoulli(self.mean(parameters), generator=generator)

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError for NaN or values outside [0, 1]."""
        check_unit_interval(examples, name=name)
