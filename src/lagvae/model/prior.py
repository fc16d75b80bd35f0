"""The prior p(z): N(0, I), or what an invertible map makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.model.gaussian import DiagonalGaussian, standard_normal_log_prob


class Prior(nn.Module, ABC):
    """p(z), given by an invertible map T to coordinates e = T(z) in which it is N(0, I).

        log p(z) = log N(T(z); 0, I) + log |det ∂T/∂z|

    All that is asked of a prior follows from the map: its density, samples z = T⁻¹(e), and a distance of q(z)
    from p(z) as the distance of T(z) from N(0, I), where closed forms of N(0, I) hold.
    """

    @abstractmethod
    def standardise(
        self, z: Float[Tensor, "*batch latent"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Returns T(z), and by coordinate the logarithms whose sum is log |det ∂T/∂z|; in the precision of z."""

    @abstractmethod
    def place(self, standard: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """Returns z = T⁻¹(e): a sample of p(z) where e is one of N(0, I)."""

    def log_prob(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Returns log p(z), in nats."""
        standard, log_scale = self.standardise(z)
        return standard_normal_log_prob(standard) + log_scale.sum(-1)

    def rate(
        self, posterior: DiagonalGaussian, z: Float[Tensor, "*stack batch latent"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns KL(q(z|x) ‖ p(z)), in nats, from one z ~ q(z|x).

        The entropy of q(z|x) is exact, the other half E_q log p(z) is the one sample's. Bias: none.
        """
        return -posterior.entropy() - self.log_prob(z)

    def pull_back(self, posterior: DiagonalGaussian) -> DiagonalGaussian:
        """Returns a Gaussian near the law of T(z), z ~ q(z|x): T taken as linear, and its axes as independent."""
        mean, log_scale = self.standardise(posterior.mean)
        return DiagonalGaussian(mean, posterior.log_std + log_scale)


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    def standardise(
        self, z: Float[Tensor, "*batch latent"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Returns z and zeros."""
        return z, torch.zeros_like(z)

    def place(self, standard: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """Returns e."""
        return standard

    def log_prob(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Returns log N(z; 0, I), in nats."""
        return standard_normal_log_prob(z)

    def rate(
        self, posterior: DiagonalGaussian, z: Float[Tensor, "*stack batch latent"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns KL(q(z|x) ‖ N(0, I)) in closed form, in nats."""
        return posterior.kl_to_standard_normal()

    def pull_back(self, posterior: DiagonalGaussian) -> DiagonalGaussian:
        """Returns the posterior."""
        return posterior
