"""How does one look through all values of a part? Block by block; of a file that is larger than memory, at a sample."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.data.mapped import read_slice
from lagvae.data.sparse import SparseRows

BLOCK_VALUES = 2**22
"""Values looked at in one go: a memory map streams through the memory of one block (16 MiB of float32)."""

MOST_BLOCKS = 64
"""Blocks of a memory map that are looked at, evenly spread: 1 GiB of float32, however large the file."""


def blocks(examples: Examples) -> Iterator[tuple[int, Tensor]]:
    """Yields the values block by block on the processor, each with the index of its first example."""
    rows = max(1, BLOCK_VALUES // math.prod(examples.event_shape))
    starts = list(range(0, len(examples), rows))
    if isinstance(examples.values, np.memmap) and len(starts) > MOST_BLOCKS:
        last = len(starts) - 1
        starts = [starts[round(last * block / (MOST_BLOCKS - 1))] for block in range(MOST_BLOCKS)]
    for start in starts:
        stop = min(start + rows, len(examples))
        if examples.rows is not None or isinstance(examples.values, SparseRows):
            yield start, examples.gather(torch.arange(start, stop)).cpu()
        elif isinstance(examples.values, Tensor):
            yield start, examples.values[start:stop].cpu()
        else:
            yield start, torch.from_numpy(read_slice(examples.values, start, stop))
