"""The aggregate posterior as the mixture of all posteriors, scored at the codes themselves.

    q̂(z) = 1/N Σ_j q(z|x_j)

A diagonal Gaussian's log-density is linear in (z², z), so that a block of N × N log-densities is
one matrix product:

    log q(z|x) = [z², z] · [-1/(2σ²), μ/σ²] - ½ Σ (μ²/σ² + log 2πσ²)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lagvae.evaluation.codes import Advance, Codes, random_order
from lagvae.model.gaussian import DiagonalGaussian

POINTS, COMPONENTS = 256, 1024
"""The size of a block: its log-densities stay in a core's cache while they are exponentiated."""
CUDA_BLOCK = 16
"""How many times more points and components a block has on a GPU."""

SMALL = 2**22
"""Up to so many pairs everything is computed in float64."""
CHECKED_POINTS = 32
TOLERANCE = 0.01
"""In nats: where float32 misses a float64 log-density by more than this, float64 is used throughout."""


@dataclass(frozen=True)
class MixtureScores:
    """What the mixture of N posteriors says of codes that are each a sample of one component.

    Attributes:
        index: Which codes were scored.
        log_own: log q(z_i|x_i).
        log_others: log Σ_{j≠i} q(z_i|x_j), not divided by anything.
        components: N.
    """

    index: Int64[Tensor, " scored"]
    log_own: Float[Tensor, " scored"]
    log_others: Float[Tensor, " scored"]
    components: int

    @property
    def in_sample(self) -> Float[Tensor, " scored"]:
        """The mixture's log 1/N Σ_j q(z_i|x_j): never under log q(z_i|x_i) - log N; reads high on average."""
        return torch.logaddexp(self.log_own, self.log_others) - math.log(self.components)

    @property
    def leave_one_out(self) -> Float[Tensor, " scored"]:
        """The others' log 1/(N-1) Σ_{j≠i} q(z_i|x_j): reads low on average."""
        return self.log_others - math.log(self.components - 1)


@torch.inference_mode()
def score_mixture(
    codes: Codes, *, scored: int | None = None, seed: int = 0, advance: Advance | None = None
) -> MixtureScores:
    """Scores codes under the mixture of all N posteriors, with and without their own.

    Cost: scored · N · 4d operations in matrix products and as many exponentials as pairs; memory
    O(N·d), whatever the number of pairs.

    Args:
        codes: All components; their z are the points.
        scored: How many of the codes to score, drawn at random: the standard error grows, the bias
            (which is the number of components') does not. All of them if None.
        seed: Of that choice.
        advance: Told of progress, in codes scored.
    """
    index = random_order(len(codes), seed)[:scored].sort().values if scored is not None else torch.arange(len(codes))
    own = index.to(codes.z.device)
    others = log_sum_of_densities(codes.z[own], codes.posterior, excluded=own, advance=advance)
    return MixtureScores(index, codes.log_posterior[own], others, len(codes))


def log_densities(z: Float[Tensor, "points latent"], posterior: DiagonalGaussian) -> Float[Tensor, "points components"]:
    """Returns log q(z_i|x_j) of every pair in nats, in float64, by one matrix product."""
    factors, constants, centre = _expand(posterior)
    centred = z.double() - centre
    return torch.addmm(constants, torch.cat([centred.square(), centred], 1), factors)


def log_sum_of_densities(
    z: Float[Tensor, "points latent"],
    posterior: DiagonalGaussian,
    *,
    excluded: Int64[Tensor, " points"] | None = None,
    advance: Advance | None = None,
) -> Float[Tensor, " points"]:
    """Returns log Σ_j q(z_i|x_j) in nats, in float64.

    Products and exponentials are float32 where a sample of points agrees with float64 (posteriors
    that are not too narrow for their distance from the centre), float64 otherwise and for small sets.

    Args:
        z: Where to evaluate.
        posterior: The components, [components, latent].
        excluded: For each point, a component that is left out.
        advance: Told of progress, in points.
    """
    components = len(posterior.mean)
    factors, constants, centre = _expand(posterior)
    centred = z.double() - centre
    excluded = torch.full((len(z),), -1, device=z.device) if excluded is None else excluded
    dtype = torch.float64
    if len(z) * components > SMALL:
        # A few points, evenly spread, in both precisions: the error is measured, not guessed.
        probe = torch.linspace(0, len(z) - 1, CHECKED_POINTS, dtype=torch.float64, device=z.device).long()
        precise, quick = (
            _reduce(centred[probe], factors, constants, excluded[probe], kind, None)
            for kind in (torch.float64, torch.float32)
        )
        error = (precise - quick).abs().nan_to_num(0.0, posinf=math.inf).max()  # -inf - -inf: both have no density
        dtype = torch.float32 if error < TOLERANCE else torch.float64
    return _reduce(centred, factors, constants, excluded, dtype, advance)


def _expand(posterior: DiagonalGaussian) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the factors [2·latent, components] and constants of the product, and the origin it is taken about.

    About the codes' own centre: far from it, the squares would cancel.
    """
    mean, log_std = posterior.mean.double(), posterior.log_std.double()
    centre = mean.mean(0)
    mean = mean - centre
    precision = torch.exp(-2 * log_std)
    constants = -(0.5 * mean.square() * precision + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
    return torch.cat([-0.5 * precision, mean * precision], 1).T.contiguous(), constants, centre


def _reduce(
    z: Tensor, factors: Tensor, constants: Tensor, excluded: Tensor, dtype: torch.dtype, advance: Advance | None
) -> Tensor:
    """Returns the log of each point's sum over components, block by block with a running maximum."""
    scale = CUDA_BLOCK if z.is_cuda else 1
    points, width = POINTS * scale, COMPONENTS * scale
    factors, constants = factors.to(dtype), constants.to(dtype)
    # Beside the largest term, which is 1, this is nothing; further down exp ends in subnormal numbers, which are slow.
    least = math.log(torch.finfo(dtype).tiny) + 1
    blocks = [
        (start, factors[:, start : start + width].contiguous(), constants[start : start + width])
        for start in range(0, len(constants), width)
    ]
    results = []
    for chunk, own in zip(z.split(points), excluded.split(points), strict=True):
        expanded = torch.cat([chunk.square(), chunk], 1).to(dtype)
        # Not -inf, whose difference with itself is no number.
        largest = torch.full((len(chunk),), torch.finfo(dtype).min, dtype=dtype, device=z.device)
        total = torch.zeros_like(largest)
        for start, factor, constant in blocks:
            log_density = torch.addmm(constant, expanded, factor)
            rows = ((own >= start) & (own < start + len(constant))).nonzero()[:, 0]
            log_density[rows, own[rows] - start] = -math.inf
            maximum = torch.maximum(largest, log_density.amax(1))
            total.mul_((largest - maximum).exp_())
            total.add_(log_density.sub_(maximum[:, None]).clamp_min_(least).exp_().sum(1))
            largest = maximum
        found = total.double().log() + largest.double()
        results.append(found.where(largest > torch.finfo(dtype).min, -math.inf))  # no component has any density there
        if advance is not None:
            advance(len(chunk))
    return torch.cat(results)
