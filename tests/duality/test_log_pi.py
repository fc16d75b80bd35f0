from __future__ import annotations

import math

import pytest
import torch

from lagvae.duality.log_pi import LogPI
from lagvae.problem.presets import lag_vae
from lagvae.problem.problem import Problem

ONE_BOUND = Problem.parse("min rate s.t. neg_elbo <= 100")
EQUALITY = Problem.parse("min distortion s.t. rate == 20")


def rule_for(problem: Problem, start: float = 1.0, **options: float) -> LogPI:
    return LogPI(problem, torch.full((len(problem.subject_to),), start), **options)


def test_two_steps_by_hand() -> None:
    rule = rule_for(ONE_BOUND, hold=0.0)
    # 5 over 100 is 0.05; v̄ = 0.05 and Δv̄ = 0.05; log λ = 300 · 0.05 · 0.01 + 10 · 0.05 = 0.65.
    rule.update(torch.tensor([[5.0]]), progress=0.01)
    assert float(rule.multipliers) == pytest.approx(math.exp(0.65), rel=1e-6)
    # -20 over 100 is clipped to -0.1; a mean of two: v̄ = -0.025, Δv̄ = -0.075; log λ -= 0.075 + 0.75.
    rule.update(torch.tensor([[-20.0]]), progress=0.02)
    assert float(rule.multipliers) == pytest.approx(math.exp(0.65 - 0.825), rel=1e-6)


def test_a_divergence_moves_by_its_own_size_at_a_fifth_of_the_gain() -> None:
    rule = rule_for(Problem.parse("min rate s.t. mmd <= 5e-4"), start=100.0, hold=0.0)
    # 4e-4 over 5e-4 is 0.8; log λ = log 100 + 60 · 0.8 · 0.01 + 2 · 0.8.
    rule.update(torch.tensor([[4e-4]]), progress=0.01)
    assert float(rule.multipliers) == pytest.approx(100 * math.exp(0.48 + 1.6), rel=1e-5)


def test_an_equality_moves_in_asinh() -> None:
    rule = rule_for(EQUALITY, start=0.0, hold=0.0)
    # -1 over 20 is -0.05; move = -0.15 - 0.5; λ = 0.1 sinh(asinh(0) - 0.65).
    rule.update(torch.tensor([[-1.0]]), progress=0.01)
    assert float(rule.multipliers) == pytest.approx(0.1 * math.sinh(-0.65), rel=1e-5)


@pytest.mark.parametrize(("steps", "share"), [(10_000, 1 / 150), (100, 0.1)])
def test_old_violations_fade_within_the_window_or_ten_steps(steps: int, share: float) -> None:
    rule = rule_for(ONE_BOUND)
    for step in range(1, 301):
        rule.update(torch.tensor([[1.0]]), progress=step / steps)
    assert float(rule.average) == pytest.approx(0.01, rel=1e-5)
    rule.update(torch.tensor([[0.0]]), progress=301 / steps)
    assert float(rule.average) == pytest.approx(0.01 * (1 - share), rel=1e-4)


def test_rests_before_hold_and_does_not_wind_up() -> None:
    rule = rule_for(ONE_BOUND)
    for step in range(1, 400):
        rule.update(torch.tensor([[50.0]]), progress=step / 1000)
        assert float(rule.multipliers) == 1.0
    rule.update(torch.tensor([[50.0]]), progress=0.4)
    # One step's worth alone: 300 · 0.1 · 0.001.
    assert float(rule.multipliers) == pytest.approx(math.exp(0.03), rel=1e-3)


@pytest.mark.parametrize("problem", [ONE_BOUND, EQUALITY, Problem.parse("min neg_elbo s.t. rate >= 20")], ids=str)
def test_follows_the_sign_of_the_violation(problem: Problem) -> None:
    up, down = rule_for(problem, start=0.5), rule_for(problem, start=0.5)
    up.update(torch.tensor([[1.0]]), progress=0.5)
    down.update(torch.tensor([[-1.0]]), progress=0.5)
    assert float(up.multipliers) > 0.5 > float(down.multipliers)


@pytest.mark.parametrize(("violation", "ends"), [(1e9, (10.0, 2e6)), (-1e9, (1e-2, 100.0))])
def test_inequalities_never_leave_their_limits(violation: float, ends: tuple[float, float]) -> None:
    rule = rule_for(lag_vae(1.0, 86.0, 5.0), hold=0.0)
    for step in range(1, 300):
        rule.update(torch.full((1, 2), violation), progress=step / 300)
        assert (rule.multipliers >= rule.smallest).all()
        assert (rule.multipliers <= rule.largest).all()
    torch.testing.assert_close(rule.multipliers, torch.tensor([ends]))


def test_limits_scale_with_the_objective() -> None:
    assert float(rule_for(Problem.parse("min 3*rate s.t. neg_elbo <= 100")).largest) == 30.0
    assert float(rule_for(Problem.parse("min 0 s.t. neg_elbo <= 100")).largest) == 10.0


def test_an_equality_changes_sign_and_stays_between_its_limits() -> None:
    rule = rule_for(EQUALITY, hold=0.0)
    seen = []
    for step in range(1, 300):
        rule.update(torch.tensor([[-1e9]]), progress=step / 300)
        seen.append(float(rule.multipliers))
    assert seen[0] > 0 > seen[-1] == -10.0
    for step in range(300, 600):
        rule.update(torch.tensor([[1e9]]), progress=step / 300)
    assert float(rule.multipliers) == 10.0


def test_an_inequality_stays_positive() -> None:
    rule = rule_for(ONE_BOUND, hold=0.0)
    for step in range(1, 300):
        rule.update(torch.tensor([[-1e9]]), progress=step / 300)
        assert float(rule.multipliers) > 0
