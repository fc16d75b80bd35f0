"""Random Fourier features: a kernel's MMD² in time and memory linear in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.streams import derive_seed
from lagvae.terms.kernels import Kernel


@dataclass(frozen=True, eq=False)
class Features:
    """φ(z) = (e^(iω_1·z), ..., e^(iω_F·z)), whose weighted products Σ_j weight_j Re φ_j(a) φ_j(b)* stand for k(a,b).

    The mean of φ over a law is its characteristic function at the frequencies; MMD² is the weighted squared distance
    of two of them, so that its relative error does not depend on how small it is. Source: [Rahimi2007].

    Attributes:
        omega: The frequencies.
        weight: Of each; their sum is k(a,a), exactly.
        prior: E e^(iω·w) = e^(-‖ω‖²/2) for w ~ N(0, I).
    """

    omega: Float[Tensor, "features latent"]
    weight: Float[Tensor, " features"]
    prior: Float[Tensor, " features"]

    def mean(self, z: Float[Tensor, "*stack n latent"]) -> Float[Tensor, "2 *stack features"]:
        """Returns real and imaginary part of the mean of φ over n codes."""
        phase = z @ self.omega.mT
        return torch.stack([phase.cos().mean(-2), phase.sin().mean(-2)])

    def product(
        self, a: Float[Tensor, "2 *#stack features"], b: Float[Tensor, "2 *#stack features"]
    ) -> Float[Tensor, "*#stack"]:
        """Returns Σ_j weight_j Re a_j b_j*: the mean of k over all pairs of codes, from the means of φ."""
        return (a * b).sum(0) @ self.weight

    @property
    def prior_parts(self) -> Float[Tensor, "2 features"]:
        """Real and imaginary part of the mean of φ over the prior."""
        return torch.stack([self.prior, torch.zeros_like(self.prior)])

    @property
    def prior_mean(self) -> float:
        """What stands for E k(w,w') for independent w, w' ~ N(0, I)."""
        return float(self.prior.square() @ self.weight)


@lru_cache(maxsize=32)
def features_of(kernel: Kernel, count: int, dtype: torch.dtype, device: torch.device) -> Features:
    """Returns a kernel's features, the same for every run, resumed or not, and for every evaluation."""
    generator = torch.Generator().manual_seed(derive_seed(0, "features", kernel, count))
    with torch.inference_mode(mode=False):  # an evaluation may be the first to ask; training needs plain tensors too
        omega, weight = kernel.frequencies(count, generator)
        prior = torch.exp(-0.5 * omega.square().sum(-1))
        return Features(*(part.to(device, dtype) for part in (omega, weight, prior)))
