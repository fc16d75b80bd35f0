from __future__ import annotations

import math

import pytest

from lagvae.duality.residuals import Residuals, kkt_residuals
from lagvae.problem.problem import Problem

PROBLEM = Problem.parse("max mi s.t. neg_elbo <= 100, mmd <= 5e-4, rate == 20")


def residuals(violations: tuple[float, float, float], history: list[float]) -> Residuals:
    multipliers = dict(zip(PROBLEM.names, (2.0, 100.0, -1.0), strict=True))
    return kkt_residuals(PROBLEM, multipliers, dict(zip(PROBLEM.names, violations, strict=True)), history)


def test_all_three_by_hand() -> None:
    # Last tenth (3, 5), the tenth before (1, 2).
    found = residuals((-1.0, 1e-4, -2.0), [0.0] * 16 + [1.0, 2.0, 3.0, 5.0])
    assert found.feasibility == pytest.approx(0.2)  # 1e-4 / 5e-4 ties with |-2| / 20 = 0.1 from above
    assert found.complementary_slackness == pytest.approx(2.0 + 0.01 + 2.0)
    assert found.stationarity == pytest.approx(4.0 - 1.5)
    assert found.as_dict()["feasibility"] == found.feasibility


def test_an_equality_counts_on_both_sides_and_an_inequality_on_one() -> None:
    assert residuals((-50.0, -1e-4, -2.0), []).feasibility == pytest.approx(0.1)
    assert residuals((-50.0, -1e-4, 0.0), []).feasibility == 0.0


def test_all_vanish_at_a_solution() -> None:
    found = residuals((0.0, 0.0, 0.0), [7.0] * 20)
    assert list(found.as_dict().values()) == [0.0, 0.0, 0.0]


def test_a_short_history_says_nothing_of_stationarity() -> None:
    assert math.isnan(residuals((0.0, 0.0, 0.0), [1.0] * 9).stationarity)


def test_a_violation_that_is_no_number_does_not_vanish() -> None:
    assert math.isnan(residuals((-1.0, math.nan, 0.0), []).feasibility)
