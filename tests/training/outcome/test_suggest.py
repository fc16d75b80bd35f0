"""Suggested bounds are round, and were reached."""

from __future__ import annotations

import math

import pytest

import lagvae as lv
from lagvae.training.outcome.suggest import round_between, suggest

VAE = {"distortion": 75.3, "rate": 25.1, "neg_elbo": 100.4, "mmd_biased": 2.4e-4}
INFORMED = {"distortion": 50.2, "rate": 80.7, "neg_elbo": 130.9, "mmd_biased": 9e-4}
COLLAPSED = {"distortion": 205.0, "rate": 0.01, "neg_elbo": 205.01, "mmd_biased": 2.5e-4}


def test_bounds_lie_where_the_runs_have_been() -> None:
    assert suggest(VAE, [INFORMED, COLLAPSED], floor=2.5e-4) == (
        "max mutual_information s.t. neg_elbo <= 104, mmd <= 0.0004",
        "min mutual_information s.t. neg_elbo <= 104",
        "min rate s.t. distortion <= 60",
        "min distortion s.t. rate == 10",
    )


def test_what_the_runs_do_not_tell_apart_is_not_suggested() -> None:
    alike = {**VAE, "distortion": 75.0, "rate": 24.9}
    assert len(suggest(VAE, [alike], floor=2.5e-4)) == 2
    assert len(suggest(VAE, [], floor=2.5e-4)) == 2
    assert len(suggest(VAE, [COLLAPSED], floor=2.5e-4)) == 3


@pytest.mark.parametrize("floor", [1e-4, 3e-3])
def test_mmd_is_bounded_above_what_was_reached_and_above_its_floor(floor: float) -> None:
    bound = lv.Problem.parse(suggest(VAE, [], floor=floor)[0]).constraints["mmd"].bound
    assert 1.2 * max(floor, VAE["mmd_biased"]) <= bound <= 2 * max(floor, VAE["mmd_biased"])


@pytest.mark.parametrize("shift", [-500.0, -100.4, 0.0, 3e4])
def test_neg_elbo_is_bounded_above_the_vaes_whatever_its_size_and_sign(shift: float) -> None:
    vae = {**VAE, "neg_elbo": VAE["neg_elbo"] + shift}
    bound = lv.Problem.parse(suggest(vae, [], floor=1e-4)[1]).constraints["neg_elbo"].bound
    margin = max(0.04 * abs(vae["neg_elbo"]), 0.5)
    assert vae["neg_elbo"] + 0.49 * margin < bound < vae["neg_elbo"] + 1.51 * margin


@pytest.mark.parametrize(
    ("low", "high", "rounded"),
    [
        (102.0, 106.0, 104.0),
        (57.0, 80.0, 70.0),
        (31.8, 33.1, 32.0),
        (3e-4, 5e-4, 4e-4),
        (-3.0, -1.0, -2.0),
        (-1.0, 1.0, 0.0),
        (0.12341, 0.12342, 0.12341),
        (1.0, math.nextafter(1.0, 2.0), 1.0),
        (2 / 3, 2 / 3, 2 / 3),
    ],
)
def test_the_middle_with_as_few_digits_as_stay_inside(low: float, high: float, rounded: float) -> None:
    assert round_between(low, high) == rounded
