"""What are the train and test parts of a named set?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lagvae.data.examples import Examples
from lagvae.data.named.fetch import obtain
from lagvae.data.named.registry import DIGITS, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, find_idx_set
from lagvae.errors import DataError, expected

DIGITS_TRAIN_COUNT = 1_500
_DIGITS_WHITE = 16


def read_named(name: str, *, folder: str | Path | None, progress: bool) -> tuple[Examples, Examples]:
    """Returns the train and test part of a named set, which is fetched if need be."""
    if name == DIGITS:
        return _read_digits()
    wanted = find_idx_set(name)
    arrays = obtain(wanted, folder=folder, progress=progress).arrays
    train = _pair_up(arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS], name)
    return train.subset(0, wanted.train_count), _pair_up(arrays[TEST_IMAGES], arrays[TEST_LABELS], name)


def _pair_up(images: np.ndarray, labels: np.ndarray, name: str) -> Examples:
    """Returns images [N, H, W] and labels [N] as Examples of event shape (1, H, W)."""
    if len(images) != len(labels):
        raise DataError(
            expected(f"a label for each of {len(images)} images of {name}", got=len(labels), fix="fetching it again")
        )
    # Copied, since the arrays lie in read-only bytes and tensors know no such thing.
    return Examples(torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64)))


def _read_digits() -> tuple[Examples, Examples]:
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / _DIGITS_WHITE)).astype(np.uint8)
    whole = _pair_up(pixels, digits.target, DIGITS)
    return whole.subset(0, DIGITS_TRAIN_COUNT), whole.subset(DIGITS_TRAIN_COUNT, len(whole))
