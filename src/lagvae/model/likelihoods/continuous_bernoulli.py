"""Numbers in [0, 1], as they are."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.data.checks import check_unit_interval
from lagvae.data.examples import Examples
from lagvae.model.likelihoods.likelihood import as_intensities

SMALL = 0.1
"""Logits under this are handled by series: their closed forms are 0/0 at 0."""


class ContinuousBernoulli:
    """Independent numbers in [0, 1] with density ∝ exp(l x): what a Bernoulli on grey values leaves unnormalised.

        log p(x|z) = Σ l x - log ∫_0^1 exp(l t) dt,    ∫_0^1 exp(l t) dt = (exp(l) - 1)/l

    Bytes are (v + u)/256, u ~ U[0,1), afresh at each visit: log p(byte) ≥ E log p(x) - log 256 per dimension.

    Source: [Loaiza2019], with l for the logit of λ.
    """

    name = "continuous_bernoulli"

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Returns the values; bytes with noise that fills the gap to the next one."""
        return as_intensities(raw, generator)

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch event"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats."""
        l = parameters.float()  # noqa: E741
        return (x * l - _log_normaliser(l)).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z] = 1/(1 - exp(-l)) - 1/l."""
        l = parameters.float()  # noqa: E741
        is_small = l.abs() < SMALL
        safe = torch.where(is_small, 1.0, l)
        closed = -1 / torch.expm1(-safe.clamp_min(-80)) - 1 / safe
        return torch.where(is_small, 0.5 + l / 12 - l**3 / 720, closed)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x by the inverse of its distribution function, x = log(1 + u (exp(l) - 1))/l."""
        l = parameters.float()  # noqa: E741
        u = torch.rand(l.shape, generator=generator, device=l.device)
        steep = l.abs().clamp_min(1e-4)
        # For l > 0 by 1 + log(u + (1-u) exp(-l))/l, which cannot overflow; for l < 0 its mirror image.
        x = 1 + torch.log(u + (1 - u) * torch.exp(-steep)).div(steep)
        x = torch.where(l.abs() < 1e-4, u, x).clamp(0, 1)
        return torch.where(l < 0, 1 - x, x)

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError for NaN or values outside [0, 1]."""
        check_unit_interval(examples, name=name)


def _log_normaliser(l: Tensor) -> Tensor:  # noqa: E741
    """Returns log((exp(l) - 1)/l) = l/2 + log(sinh(l/2)/(l/2))."""
    half = l.abs() / 2
    is_small = half < SMALL / 2
    safe = torch.where(is_small, 1.0, half)
    closed = safe - math.log(2) + torch.log1p(-torch.exp(-2 * safe)) - safe.log()
    return l / 2 + torch.where(is_small, half**2 / 6 - half**4 / 180, closed)
