from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lagvae.data.named import registry
from lagvae.data.named.read import read_named
from lagvae.errors import DataError

from ..conftest import SIDE, TEST_COUNT, TRAIN_KEPT, TinySet


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_train_part_is_the_first_of_the_train_files(
    name: str, tiny_mnist: TinySet, tiny_fashion: TinySet, tmp_path: Path
) -> None:
    tiny = tiny_mnist if name == "mnist" else tiny_fashion
    tiny.write(tmp_path / name)
    train, test = read_named(name, folder=tmp_path, progress=False)
    for part, images, labels, count in (
        (train, registry.TRAIN_IMAGES, registry.TRAIN_LABELS, TRAIN_KEPT),
        (test, registry.TEST_IMAGES, registry.TEST_LABELS, TEST_COUNT),
    ):
        assert len(part) == count
        assert part.event_shape == (1, SIDE, SIDE)
        assert part.is_uint8
        assert part.labels is not None
        assert part.labels.dtype == torch.int64
        assert part.labels.tolist() == tiny.arrays[labels][:count].tolist()
        assert part.values[:, 0].tolist() == tiny.arrays[images][:count].tolist()


def test_images_without_labels_of_their_number_are_refused(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny_mnist.raw, registry.TRAIN_LABELS, tiny_mnist.raw[registry.TEST_LABELS])
    monkeypatch.setitem(tiny_mnist.sha256, registry.TRAIN_LABELS, tiny_mnist.sha256[registry.TEST_LABELS])
    tiny_mnist.write(tmp_path)
    with pytest.raises(DataError, match="a label for each of 7 images of mnist, got 3"):
        read_named("mnist", folder=tmp_path, progress=False)


def test_digits_are_scikit_learns_scaled_to_bytes() -> None:
    from sklearn.datasets import load_digits

    train, test = read_named("digits", folder=None, progress=False)
    assert (len(train), len(test)) == (1500, 297)
    assert train.event_shape == test.event_shape == (1, 8, 8)
    digits = load_digits()
    stored = np.concatenate([train.values, test.values])[:, 0]
    scaled = np.array([round(value * 255 / 16) for value in range(17)])
    np.testing.assert_array_equal(stored, scaled[digits.images.astype(int)])
    assert stored.max() == 255
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() + test.labels.tolist() == digits.target.tolist()
