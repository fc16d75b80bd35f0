"""Codes whose information and divergences are known: in closed form, or by quadrature in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lagvae.evaluation.codes import Codes
from lagvae.model.gaussian import DiagonalGaussian

Array = np.ndarray


@dataclass(frozen=True)
class GaussianCodes:
    """Posteriors N(m, s²) with s² = v (1 - ρ²), m ~ N(shift, v ρ² ) in each dimension: q(z) = N(shift, v I) exactly.

    The information is spread evenly, ρ² = 1 - exp(-2 I/d): what a linear-Gaussian VAE's codes are.
    """

    information: float
    latent: int
    variance: float = 1.0
    shift: float = 0.0

    def sample(self, size: int, *, seed: int) -> Codes:
        """Draws codes."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(size, self.latent, generator=generator, dtype=torch.float64)
        explained = -math.expm1(-2 * self.information / self.latent)
        log_std = 0.5 * (math.log(self.variance) + math.log1p(-explained))
        return draw_codes(
            self.shift + math.sqrt(self.variance * explained) * noise, torch.full_like(noise, log_std), generator
        )

    @property
    def kl_to_prior(self) -> float:
        """KL(q(z) ‖ N(0, I))."""
        return 0.5 * self.latent * (self.variance + self.shift**2 - 1 - math.log(self.variance))

    @property
    def rate(self) -> float:
        """R = I + KL(q(z) ‖ p(z))."""
        return self.information + self.kl_to_prior


@dataclass(frozen=True)
class ClusteredCodes:
    """Posterior means at a few points of the plane: q(z|x) = N(c_k, std² I) with probability w_k."""

    centres: tuple[tuple[float, float], ...]
    weights: tuple[float, ...]
    std: float

    def sample(self, size: int, *, seed: int) -> Codes:
        """Draws codes."""
        index = np.random.default_rng(seed).choice(len(self.weights), size, p=self.weights)
        mean = torch.tensor(np.array(self.centres)[index])
        return draw_codes(mean, torch.full_like(mean, math.log(self.std)), torch.Generator().manual_seed(seed))

    @property
    def entropy(self) -> float:
        """H(z), by the trapezoidal rule on a grid, which is exact to many digits for smooth densities."""
        axis, step = self._axis()
        return _entropy(sum(w * np.outer(*self._factors(c, axis)) for w, c in self._clusters()), step**2)

    @property
    def information(self) -> float:
        """I = H(z) - H(z|x)."""
        return self.entropy - math.log(2 * math.pi * math.e * self.std**2)

    @property
    def kl_to_prior(self) -> float:
        """KL(q(z) ‖ N(0, I)) = ½ E‖z‖² + log 2π - H(z)."""
        energy = sum(w * (c[0] ** 2 + c[1] ** 2) for w, c in self._clusters()) + 2 * self.std**2
        return 0.5 * energy + math.log(2 * math.pi) - self.entropy

    @property
    def total_correlation(self) -> float:
        """KL(q(z) ‖ q(z_1) q(z_2)) = H(z_1) + H(z_2) - H(z)."""
        axis, step = self._axis()
        marginals = [
            _entropy(sum(w * self._factors(c, axis)[side] for w, c in self._clusters()), step) for side in (0, 1)
        ]
        return sum(marginals) - self.entropy

    def _clusters(self) -> list[tuple[float, tuple[float, float]]]:
        return list(zip(self.weights, self.centres, strict=True))

    def _axis(self) -> tuple[Array, float]:
        reach = float(np.abs(np.array(self.centres)).max()) + 9 * self.std
        return np.linspace(-reach, reach, 1201, retstep=True)

    def _factors(self, centre: tuple[float, float], axis: Array) -> tuple[Array, Array]:
        first, second = (
            np.exp(-0.5 * ((axis - c) / self.std) ** 2) / (self.std * math.sqrt(2 * math.pi)) for c in centre
        )
        return first, second


def draw_codes(mean: Tensor, log_std: Tensor, generator: torch.Generator) -> Codes:
    """One z of each of these posteriors, all of it in float32."""
    posterior = DiagonalGaussian(mean.float(), log_std.float())
    return Codes(posterior, posterior.at(torch.randn(mean.shape, generator=generator)))


def _entropy(density: Array, cell: float) -> float:
    return -float((density * np.log(np.maximum(density, 1e-300))).sum() * cell)
