from __future__ import annotations

import torch

from lagvae.duality.gradient import GradientAscent
from lagvae.problem.problem import Problem

PROBLEM = Problem.parse("min neg_elbo s.t. distortion <= 80, rate == 20")


def test_two_steps_by_hand() -> None:
    rule = GradientAscent(PROBLEM, learning_rate=0.1)
    torch.testing.assert_close(rule.multipliers, torch.zeros(1, 2))
    rule.update(torch.tensor([[-3.0, -2.0]]), progress=0.1)  # max(0, 0 - 0.3), 0 - 0.2
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.0, -0.2]]))
    rule.update(torch.tensor([[4.0, 1.0]]), progress=0.2)  # 0 + 0.4, -0.2 + 0.1
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.4, -0.1]]))


def test_a_divergence_counts_in_natural_units() -> None:
    rule = GradientAscent(Problem.parse("min neg_elbo s.t. mmd <= 5e-4"), learning_rate=0.1)
    rule.update(torch.tensor([[3e-4]]), progress=0.1)  # 0.1 · 3e-4 / (1e-4)²
    torch.testing.assert_close(rule.multipliers, torch.tensor([[3000.0]]))
    rule.update(torch.tensor([[-4e-4]]), progress=0.2)  # max(0, 3000 - 4000)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.0]]))


def test_starts_where_it_is_told() -> None:
    start = torch.tensor([2.0, -1.0])
    rule = GradientAscent(PROBLEM, start, models=3)
    torch.testing.assert_close(rule.multipliers, start.expand(3, 2))
    rule.update(torch.ones(3, 2), progress=0.1)
    torch.testing.assert_close(start, torch.tensor([2.0, -1.0]))  # never written to
