from __future__ import annotations

import pytest
import torch

from lagvae.duality.gradient import GradientAscent
from lagvae.duality.nupi import NuPI
from lagvae.problem.problem import Problem

PROBLEM = Problem.parse("min neg_elbo s.t. distortion <= 80, rate == 20")
EQUALITY = Problem.parse("min distortion s.t. rate == 20")


def violations(steps: int, constraints: int, *, seed: int) -> torch.Tensor:
    return torch.randn(steps, 1, constraints, generator=torch.Generator().manual_seed(seed))


def test_two_steps_by_hand_from_zero() -> None:
    rule = NuPI(PROBLEM, learning_rate=0.1, proportional=0.5, smoothing=0.5, from_zero=True)
    # ξ = (2, -1): θ = 0.1 (4, -2) + 0.5 (2, -1).
    rule.update(torch.tensor([[4.0, -2.0]]), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.4, -0.7]]))
    # ξ = (0, 0.5): θ = 0.1 (2, 0) + 0.5 (0, 0.5).
    rule.update(torch.tensor([[-2.0, 2.0]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.2, 0.25]]))


def test_two_steps_by_hand_from_the_first_violation() -> None:
    rule = NuPI(PROBLEM, learning_rate=0.1, proportional=0.5, smoothing=0.5)
    rule.update(torch.tensor([[4.0, -2.0]]), progress=0.1)  # ξ = (4, -2): plain ascent's step
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.4, -0.2]]))
    # ξ = (1, 0), Δξ = (-3, 2): θ = (max(0, 0.4 - 0.2 - 1.5), -0.2 + 0.2 + 1).
    rule.update(torch.tensor([[-2.0, 2.0]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.0, 1.0]]))


def test_a_divergence_counts_in_natural_units() -> None:
    problem = Problem.parse("min neg_elbo s.t. mmd <= 5e-4")
    rule = NuPI(problem, learning_rate=0.1, proportional=0.5, smoothing=0.5, from_zero=True)
    rule.update(torch.tensor([[4e-4]]), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.4e4]]))


@pytest.mark.parametrize("smoothing", [-0.5, 0.0, 0.9])
def test_where_nothing_is_clipped_it_is_the_papers_sum(smoothing: float) -> None:
    rule = NuPI(EQUALITY, torch.tensor([0.3]), learning_rate=0.1, proportional=2.0, smoothing=smoothing, from_zero=True)
    average = total = 0.0
    for violation in violations(50, 1, seed=1):
        rule.update(violation, progress=0.5)
        average = smoothing * average + (1 - smoothing) * float(violation)
        total += float(violation)
        assert float(rule.multipliers) == pytest.approx(0.3 + 2.0 * average + 0.1 * total, abs=1e-5)


def test_without_the_proportional_part_it_is_plain_ascent() -> None:
    ours, plain = NuPI(PROBLEM, proportional=0.0), GradientAscent(PROBLEM)
    for violation in violations(50, 2, seed=2):
        ours.update(violation, progress=0.5)
        plain.update(violation, progress=0.5)
    assert torch.equal(ours.multipliers, plain.multipliers)


def test_equal_gains_without_smoothing_are_optimistic_ascent() -> None:
    rule = NuPI(EQUALITY, learning_rate=0.1, proportional=0.1, smoothing=0.0)
    seen = violations(20, 1, seed=3)
    expected, before = 0.0, float(seen[0])
    for violation in seen:
        rule.update(violation, progress=0.5)
        expected += 0.1 * (2 * float(violation) - before)
        before = float(violation)
        assert float(rule.multipliers) == pytest.approx(expected, abs=1e-5)
