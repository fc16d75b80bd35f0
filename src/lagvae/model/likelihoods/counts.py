"""Counts: 0, 1, 2, ... without an upper end."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.data.checks import check_counts
from lagvae.data.examples import Examples
from lagvae.data.moments import moments
from lagvae.model.likelihoods.likelihood import BOUND, bounded, dimensions_of

LARGE = 16.0
"""Counts from which on log-probabilities are summed as Loader does, without differences of large numbers."""


class Counts(nn.Module, ABC):
    """Independent counts with rate μ = exp(log_rate + l), l the decoder's output within ± 12.

    ``log_rate`` is the logarithm of the training data's mean, set by :meth:`adapt`: one per column of a table, one for
    all pixels of an image; 0 until then. The encoder is shown log(1 + x).

    Args:
        event_shape: Shape of one example.
    """

    name: str
    log_rate: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.dimensions = dimensions_of(event_shape)
        self.register_buffer("log_rate", torch.zeros(self.dimensions))

    @property
    def is_adapted(self) -> bool:
        """Whether the usual rate is of some data."""
        return bool((self.log_rate != 0).any())

    def adapt(self, examples: Examples) -> None:
        """Takes the usual rate from training examples; of a column that is always 0, one in as many again."""
        mean, _ = moments(examples, per_column=self.dimensions > 1, scale_bytes=False)
        self.log_rate.copy_(mean.clamp_min(0.5 / len(examples)).log().clamp(-BOUND, BOUND))

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Returns the counts; a byte is the count itself."""
        return raw.to(generator.device, torch.float32)

    def features(self, x: Tensor) -> Tensor:
        """Returns log(1 + x): what the encoder is shown."""
        return torch.log1p(x)

    @abstractmethod
    def log_prob(
        self, parameters: Float[Tensor, "*stack batch event"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats: a log-probability, at most 0."""

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z] = μ."""
        return self._log_mean(parameters).exp()

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError for values that are no whole numbers ≥ 0."""
        check_counts(examples, name=name)

    def _log_mean(self, parameters: Tensor) -> Tensor:
        return self.log_rate + bounded(parameters.float())


class Poisson(Counts):
    """Counts whose variance is their mean: log p(x|z) = Σ x log μ - μ - log x!.

    Source: [Loader2000] for large counts.
    """

    name = "poisson"

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch event"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats: a log-probability, at most 0."""
        log_mean = self._log_mean(parameters)
        small = x.clamp_max(LARGE)
        plain = small * log_mean - log_mean.exp() - torch.lgamma(small + 1)
        large = x.clamp_min(LARGE)
        return torch.where(x < LARGE, plain, _around(large) - _deviance(large, log_mean - large.log())).sum(-1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""
        return torch.poisson(self.mean(parameters), generator=generator)


class NegativeBinomial(Counts):
    """Counts that spread more than a Poisson's: variance μ + μ²/r.

        log p(x|z) = Σ log Γ(x + r) - log Γ(r) - log x! + r log(r/(r + μ)) + x log(μ/(r + μ))

    log r is a weight like any other, shared by all examples and bounded to ± 12: one per column of a table, one for
    all pixels of an image. r → ∞ is the Poisson.

    Source: [Lopez2018], without its zero inflation; [Loader2000] for large counts.
    """

    name = "negative_binomial"

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.raw_log_dispersion = nn.Parameter(torch.zeros(self.dimensions))

    @property
    def log_dispersion(self) -> Tensor:
        """Log r."""
        return bounded(self.raw_log_dispersion)

    @property
    def log_scales(self) -> Tensor:
        """Log r, before it is bounded."""
        return self.raw_log_dispersion

    @torch.no_grad()
    def set_log_scales(self, log_scales: Tensor) -> None:
        """Takes another r."""
        self.raw_log_dispersion.copy_(log_scales)

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch event"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats: a log-probability, at most 0."""
        return self.log_prob_at(self.raw_log_dispersion, parameters, x)

    def log_prob_at(
        self,
        log_scales: Float[Tensor, "*scales"],
        parameters: Float[Tensor, "*stack batch event"],
        x: Float[Tensor, "*stack batch event"],
    ) -> Float[Tensor, "*stack batch"]:
        """Returns the same with another log r, before it is bounded."""
        log_dispersion = bounded(log_scales)
        log_odds = self._log_mean(parameters) - log_dispersion  # log(μ/r)
        r = log_dispersion.exp()
        small = x.clamp_max(LARGE)
        ways = _log_rising(r, small) - torch.lgamma(small + 1)
        plain = ways - r * F.softplus(log_odds) - small * F.softplus(-log_odds)
        large = x.clamp_min(LARGE)
        total, log_r = large + r, log_dispersion
        near = _stirling(total) - _gamma_error(r) + _around(large) + 0.5 * (log_r - total.log())
        far = _deviance(large, torch.log1p(r / large) - F.softplus(-log_odds))
        far = far + _deviance(r, torch.log1p(large / r) - F.softplus(log_odds))
        return torch.where(x < LARGE, plain, near - far).sum(-1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z): a Poisson whose rate is drawn from a gamma distribution."""
        mean = self.mean(parameters)
        r = self.log_dispersion.exp().expand_as(mean)
        return torch.poisson(torch._standard_gamma(r, generator=generator) * mean / r, generator=generator)


def _deviance(count: Tensor, ratio: Tensor) -> Tensor:
    """Returns n (e^t - 1 - t) with t = log(mean/n): what a count is short of the largest probability of it."""
    return count * (torch.expm1(ratio) - ratio)


def _stirling(value: Tensor) -> Tensor:
    """Returns log Γ(n + 1) - (n + ½) log n + n - ½ log 2π of a large n."""
    return 1 / (12 * value) - 1 / (360 * value**3)


def _gamma_error(value: Tensor) -> Tensor:
    """Returns the same of any n > 0."""
    small, large = value.clamp_max(LARGE), value.clamp_min(LARGE)
    exact = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(value < LARGE, exact, _stirling(large))


def _around(count: Tensor) -> Tensor:
    """Returns the logarithm of a Poisson's largest probability of a large count: -½ log 2πn less Stirling's error."""
    return -0.5 * (2 * math.pi * count).log() - _stirling(count)


def _log_rising(r: Tensor, x: Tensor) -> Tensor:
    """Returns log Γ(x + r) - log Γ(r); for r ≥ 1000 by Stirling's series, since the difference would cancel."""
    large = r.clamp_min(1e3)
    total = large + x

    def correction(value: Tensor) -> Tensor:
        return 1 / (12 * value) - 1 / (360 * value**3)

    series = (total - 0.5) * torch.log1p(x / large) + x * (large.log() - 1) + correction(total) - correction(large)
    small = r.clamp_max(1e3)
    return torch.where(r < 1e3, torch.lgamma(small + x) - torch.lgamma(small), series)
