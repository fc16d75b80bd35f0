"""The VAE module: two networks and two distributions. It knows no loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lagvae.data.dataset import Data
from lagvae.errors import ShapeError, expected
from lagvae.model.draw import Draw
from lagvae.model.gaussian import LOG_STD_RANGE, DiagonalGaussian
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.likelihoods.likelihood import Likelihood, count_parameters, show_encoder
from lagvae.model.networks import MLPDecoder, MLPEncoder
from lagvae.model.prior import Prior, StandardNormal
from lagvae.streams import Streams

Result = TypeVar("Result")


class VAE(nn.Module):
    """q(z|x) = N(mean(x), std(x)²), p(x|z) = likelihood(decoder(z)), and a prior p(z).

    Args:
        encoder: Any module that maps a batch of examples to ``(mean, log_std)``, or to one tensor
            that holds both side by side in its last dimension.
        decoder: Any module that maps a batch of codes to the likelihood's parameters, shaped like
            the examples (or flat); with k parameters per dimension, k times as many outputs, k first.
        latent_dim: Dimensions of z.
        likelihood: p(x|z); Bernoulli if none is given.
        prior: p(z); N(0, I) if none is given.

    Source: [Kingma2014], equations 3 and 10.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent_dim: int,
        likelihood: Likelihood | None = None,
        prior: Prior | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.likelihood: Likelihood = likelihood or Bernoulli()
        self.prior: Prior = prior or StandardNormal()

    def posterior(self, x: Float[Tensor, "batch *event"]) -> DiagonalGaussian:
        """Returns q(z|x) in float32, its log standard deviation bounded."""
        output = self.encoder(show_encoder(self.likelihood, x))
        if isinstance(output, Tensor):
            output = output.chunk(2, dim=-1)
        mean, log_std = (part.float() for part in output)
        return DiagonalGaussian(mean, log_std.clamp(*LOG_STD_RANGE))

    def draw(self, x: Float[Tensor, "batch *event"], streams: Streams) -> Draw:
        """Runs a prepared batch through the model: one z per example, drawn from ``streams.posterior``.

        Args:
            x: What is scored, as ``likelihood.prepare`` returns it.
            streams: Where the posterior's noise and the prior's sample come from.
        """
        return self._draw_at(x.flatten(1), self.posterior(x), streams, current_precision(x.device))

    def _draw_at(
        self, x: Tensor, posterior: DiagonalGaussian, streams: Streams, precision: AbstractContextManager[object]
    ) -> Draw:
        """Draws one z for every row of ``posterior`` and decodes it.

        What is drawn again later is decoded in ``precision``, the one that the first draw was made in.
        """

        def draw_again(samples: int) -> Draw:
            with precision:
                return self._draw_at(x.expand(samples, *x.shape), posterior.expand(samples), streams, precision)

        z = posterior.at(streams.posterior_noise(posterior.mean))
        return Draw(
            x=x,
            posterior=posterior,
            z=z,
            parameters=self.decoder(z.flatten(0, -2)).flatten(1).unflatten(0, z.shape[:-1]),
            likelihood=self.likelihood,
            draw_standard=lambda: streams.prior_sample(z),
            draw_again=draw_again,
            prior=self.prior,
        )

    @torch.no_grad()
    def encode(self, x: Shaped[Tensor, "batch *event"]) -> Float[Tensor, "batch latent"]:
        """Returns the mean of q(z|x): the code of each example.

        Args:
            x: As the likelihood scores it. Bytes are prepared here as in training; where that draws, bits say, always
                by the same numbers.
        """
        if x.dtype == torch.uint8:
            x = self.likelihood.prepare(x.to(self.device), torch.Generator(self.device).manual_seed(0))
        return self.posterior(x.to(self._parameter())).mean

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch *event"]:
        """Returns E[x|z]."""
        output = self.decoder(z.to(self._parameter()))
        return self.likelihood.mean(output.flatten(1)).reshape(self._batch_shape(output))

    @torch.no_grad()
    def simulate(
        self, z: Float[Tensor, "batch latent"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch *event"]:
        """Draws x ~ p(x|z), as :meth:`draw` takes it."""
        output = self.decoder(z.to(self._parameter()))
        return self.likelihood.sample(output.flatten(1), generator).reshape(self._batch_shape(output))

    @torch.no_grad()
    def sample(self, size: int, *, seed: int = 0) -> Float[Tensor, "batch *event"]:
        """Returns E[x|z] for ``size`` codes z ~ p(z)."""
        generator = torch.Generator().manual_seed(seed)
        standard = torch.randn(size, self.latent_dim, generator=generator)
        return self.decode(self.prior.place(standard.to(self._parameter())))

    def check_shapes(self, event_shape: Sequence[int]) -> None:
        """Raises ShapeError unless both networks fit examples of ``event_shape`` and ``latent_dim``."""
        like = self._parameter()
        shape, size = tuple(event_shape), math.prod(event_shape)
        was_training = self.training
        self.eval()  # batch statistics, if there are any, are not for a batch of zeros
        try:
            x = torch.zeros(2, *shape, dtype=like.dtype, device=like.device)
            encoded = _try(
                lambda: self.posterior(x), f"an encoder that takes examples of shape {shape} to (mean, log_std)"
            )
            widths = (tuple(encoded.mean.shape), tuple(encoded.log_std.shape))
            if widths != ((2, self.latent_dim),) * 2:
                raise ShapeError(
                    expected(
                        f"an encoder with {self.latent_dim} means and log standard deviations per example",
                        got=f"{widths[0][1:]} and {widths[1][1:]}",
                        fix="the same latent_dim in VAE(...) and in the encoder",
                    )
                )
            decoded = _try(
                lambda: self.decoder(encoded.mean).flatten(1),
                f"a decoder that takes codes of {self.latent_dim} dimensions",
            )
            each = count_parameters(self.likelihood)
            if decoded.shape != (2, each * size):
                times = "" if each == 1 else f"{each} x "
                raise ShapeError(
                    expected(
                        f"a decoder with {times}{size} outputs for examples of shape {shape}",
                        got=f"{decoded.shape[1]} outputs",
                        fix="a decoder made for these examples",
                    )
                )
        finally:
            self.train(was_training)

    def check_data(self, data: Data) -> None:
        """Raises ShapeError or DataError unless the networks fit the examples and p(x|z) can score them."""
        self.check_shapes(data.train.event_shape)
        for part, examples in data.parts.items():
            if (
                part == "train" or examples.values is not data.train.values
            ):  # of an array that is shared, all is checked
                self.likelihood.check(examples, name=f"{data.name or 'the data'} ({part})")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._parameter().device

    def _batch_shape(self, output: Tensor) -> tuple[int, ...]:
        """Returns the shape of the examples that the decoder's output has the parameters of."""
        each, shape = count_parameters(self.likelihood), tuple(output.shape)
        if each == 1:
            return shape
        if len(shape) > 2 and shape[1] == each:
            return (shape[0], *shape[2:])
        if len(shape) > 2 and shape[1] % each == 0:  # channels, with all of the first parameter before the second
            return (shape[0], shape[1] // each, *shape[2:])
        return (shape[0], math.prod(shape[1:]) // each)

    def _parameter(self) -> Tensor:
        """Returns a weight: its device and dtype are the model's."""
        return next(self.parameters())


def mlp_vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 64,
    hidden: Sequence[int] = (1024, 1024),
    activation: str = "gelu",
    generator: torch.Generator | None = None,
) -> VAE:
    """Builds a pair of perceptrons, the original's in shape, around a Bernoulli likelihood.

    Source: [LagVAE]; widths as in the authors' code, whose activation is softplus.
    """
    return VAE(
        MLPEncoder(event_shape, latent_dim, hidden, activation=activation, generator=generator),
        MLPDecoder(latent_dim, event_shape, hidden[::-1], activation=activation, generator=generator),
        latent_dim=latent_dim,
    )


def current_precision(device: torch.device) -> AbstractContextManager[object]:
    """Returns a context in which networks compute in the precision of the moment, whenever it is entered."""
    kind = device.type
    return torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind))


@torch.no_grad()
def _try(run: Callable[[], Result], what: str) -> Result:
    """Returns what ``run`` returns; whatever a user's network raises becomes a ShapeError."""
    try:
        return run()
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ShapeError(expected(what, got=reason, fix="networks made for this shape and latent_dim")) from error
