"""A tracker is no reason for a run to wait, to fail, or to change."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lagvae as lv
from lagvae.settings import Settings
from lagvae.storage.folder import RunFolder
from lagvae.tracking import trackers
from lagvae.tracking.courier import Courier
from lagvae.tracking.tracker import Outcome, Started, TrackedRun
from lagvae.training import run_log
from tiny_runs import assert_same_run, run, stopped_after

LAST_STEP = -1
FRONT: dict[str, Any] = {
    "hidden": (4,), "latent_dim": 2, "epochs": 1, "log_every": 3, "batch_size": 10, "progress": False
}  # fmt: skip


class Notebook:
    """Remembers what it is told."""

    def __init__(self, last_step: int = LAST_STEP) -> None:
        self.last_step = last_step
        self.steps: list[int] = []
        self.scalars: Mapping[str, float] = {}
        self.outcome: Outcome | None = None

    def start(self, run: TrackedRun) -> Started:
        self.run = run
        return Started("n1", "a notebook", self.last_step)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self.steps.append(step)
        self.scalars = scalars

    def finish(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Broken(Notebook):
    """Fails where it is told to, as a full disk does."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _fail_in(self, where: str) -> None:
        if where == self.where:
            with Path("/dev/full").open("w") as full:
                full.write("x")

    def start(self, run: TrackedRun) -> Started:
        self._fail_in("start")
        return super().start(run)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        super().log(step, scalars)
        if step == 10:
            self._fail_in("log")

    def finish(self, outcome: Outcome) -> None:
        self._fail_in("finish")


class Silent(Notebook):
    """Hangs, as a network does."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def start(self, run: TrackedRun) -> Started:
        self.released.wait(60)
        return super().start(run)


@pytest.fixture
def tracked_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every run be tracked by a tracker of the test's, beside those it has."""

    def track(tracker: Any, name: str = "notebook", **options: Any) -> None:
        def start(names: Any, about: TrackedRun) -> list[Courier]:
            return [*trackers.start_trackers(names, about), Courier(name, lambda: tracker, about, **options)]

        monkeypatch.setattr(run_log, "start_trackers", start)

    return track


def test_a_tracker_is_told_everything(tmp_path: Path, tracked_by: Any) -> None:
    notebook = Notebook()
    tracked_by(notebook)
    solution = run(tmp_path / "first", held_out=0.2)
    assert notebook.run.name == "first"
    assert notebook.run.config["problem"] == str(solution.problem)
    assert notebook.steps == [5, 10, 12]  # fewer: a fifth is held out
    last = solution.history[-1]
    for name in ("neg_elbo", "mmd"):
        assert notebook.scalars[f"violation/{name}"] == last["constraints"][name]["violation"]
        assert notebook.scalars[f"multiplier/{name}"] == last["constraints"][name]["multiplier"]
        assert notebook.scalars[f"price/{name}"] == last["constraints"][name]["price"]
    assert notebook.scalars["terms/rate"] == last["terms"]["rate"]
    assert notebook.scalars["held_out/rate"] == last["held_out"]["rate"] != last["terms"]["rate"]
    assert notebook.scalars["weight/distortion"] == last["weights"]["distortion"]
    assert notebook.outcome is not None
    assert notebook.outcome.status == str(solution.status)
    assert solution.evaluation is not None
    assert notebook.outcome.values()["evaluation/test/rate"] == solution.evaluation["test"]["rate"].value
    assert [path.name for path in notebook.outcome.files] == ["config.yaml", "evaluation.json", "metrics.jsonl"]
    assert RunFolder(tmp_path / "first").read_tracked() == {"notebook": {"id": "n1", "where": "a notebook"}}


def test_without_a_folder_numbers_go_to_trackers_alone(tracked_by: Any) -> None:
    notebook = Notebook()
    tracked_by(notebook)
    solution = run()
    assert notebook.run.name == str(solution.problem)
    assert notebook.steps == [5, 10, 15, 18]
    assert notebook.outcome is not None
    assert (notebook.outcome.status, notebook.outcome.files) == (str(solution.status), [])


@pytest.mark.parametrize(("where", "steps"), [("start", []), ("log", [5, 10]), ("finish", [5, 10, 15, 18])])
def test_a_tracker_that_fails_gives_one_warning_and_the_same_run(
    tmp_path: Path, tracked_by: Any, where: str, steps: list[int]
) -> None:
    run(tmp_path / "alone")
    broken = Broken(where)
    tracked_by(broken)
    with pytest.warns(RuntimeWarning, match="expected notebook to track the run, got OSError: .*No space left") as seen:
        run(tmp_path / "run")
    assert len(seen) == 1
    assert "try --resume with --track notebook once that is mended; the run itself goes on" in str(seen[0].message)
    assert broken.steps == steps
    assert_same_run(tmp_path / "run", tmp_path / "alone")


def test_a_tracker_that_hangs_is_left_behind(tmp_path: Path, tracked_by: Any) -> None:
    silent = Silent()
    tracked_by(silent, patience=0.1)
    began = time.monotonic()
    with pytest.warns(RuntimeWarning, match=r"got silence for 0\.1 seconds; try") as seen:
        solution = run(tmp_path / "run")
    assert time.monotonic() - began < 45
    assert len(seen) == 1
    assert solution.evaluation is not None
    silent.released.set()


def test_a_tracker_that_works_gives_no_warning(tmp_path: Path, tracked_by: Any) -> None:
    tracked_by(Notebook())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run(tmp_path / "run")


@pytest.mark.parametrize(("known", "steps"), [(-1, [5, 10, 15, 18]), (5, [10, 15, 18]), (15, [18])])
def test_a_resumed_run_sends_what_the_tracker_lacks(
    tmp_path: Path, tracked_by: Any, known: int, steps: list[int]
) -> None:
    first = Notebook()
    tracked_by(first)
    with stopped_after(12):
        run(tmp_path / "run")
    assert first.steps == [5, 10]
    assert first.outcome is not None
    assert first.outcome.status == "stopped"
    second = Notebook(last_step=known)
    tracked_by(second)
    run(tmp_path / "run", resume=True)
    assert second.run.known_as("notebook") == "n1"
    assert second.run.last_step == 10
    assert second.steps == steps


def test_a_run_that_an_error_ends_is_told_of_as_failed(
    tmp_path: Path, tracked_by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook()
    tracked_by(notebook)

    def refuse(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(RunFolder, "append_metrics", refuse)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        run(tmp_path / "run")
    assert notebook.outcome is not None
    assert (notebook.outcome.status, notebook.outcome.values()) == ("failed", {})


def test_an_amortised_front_is_tracked_too(tmp_path: Path, tracked_by: Any) -> None:
    notebook = Notebook()
    tracked_by(notebook)
    lv.fit_front(torch.rand(66, 4), out=tmp_path / "front", divergence="none", **FRONT)
    assert notebook.steps == [3, 6]
    assert notebook.outcome is not None
    assert "front.json" in [path.name for path in notebook.outcome.files]


def test_a_run_on_two_devices_is_tracked_whole(tmp_path: Path, tracked_by: Any) -> None:
    notebook = Notebook()
    tracked_by(notebook)
    solution = run(tmp_path / "run", devices=2)
    assert notebook.steps == [5, 10, 15, 18]
    assert notebook.outcome is not None
    assert notebook.outcome.status == str(solution.status)
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()  # one process wrote them, as it went
    seen = EventAccumulator(str(events)).Reload().Scalars("terms/rate")
    assert [event.step for event in seen] == [5, 10, 15, 18]


def test_pictures_are_drawn_before_files_are_sent(tmp_path: Path, tracked_by: Any) -> None:
    notebook = Notebook()
    tracked_by(notebook)
    run(tmp_path / "run", draw=lambda solution: (solution.folder / "report.png").write_bytes(b"drawn"))
    assert notebook.outcome is not None
    assert "report.png" in [path.name for path in notebook.outcome.files]


@pytest.mark.parametrize("where", ["a picture", "a front's measurement"])
def test_what_fails_after_the_last_step_ends_the_tracking_too(
    where: str, tmp_path: Path, tracked_by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    notebook = Notebook()
    tracked_by(notebook)
    monkeypatch.setattr("lagvae.front.amortised.fit._measure", fail)
    begin = {
        "a picture": lambda: run(tmp_path / "run", draw=fail),
        "a front's measurement": lambda: lv.fit_front(torch.rand(66, 4), out=tmp_path / "run", **FRONT),
    }
    with pytest.raises(ZeroDivisionError):
        begin[where]()
    assert notebook.outcome is not None
    assert notebook.outcome.status == "failed"
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("lagvae-")]


def test_a_missing_package_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    fix = r"expected mlflow, to track by mlflow, got no such package; try pip install \"lagvae\[track\]\""
    with pytest.raises(lv.SettingError, match=fix):
        run(tmp_path / "run", track="mlflow")
    with pytest.raises(lv.SettingError, match=fix):
        lv.fit_front("digits", out=tmp_path / "run", track=["mlflow"])
    assert list(tmp_path.iterdir()) == []


def test_every_tracker_that_settings_know_has_a_home() -> None:
    trackers.require_trackers(Settings().replace(track=("mlflow", "wandb")).output.track)
    couriers = trackers.start_trackers(("mlflow", "wandb", "mlflow"), TrackedRun({"problem": "min rate"}))
    assert [courier.name for courier in couriers] == ["mlflow", "wandb"]
