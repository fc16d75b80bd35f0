"""A run whose objective has grown without limit does not pass for one that keeps its bounds."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lagvae as lv
from lagvae.duality.gradient import GradientAscent
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.model.vae import mlp_vae
from lagvae.training.outcome.runaway import Lookout, blind_distortion, find_runaway
from lagvae.training.steps.session import Session

SMALL = {"hidden": (16,), "latent_dim": 3, "batch_size": 100, "epochs": 6, "progress": False}


def measured(problem: lv.Problem, distortion: float, rate: float) -> Evaluation:
    values = {"distortion": distortion, "rate": rate, "neg_elbo": distortion + rate}
    about = {"unit": "nats", "bias": "none", "method": "", "examples": 100}
    return Evaluation(
        problem, {"train": {n: Estimate(value=v, standard_error=0.1, **about) for n, v in values.items()}}
    )


def test_what_is_reached_without_a_code_is_the_decoders_own() -> None:
    """A decoder that says 1/2 whatever it is told: 64 log 2 nats."""
    model = mlp_vae((1, 8, 8), latent_dim=3, hidden=(4,))
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    examples = lv.open_data("digits").train
    assert blind_distortion(model, examples, seed=0) == pytest.approx(64 * math.log(2), rel=1e-5)
    torch.nn.init.constant_(list(model.decoder.parameters())[-1], 3.0)  # it says 0.95: costs more
    assert blind_distortion(model, examples, seed=0) > 80


def test_a_look_without_a_code_leaves_the_model_as_it_was() -> None:
    """Running statistics are of what a model was trained on, and dropout's random numbers are another's."""
    decoder = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 64))
    model = lv.VAE(nn.Sequential(nn.Flatten(), nn.Linear(64, 6)), decoder, latent_dim=3)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    examples = lv.open_data("digits").train
    found = [blind_distortion(model, examples, seed=0, batch_size=size) for size in (1000, 64)]
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found[0] == pytest.approx(found[1], rel=0.05)  # of other random numbers


@pytest.mark.parametrize(
    ("text", "distortion", "rate", "runs_away"),
    [
        ("min neg_elbo s.t. rate >= 30", 100.0, 1e10, True),
        ("min neg_elbo s.t. rate >= 30", 100.0, 2099.0, False),  # ten times what it reaches without a code
        ("min neg_elbo s.t. rate >= 30", 100.0, 2101.0, True),
        ("min neg_elbo s.t. rate >= 30", 80.0, math.nan, True),
        ("min distortion + 4*rate", 0.0, 2251.0, True),  # 2251 - 200/4
        ("min distortion + 4*rate", 0.0, 2049.0, False),
        ("min distortion", 20.0, 1e10, False),  # nobody asked for a small rate
        ("min distortion", 2201.0, 10.0, True),
        ("max mi s.t. neg_elbo <= 99", 20.0, 1e10, False),  # its bound says so
        ("min rate s.t. distortion <= 80", 70.0, 1999.0, False),
        ("min rate s.t. distortion <= 80", 70.0, 2001.0, True),
        ("min mmd s.t. neg_elbo <= 99", 70.0, 1e10, False),
    ],
)
def test_what_has_run_away(text: str, distortion: float, rate: float, runs_away: bool) -> None:
    problem = lv.Problem.parse(text)
    message = find_runaway(problem, measured(problem, distortion, rate), blind=200.0)
    assert bool(message) == runs_away, message


def line(step: int, distortion: float, rate: float) -> dict[str, Any]:
    return {"step": step, "terms": {"distortion": distortion, "rate(estimator=one_sample)": rate, "mmd": 0.0}}


@pytest.mark.parametrize(
    ("text", "last", "runs_away"),
    [
        ("min neg_elbo", (100.0, 5000.0), False),  # the first line was as bad
        ("min neg_elbo", (100.0, 5010.0), True),
        ("min 0.001*neg_elbo", (100.0, 5030.0), True),
        ("min distortion", (20.0, 1e10), False),
        ("max mi s.t. neg_elbo <= 99", (5100.0, 10.0), True),
        ("min rate s.t. distortion <= 80", (80.0, 5005.0), False),
        ("min rate s.t. distortion <= 80", (80.0, 5015.0), True),
        ("min mmd s.t. neg_elbo <= 99", (1e10, 1e10), False),
    ],
)
def test_what_runs_away_along_the_log(text: str, last: tuple[float, float], runs_away: bool) -> None:
    """Ten times the 500 nats of its first line are at stake, and the best line has 106."""
    lookout = Lookout(lv.Problem.parse(text), [line(50, 300.0, 200.0), line(100, 90.0, 20.0), line(150, 95.0, 11.0)])
    message = lookout.find_runaway(line(200, *last))
    assert bool(message) == runs_away, message
    assert not runs_away or message.endswith("at step 200")


@pytest.mark.parametrize(
    ("last_steps", "runs_away"),
    [
        ([(95.0, 11.0), (1e9, 1e9)], False),  # one example, in the last step
        ([(1e9, 1e9), (95.0, 11.0)], False),
        ([(1e9, 1e9), (1e8, 1e9)], True),
        ([(1e9, 1e9)], True),
    ],
)
def test_a_single_step_may_be_as_bad_as_it_likes(last_steps: list[tuple[float, float]], runs_away: bool) -> None:
    lookout = Lookout(lv.vae(), [line(50, 300.0, 200.0), line(100, 90.0, 20.0)])
    assert bool(lookout.find_runaway(line(150, 1e8, 1e8), last_steps)) == runs_away


def test_a_short_log_has_not_run_away() -> None:
    assert Lookout(lv.vae()).find_runaway(line(50, 1e9, 1e9)) == ""


@pytest.mark.parametrize(("first", "status"), [(10, lv.Status.FEASIBLE), (9, lv.Status.DIVERGED)])
def test_a_run_outlives_one_step_and_not_two(first: int, status: lv.Status, monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = Session.take_step

    def spoiled(session: Session) -> torch.Tensor:
        measured = take_step(session)
        return measured * 1e9 if first <= session.step <= 10 else measured

    monkeypatch.setattr(Session, "take_step", spoiled)
    solution = lv.fit("min neg_elbo", "digits", log_every=5, **{**SMALL, "epochs": 1})
    assert solution.status is status


def of_price(multiplier: float, *, until: float = 1.0, then: float = 0.0) -> lv.DualRuleFactory:
    """What every nat of the bounded quantity is paid, and from a share of the run on."""

    class Paid(GradientAscent):
        def update(self, violations: torch.Tensor, *, progress: float) -> None:
            self.multipliers.fill_(multiplier if progress < until else then)

    return lambda problem: Paid(problem, torch.tensor([multiplier]))


def test_a_run_that_keeps_its_bound_at_any_price_has_diverged(tmp_path: Path) -> None:
    text = "min neg_elbo s.t. rate >= 5"
    ran_away = lv.fit(text, "digits", dual=of_price(1000.0), out=tmp_path / "run", log_every=1000, **SMALL)
    assert ran_away.status is lv.Status.DIVERGED
    assert "the objective ran away" in ran_away.message
    assert "a code at random" in ran_away.message
    assert ran_away.violations["rate"] < 0
    assert lv.load(tmp_path / "run").status is lv.Status.DIVERGED
    assert lv.fit(text, "digits", dual=of_price(0.9), **SMALL).status is lv.Status.FEASIBLE


def test_a_run_that_runs_away_is_stopped_and_its_last_good_checkpoint_kept(tmp_path: Path) -> None:
    dual = of_price(0.9, until=0.5, then=1000.0)
    settings = SMALL | {"epochs": 60, "log_every": 5, "checkpoint_seconds": 0.0}
    solution = lv.fit("min neg_elbo s.t. rate >= 5", "digits", dual=dual, out=tmp_path / "run", **settings)
    assert solution.status is lv.Status.DIVERGED
    assert re.search(
        r"ran away: \d\d\S* nats at step \d+, .* last good checkpoint .* lower learning_rate", solution.message
    )
    assert solution.step == solution.history[-1]["step"] < 0.9 * 60 * 17
    assert float(lv.evaluate(solution, quick=True)["train"]["neg_elbo"].value) < 2000
