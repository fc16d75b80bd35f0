"""What a VAE asks of p(x|z)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lagvae.data.examples import Examples

BOUND = 12.0
"""Learned logarithms of scales, rates and dispersions stay within ± this: e^±12 is finite and positive in float32."""


@runtime_checkable
class Likelihood(Protocol):
    """What a VAE asks of p(x|z); ``parameters`` is the decoder's output, flattened: one per dimension of x.

    A likelihood that learns something itself is a ``torch.nn.Module`` too. It may say more:

    * ``parameters_per_dimension``: how many outputs of the decoder belong to one dimension of x. They stand one
      block after the other, ``[first of every dimension, second of every dimension, ...]``;
    * ``features(x)``: what the encoder is shown of prepared examples, where that is not x itself;
    * ``sees_batch``: whether an example's score depends on the others of its batch, False where it is not said;
    * ``adapt(examples)``: sets what follows from the training data before the first step (location, scale), and
      ``is_adapted``: whether it is set already, as in a model that was trained; False where it is not said;
    * ``log_scales``, ``set_log_scales`` and ``log_prob_at``: see :class:`Scaled`;
    * ``running`` and ``log_prob_each``: see :class:`Running`.
    """

    name: str

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Turns stored examples into what is scored, afresh at each visit."""
        ...

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns log p(x|z): summed over the dimensions of x, one value per example, in nats."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z]."""
        ...

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""
        ...

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError for examples that p(x|z) cannot score."""
        ...


@runtime_checkable
class Adaptive(Protocol):
    """A likelihood with numbers that follow from the training data, such as location and scale."""

    def adapt(self, examples: Examples) -> None:
        """Sets them, before the first step."""
        ...


@runtime_checkable
class Running(Protocol):
    """A likelihood that takes its scales from the batch: how several models, each with its own batch, run as one."""

    running: tuple[str, ...]
    """The names of the buffers in which a model keeps what it has seen."""

    def log_prob_each(self, likelihoods: Sequence[Likelihood], parameters: Tensor, x: Tensor) -> Tensor:
        """Returns log p(x|z) of every model, [*again models batch], by each one's own likelihood."""
        ...


@runtime_checkable
class Scaled(Protocol):
    """A likelihood with scales of its own: all examples share them, but every member of a front has its own."""

    @property
    def log_scales(self) -> Tensor:
        """The logarithms of its scales, or of what else it has one of per dimension or one of in all."""
        ...

    def set_log_scales(self, log_scales: Tensor) -> None:
        """Takes others from now on."""
        ...

    def log_prob_at(self, log_scales: Tensor, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns log p(x|z) as it would be with others, which broadcast against x: their gradient passes."""
        ...


def count_parameters(likelihood: Likelihood) -> int:
    """Returns how many of the decoder's outputs belong to one dimension of x."""
    return int(getattr(likelihood, "parameters_per_dimension", 1))


def sees_batch(likelihood: Likelihood) -> bool:
    """Returns whether an example's score depends on the others of its batch."""
    return bool(getattr(likelihood, "sees_batch", False))


def show_encoder(likelihood: Likelihood, x: Tensor) -> Tensor:
    """Returns what the encoder is shown of prepared examples."""
    features = getattr(likelihood, "features", None)
    return x if features is None else features(x)


def dimensions_of(event_shape: tuple[int, ...]) -> int:
    """Returns how many scales a likelihood learns: one per column of a table, one for all pixels of an image."""
    return math.prod(event_shape) if len(event_shape) == 1 else 1


def bounded(value: Tensor, bound: float = BOUND) -> Tensor:
    """Returns bound · tanh(value / bound): the value near 0, never beyond ± bound, with a gradient everywhere."""
    return bound * torch.tanh(value / bound)


def as_intensities(raw: Tensor, generator: torch.Generator) -> Tensor:
    """Returns stored examples as float32 densities can score: bytes v as (v + u)/256, u ~ U[0,1); floats as they are.

    Bytes without noise are points, on which a density may grow without end. With it, E log p(x) is at most the
    log-probability of the byte plus log 256 per dimension.

    Source: [Theis2016], section 3.1.
    """
    raw = raw.to(generator.device)
    if raw.dtype != torch.uint8:
        return raw.to(torch.float32)
    noise = torch.rand(raw.shape, generator=generator, device=generator.device)
    return (raw + noise).div_(256).clamp_max_(1 - 2**-24)  # v + u may round up to v + 1
