"""Which dimensions of the code carry anything."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.evaluation.codes import Codes
from lagvae.evaluation.estimate import Estimate
from lagvae.model.prior import StandardNormal

ACTIVE_VARIANCE = 0.01
"""Of the posterior means, above which a dimension counts as active."""


def active_units(codes: Codes, *, threshold: float = ACTIVE_VARIANCE) -> Estimate:
    """How many dimensions have Var_x E[z_d|x] > threshold.

    Units: dimensions. Bias: none to speak of. Error: √(Σ p (1-p)), p the probability that a dimension's
    variance, within its own standard error, lies on the other side of the threshold. Source:
    [Burda2016].
    """
    variance, error = _variances(codes)
    margin = (variance - threshold) / error.clamp_min(1e-30)
    p = 0.5 * (1 + torch.erf(margin / math.sqrt(2)))
    return Estimate(
        value=float((variance > threshold).sum()),
        standard_error=float((p * (1 - p)).sum().sqrt()),
        unit="dimensions",
        bias="none",
        method=f"variance of posterior means > {threshold:g}",
        examples=len(codes),
    )


def rate_per_dimension(codes: Codes) -> tuple[Estimate, ...]:
    """R_d = E KL(q(z_d|x) ‖ p(z_d)) of every dimension; they sum to the rate.

    A learned prior is no product over dimensions: under one there are none.

    Units: nats per example. Bias: none. Error: s/√N each (they are not independent of each other).
    """
    if not isinstance(codes.prior, StandardNormal):
        return ()
    mean, log_std = codes.posterior.mean.double(), codes.posterior.log_std.double()
    rates = 0.5 * (mean.square() + torch.expm1(2 * log_std) - 2 * log_std)
    return tuple(
        Estimate.of_mean(
            column,
            unit="nats per example",
            bias="none",
            method=f"closed form, dimension {dimension}",
            examples=len(codes),
        )
        for dimension, column in enumerate(rates.unbind(1))
    )


def _variances(codes: Codes) -> tuple[Float[Tensor, " latent"], Float[Tensor, " latent"]]:
    """Returns Var_x E[z_d|x] and its standard error, from the fourth moment."""
    mean = codes.posterior.mean.double()
    squares = (mean - mean.mean(0)).square()
    return squares.sum(0) / (len(mean) - 1), squares.std(0) / len(mean) ** 0.5
