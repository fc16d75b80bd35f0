"""NaN and infinity in data, weights, gradients, multipliers: noticed by the next line of the log, named, stopped."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lagvae as lv
from lagvae.model.gaussian import LOG_STD_RANGE
from lagvae.model.likelihoods.counts import NegativeBinomial
from lagvae.model.likelihoods.gaussian import LearnedGaussian, OptimalGaussian
from lagvae.model.likelihoods.likelihood import BOUND
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.training.steps.batches import Batches
from lagvae.training.steps.session import Session
from small_fronts import SMALL
from tiny_runs import STEPS, checkpoint_names, metrics, run

EVERY = 5
"""Steps between two lines of the log."""
DATA = np.random.default_rng(0).random((300, 1, 8, 8), dtype=np.float32)
SETTINGS: dict[str, Any] = {"data": DATA, "batch_size": 45, "log_every": EVERY, "checkpoint_seconds": 0.0}

Break = Callable[[pytest.MonkeyPatch, int, float], None]


def break_data(patch: pytest.MonkeyPatch, step: int, value: float) -> None:
    """One value of a batch, on its way: the file was fine when it was opened."""
    at = Batches.at

    def broken(batches: Batches, index: int) -> Tensor:
        batch = at(batches, index)
        if index + 1 == step:
            batch = batch.clone()
            batch[3, 0, 4, 4] = value
        return batch

    patch.setattr(Batches, "at", broken)


def break_weight(patch: pytest.MonkeyPatch, step: int, value: float) -> None:
    descend = Session._descend

    def broken(session: Session, loss: Tensor) -> None:
        descend(session, loss)
        if session.step + 1 == step:
            list(session.model.parameters())[2].data.view(-1)[:1].fill_(value)

    patch.setattr(Session, "_descend", broken)


def break_gradient(patch: pytest.MonkeyPatch, step: int, value: float) -> None:
    descend = Session._descend

    def broken(session: Session, loss: Tensor) -> None:
        weight = next(session.model.parameters())
        hook = weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([1]), value))
        if session.step + 1 != step:
            hook.remove()
        descend(session, loss)
        hook.remove()

    patch.setattr(Session, "_descend", broken)


def break_multiplier(patch: pytest.MonkeyPatch, step: int, value: float) -> None:
    take_step = Session.take_step

    def broken(session: Session) -> Tensor:
        values = take_step(session)
        if session.step == step:
            session.rule.multipliers[:, 1].fill_(value)
        return values

    patch.setattr(Session, "take_step", broken)


WEIGHTS = (
    r"(\S+ became (nan|infinite) at step {}; weights are not finite since|weights became non-finite at step \d+) "
    r"\(encoder\.\S+\); "
)
NAMED: dict[str, tuple[Break, str, int]] = {
    "data": (break_data, r"distortion became (nan|infinite) at step {}; the data of that step are not finite; ", 0),
    "weight": (break_weight, WEIGHTS, 1),
    "gradient": (break_gradient, WEIGHTS, 1),
    "multiplier": (break_multiplier, r"the multiplier of mmd became (nan|infinite) at step {}; ", 0),
}
"""What breaks, how it is named, and how many steps later it shows in the terms."""


def steps_for(what: str) -> list[int]:
    """Steps at random: one in each interval of the log."""
    chance = random.Random(what)
    return [chance.randint(first, min(first + EVERY - 1, STEPS)) for first in range(1, STEPS + 1, EVERY)]


def broken_run(what: str, step: int, value: float, **settings: Any) -> lv.Solution:
    likelihood = "gaussian" if what == "data" else "bernoulli"  # a bit is whether x > u: infinity does it no harm
    with pytest.MonkeyPatch.context() as patch:
        NAMED[what][0](patch, step, value)
        return run(**{**SETTINGS, "likelihood": likelihood, **settings})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("what", NAMED)
def test_what_breaks_is_caught_named_and_not_saved(tmp_path: Path, what: str, value: float) -> None:
    _, message, delay = NAMED[what]
    for step in steps_for(what):
        out = tmp_path / str(step)
        solution = broken_run(what, step, value, out=out)
        assert solution.status is lv.Status.DIVERGED
        assert re.match(message.format(step + delay), solution.message), (step, solution.message)
        last_good = (step - 1) // EVERY * EVERY  # noticed when the next line was due
        assert solution.step == last_good
        assert checkpoint_names(out)[-1] == f"step-{last_good:08d}"
        if last_good:
            assert [record["step"] for record in metrics(out)] == list(range(EVERY, last_good + 1, EVERY))
        tensors, _ = load_checkpoint(out / "checkpoints")
        assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
        assert torch.isfinite(lv.load(out).model.sample(4)).all()


@pytest.mark.parametrize("what", NAMED)
def test_both_precisions_notice_at_the_same_step(what: str) -> None:
    for step in (3, 8):
        messages = {broken_run(what, step, math.nan, precision=p).message for p in ("float32", "bfloat16")}
        assert len(messages) == 1


def test_what_does_not_break_is_not_noticed() -> None:
    assert broken_run("data", STEPS + 1, math.nan).status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)


@pytest.mark.parametrize("what", ["data", "weight", "gradient"])
def test_a_front_notices_too(tmp_path: Path, what: str) -> None:
    act, message, delay = NAMED[what]
    with pytest.MonkeyPatch.context() as patch:
        act(patch, 7, math.nan)
        front = lv.fit_front(
            DATA, out=tmp_path / "front", checkpoint_seconds=0.0, likelihood="gaussian", epochs=4, **SMALL
        )
    assert front.status == "diverged"
    assert re.match(message.format(7 + delay).replace(r"encoder\.\S+", "entries"), front.message), front.message
    assert front.steps == 5


EXTREMES = [0.0, 1.0, -30.0, 30.0, 1e30, -1e30, math.inf, -math.inf]


def test_the_encoders_log_variances_are_bounded_whatever_it_says() -> None:
    class Wild(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros(len(x), len(EXTREMES)), torch.tensor(EXTREMES).expand(len(x), -1)

    model = lv.VAE(Wild(), nn.Identity(), latent_dim=len(EXTREMES))
    posterior = model.posterior(torch.zeros(2, 3))
    low, high = LOG_STD_RANGE
    assert posterior.log_std.min() == low
    assert posterior.log_std.max() == high
    for found in (posterior.at(torch.ones(2, len(EXTREMES))), posterior.kl_to_standard_normal(), posterior.entropy()):
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("value", EXTREMES)
def test_the_likelihoods_log_variances_are_bounded_whatever_is_learned(value: float) -> None:
    learned, optimal = LearnedGaussian((3,)), OptimalGaussian((3,))
    counts = NegativeBinomial((3,))
    with torch.no_grad():
        learned.raw_log_std.fill_(value)
        counts.raw_log_dispersion.fill_(value)
        optimal.running_variance.fill_(abs(value))
    optimal.eval()
    for log_scale in (learned.known_log_std(), optimal.known_log_std(), counts.log_dispersion):
        assert log_scale.abs().max() <= BOUND + 1e-4
    for likelihood in (learned, optimal):
        assert torch.isfinite(likelihood.log_prob(torch.zeros(2, 3), torch.ones(2, 3))).all()
    assert torch.isfinite(counts.log_prob(torch.zeros(2, 3), torch.ones(2, 3))).all()
