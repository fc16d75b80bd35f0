"""Diagonal Gaussians: the posterior q(z|x), and N(0, I)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOG_STD_RANGE = (-12.0, 12.0)
"""Bounds of every log standard deviation: variances stay finite and positive in float32."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(exp(2 log_std))), one per example."""

    mean: Float[Tensor, "*stack batch latent"]
    log_std: Float[Tensor, "*stack batch latent"]

    def at(self, noise: Float[Tensor, "*stack batch latent"]) -> Float[Tensor, "*stack batch latent"]:
        """Returns z = mean + std * noise, differentiable in mean and std (the reparameterisation)."""
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def expand(self, samples: int) -> DiagonalGaussian:
        """Returns the same posteriors ``samples`` times, stacked in front; nothing is copied."""
        return DiagonalGaussian(*(part.expand(samples, *part.shape) for part in (self.mean, self.log_std)))

    def log_prob(self, z: Float[Tensor, "*stack batch latent"]) -> Float[Tensor, "*stack batch"]:
        """Returns log q(z), in nats."""
        standardised = (z - self.mean) * (-self.log_std).exp()
        return -(0.5 * standardised.square() + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Float[Tensor, "*stack batch"]:
        """Returns -E log q(z) = Σ (log_std + ½ log 2πe), in nats."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl_to_standard_normal(self) -> Float[Tensor, "*stack batch"]:
        """Returns KL(q ‖ N(0, I)) = ½ Σ (mean² + std² - 1 - 2 log_std), in nats."""
        log_variance = 2 * self.log_std
        return 0.5 * (self.mean.square() + torch.expm1(log_variance) - log_variance).sum(-1)


def standard_normal_log_prob(z: Float[Tensor, "*stack batch latent"]) -> Float[Tensor, "*stack batch"]:
    """Returns log N(z; 0, I), in nats."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
