"""How heavy the tail of importance weights is: whether their mean has been seen at all."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_TAIL = 5
"""How many weights a tail has at least, to be fitted: of 25 draws, the largest five."""

EQUAL = 1e-3
"""Up to which relative difference weights count as equal: log-densities in float32 carry errors of 1e-5 or more."""


def tail_length(samples: int) -> int:
    """Returns how many of the largest weights count as the tail: min(K/5, 3√K)."""
    return int(min(samples / 5, 3 * samples**0.5))


def largest_reliable_shape(samples: int) -> float:
    """Returns the k̂ up to which a mean of so many weights can be trusted: min(1 - 1/log10 K, 0.7) [Vehtari2024]."""
    return min(1 - 1 / math.log10(samples), 0.7) if samples > 1 else -math.inf


def pareto_shape(log_largest: Float[Tensor, "largest batch"]) -> Float[Tensor, " batch"]:
    """Estimates the shape k of the generalised Pareto distribution that the largest weights follow.

        P(w - u > y) = (1 + k y / σ)^(-1/k)

    Weights have 1/k finite moments: from k = 1/2 on no variance, from k = 1 on no mean. Equal weights have no tail,
    and k̂ = -inf; fewer than five over the threshold tell nothing, and k̂ is NaN.

    Args:
        log_largest: Logarithms of the largest weights, in descending order; the last one is the threshold u.

    Source: the estimator of [Zhang2009], with the prior and use of [Vehtari2024], section 3.
    """
    size = len(log_largest) - 1
    if size < LEAST_TAIL:
        return torch.full_like(log_largest[0], math.nan)
    relative = (log_largest.double() - log_largest[0]).exp()
    y = (relative[:-1] - relative[-1]).flip(0)  # ascending, in units of the largest weight
    has_tail = y[-1] > EQUAL
    y = torch.where(has_tail, y, 1.0).clamp_min(torch.finfo(y.dtype).tiny)
    count = 30 + math.isqrt(size)
    steps = torch.arange(1, count + 1, dtype=y.dtype, device=y.device).unsqueeze(1)
    quartile = y[int(size / 4 + 0.5) - 1]
    candidates = 1 / y[-1] + (1 - (count / (steps - 0.5)).sqrt()) / (3 * quartile)  # of -k/σ, a grid of likely ones
    shapes = torch.log1p(-candidates.unsqueeze(1) * y).mean(1)
    log_evidence = size * ((-candidates / shapes).log() - shapes - 1)
    best = (log_evidence.softmax(0) * candidates).sum(0)
    shape = torch.log1p(-best * y).mean(0)
    shrunk = (size * shape + 10 * 0.5) / (size + 10)  # towards 1/2, as ten more weights would pull it
    return torch.where(has_tail, shrunk, -math.inf).to(log_largest.dtype)
