"""The words for multipliers: prices, active bounds, β and γ."""

from __future__ import annotations

import math

import pytest

from lagvae.duality.sensitivity import active_constraints, is_active, price, price_unit, relative_weight
from lagvae.problem.problem import Problem

PROBLEM = Problem.parse("max mi s.t. neg_elbo <= 100, mmd <= 5e-4, rate == 20")
LOSS, DIVERGENCE, EQUALITY = PROBLEM.subject_to


def test_a_price_is_the_objective_per_natural_unit() -> None:
    assert price(LOSS, 1.43) == 1.43
    assert price(DIVERGENCE, 800.0) == pytest.approx(0.08)
    assert price(EQUALITY, -0.5) == -0.5
    assert [price_unit(PROBLEM, c) for c in PROBLEM.subject_to] == ["nats per nat", "nats per 1e-4", "nats per nat"]


def test_a_price_is_the_slope_of_the_optimal_value() -> None:
    """min x² s.t. x >= b has value b² and λ = 2b: loosening the bound by h gains 2bh, to first order."""
    b, h = 3.0, 1e-4
    tight = Problem.parse("min neg_elbo s.t. rate >= 3").subject_to[0]
    assert price(tight, 2 * b) == pytest.approx((b**2 - (b - h) ** 2) / h, rel=1e-4)


def test_an_objective_without_nats_gives_its_prices_no_nats() -> None:
    problem = Problem.parse("min mmd s.t. neg_elbo <= 100")
    assert price_unit(problem, problem.subject_to[0]) == "objective per nat"


@pytest.mark.parametrize(
    ("multiplier", "violation", "active"),
    [
        (0.4, 0.0, True),
        (0.4, -0.7, True),  # within five tolerances of 0.15 nat
        (0.4, -0.8, False),  # complementary slackness does not hold yet
        (0.4, 30.0, True),
        (0.021, 0.0, True),
        (0.019, 0.0, False),  # as good as none
        (0.0, 30.0, False),
        (0.4, math.nan, False),
    ],
)
def test_a_bound_in_nats_is_active_where_it_is_tight_and_has_a_price(
    multiplier: float, violation: float, active: bool
) -> None:
    assert is_active(PROBLEM, LOSS, multiplier=multiplier, violation=violation) is active


@pytest.mark.parametrize(
    ("multiplier", "violation", "active"),
    [(310.0, 0.0, True), (310.0, -4e-5, True), (310.0, -6e-5, False), (290.0, 0.0, False), (100.0, 1e-3, False)],
)
def test_a_divergence_counts_by_all_that_its_bound_allows(multiplier: float, violation: float, active: bool) -> None:
    """0.15 nats for 5e-4 of MMD² are a multiplier of 300."""
    assert is_active(PROBLEM, DIVERGENCE, multiplier=multiplier, violation=violation) is active


def test_what_is_negligible_scales_with_the_objective() -> None:
    twice = Problem.parse("max 2*mi s.t. neg_elbo <= 100")
    assert not is_active(twice, LOSS, multiplier=0.03, violation=0.0)
    assert is_active(twice, LOSS, multiplier=0.05, violation=0.0)
    nothing = Problem.parse("min 0 s.t. neg_elbo <= 100")
    assert is_active(nothing, LOSS, multiplier=0.03, violation=0.0)


def test_an_equality_is_always_active() -> None:
    assert is_active(PROBLEM, EQUALITY, multiplier=0.0, violation=-9.0)
    multipliers, violations = dict.fromkeys(PROBLEM.names, 0.5), dict.fromkeys(PROBLEM.names, 0.0)
    assert active_constraints(PROBLEM, multipliers, violations) == ("neg_elbo", "rate")


def test_beta_and_gamma() -> None:
    weights = {"distortion": 2.0, "rate": 0.5, "rate(estimator=one_sample)": 0.1, "mmd(kernel=imq)": 30.0}
    assert relative_weight(weights, "rate") == pytest.approx(0.3)
    assert relative_weight(weights, "mmd") == 15.0
    assert relative_weight({"distortion": 2.0}, "mmd") == 0.0


@pytest.mark.parametrize("weights", [{"distortion": 0.0, "rate": 1.0}, {"distortion": -1.0, "rate": 1.0}, {}])
def test_there_is_no_beta_where_distortion_weighs_nothing(weights: dict[str, float]) -> None:
    assert relative_weight(weights, "rate") is None


def test_a_divergence_in_the_objective_hides_no_active_bound() -> None:
    problem = Problem.parse("max mi - 10000*mmd s.t. neg_elbo <= 100")
    assert is_active(problem, problem.subject_to[0], multiplier=0.5, violation=0.0)
