"""How a model goes through whole data sets: in blocks that fit into memory, prepared afresh, switched to evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.errors import SettingError, expected
from lagvae.model.vae import VAE
from lagvae.streams import Streams

NUMBERS_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""How many outputs of the decoder are held at once: as many as a processor's cache likes, 256 MB elsewhere."""

LARGEST_BLOCK = 100
"""How many examples stand beside each other at most, so that progress is seen and draws share the block."""


def rows_at_once(event_shape: Sequence[int], device: torch.device, *, each: int = 1) -> int:
    """Returns how many codes to decode at once, by a decoder with so many outputs for each dimension of x.

    It depends on nothing but the size of an example, the likelihood and the kind of device: random numbers are drawn
    block by block, and what a seed decides may not depend on how much memory happens to be free.
    """
    numbers = NUMBERS_AT_ONCE.get(device.type, NUMBERS_AT_ONCE["cuda"])
    return max(1, numbers // (each * math.prod(event_shape)))


def prepared_blocks(model: VAE, examples: Examples, size: int, streams: Streams) -> Iterator[Tensor]:
    """Yields all examples in their order, ``size`` at a time, as the likelihood scores them, on the model's device."""
    for index in torch.arange(len(examples)).split(size):
        raw = examples.gather(index).to(model.device)
        yield model.likelihood.prepare(raw, streams.binarisation)


@contextmanager
def evaluating(model: VAE) -> Iterator[None]:
    """Switches a model to evaluation (dropout off), and back to what it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def check_count(value: int, what: str, *, least: int = 1) -> None:
    """Raises SettingError unless ``value`` is a whole number and large enough."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise SettingError(expected(f"at least {least} {what}", got=repr(value), fix=f"{max(least, 16)}"))
