"""A Gaussian kernel density of the codes, for comparison with work that reports one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.evaluation.codes import Codes
from lagvae.evaluation.density.aggregate import log_sum_of_densities
from lagvae.model.gaussian import DiagonalGaussian

BANDWIDTHS = torch.logspace(-1.5, 0.25, 15, dtype=torch.float64).tolist()
"""In units of each dimension's standard deviation, 0.03 to 1.8: steps of a third."""
CENTRES, VALIDATION = 20_000, 500
"""How many codes carry a kernel, and how many choose the bandwidth, at most."""


@dataclass(frozen=True)
class KernelDensity:
    """q̂(z) = 1/n Σ_j N(z; z_j, diag(h s)²), with the codes' standard deviations s.

    Held-out codes score low under it, by KL(q(z) ‖ q̂): 9 nats of N(0, I) in 64 dimensions.

    Attributes:
        centres: z_j.
        log_std: log h s, per dimension.
    """

    centres: Float[Tensor, "centres latent"]
    log_std: Float[Tensor, " latent"]
    name = "kernel"

    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), in nats, in float64."""
        kernels = DiagonalGaussian(self.centres, self.log_std.expand_as(self.centres))
        return log_sum_of_densities(z, kernels) - math.log(len(self.centres))


def fit_kernel_density(train: Codes, validation: Codes) -> KernelDensity:
    """Returns the kernel density of ``train`` with the bandwidth that ``validation`` scores highest."""
    centres = train.z[:CENTRES]
    log_std = centres.double().std(0).clamp_min(1e-9).log()
    tried = [KernelDensity(centres, log_std + math.log(bandwidth)) for bandwidth in BANDWIDTHS]
    return max(tried, key=lambda density: float(density.log_prob(validation.z[:VALIDATION]).mean()))
