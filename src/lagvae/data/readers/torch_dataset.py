"""How does a torch Dataset become Examples in memory?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from lagvae.data.arrays import build_examples
from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected


def stack_dataset(source: Dataset[object], *, where: str) -> Examples:
    """Stacks the items of a map-style dataset in memory.

    Args:
        source: A dataset whose items are tensors or arrays x, or tuples (x, label, ...). The labels are kept if
            every one is an integer; whatever follows them is not.
        where: What the dataset is called in messages.

    Raises:
        DataError: if it can only be iterated, is empty, or its items are of other kinds or of several shapes.
    """
    if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
        raise DataError(
            expected(
                f"a map-style dataset, with __len__ and __getitem__, for {where}",
                got=f"{type(source).__name__}, which can only be iterated",
                fix="torch.stack(list(dataset)), which is a tensor",
            )
        )
    count = len(source)
    if count == 0:
        raise DataError(expected(f"at least one item in {where}", got=0, fix="a dataset that is not empty"))
    values, label = _split_item(source[0], where)
    stacked = values.new_empty((count, *values.shape))
    stacked[0] = values
    labels = [label]
    for index in range(1, count):
        item, label = _split_item(source[index], where)
        if item.shape != values.shape or item.dtype != values.dtype:
            raise DataError(
                expected(
                    f"items of one shape and dtype in {where}",
                    got=f"{values.dtype} {list(values.shape)} at 0 and {item.dtype} {list(item.shape)} at {index}",
                    fix="a transform that crops or resizes them to one shape",
                )
            )
        stacked[index] = item
        labels.append(label)
    known = [label for label in labels if label is not None]
    return build_examples(stacked, np.array(known, dtype=np.int64) if len(known) == count else None, where=where)


def _split_item(item: object, where: str) -> tuple[Tensor, int | None]:
    """Returns the values of an item, and its label if it has one that is an integer."""
    parts = item if isinstance(item, tuple | list) and item else (item,)
    values, label = parts[0], parts[1] if len(parts) > 1 else None
    if isinstance(values, np.ndarray) and values.dtype.kind in "buif":
        values = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))
    if not isinstance(values, Tensor):
        raise DataError(
            expected(
                f"items that are tensors or arrays, or tuples that begin with one, in {where}",
                got=type(values).__name__,
                fix="a transform that makes tensors, e.g. torchvision's ToTensor()",
            )
        )
    return values.detach(), _read_label(label)


def _read_label(label: object) -> int | None:
    """Returns a label as an int, or None if it is no single integer."""
    if isinstance(label, Tensor | np.ndarray):
        label = label.item() if label.ndim == 0 else None
    return int(label) if isinstance(label, int | np.integer) else None
