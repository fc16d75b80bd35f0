from __future__ import annotations

import pytest
import torch

from lagvae.duality.zhao2018 import Zhao2018
from lagvae.problem.presets import lag_vae
from lagvae.problem.problem import Problem

PROBLEM = lag_vae(1.0, 86.0, 5.0)


def test_starts_at_one_in_the_original_units() -> None:
    torch.testing.assert_close(Zhao2018(PROBLEM).multipliers, torch.tensor([[1.0, 1e4]]))


def test_two_steps_by_hand_with_both_ends_clipped() -> None:
    rule = Zhao2018(PROBLEM, torch.tensor([99.5, 1e4]), learning_rate=0.5)
    # Natural violations (2, -3): s = 0.9 · 1 + 0.1 · (4, 9) = (1.3, 1.8),
    # λ = (99.5 + 0.5 · 2 / √1.3, 1 - 0.5 · 3 / √1.8) = (100.377, -0.118), clipped to (100, 0.001).
    rule.update(torch.tensor([[2.0, -3e-4]]), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[100.0, 0.001e4]]))
    # Natural violations (-1, 2): s = (0.9 · 1.3 + 0.1, 0.9 · 1.8 + 0.4) = (1.27, 2.02),
    # λ = (100 - 0.5 / √1.27, 0.001 + 1 / √2.02) = (99.556322, 0.704598).
    rule.update(torch.tensor([[-1.0, 2e-4]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[99.556322, 7045.98]]), rtol=1e-5, atol=0)


def test_two_steps_by_hand_without_clipping() -> None:
    rule = Zhao2018(PROBLEM)
    # Learning rate 1e-4: λ₁ = 1 + 1e-4 · 2 / √1.3 = 1.000175412, λ₂ = 1e4 (1 + 1e-4 · 3 / √1.8) = 10002.23607.
    rule.update(torch.tensor([[2.0, 3e-4]]), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.000175412, 10002.23607]]), rtol=1e-7, atol=0)
    # s = (1.27, 2.02): λ₁ -= 1e-4 / √1.27 = 8.87357e-5, λ₂ -= 1e4 · 1e-4 · 2 / √2.02 = 1.407195.
    rule.update(torch.tensor([[-1.0, -2e-4]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.000086676, 10000.82887]]), rtol=2e-7, atol=0)


@pytest.mark.parametrize(("violation", "end"), [(1e6, 100.0), (-1e6, -100.0)])
def test_an_equality_is_clipped_on_both_sides_alike(violation: float, end: float) -> None:
    rule = Zhao2018(Problem.parse("min distortion s.t. rate == 20"), learning_rate=50.0)
    for _ in range(20):
        rule.update(torch.tensor([[violation]]), progress=0.5)
    assert float(rule.multipliers) == end
