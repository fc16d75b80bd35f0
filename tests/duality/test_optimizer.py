from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lagvae.duality.gradient import GradientAscent
from lagvae.duality.optimizer import OptimizerAscent
from lagvae.optimizers import named_optimizers
from lagvae.problem.problem import Problem
from lagvae.storage.checkpoint import read_checkpoint, save_checkpoint
from tiny_runs import STEPS, assert_same_run, run, stopped_after

PROBLEM = Problem.parse("min neg_elbo s.t. distortion <= 80, rate == 20")
UNITS = Problem.parse("min neg_elbo s.t. distortion <= 80, mmd <= 5e-4, rate == 20")


def violations(steps: int, *, seed: int) -> torch.Tensor:
    noise = torch.randn(steps, 2, 3, generator=torch.Generator().manual_seed(seed))
    return noise * torch.tensor([3.0, 3e-4, 2.0])


def test_two_steps_of_momentum_by_hand() -> None:
    rule = OptimizerAscent(PROBLEM, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.5))
    rule.update(torch.tensor([[4.0, -2.0]]), progress=0.1)  # 0.1 (4, -2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.4, -0.2]]))
    # Momentum 0.5 (4, -2) + (-8, 2) = (-6, 1): (max(0, 0.4 - 0.6), -0.2 + 0.1).
    rule.update(torch.tensor([[-8.0, 2.0]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[0.0, -0.1]]))


def test_two_steps_of_adam_by_hand() -> None:
    rule = OptimizerAscent(
        UNITS, torch.tensor([1.0, 1e4, 0.0]), optimizer=partial(torch.optim.Adam, lr=0.1, betas=(0.5, 0.5), eps=1e-12)
    )
    # The first step of Adam is lr · sign, here in natural units.
    rule.update(torch.tensor([[7.0, -3e-4, -2.0]]), progress=0.1)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.1, 0.9e4, -0.1]]))
    # m = (v₁ + 2 v₂) / 3 = -7/3 and s = (v₁² + 2 v₂²) / 3 = 49 for v = 7, -7: -0.1 / 3; all three alike but for signs.
    rule.update(torch.tensor([[-7.0, 3e-4, 2.0]]), progress=0.2)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[1.1 - 0.1 / 3, 0.9e4 + 1e3 / 3, -0.1 + 0.1 / 3]]))


def test_plain_sgd_is_gradient_ascent() -> None:
    ours = OptimizerAscent(UNITS, optimizer=partial(torch.optim.SGD, lr=1e-2), models=2)
    plain = GradientAscent(UNITS, models=2)
    for violation in violations(50, seed=1):
        ours.update(violation, progress=0.5)
        plain.update(violation, progress=0.5)
    torch.testing.assert_close(ours.multipliers, plain.multipliers, rtol=1e-4, atol=1e-6)


class Counting(torch.optim.Optimizer):
    """Keeps its count as a number, not in a tensor."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                count = self.state[parameter]["count"] = self.state[parameter].get("count", 0) + 1
                parameter.sub_(group["lr"] / count * parameter.grad)


@pytest.mark.parametrize("kind", [*named_optimizers().values(), Counting], ids=lambda kind: kind.__name__)
def test_a_checkpoint_holds_what_the_optimiser_remembers(kind: Any, tmp_path: Path) -> None:
    seen = violations(40, seed=2)
    first = OptimizerAscent(UNITS, optimizer=kind, models=2)
    for violation in seen[:25]:
        first.update(violation, progress=0.5)
    tensors, _ = read_checkpoint(save_checkpoint(tmp_path, 25, first.state_dict(), {}))
    second = OptimizerAscent(UNITS, optimizer=kind, models=2)
    second.load_state_dict(tensors)
    for violation in seen[25:]:
        first.update(violation, progress=0.5)
        second.update(violation, progress=0.5)
    assert torch.equal(first.multipliers, second.multipliers)
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_moving_takes_the_optimisers_memory_along() -> None:
    rule = OptimizerAscent(PROBLEM, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.5))
    rule.update(torch.ones(1, 2), progress=0.1)
    rule.to("meta")
    (group,) = rule.optimizer.param_groups
    (parameter,) = group["params"]
    assert parameter.device.type == rule.optimizer.state[parameter]["momentum_buffer"].device.type == "meta"


@pytest.mark.parametrize("dual", ["geco", "nupi", "augmented_lagrangian", "adam"])
def test_a_stopped_run_goes_on_to_the_same_bits(dual: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", dual=dual)
    with stopped_after(7):
        run(tmp_path / "stopped", dual=dual)
    last = run(tmp_path / "stopped", dual=dual, resume=True)
    assert last.step == STEPS
    assert last.multipliers == whole.multipliers
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
