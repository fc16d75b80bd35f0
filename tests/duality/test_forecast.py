from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lagvae.duality.forecast import Forecast
from lagvae.duality.start import largest_multipliers
from lagvae.problem.presets import lag_vae
from lagvae.problem.problem import Problem

ONE_BOUND = Problem.parse("min rate s.t. neg_elbo <= 100")
EQUALITY = Problem.parse("min distortion s.t. rate == 20")


def rule_for(problem: Problem, start: float = 1.0, **options: Any) -> Forecast:
    options = {"gain": 5.0, "margin": 0.0} | options
    return Forecast(problem, torch.full((len(problem.subject_to),), start), **options)


def asinh(multiplier: float) -> float:
    """μ of λ, at a width of 0.1."""
    return math.asinh(multiplier / 0.1)


def test_two_steps_by_hand() -> None:
    rule = rule_for(ONE_BOUND, hold=0.0)
    # A nat is 1 % of the bound: v = 2, and both averages are plain means at first: no slope. μ += 5 · 0.01 · 2.
    rule.update(torch.tensor([[2.0]]), progress=0.01)
    assert float(rule.multipliers) == pytest.approx(0.1 * math.sinh(asinh(1.0) + 0.1), rel=1e-6)
    # v = -1: fast = 0.5, slow = 1.25; slope = -0.75 · 0.5 / 0.01 = -37.5 a run;
    # ahead = 0.5 - 37.5 (0.0225 + 0.98 / 5.95), clipped to -5.
    rule.update(torch.tensor([[-1.0]]), progress=0.02)
    assert float(rule.multipliers) == pytest.approx(0.1 * math.sinh(asinh(1.0) + 0.1 - 0.25), rel=1e-6)


def test_what_is_still_to_come_is_the_slope_times_the_rest() -> None:
    """A violation that falls by 4 nats a run: averages are plain means of it until they are full."""
    rule = rule_for(ONE_BOUND)
    steps = 1000
    for step in range(1, 701):
        before = asinh(float(rule.multipliers))
        rule.update(torch.tensor([[3.0 - 4.0 * step / steps]]), progress=step / steps)
    lag = 0.015 - 1 / steps  # of an exponential average of share a: (1 - a) / a steps
    fast = 3.0 - 4.0 * (0.7 - lag)
    assert float(rule.fast) == pytest.approx(fast, abs=1e-4)
    assert float(rule.fast - rule.slow) == pytest.approx(-4.0 * (0.03 - 1 / steps), abs=1e-4)
    slope = -4.0 * (0.03 - 1 / steps) / 0.03
    ahead = fast + slope * (0.0225 + 0.3 / 4.25)  # 0.3 · 6 + 0.7 · 3.5
    assert asinh(float(rule.multipliers)) - before == pytest.approx(5.0 / steps * ahead, rel=1e-2)


def test_relaxes_a_bound_that_will_be_met_anyway() -> None:
    """Today's violation is positive and the forecast is not: a rule that looks at today would push."""
    rule = rule_for(ONE_BOUND)
    for step in range(1, 500):
        rule.update(torch.tensor([[4.0 - 8.0 * step / 1000]]), progress=step / 1000)
        assert float(rule.fast) > 0
    assert float(rule.multipliers) < 1.0


def test_violations_count_in_percents_of_their_bound_or_nats_and_a_divergence_in_halves_of_it() -> None:
    wide = rule_for(Problem.parse("min rate s.t. neg_elbo <= 250"), hold=0.0)
    small = rule_for(Problem.parse("min rate s.t. neg_elbo <= 30"), hold=0.0)
    divergence = rule_for(Problem.parse("min rate s.t. mmd <= 5e-2"), hold=0.0)
    for rule, violation in ((wide, 2.5), (small, 1.0), (divergence, 2.5e-2)):
        rule.update(torch.tensor([[violation]]), progress=0.01)
        assert float(rule.fast) == pytest.approx(1.0, rel=1e-5)


def test_an_equality_crosses_zero_and_an_inequality_is_released_at_it() -> None:
    equality, inequality = rule_for(EQUALITY, 0.05, hold=0.0), rule_for(ONE_BOUND, 0.05, hold=0.0)
    for step in range(1, 101):
        for rule in (equality, inequality):
            rule.update(torch.tensor([[-1.0]]), progress=step / 100)
    # μ moves by -5 · 0.01 · 1 a step, 100 times.
    assert float(equality.multipliers) == pytest.approx(0.1 * math.sinh(asinh(0.05) - 5.0), rel=1e-4)
    assert float(inequality.multipliers) == 0.0
    inequality.update(torch.tensor([[1e3]]), progress=1.01)
    assert float(inequality.multipliers) > 0.0  # and it comes back


@pytest.mark.parametrize(("steps", "share"), [(10_000, 1 / 150), (100, 0.1)])
def test_old_violations_fade_within_the_window_or_ten_steps(steps: int, share: float) -> None:
    rule = rule_for(ONE_BOUND)
    for step in range(1, 301):
        rule.update(torch.tensor([[1.0]]), progress=step / steps)
    assert float(rule.fast) == pytest.approx(1.0, rel=1e-5)
    rule.update(torch.tensor([[0.0]]), progress=301 / steps)
    assert float(rule.fast) == pytest.approx(1 - share, rel=1e-4)


def test_rests_before_hold_and_does_not_wind_up() -> None:
    rule = rule_for(ONE_BOUND)
    for step in range(1, 400):
        rule.update(torch.tensor([[50.0]]), progress=step / 1000)
        assert float(rule.multipliers) == 1.0
    rule.update(torch.tensor([[50.0]]), progress=0.4)
    # One step's worth of the clipped forecast alone: 5 · 5 · 0.001.
    assert float(rule.multipliers) == pytest.approx(0.1 * math.sinh(asinh(1.0) + 0.025), rel=1e-4)


def test_rests_shorter_after_a_warm_up() -> None:
    assert Forecast(Problem.parse("max mi s.t. neg_elbo <= 100")).hold == 0.25
    assert Forecast(ONE_BOUND).hold == 0.4
    assert Forecast(ONE_BOUND, hold=0.1).hold == 0.1


def test_a_divergence_moves_slowly_however_far_it_is_from_its_bound() -> None:
    rule = rule_for(Problem.parse("min rate s.t. neg_elbo <= 100, mmd <= 5e-4"), hold=0.0)
    rule.update(torch.tensor([[50.0, 0.1]]), progress=0.01)
    # μ += 5 · 0.01 · 5 nats, and 5 · 0.01 · 1 of half a bound (λ / w with w = 1000).
    expected = [0.1 * math.sinh(asinh(1.0) + 0.25), 1000 * math.sinh(math.asinh(1e-3) + 0.05)]
    torch.testing.assert_close(rule.multipliers, torch.tensor([expected]))


def test_aims_inside_an_inequality_and_at_an_equality() -> None:
    problem = Problem.parse("min rate s.t. neg_elbo <= 100, distortion == 80, mmd <= 5e-4")
    rule = Forecast(problem, torch.ones(3), hold=0.0)
    rule.update(torch.tensor([[-0.1, 0.0, -2.5e-5]]), progress=0.01)  # where each of them aims
    torch.testing.assert_close(rule.multipliers, torch.ones(1, 3))
    rule.update(torch.zeros(1, 3), progress=0.02)
    assert (rule.multipliers[0, [0, 2]] > 1).all()
    assert float(rule.multipliers[0, 1]) == pytest.approx(1.0)


def test_warms_up_in_a_straight_line_and_then_rests() -> None:
    rule = Forecast(ONE_BOUND, torch.tensor([1.0]), torch.tensor([0.1]), warm_up=0.2)
    assert float(rule.multipliers) == pytest.approx(0.1)
    for progress, expected in ((0.05, 0.325), (0.1, 0.55), (0.2, 1.0), (0.24, 1.0)):
        rule.update(torch.tensor([[50.0]]), progress=progress)
        assert float(rule.multipliers) == pytest.approx(expected)


@pytest.mark.parametrize(
    "problem", [ONE_BOUND, EQUALITY, Problem.parse("min neg_elbo s.t. rate >= 20")], ids=["<=", "==", ">="]
)
def test_follows_the_sign_of_the_violation(problem: Problem) -> None:
    up, down = rule_for(problem, start=0.5), rule_for(problem, start=0.5)
    up.update(torch.tensor([[1.0]]), progress=0.5)
    down.update(torch.tensor([[-1.0]]), progress=0.5)
    assert float(up.multipliers) > 0.5 > float(down.multipliers)


@pytest.mark.parametrize(("violation", "ends"), [(1e9, (10.0, 4e4)), (-1e9, (0.0, 0.0))])
def test_inequalities_never_leave_their_limits(violation: float, ends: tuple[float, float]) -> None:
    rule = rule_for(lag_vae(1.0, 86.0, 5.0), hold=0.0, gain=50.0)
    for step in range(1, 300):
        rule.update(torch.full((1, 2), violation), progress=step / 300)
        assert (rule.multipliers >= 0).all()
        assert (rule.multipliers <= rule.largest).all()
    torch.testing.assert_close(rule.multipliers, torch.tensor([ends]))


def test_limits_and_widths_scale_with_the_objective() -> None:
    rule = rule_for(Problem.parse("min 3*rate s.t. neg_elbo <= 100"))
    assert (float(rule.largest), float(rule.width)) == pytest.approx((30.0, 0.3))
    rule = rule_for(Problem.parse("min 0 s.t. neg_elbo <= 100"))
    assert float(rule.width) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("problem", "largest"),
    [
        ("max mi s.t. neg_elbo <= 86", 10.0),  # β = λ / (1 + λ)
        ("min mi s.t. neg_elbo <= 86", 10.0),  # β = (1 + λ) / λ
        ("min rate s.t. distortion <= 80", 100.0),  # β = 1 / λ: more always matters
        ("min distortion s.t. rate == 15", 100.0),  # β = λ
        ("min neg_elbo s.t. rate >= 20", 10.0),  # β = 1 - λ is negative long before
        ("min distortion s.t. mmd <= 5e-4", 4e4),  # 20 nats for all of the bound
    ],
)
def test_multipliers_stop_where_more_changes_nothing(problem: str, largest: float) -> None:
    assert float(largest_multipliers(Problem.parse(problem))) == pytest.approx(largest)


def test_where_it_warms_up_from_may_be_given_alone() -> None:
    rule = Forecast(ONE_BOUND, first=torch.tensor([0.25]))
    assert rule.multipliers.tolist() == [[0.25]]
    assert rule.start.tolist() == Forecast(ONE_BOUND).start.tolist()
