"""Bounds that are measured on examples that the weights never see."""

from __future__ import annotations

import dataclasses
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.duality.rule import DualRule
from lagvae.errors import ProblemWarning
from lagvae.model.draw import Draw
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.storage.files import to_plain
from lagvae.streams import Streams, derive_seed
from lagvae.training.build import build_session
from lagvae.training.probe import resolve_bounds
from lagvae.training.progress import constraint_table
from lagvae.training.steps.batches import Batches
from tiny_runs import TINY, assert_same_run, assert_same_tensors, measured, metrics, run, settings_of, stopped_after

SHARE = 0.3
SETTINGS = settings_of(TINY)
ONE_BOUND = "max mi s.t. neg_elbo <= 45"
EASY = "min rate s.t. neg_elbo <= 500"


def split_digits(seed: int = 0) -> lv.Data:
    return lv.open_data("digits").hold_out(SHARE, seed=seed)


class Recording(DualRule):
    """Fixed multipliers; keeps what it is told."""

    def __init__(self, problem: lv.Problem) -> None:
        super().__init__(problem, torch.ones(len(problem.subject_to)))
        self.asked: list[Tensor] = []
        self.updated: list[Tensor] = []

    def primal_multipliers(self, violations: Tensor) -> Tensor:
        self.asked.append(violations.clone())
        return self.multipliers

    def update(self, violations: Tensor, *, progress: float) -> None:
        self.updated.append(violations.clone())


def test_multipliers_see_the_violations_on_held_out_batches() -> None:
    """Measured by hand at every step, before its descent, on the held-out examples in their own order."""
    data, problem = split_digits(), lv.Problem.parse("max mi s.t. neg_elbo <= 45, rate >= 3")
    session = build_session(problem, data, SETTINGS, dual=Recording)
    rule, model, examples = session.rule, session.model, data.parts["held_out"]
    assert isinstance(rule, Recording)
    streams = Streams(derive_seed(SETTINGS.execution.seed, "held_out", "batches"))
    for step in range(session.total_steps):
        index = streams.data_order(step, len(examples))[:250]  # of 450: one batch a pass
        with torch.no_grad():
            draw = model.draw(model.likelihood.prepare(examples.gather(index), streams.binarisation), streams)
            expected = torch.stack([term.measure(draw) for term in (lv.distortion, lv.rate)])
        values = session.take_step()
        assert values.shape == session.measured_shape == (2, 2)
        assert torch.equal(values[1], expected)
        assert not torch.equal(values[0], expected)
        assert torch.allclose(rule.updated[-1][0], torch.stack([expected.sum() - 45, 3 - expected[1]]), atol=1e-4)
        assert torch.equal(rule.updated[-1], rule.asked[-1])
        assert model.training


class Normed(nn.Module):
    """An encoder with running statistics, which a forward pass in training mode moves."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def make_normed() -> lv.VAE:
    torch.manual_seed(0)
    return lv.VAE(Normed(), lv.MLPDecoder(2, (1, 8, 8), (8,)), latent_dim=2)


def test_at_fixed_multipliers_measuring_held_out_examples_moves_no_bit_of_the_model() -> None:
    """What the weights see is the same, random numbers included: the held-out part has streams of its own."""
    data = split_digits()
    with_it = run(data=data, dual=Recording, model=make_normed())
    without = run(data=dataclasses.replace(data, held_out=None), dual=Recording, model=make_normed())
    assert_same_tensors(with_it.model.state_dict(), without.model.state_dict())
    assert [record["terms"] for record in with_it.history] == [record["terms"] for record in without.history]
    assert all("held_out" not in record for record in without.history)


def numbered(count: int) -> Tensor:
    """Examples of two bytes that spell their number."""
    numbers = torch.arange(count)
    return torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8)


def visits(**settings: Any) -> dict[str, list[list[int]]]:
    """The numbers of the examples that each step sees, by what they are for."""
    seen: dict[int, list[list[int]]] = {}
    at = Batches.at

    def watched(batches: Batches, step: int) -> Tensor:
        raw = at(batches, step)
        seen.setdefault(id(batches), []).append((256 * raw[:, 0].long() + raw[:, 1].long()).tolist())
        return raw

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "at", watched)
        run(problem=ONE_BOUND, data=(numbered(500), numbered(8)), batch_size=50, epochs=2, held_out=0.2, **settings)
    return dict(zip(("train", "held_out"), seen.values(), strict=True))


def test_no_held_out_example_is_ever_in_a_training_batch_and_all_are_measured() -> None:
    seen = visits()
    train, held_out = ([*itertools.chain(*seen[part])] for part in ("train", "held_out"))
    assert len(seen["train"]) == len(seen["held_out"]) == 2 * 400 // 50
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) == set(range(500))
    passes = [held_out[start : start + 100] for start in range(0, len(held_out), 100)]
    assert len(passes) == 8
    assert all(set(visited) == set(held_out) for visited in passes)
    assert all(one != two for one, two in itertools.pairwise(passes))  # each in an order of its own


def test_the_seed_decides_which_examples_are_held_out() -> None:
    first, again, other = visits(), visits(), visits(seed=1)
    assert first == again
    assert set(itertools.chain(*first["held_out"])) != set(itertools.chain(*other["held_out"]))


@pytest.mark.parametrize("dual", ["forecast", "augmented_lagrangian"])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, dual: str) -> None:
    settings: dict[str, Any] = {"dual": dual, "held_out": SHARE, "precision": "bfloat16"}
    whole = run(tmp_path / "whole", **settings)
    with stopped_after(5, 7):
        run(tmp_path / "run", **settings)
        run(tmp_path / "run", resume=True, **settings)
    tensors, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
    assert tensors["log/unlogged"].shape == (2, 2, 3)
    assert {name for name in tensors if name.startswith("held_out_streams/")} == {
        f"held_out_streams/{name}" for name in ("initial_weights", "binarisation", "posterior", "prior")
    }
    last = run(tmp_path / "run", resume=True, **settings)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert measured(last) == measured(whole)


def test_a_run_is_not_resumed_with_another_share(tmp_path: Path) -> None:
    with stopped_after(5):
        run(tmp_path / "run", held_out=SHARE)
    with pytest.raises(lv.CheckpointError, match="expected to resume with the run's own "):
        run(tmp_path / "run", resume=True, held_out=0.2)


def test_the_log_holds_what_is_judged_beside_what_is_trained_on(tmp_path: Path) -> None:
    run(tmp_path / "run", ONE_BOUND, held_out=SHARE)
    for record in metrics(tmp_path / "run"):
        assert record["held_out"].keys() == record["terms"].keys()
        judged = record["held_out"]["neg_elbo"]
        assert judged != record["terms"]["neg_elbo"]
        assert record["constraints"]["neg_elbo"]["value"] == pytest.approx(judged, rel=1e-6)
        assert record["constraints"]["neg_elbo"]["violation"] == pytest.approx(judged - 45, rel=1e-5)
        columns = [str(column.header) for column in constraint_table(record).columns]
        assert columns == ["term", "value", "held-out", "bound", "violation", "price", "active", "weight"]
        del record["held_out"]
        assert "held-out" not in [str(column.header) for column in constraint_table(record).columns]


@pytest.mark.usefixtures("registry")
def test_what_is_not_finite_on_the_held_out_batch_is_named() -> None:
    @lv.term
    def code_energy(draw: Draw) -> Tensor:
        energy = draw.z.square().sum(-1)
        return energy if torch.is_grad_enabled() else energy * torch.nan

    solution = run(problem="max mi s.t. neg_elbo <= 45, code_energy <= 70", held_out=SHARE)
    assert solution.status is lv.Status.DIVERGED
    assert solution.message.startswith("code_energy became nan on the held-out data at step 1; ")


def two_faced(train: int, held_out: int) -> lv.Data:
    """Examples whose pixels are all alike, and uniform noise: what a part is made of is easy to tell by its loss."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 16), dtype=np.uint8)
    plain = np.zeros((120, 16), dtype=np.uint8)
    faces = [Examples(torch.from_numpy(face)) for face in (plain, noise)]
    return lv.Data("", faces[train], faces[0], held_out=faces[held_out])


def test_the_status_is_that_of_the_held_out_data() -> None:
    settings: dict[str, Any] = {"epochs": 60, "learning_rate": 1e-2}
    missed = run(problem="min rate s.t. neg_elbo <= 6", data=two_faced(train=0, held_out=1), **settings)
    assert missed.evaluation is not None
    assert missed.evaluation.is_feasible("train")
    assert not missed.evaluation.is_feasible()
    assert missed.status is lv.Status.INFEASIBLE
    assert missed.message.startswith("missed 'neg_elbo <= 6' by ")
    assert " on the held-out data; try " in missed.message
    assert missed.violations == missed.evaluation.violations("held_out")
    assert missed.residuals is not None
    slackness = missed.multipliers["neg_elbo"] * missed.violations["neg_elbo"]
    assert missed.residuals.complementary_slackness == pytest.approx(slackness)

    easy = run(problem=EASY, held_out=SHARE)
    assert (easy.status, easy.message) == (lv.Status.FEASIBLE, "every bound holds on the held-out data")
    assert easy.evaluation is not None
    assert list(easy.evaluation.estimates) == ["train", "held_out", "test"]


def test_what_is_written_is_read_back_and_measured_on_the_same_split(tmp_path: Path) -> None:
    solution = run(tmp_path / "run", EASY, held_out=SHARE, seed=3)
    loaded = lv.load(tmp_path / "run")
    assert (loaded.status, loaded.violations) == (solution.status, solution.violations)
    for found in (lv.evaluate(source, quick=True, seed=3) for source in (tmp_path / "run", solution)):
        assert json.dumps(to_plain(found.as_dict())) == json.dumps(to_plain(loaded.evaluation.as_dict()))  # type: ignore[union-attr]
        assert found["held_out"]["rate"].examples == 450
        assert found["train"]["rate"].examples == 1050
    assert list(lv.evaluate(solution, "digits", quick=True).estimates) == ["train", "test"]  # given: taken as they are


def test_a_part_of_ones_own_may_be_held_out() -> None:
    digits = lv.open_data("digits")
    own = lv.Data("", digits.train.subset(0, 1000), digits.test, held_out=digits.train.subset(1000, 1500))
    solution = run(problem=EASY, data=own)
    assert solution.evaluation is not None
    assert solution.evaluation["held_out"]["rate"].examples == 500
    with pytest.raises(lv.DataError, match=r"expected data to hold out from, got .* of their own; try held_out=0"):
        run(problem=EASY, data=own, held_out=0.1)


def test_without_bounds_nothing_is_measured_while_it_trains() -> None:
    session = build_session(lv.vae(), split_digits(), SETTINGS)
    assert session.held_out is None
    solution = run(problem="min distortion + rate", held_out=SHARE)
    assert solution.evaluation is not None
    assert list(solution.evaluation.estimates) == ["train", "held_out", "test"]


def test_a_bound_relative_to_best_is_relative_to_the_held_out_data() -> None:
    data, problem = split_digits(), lv.Problem.parse("max mi s.t. neg_elbo <= best + 4")
    (resolved,) = resolve_bounds([problem], data, SETTINGS, progress=False)
    vae = run(problem="min distortion + rate", held_out=SHARE)
    assert vae.evaluation is not None
    values = {part: vae.evaluation[part]["neg_elbo"].value for part in ("train", "held_out")}
    assert resolved.constraints["neg_elbo"].bound == pytest.approx(values["held_out"] + 4, rel=1e-6)
    assert abs(values["train"] - values["held_out"]) > 1e-2


def test_too_few_examples_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(lv.DataError, match=r"either side of the split, got 0 held out of 9 \(held_out=0.05\)"):
        run(tmp_path / "run", ONE_BOUND, data=torch.rand(10, 6), held_out=0.05)
    assert list(tmp_path.iterdir()) == []


def test_the_floor_of_an_mmd_is_that_of_the_held_out_batches() -> None:
    """An mmd over 15 held-out examples reads higher than one over a batch of 250."""
    floors = [lv.mmd.floor(latent_dim=2, batch_size=size) for size in (250, 15)]
    problem = f"max mi s.t. mmd <= {sum(floors) / 2}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(problem=problem, epochs=1)
    with pytest.warns(ProblemWarning, match="mmd"):
        run(problem=problem, epochs=1, held_out=0.01)


def test_a_held_out_part_is_checked_and_a_shared_array_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lv.VAE(lv.MLPEncoder((6,), 2, (4,)), lv.MLPDecoder(2, (6,), (4,)), latent_dim=2)
    good = Examples(torch.rand(20, 6))
    with pytest.raises(lv.DataError, match=r"expected values in \[0, 1\] in the data \(held_out\), got 3 at"):
        model.check_data(lv.Data("", good, good.subset(0, 9), held_out=Examples(torch.full((4, 6), 3.0))))
    checked: list[str] = []
    monkeypatch.setattr(lv.Bernoulli, "check", lambda _, examples, *, name: checked.append(name))
    model.check_data(lv.Data("x", good, good.subset(0, 9)).hold_out(0.5, seed=0))
    assert checked == ["x (train)", "x (test)"]
