"""The linear probe."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.evaluation.codes import Codes, collect_codes
from lagvae.evaluation.latent.representation import linear_probe
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.vae import mlp_vae


def labelled(size: int, distance: float, seed: int) -> Codes:
    """Two classes whose posterior means are N(∓distance/2, I) in the first of three dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (size,), generator=generator)
    mean = torch.randn(size, 3, generator=generator)
    mean[:, 0] += distance * (labels - 0.5)
    return Codes(DiagonalGaussian(mean, torch.full_like(mean, 2.0)), mean, labels)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_the_accuracy_is_the_best_linear_ones(distance: float) -> None:
    """Φ(distance/2) for equal covariances, and the error is that of a count."""
    found = linear_probe(labelled(20_000, distance, 0), labelled(10_000, distance, 1))
    exact = 0.5 * (1 + math.erf(distance / 2 / math.sqrt(2)))
    assert abs(found.value - exact) < 4 * found.standard_error + 0.002
    assert found.standard_error == pytest.approx(math.sqrt(found.value * (1 - found.value) / 10_000), rel=1e-3)
    assert (found.examples, found.unit) == (10_000, "accuracy")


def test_all_right_is_not_certain() -> None:
    found = linear_probe(labelled(1000, 20.0, 0), labelled(20, 20.0, 1))
    assert found.value == 1.0
    assert found.standard_error == pytest.approx(math.sqrt(22 / 24 * 2 / 24 / 24))


def test_its_error_covers() -> None:
    train = labelled(50_000, 2.0, 1000)
    exact = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    found = [linear_probe(train.pick(torch.arange(5000)), labelled(400, 2.0, seed)) for seed in range(200)]
    share = np.mean([abs(e.value - exact) < 1.96 * e.standard_error for e in found])
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)


def test_digits_are_read_from_codes_far_above_chance() -> None:
    data = lv.open_data("digits")
    model = mlp_vae((1, 8, 8), latent_dim=16, hidden=(), generator=torch.Generator().manual_seed(0))
    train, test = (collect_codes(model, getattr(data, part), part=part) for part in ("train", "test"))
    assert linear_probe(train, test).value > 0.5


def test_without_labels_there_is_nothing_to_read() -> None:
    with_labels = labelled(100, 1.0, 0)
    without = Codes(with_labels.posterior, with_labels.z)
    with pytest.raises(lv.DataError, match="expected labels in the test part, got none"):
        linear_probe(with_labels, without)
    with pytest.raises(lv.DataError, match="expected labels in the train part, got none"):
        linear_probe(without, with_labels)
    alike = Codes(with_labels.posterior, with_labels.z, torch.zeros(100, dtype=torch.int64))
    with pytest.raises(lv.DataError, match="two classes or more to tell apart, got 1"):
        linear_probe(alike, with_labels)
