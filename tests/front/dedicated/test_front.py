"""A front of runs."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lagvae as lv
from fronts_to_draw import dedicated
from lagvae.errors import DamageWarning
from lagvae.front.dedicated import fit as fit_dedicated
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.model.vae import mlp_vae
from lagvae.storage.lock import LOCK, Holder
from lagvae.training.portable import pack, unpack
from lagvae.training.steps.session import Session
from small_fronts import SMALL
from tiny_runs import assert_same_run, assert_same_tensors

PROBLEMS = ["max mi s.t. neg_elbo <= 40:60:20", "min mi s.t. neg_elbo <= 1"]


def fit(out: Path | None = None, method: str = "dedicated", **changes: Any) -> DedicatedFront:
    """Three points of 9 steps each: bounds at 40 and 60, and one that nothing can keep."""
    options = {**SMALL, "batch_size": 500, "epochs": 3, "data_folder": None, "stack": 1, **changes}
    front = lv.fit_front("digits", PROBLEMS, method=method, out=out, **options)
    assert isinstance(front, DedicatedFront)
    return front


def test_every_point_is_the_run_that_fit_would_make(tmp_path: Path) -> None:
    front = fit(tmp_path / "front")
    assert [point.problem for point in front.points] == [
        "max mutual_information s.t. neg_elbo <= 40",
        "max mutual_information s.t. neg_elbo <= 60",
        "min mutual_information s.t. neg_elbo <= 1",
    ]
    alone = lv.fit(
        front.points[1].problem, "digits", out=tmp_path / "alone", **{**SMALL, "batch_size": 500, "epochs": 3}
    )
    assert front.points[1].folder is not None
    assert_same_run(tmp_path / "front" / front.points[1].folder, tmp_path / "alone")
    assert front.points[1].multipliers == alone.multipliers
    assert front.steps == 27


def test_a_front_reads_as_one_line(tmp_path: Path) -> None:
    front = lv.fit_front(
        "digits", problems="min rate s.t. distortion <= 500:501:1", method="dedicated", epochs=1, **SMALL
    )
    assert repr(front) == "DedicatedFront(2 points, 2 feasible, data='digits')"


def test_infeasible_points_are_kept_and_marked(tmp_path: Path) -> None:
    front = fit(tmp_path)
    assert front.points[2].status == "infeasible"
    assert "missed 'neg_elbo <= 1'" in front.points[2].message
    assert np.isfinite(front.values()).all()
    assert "infeasible" in front.message
    content = json.loads((tmp_path / "front.json").read_text())
    assert [point["status"] for point in content["points"]] == [point.status for point in front.points]


def test_a_run_that_fails_is_a_point_too(tmp_path: Path, fail_at: Callable[[str], None]) -> None:
    fail_at("60")
    front = fit(tmp_path)
    assert (front.points[1].status, front.points[1].message) == ("failed", "expected luck, got none; try again")
    assert np.isnan(front.values()[1]).all()
    assert not front.non_dominated()[1]
    assert "1 failed or diverged" in front.message
    with pytest.raises(lv.SolveError, match="a finished run for"):
        front.solution_at(1)


def test_interrupted_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    count = 0

    take_step = Session.take_step
    with pytest.MonkeyPatch.context() as patch:

        def watched(session: Session) -> Any:
            nonlocal count
            values = take_step(session)
            count += 1
            if count == 8 + 9 + 4:  # timing, the first run, four steps of the second
                os.kill(os.getpid(), signal.SIGINT)
            return values

        patch.setattr(Session, "take_step", watched)
        stopped = fit(tmp_path / "cut")
    assert (stopped.status, stopped.message) == (lv.Status.STOPPED, "stopped at point 2 of 3")
    assert [point.status for point in stopped.points][1:] == ["stopped", "waiting"]
    resumed = fit(tmp_path / "cut", resume=True)
    assert resumed.status is lv.Status.FEASIBLE
    for ours, theirs in zip(resumed.points, whole.points, strict=True):
        assert ours.folder == theirs.folder
        assert_same_run(tmp_path / "cut" / str(ours.folder), tmp_path / "whole" / str(theirs.folder))


def test_a_path_goes_on_from_its_neighbour(tmp_path: Path) -> None:
    front = fit(tmp_path, method="path", log_every=1)
    first, second = front.solution_at(0), front.solution_at(1)
    # The second run begins where the first ended, not at 44 nats of distortion.
    assert second.history[0]["terms"]["distortion"] == pytest.approx(first.history[-1]["terms"]["distortion"], abs=3)
    assert fit(method="dedicated", log_every=1).solution_at(1).history[0]["terms"]["distortion"] > 40


def test_it_is_read_back_and_solves_with_the_best_run_that_keeps_the_bounds(tmp_path: Path) -> None:
    fit(tmp_path / "front")
    front = lv.load_front(tmp_path / "front")
    assert isinstance(front, DedicatedFront)
    reached, distortion = front.values("train", ("neg_elbo", "distortion")).T
    bound, best = reached.max() + 1, int(distortion.argmin())  # kept by all: most information is least distortion
    solution = front.solve(f"max mi s.t. neg_elbo <= {bound}", out=tmp_path / "solved")
    assert solution.status is lv.Status.FEASIBLE
    assert front.points[best].problem in solution.message
    assert lv.load(tmp_path / "solved").violations["neg_elbo"] == pytest.approx(reached[best] - bound)
    missed = front.solve("max mi s.t. neg_elbo <= 2")
    assert missed.status is lv.Status.INFEASIBLE
    assert "comes nearest" in missed.message


def test_a_front_with_held_out_data_is_read_back(tmp_path: Path) -> None:
    front = fit(tmp_path, held_out=0.2)
    again = lv.load_front(tmp_path)
    assert again.data is not None
    assert again.data.held_out is not None
    assert [point.estimates for point in again.points] == [point.estimates for point in front.points]


def test_the_plan_stands_before_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    fit(progress=True)
    shown = capsys.readouterr().err
    assert "likelihood: bernoulli, for bytes" in shown
    assert "9 steps in all, which is few: more --epochs" in shown
    assert "plan: 3 points, dedicated, 9 steps each: about " in shown
    assert shown.index("likelihood:") < shown.index("plan:") < shown.index("point 1/3")
    assert "point 3/3 infeasible: min mutual_information s.t. neg_elbo <= 1" in shown


def test_the_lock_of_a_process_that_was_killed_at_a_points_very_end_is_removed(tmp_path: Path) -> None:
    front = fit(tmp_path)
    assert front.points[0].folder is not None
    lock = tmp_path / front.points[0].folder / LOCK
    lock.write_text(json.dumps(asdict(replace(Holder.here(), boot="an earlier start"))))
    with pytest.warns(DamageWarning, match="ended without a word"):
        resumed = fit(tmp_path, resume=True)
    assert not lock.exists()
    assert resumed.points[0].estimates == front.points[0].estimates


def test_a_point_says_nothing_of_a_problem_that_it_was_not_trained_for() -> None:
    front = fit()
    points = [replace(point, multipliers={"neg_elbo": 2.0}) for point in front.points]
    front.points = tuple(points)
    assert front.solve("max mi s.t. neg_elbo <= 60").multipliers == {"neg_elbo": 2.0}
    assert math.isnan(front.solve("max mi s.t. neg_elbo <= 61").multipliers["neg_elbo"])
    assert math.isnan(front.solve("min mi s.t. neg_elbo <= 60").multipliers["neg_elbo"])


def test_what_ran_away_is_no_solution() -> None:
    front = fit()
    part = front.points[0].estimates["train"]
    lost = {**part, "distortion": replace(part["distortion"], value=1.0), "rate": replace(part["rate"], value=1e10)}
    front.points = (replace(front.points[0], status="diverged", estimates={"train": lost}), *front.points[1:])
    assert front.points[0].problem not in front.solve("min distortion").message
    assert front.solve("min distortion s.t. rate >= best - 1").problem.constraints["rate"].bound < 1e3
    assert not front.non_dominated()[0]
    assert front.hypervolume((1e11, 1e3)) == replace(front, points=front.points[1:]).hypervolume((1e11, 1e3))


def test_points_of_a_model_of_ones_own_are_read_with_it(tmp_path: Path) -> None:
    def own() -> lv.VAE:
        return mlp_vae((1, 8, 8), latent_dim=2, hidden=(20,), generator=torch.Generator().manual_seed(0))

    front = fit(tmp_path / "front", model=own())
    loaded = lv.load_front(tmp_path / "front", model=own())
    solution = loaded.solve("max mi s.t. neg_elbo <= 60", out=tmp_path / "solved")
    assert_same_tensors(solution.model.state_dict(), front.solution_at(1).model.state_dict())
    with pytest.raises(lv.CheckpointError, match=r"the model that .* was trained with, got none"):
        lv.load(tmp_path / "solved")
    assert_same_tensors(unpack(pack(solution), model=own()).model.state_dict(), solution.model.state_dict())
    resumed = fit(tmp_path / "front", model=own(), resume=True)
    assert resumed.steps == front.steps == 27


@pytest.mark.parametrize("method", ["dedicated", "path"])
def test_best_is_the_same_for_every_point_and_probed_once(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[Any] = []
    resolve = fit_dedicated.resolve_bounds

    def counted(problems: Any, *rest: Any, **options: Any) -> Any:
        probed.append(problems)
        return resolve(problems, *rest, **options)

    monkeypatch.setattr(fit_dedicated, "resolve_bounds", counted)
    options: dict[str, Any] = {**SMALL, "batch_size": 500, "epochs": 3, "method": method, "out": tmp_path}
    asked = "min rate s.t. neg_elbo <= best + 1:3:1, rate >= 0.5"
    front = lv.fit_front("digits", asked, **options)
    bounds = [lv.Problem.parse(point.problem).constraints["neg_elbo"].bound for point in front.points]
    assert np.diff(bounds) == pytest.approx([1.0, 1.0])
    assert len(probed) == 1
    resumed = lv.fit_front("digits", asked, resume=True, **options)
    assert [point.problem for point in resumed.points] == [point.problem for point in front.points]
    assert len(probed) == 1


def test_bounds_relative_to_best_contradict_each_other_only_where_best_says_so() -> None:
    """With 0 for best they would: rate <= 1 and rate >= 1.5."""
    options: dict[str, Any] = {**SMALL, "batch_size": 500, "epochs": 3, "method": "dedicated"}
    front = lv.fit_front("digits", ["min distortion s.t. rate <= best + 3, rate >= 1.5"], **options)
    assert front.points[0].estimates


def test_a_front_in_the_place_of_another_leaves_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path)
    for name in ("report.html", "front.png", "front.pdf"):
        (tmp_path / name).write_text("of the first front")

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_dedicated.LocalEngine, "train_points", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("place", ["", "points"])
def test_a_solution_is_not_written_over_its_front(place: str, tmp_path: Path) -> None:
    front = dedicated(tmp_path / "front")
    with pytest.raises(lv.SettingError, match=r"expected a folder beside the front's as --out, got .*; try --out runs"):
        front.solve("min neg_elbo", out=tmp_path / "front" / place, overwrite=True)
    assert lv.load_front(tmp_path / "front", data=front.data).points[0].problem == front.points[0].problem
