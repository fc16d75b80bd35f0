"""What makes the documentation's code small enough for a test: short runs, narrow networks, a stand-in for MNIST."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lagvae.data.named.registry import IDX_SETS, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from lagvae.evaluation.likelihood.annealing import Annealing
from lagvae.settings import Settings

EPOCHS, WIDTH, LATENT, CHANNELS, TEMPERATURES = 2, 16, 8, 4, 5
TRAIN, TEST = 300, 100


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Caps epochs, widths and temperatures wherever settings are made, and what is measured; the rest stays."""
    check = Settings.__post_init__

    def capped(settings: Settings) -> None:
        check(settings)
        network, primal = settings.network, settings.primal
        network = dataclasses.replace(
            network,
            hidden=tuple(min(width, WIDTH) for width in network.hidden),
            channels=tuple(min(channels, CHANNELS) for channels in network.channels),
            latent_dim=min(network.latent_dim, LATENT),
        )
        object.__setattr__(settings, "network", network)
        object.__setattr__(settings, "primal", dataclasses.replace(primal, epochs=min(primal.epochs, EPOCHS)))

    def cooled(annealing: Annealing) -> None:
        object.__setattr__(annealing, "temperatures", min(annealing.temperatures, TEMPERATURES))

    patch.setattr(Settings, "__post_init__", capped)
    patch.setattr(Annealing, "__post_init__", cooled)
    patch.setattr("lagvae.evaluation.density.autoregressive.STEPS", 20)
    patch.setattr("lagvae.evaluation.evaluate.LEAST_BATCHES", 2)
    patch.setattr("lagvae.front.amortised.fit.BETAS", 5)


def stand_in_for_mnist(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Writes scikit-learn's digits, enlarged, as MNIST's four files, and has the registry expect them."""
    digits = load_digits()
    images = np.kron((digits.images * 15.9).astype(np.uint8), np.ones((1, 3, 3), dtype=np.uint8))
    images, labels = np.pad(images, ((0, 0), (2, 2), (2, 2))), digits.target.astype(np.uint8)
    files = {
        TRAIN_IMAGES: _idx(images[:TRAIN]),
        TRAIN_LABELS: _idx(labels[:TRAIN]),
        TEST_IMAGES: _idx(images[TRAIN : TRAIN + TEST]),
        TEST_LABELS: _idx(labels[TRAIN : TRAIN + TEST]),
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    mnist = dataclasses.replace(IDX_SETS["mnist"], sha256=expected, train_count=TRAIN)
    patch.setitem(IDX_SETS, "mnist", mnist)
    patch.setenv("DATA_PREFIX", str(folder))


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
