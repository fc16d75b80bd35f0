from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from lagvae.duality.augmented_lagrangian import AugmentedLagrangian
from lagvae.problem.problem import Problem
from tiny_runs import assert_same_tensors, run

PROBLEM = Problem.parse("min neg_elbo s.t. distortion <= 80, rate == 20")


def test_two_steps_by_hand() -> None:
    rule = AugmentedLagrangian(PROBLEM, learning_rate=0.1, penalty=0.5)
    first = torch.tensor([[-3.0, -2.0]])
    torch.testing.assert_close(rule.primal_multipliers(first), torch.tensor([[0.0, -1.0]]))  # max(0, -1.5), -1
    rule.update(first, progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.0, -0.2]]))
    second = torch.tensor([[4.0, 1.0]])
    torch.testing.assert_close(rule.primal_multipliers(second), torch.tensor([[2.0, 0.3]]))  # -0.2 + 0.5
    rule.update(second, progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.4, -0.1]]))
    torch.testing.assert_close(rule.primal_multipliers(-second), torch.tensor([[0.0, -0.6]]))


def test_a_divergence_counts_in_natural_units() -> None:
    problem = Problem.parse("min neg_elbo s.t. mmd <= 5e-4")
    rule = AugmentedLagrangian(problem, torch.tensor([1e4]), penalty=0.5)
    # (1 + 0.5 · 2) / 1e-4.
    torch.testing.assert_close(rule.primal_multipliers(torch.tensor([[2e-4]])), torch.tensor([[2e4]]))


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_the_derivative_of_the_augmented_terms(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    start = torch.tensor([1.0, -1.0]) * torch.rand(2, generator=random)
    violations = torch.randn(1, 2, generator=random).requires_grad_()
    rule = AugmentedLagrangian(PROBLEM, start, penalty=0.7)
    pushed = (start[0] + 0.7 * violations[0, 0]).clamp(min=0)
    inequality = (pushed.square() - start[0].square()) / (2 * 0.7)
    equality = start[1] * violations[0, 1] + 0.35 * violations[0, 1].square()
    (gradient,) = torch.autograd.grad(inequality + equality, violations)
    torch.testing.assert_close(rule.primal_multipliers(violations.detach()), gradient)


def weights_after(**settings: object) -> dict[str, Tensor]:
    return run(**settings).model.state_dict()


def test_a_run_descends_with_the_weights_that_the_rule_returns() -> None:
    plain = weights_after(dual="gradient")
    assert_same_tensors(weights_after(dual=partial(AugmentedLagrangian, penalty=0.0)), plain)
    augmented = weights_after(dual="augmented_lagrangian")
    assert any(not torch.equal(augmented[name], plain[name]) for name in plain)
