"""What range do the values have, and what mean and spread? Of a large memory map, by a sample of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from lagvae.data.blocks import blocks
from lagvae.data.examples import Examples


@dataclass(frozen=True)
class Extent:
    """Between which numbers the values lie.

    Attributes:
        low: The lowest; 0 for bytes, which mean 0..1.
        high: The highest; 1 for bytes.
        is_whole: Whether every value is a whole number; False for bytes.
    """

    low: float
    high: float
    is_whole: bool


def extent(examples: Examples) -> Extent:
    """Returns the range of the values; bytes are not looked at."""
    if examples.is_uint8:
        return Extent(0.0, 1.0, is_whole=False)
    low, high, is_whole = math.inf, -math.inf, True
    for _, block in blocks(examples):
        least, most = (float(end) for end in block.aminmax())
        low, high = min(low, least), max(high, most)
        is_whole = is_whole and bool((block == block.floor()).all())
    return Extent(low, high, is_whole)


def moments(
    examples: Examples, *, per_column: bool, scale_bytes: bool = True
) -> tuple[Float32[Tensor, " columns"], Float32[Tensor, " columns"]]:
    """Returns mean and standard deviation of the values, in float64 until the end.

    Args:
        examples: One part of a data set.
        per_column: Whether each dimension of an example has its own; else there is one of each for all.
        scale_bytes: Whether a byte v means (v + u)/256, with u ~ U[0,1); else it means v.
    """
    count, mean, spread = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for _, block in blocks(examples):
        values = block.flatten(1).double() if per_column else block.double().reshape(-1, 1)
        size, centre = len(values), values.mean(0)
        # Means and sums of squares of two sets merge without a large number ever being squared.
        gap, total = centre - mean, count + size
        spread = spread + (values - centre).square().sum(0) + gap.square() * (count * size / total)
        mean, count = mean + gap * (size / total), total
    variance = spread / count
    if examples.is_uint8 and scale_bytes:
        mean, variance = (mean + 0.5) / 256, (variance + 1 / 12) / 256**2
    return mean.float(), variance.sqrt().float()
