"""Are the values ones that a likelihood can score? Of a large memory map a sample is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lagvae.data.blocks import blocks
from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected


def check_finite(examples: Examples, *, name: str) -> None:
    """Raises DataError at the first NaN or infinity; ``name`` says whose values they are."""
    if not examples.is_uint8:
        _check_each(examples, torch.isfinite, what="finite values", name=name)


def check_unit_interval(examples: Examples, *, name: str) -> None:
    """Raises DataError at the first value that is no probability: NaN, infinite, or outside [0, 1].

    A Bernoulli likelihood needs this; others do not, so it is asked for separately.

    Args:
        examples: The part to check. Bytes pass as they are, since they mean 0..1 by construction.
        name: Whose values they are, for the message, e.g. ``"train"``.
    """
    if not examples.is_uint8:
        _check_each(examples, lambda block: (block >= 0) & (block <= 1), what="values in [0, 1]", name=name)


def check_counts(examples: Examples, *, name: str) -> None:
    """Raises DataError at the first value that is no count: NaN, negative, or no whole number.

    Args:
        examples: The part to check. Bytes pass as they are.
        name: Whose values they are, for the message, e.g. ``"train"``.
    """
    if not examples.is_uint8:
        fix = "another likelihood, e.g. --likelihood gaussian"
        _check_each(
            examples,
            lambda block: (block >= 0) & (block == block.floor()),
            what="counts 0, 1, 2, ...",
            name=name,
            fix=fix,
        )


def _check_each(
    examples: Examples, is_good: Callable[[Tensor], Tensor], *, what: str, name: str, fix: str | None = None
) -> None:
    """Raises DataError naming the first value, in row-major order, that is not good, and what would mend it."""
    for start, block in blocks(Examples(examples.values)):  # of an array that is shared, all is looked at
        good = is_good(block)
        if not bool(good.all()):
            first = (~good).flatten().nonzero()[0, 0].item()
            row, *inner = (int(i) for i in np.unravel_index(int(first), block.shape))
            value = float(block[(row, *inner)])
            index = ", ".join(map(str, (start + row, *inner)))
            raise DataError(expected(f"{what} in {name}", got=f"{value:g} at index [{index}]", fix=fix or _mend(value)))


def _mend(value: float) -> str:
    """Returns what would mend data with ``value`` in it."""
    if not math.isfinite(value):
        return "removing the examples that are not finite (float32 ends at 3.4e38), or replacing their values"
    other = ", or another likelihood, e.g. --likelihood optimal_gaussian"
    if 1 < value <= 255:
        return f"dividing the values by 255 or by the largest that they may have{other}"
    return f"rescaling the values, e.g. (x - x.min()) / (x.max() - x.min()){other}"
