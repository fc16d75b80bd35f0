from __future__ import annotations

import math

import pytest
import torch

from lagvae.duality.geco import Geco
from lagvae.problem.problem import Problem

PROBLEM = Problem.parse("min neg_elbo s.t. distortion <= 80, mmd <= 5e-4, rate == 20")


def test_starts_at_one_in_natural_units() -> None:
    torch.testing.assert_close(Geco(PROBLEM).multipliers, torch.tensor([[1.0, 1e4, 1.0]]))


def test_two_steps_by_hand() -> None:
    rule = Geco(PROBLEM, learning_rate=0.1, decay=0.75)
    # C̄ = v at first: natural (2, -3, -1).
    rule.update(torch.tensor([[2.0, -3e-4, -1.0]]), progress=0.1)
    expected = torch.tensor([[math.exp(0.2), 1e4 * math.exp(-0.3), math.exp(-0.1)]])
    torch.testing.assert_close(rule.multipliers, expected)
    # C̄ = 0.75 (2, -3, -1) + 0.25 (-4, 1, 3) = (0.5, -2, 0).
    rule.update(torch.tensor([[-4.0, 1e-4, 3.0]]), progress=0.2)
    expected = torch.tensor([[math.exp(0.25), 1e4 * math.exp(-0.5), math.exp(-0.1)]])
    torch.testing.assert_close(rule.multipliers, expected)


def test_an_equality_ascends_on_its_own_side_of_zero() -> None:
    problem = Problem.parse("min distortion s.t. rate == 20")
    rule = Geco(problem, torch.tensor([-1.0]), learning_rate=0.1, decay=0.0)
    rule.update(torch.tensor([[2.0]]), progress=0.1)  # up is towards 0
    assert float(rule.multipliers) == pytest.approx(-math.exp(-0.2))
    rule.update(torch.tensor([[-5.0]]), progress=0.2)
    assert float(rule.multipliers) == pytest.approx(-math.exp(0.3))


@pytest.mark.parametrize(
    ("violation", "ends"), [(1e9, (1e6, 1e10, 1e6, -1e-6)), (-1e9, (1e-6, 1e-2, 1e-6, -1e6))], ids=["up", "down"]
)
def test_sizes_are_clipped_and_signs_are_kept(violation: float, ends: tuple[float, ...]) -> None:
    problem = Problem.parse("min neg_elbo s.t. distortion <= 80, mmd <= 5e-4, rate == 20, neg_elbo == 90")
    rule = Geco(problem, torch.tensor([1.0, 1e4, 1.0, -1.0]))
    for _ in range(3):
        rule.update(torch.full((1, 4), violation), progress=0.5)
    torch.testing.assert_close(rule.multipliers, torch.tensor([ends]))


def test_zero_is_left_upwards() -> None:
    rule = Geco(PROBLEM, torch.zeros(3))
    rule.update(torch.ones(1, 3), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1e-6, 1e-2, 1e-6]]))
