"""A mean and its standard error."""

from __future__ import annotations

import math

import pytest
import torch

import lagvae as lv
from lagvae.evaluation.estimate import Estimate


def of(*samples: float) -> Estimate:
    return Estimate.of_mean(torch.tensor(samples), unit="nats", bias="none", method="by hand", examples=len(samples))


def test_mean_and_standard_error_by_hand() -> None:
    estimate = of(1.0, 2.0, 3.0, 6.0)
    assert estimate.value == 3.0
    # Squares of the deviations: 4 + 1 + 0 + 9 = 14; s² = 14/3; s/√4.
    assert estimate.standard_error == pytest.approx(math.sqrt(14 / 3) / 2)
    assert (estimate.unit, estimate.bias, estimate.method, estimate.examples) == ("nats", "none", "by hand", 4)


def test_equal_samples_have_no_error_and_one_sample_has_an_unknown_one() -> None:
    assert of(2.5, 2.5, 2.5).standard_error == 0.0
    assert of(2.5).value == 2.5
    assert math.isnan(of(2.5).standard_error)


def test_it_is_summed_in_double_precision() -> None:
    samples = torch.full((100_000,), 16_777_216.0)
    samples[::2] += 2
    estimate = Estimate.of_mean(samples, unit="", bias="none", method="", examples=100_000)
    assert estimate.value == 16_777_217.0
    assert estimate.standard_error == pytest.approx(1 / math.sqrt(100_000), rel=1e-4)


def test_the_error_covers_the_truth_as_often_as_it_says() -> None:
    """Of 2000 intervals of ±1.96 errors 95 % cover: within 5 standard errors of a binomial (false alarms: 6e-7)."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2000, 100, generator=generator) * 3 + 7
    found = [Estimate.of_mean(row, unit="", bias="none", method="", examples=100) for row in samples]
    share = sum(abs(e.value - 7) < 1.96 * e.standard_error for e in found) / 2000
    assert abs(share - 0.947) < 5 * math.sqrt(0.947 * 0.053 / 2000)  # 94.7 % by Student's t with 99 degrees


def test_it_reads_as_a_number_with_its_error() -> None:
    assert str(of(1.0, 2.0, 3.0, 6.0)) == "3 ± 1.1 nats"
    assert of(1.0, 3.0).as_dict() == {
        "value": 2.0,
        "standard_error": 1.0,
        "unit": "nats",
        "bias": "none",
        "method": "by hand",
        "examples": 2,
        "samples": None,
        "is_saturated": False,
    }
    assert lv.Estimate is Estimate
