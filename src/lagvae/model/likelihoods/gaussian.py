"""Real numbers: a Gaussian around the decoder's output, whose variance is fixed, learned, or the best one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.data.checks import check_finite
from lagvae.data.examples import Examples
from lagvae.data.moments import moments
from lagvae.errors import SettingError, expected
from lagvae.model.likelihoods.likelihood import BOUND, Likelihood, as_intensities, bounded, dimensions_of

DECAY = 0.9
"""How much of its running variance an :class:`OptimalGaussian` keeps at a step: about ten batches, so that a short run
does not end with the variance of its beginning."""


class Gaussian(nn.Module, ABC):
    """p(x|z) = N(location + scale · m, (scale · σ)²) in every dimension, with m the decoder's output.

        log p(x|z) = Σ_d -½ ((x_d - location_d)/scale_d - m_d)²/σ_d² - log σ_d - log scale_d - ½ log 2π

    ``location`` and ``scale`` are the training data's mean and standard deviation, set by :meth:`adapt`: columns of
    different scales are standardised on the way in, and what is decoded is in the units of the data. They are 0 and 1
    until then. One of each per column of a table, one for all pixels of an image; so for σ.
    Bytes are (v + u)/256, u ~ U[0,1), afresh at each visit.

    Args:
        event_shape: Shape of one example.
    """

    name: str
    location: Tensor
    scale: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.dimensions = dimensions_of(event_shape)
        self.register_buffer("location", torch.zeros(self.dimensions))
        self.register_buffer("scale", torch.ones(self.dimensions))

    @abstractmethod
    def log_std(self, residual: Float[Tensor, "*stack batch event"]) -> Tensor:
        """Returns log σ, in standard deviations of the data, for residuals in the same unit."""

    @property
    def is_adapted(self) -> bool:
        """Whether location and scale are of some data."""
        return bool((self.location != 0).any() or (self.scale != 1).any())

    def adapt(self, examples: Examples) -> None:
        """Takes location and scale from training examples; a column that never changes keeps its unit."""
        mean, std = moments(examples, per_column=self.dimensions > 1)
        self.location.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6 * mean.abs().clamp_min(1e-30), std, 1.0))

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Returns the values; bytes with noise that fills the gap to the next one."""
        return as_intensities(raw, generator)

    def features(self, x: Tensor) -> Tensor:
        """Returns x standardised: what the encoder is shown."""
        return (x - self.location) / self.scale

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch event"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats; a density in the units of the data."""
        residual = self.features(x) - parameters.float()
        return self._score(residual, self.log_std(residual))

    def _score(self, residual: Tensor, log_std: Tensor) -> Tensor:
        unit = log_std + self.scale.log() + 0.5 * math.log(2 * math.pi)
        return -(0.5 * (residual * torch.exp(-log_std)).square() + unit).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z] in the units of the data."""
        return torch.addcmul(self.location, self.scale, parameters.float())

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""
        noise = torch.randn(parameters.shape, generator=generator, device=parameters.device)
        return self.mean(parameters) + self.scale * self.known_log_std().exp() * noise

    @abstractmethod
    def known_log_std(self) -> Tensor:
        """Returns log σ where there are no residuals."""

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError for NaN and infinity."""
        check_finite(examples, name=name)


class FixedGaussian(Gaussian):
    """A Gaussian with a given σ: at 1, distortion is half the squared error of standardised data plus a constant.

    Args:
        event_shape: Shape of one example.
        std: σ, in standard deviations of the data.

    Raises:
        SettingError: ``std`` is not within e^±12.
    """

    name = "fixed_gaussian"

    def __init__(self, event_shape: tuple[int, ...], std: float = 1.0) -> None:
        super().__init__(event_shape)
        if not math.exp(-BOUND) <= std <= math.exp(BOUND):
            raise SettingError(expected("a standard deviation between 6e-6 and 1.6e5", got=repr(std), fix="1.0"))
        self.std = std

    def log_std(self, residual: Float[Tensor, "*stack batch event"]) -> Tensor:
        """Returns log σ."""
        return self.known_log_std()

    def known_log_std(self) -> Tensor:
        """Returns log σ."""
        return torch.full_like(self.scale, math.log(self.std))


class LearnedGaussian(Gaussian):
    """A Gaussian whose log σ is a weight like any other, shared by all examples, bounded to ± 12."""

    name = "gaussian"

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.raw_log_std = nn.Parameter(torch.zeros(self.dimensions))

    def log_std(self, residual: Float[Tensor, "*stack batch event"]) -> Tensor:
        """Returns log σ."""
        return self.known_log_std()

    def known_log_std(self) -> Tensor:
        """Returns log σ."""
        return bounded(self.raw_log_std)

    @property
    def log_scales(self) -> Tensor:
        """Log σ, before it is bounded."""
        return self.raw_log_std

    @torch.no_grad()
    def set_log_scales(self, log_scales: Tensor) -> None:
        """Takes another σ."""
        self.raw_log_std.copy_(log_scales)

    def log_prob_at(
        self,
        log_scales: Float[Tensor, "*scales"],
        parameters: Float[Tensor, "*stack batch event"],
        x: Float[Tensor, "*stack batch event"],
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z) with another log σ, before it is bounded."""
        return self._score(self.features(x) - parameters.float(), bounded(log_scales))


class OptimalGaussian(Gaussian):
    """A Gaussian whose σ is the best one there is: the root mean square of the residuals of the batch.

        σ*² = mean (x̃ - m)²  =  argmax_σ² Σ log N(x̃; m, σ²)

    While it trains, σ is the batch's own, so that a batch scores slightly better than a fixed density could; in
    evaluation it is a running value, and p(x|z) a density. Bounded to e^±12.

    Source: [Rybkin2021], equation 7.
    """

    name = "optimal_gaussian"
    sees_batch = True
    running = ("running_variance", "batches")
    running_variance: Tensor
    batches: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.register_buffer("running_variance", torch.ones(self.dimensions))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def log_std(self, residual: Float[Tensor, "*stack batch event"]) -> Tensor:
        """Returns log σ of these residuals while training, the running one otherwise."""
        if not self.training:
            return self.known_log_std()
        over = tuple(range(residual.dim() - 1 if self.dimensions > 1 else residual.dim()))
        variance = residual.square().mean(over).reshape(self.dimensions)
        self._remember(variance)
        return _log_std(variance)

    def log_prob_each(
        self,
        likelihoods: Sequence[Likelihood],
        parameters: Float[Tensor, "*again models batch event"],
        x: Float[Tensor, "*again models batch event"],
    ) -> Float[Tensor, "*again models batch"]:
        """Returns log p(x|z) of several models, each with the σ of its own batch, or its own running one."""
        each = [own for own in likelihoods if isinstance(own, OptimalGaussian)]
        residual = self.features(x) - parameters.float()
        if self.training:
            rows = residual.movedim(-3, 0).flatten(1, -2).square().mean(1)
            variances = rows if self.dimensions > 1 else rows.mean(-1, keepdim=True)
            for own, variance in zip(each, variances, strict=True):
                own._remember(variance)
        else:
            variances = torch.stack([own.running_variance for own in each])
        return self._score(residual, _log_std(variances).unsqueeze(1))

    @torch.no_grad()
    def _remember(self, variance: Tensor) -> None:
        # A plain mean first, so that the running value forgets the untrained decoder at once.
        self.batches += 1
        share = torch.clamp_min(1 / self.batches, 1 - DECAY)
        self.running_variance.lerp_(variance.detach(), share)

    def known_log_std(self) -> Tensor:
        """Returns the running log σ."""
        return _log_std(self.running_variance)

    @property
    def log_scales(self) -> Tensor:
        """The running log σ."""
        return self.known_log_std()

    @torch.no_grad()
    def set_log_scales(self, log_scales: Tensor) -> None:
        """Takes another running σ, until the next batch that it trains on."""
        self.running_variance.copy_((2 * log_scales.clamp(-BOUND, BOUND)).exp())

    def log_prob_at(
        self,
        log_scales: Float[Tensor, "*scales"],
        parameters: Float[Tensor, "*stack batch event"],
        x: Float[Tensor, "*stack batch event"],
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z) with a given log σ: not the batch's own, but the best one where it is learned."""
        return self._score(self.features(x) - parameters.float(), log_scales.clamp(-BOUND, BOUND))


def _log_std(variance: Tensor) -> Tensor:
    return 0.5 * variance.clamp(math.exp(-2 * BOUND), math.exp(2 * BOUND)).log()
