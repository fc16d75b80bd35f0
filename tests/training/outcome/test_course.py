"""What the log of a constraint shows."""

from __future__ import annotations

import math

import pytest

import lagvae as lv
from lagvae.training.outcome.course import Course, sparkline

LOSS = lv.neg_elbo <= 100
EQUALITY = lv.Problem.parse("min distortion s.t. rate == 20").subject_to[0]
EPOCHS = tuple(float(epoch) for epoch in range(1, 31))


def course(values: list[float], multipliers: list[float], *, largest: float = math.inf, constraint=LOSS) -> Course:
    return Course(constraint, EPOCHS[: len(values)], tuple(values), tuple(multipliers), largest)


def of_multipliers(*multipliers: float, largest: float = math.inf) -> Course:
    return course([101.0] * len(multipliers), list(multipliers), largest=largest)


def test_a_log_is_read() -> None:
    history = [{"epoch": 2.5, "constraints": {"neg_elbo": {"value": 104.0, "multiplier": 0.5, "violation": 4.0}}}]
    found = Course.of(LOSS, "neg_elbo", history, largest=10.0)
    assert found == Course(LOSS, (2.5,), (104.0,), (0.5,), 10.0)
    assert found.distances == (4.0,)
    assert found.approach == 0.0
    assert found.describe_multiplier() == "█ 0.5 → 0.5, settled"


def test_the_best_value() -> None:
    assert course([120.0, 106.5, 106.8], [1.0] * 3).best == 1
    assert course([99.0, 98.0, 101.0], [1.0] * 3).best == 1
    assert course([17.0, 24.0, 22.0], [1.0] * 3, constraint=EQUALITY).best == 2
    assert course([17.0, 24.0], [1.0] * 2, constraint=lv.rate >= 30).best == 1


def test_a_bound_that_was_met_in_the_second_half() -> None:
    assert course([90.0, 99.0, 102.0, 100.1, 100.2], [1.0] * 5).met_late == 3
    assert course([90.0, 99.0, 102.0, 100.2, 100.2], [1.0] * 5).met_late is None


def test_how_fast_the_bound_came_nearer() -> None:
    falling = [120 - 0.25 * epoch for epoch in EPOCHS]
    assert course(falling, [1.0] * 30).approach == pytest.approx(0.25)
    assert course(falling[::-1], [1.0] * 30).approach == pytest.approx(-0.25)
    assert course(falling, [1.0] * 30, constraint=lv.rate >= 200).approach == pytest.approx(-0.25)
    assert course([10 + 0.1 * epoch for epoch in EPOCHS], [1.0] * 30, constraint=EQUALITY).approach == (
        pytest.approx(0.1)
    )
    assert course([101.0, 101.4] * 15, [1.0] * 30).approach == 0.0  # noise
    assert course([101.0] * 30, [1.0] * 30).approach == 0.0
    assert course([103.0, 102.0, 101.0], [1.0] * 3).approach == 0.0  # too short to tell


@pytest.mark.parametrize(
    ("multipliers", "ending"),
    [
        ([0.5, 5, 9, 10, 10, 10], "0.5 → 10, at its limit since epoch 4"),
        ([10.0], "10 → 10, at its limit since epoch 1"),
        ([-1, -5, -10], "-1 → -10, at its limit since epoch 3"),
        ([10, 3, 10], "10 → 10, at its limit since epoch 3"),
        ([0.4, 1, 2, 4], "0.4 → 4, still growing at the end"),
        ([1.0, 1.001, 1.002], "1 → 1, still growing at the end"),  # the original's steps of 1e-4
        ([-0.1, -1.5, -3], "-0.1 → -3, still growing at the end"),
        ([0.4, 8, 4, 2], "0.4 → 2, came down from 8 at epoch 2"),
        ([0.4, 2, 2, 2], "0.4 → 2, settled"),
        ([50.0, 1.2e5], "50 → 1.2e5, still growing at the end"),
    ],
)
def test_a_multiplier_in_one_line(multipliers: list[float], ending: str) -> None:
    line = of_multipliers(*multipliers, largest=10.0 if max(map(abs, multipliers)) <= 10 else math.inf)
    assert line.describe_multiplier() == f"{sparkline(multipliers)} {ending}"


def test_without_a_limit_none_is_reached() -> None:
    assert of_multipliers(1.0, 1e6, 1e6).trend == "settled"


def test_sparklines() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0]) == "▁▂▃█"
    assert sparkline([2.0, 2.0]) == "██"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([1.0, 0.0, -1.0]) == "█▅▁"
    many = sparkline(list(range(1000)))
    assert (len(many), many[0], many[-1]) == (16, "▁", "█")
    assert list(many) == sorted(many)
