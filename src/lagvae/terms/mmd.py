"""MMD² between the aggregate posterior and the prior: the divergence of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import ProblemError, expected
from lagvae.model.draw import Draw
from lagvae.terms.features import Features, features_of
from lagvae.terms.kernels import GaussianKernel, InverseMultiquadricKernel, Kernel, mean_kernel
from lagvae.terms.term import Term, register

LEAST_FEATURES = 16
"""Each of imq's seven scales needs frequencies of its own."""


@dataclass(frozen=True, eq=False, repr=False)
class MMD(Term):
    """MMD²(q(z), p(z)) = E k(z,z') + E k(w,w') - 2 E k(z,w), z ~ q(z), w ~ p(z) = N(0, I).

    With a prior of another shape, z stands for T(z), the coordinates in which p(z) is N(0, I).

    Unscaled: the original reports 10,000 times as much. Its plain name means the original's
    estimator, kernel included.

    Attributes:
        kernel: ``"zhao2018"`` is the original's exp(-‖a-b‖²/d²), nearly blind in many dimensions;
            ``"rbf"`` is exp(-‖a-b‖²/(2g)); ``"imq"`` is a sum of inverse multiquadrics at seven
            scales, the most sensitive.
        estimator: ``"biased"`` is the V-statistic, with its diagonal: a perfect q(z) measures the
            floor (2/n)(k(0) - E k(w,w')), not 0. ``"unbiased"`` is the U-statistic, which may be negative.
        prior: ``"sample"`` compares with a fresh sample of p(z), as large as the batch;
            ``"closed_form"`` takes the prior's expectations exactly: one Gram matrix instead of
            three, and about half the noise (the biased floor halves with it).
        bandwidth: g of ``"rbf"``, c of ``"imq"``; d where none is given.
        features: How many random frequencies F stand for the kernel, for large batches; the kernel itself where none
            are given. The same ones every time: for them the estimate is exact, and against the kernel off by a
            factor of about 1 ± O(1/√F), whatever its size.

    Shapes: codes [*stack, batch, latent]; O(batch²) time and memory, O(batch · F) with features; never a tensor
    [batch, batch, latent]. In the codes' float32.
    Source: [Gretton2012], equations 3 and 5; features: [Rahimi2007].

    Raises:
        ProblemError: Fewer features than can stand for any kernel, or a bandwidth for one that has none.
    """

    kernel: Literal["zhao2018", "rbf", "imq"] = "zhao2018"
    estimator: Literal["biased", "unbiased"] = "biased"
    prior: Literal["sample", "closed_form"] = "sample"
    bandwidth: float | None = None
    features: int | None = None
    name = "mmd"
    unit = 1e-4
    in_nats = False
    may_be_rewarded = False
    at_least_zero = True

    def __post_init__(self) -> None:
        if self.bandwidth is not None and self.kernel == "zhao2018":
            got = f"{self.bandwidth:g} for zhao2018, which has none"
            raise ProblemError(expected("a bandwidth of rbf or imq", got=got, fix="kernel=rbf"))
        if self.features is not None and self.features < LEAST_FEATURES:
            raise ProblemError(
                expected(f"mmd's features ≥ {LEAST_FEATURES}", got=self.features, fix="features=1024, or none")
            )

    def measure(self, draw: Draw) -> Float[Tensor, "*stack"]:
        """Returns the estimate from the batch's codes."""
        z = draw.standard_z
        kernel = self.kernel_in(z.shape[-1])
        if self.features is not None:
            return self._measure_features(draw, features_of(kernel, self.features, z.dtype, z.device), kernel.diagonal)
        within = self._within(mean_kernel(kernel, z), z.shape[-2], kernel.diagonal)
        if self.prior == "closed_form":
            return within + kernel.prior_mean - 2 * kernel.against_prior(z.square().sum(-1)).mean(-1)
        w = draw.standard_sample
        among_prior = self._within(mean_kernel(kernel, w), w.shape[-2], kernel.diagonal)
        return within + among_prior - 2 * mean_kernel(kernel, z, w)

    def floor(self, *, latent_dim: int, batch_size: int) -> float:
        """Returns (2/n)(k(0) - E k(w,w')) for the V-statistic, half of it without a prior sample, else 0."""
        if self.estimator == "unbiased":
            return 0.0
        kernel = self.kernel_in(latent_dim)
        samples = 2 if self.prior == "sample" else 1
        prior_mean = kernel.prior_mean
        if self.features is not None:
            prior_mean = features_of(kernel, self.features, torch.float64, torch.device("cpu")).prior_mean
        return samples / batch_size * (kernel.diagonal - prior_mean)

    def kernel_in(self, latent_dim: int) -> Kernel:
        """Returns the kernel for codes of ``latent_dim`` dimensions."""
        if self.kernel == "zhao2018":
            return GaussianKernel(latent_dim**2 / 2, latent_dim)
        scale = float(latent_dim) if self.bandwidth is None else self.bandwidth
        return (GaussianKernel if self.kernel == "rbf" else InverseMultiquadricKernel)(scale, latent_dim)

    def _measure_features(self, draw: Draw, features: Features, diagonal: float) -> Float[Tensor, "*stack"]:
        """Returns the estimate from the means of the features: of the codes, and of the prior or a sample of it."""
        z = draw.standard_z
        w = draw.standard_sample if self.prior == "sample" else None
        of_codes = features.mean(z)
        of_prior = features.prior_parts if w is None else features.mean(w)
        of_prior = of_prior.reshape(2, *(1,) * (of_codes.dim() - of_prior.dim()), *of_prior.shape[1:])
        if self.estimator == "biased":
            gap = of_codes - of_prior
            return features.product(gap, gap)  # a sum of squares: no cancellation, never negative
        within = self._within(features.product(of_codes, of_codes), z.shape[-2], diagonal)
        among_prior = features.product(of_prior, of_prior)
        if w is not None:
            among_prior = self._within(among_prior, w.shape[-2], diagonal)
        return within + among_prior - 2 * features.product(of_codes, of_prior)

    def _within(self, mean: Float[Tensor, "*stack"], n: int, diagonal: float) -> Float[Tensor, "*stack"]:
        """Returns the mean over pairs, with or without those of an example and itself."""
        return mean if self.estimator == "biased" else (n * mean - diagonal) / (n - 1)


mmd = MMD()
register(mmd)
