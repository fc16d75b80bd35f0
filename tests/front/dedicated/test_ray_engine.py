"""Points on a cluster: the same runs as here, also where a process of it is killed on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lagvae as lv
from lagvae.front.dedicated import ray_engine
from lagvae.front.dedicated.engine import Task
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.front.dedicated.ray_engine import RayEngine, share_done
from lagvae.settings import Settings
from small_fronts import SMALL
from tiny_runs import assert_same_run

OPTIONS: dict[str, Any] = {**SMALL, "batch_size": 500, "epochs": 600, "checkpoint_seconds": 0.0}
PROBLEMS = ["max mi s.t. neg_elbo <= 40:60:20"]

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds a cluster's processes in /proc")


def parent_of(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


def descendants() -> dict[int, str]:
    """Process → its title, of all that descend from this one."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            pid, title = (
                int(folder.name),
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
            )
            ancestor = parent_of(pid)
            while ancestor not in (0, 1, os.getpid()):
                ancestor = parent_of(ancestor)
        except (OSError, IndexError, ValueError):
            continue  # it ended in between
        if ancestor == os.getpid():
            found[pid] = title
    return found


@contextlib.contextmanager
def once_at_share(out: Path, share: float, act: Callable[[], object]) -> Iterator[list[object]]:
    """While entered, does something when the second point has taken such a share of its steps; yields what it did."""
    task, done, is_over = Task(1, "", Settings().replace(epochs=OPTIONS["epochs"])), [], threading.Event()

    def watch() -> None:
        while not done and not is_over.wait(0.02):
            for folder in (out / "points").glob("02-*"):
                if (share_done(dataclasses.replace(task, out=folder)) or 0.0) >= share:
                    done.append(act())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield done
    finally:
        is_over.set()
        watcher.join()


def kill_a_worker() -> int:
    at_work = [pid for pid, title in descendants().items() if title.startswith("ray::train_points")]
    os.kill(max(at_work), signal.SIGKILL)
    return max(at_work)


@needs_proc
def test_a_front_on_two_workers_is_stopped_goes_on_and_loses_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, then --resume, then SIGKILL to one of two workers: the runs are those of one process left in peace."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("lagvae.front.fit_front.RayEngine", lambda: RayEngine(cores=2))
    before, out = set(descendants()), tmp_path / "ray"

    def fit(out: Path, **options: Any) -> DedicatedFront:
        front = lv.fit_front("digits", PROBLEMS, method="dedicated", out=out, **OPTIONS, **options)
        assert isinstance(front, DedicatedFront)
        return front

    with once_at_share(out, 0.1, lambda: os.kill(os.getpid(), signal.SIGINT)):
        stopped = fit(out, engine="ray")
    assert stopped.status is lv.Status.STOPPED
    assert "stopped" in [point.status for point in stopped.points]
    assert not list(out.glob("points/*/.lock"))
    with once_at_share(out, 0.4, kill_a_worker) as killed:
        front = fit(out, engine="ray", resume=True)
    assert len(killed) == 1
    assert not set(descendants()) - before  # nobody is left

    here = fit(tmp_path / "here")
    assert [point.status for point in front.points] == [point.status for point in here.points]
    for ours, theirs in zip(front.points, here.points, strict=True):
        assert (ours.problem, ours.multipliers, ours.folder) == (theirs.problem, theirs.multipliers, theirs.folder)
        assert_same_run(out / str(ours.folder), tmp_path / "here" / str(theirs.folder))
    assert (front.status, front.message, front.steps) == (here.status, here.message, here.steps)
    monkeypatch.setitem(sys.modules, "ray", None)  # nothing is left to do, and nothing is asked for
    assert fit(out, engine="ray", resume=True).values() == pytest.approx(front.values())


def test_how_far_a_point_is_stands_in_its_log(tmp_path: Path) -> None:
    task = Task(0, "min rate", Settings().replace(epochs=20), out=tmp_path)
    assert share_done(task) is None
    (tmp_path / "config.yaml").touch()
    assert share_done(task) == 0.0
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 5.0}\n{"step": 2, "epoch": 10.0}\n{"st')
    assert share_done(task) == 0.5
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 5.0}\n' + f'{{"pad": "{"x" * 70000}"}}\n')
    assert share_done(task) == 0.0  # a line that is longer than what is looked at


def test_without_ray_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(lv.SettingError, match=r'expected ray .*, got no such package; try pip install "lagvae\[dist'):
        lv.fit_front("digits", PROBLEMS, method="dedicated", engine="ray", out=tmp_path / "front", **OPTIONS)


class BusyRay:
    """A Ray that starts at the last attempt, or never."""

    def __init__(self, starts_at: int) -> None:
        self.starts_at, self.attempts, self.ends = starts_at, 0, 0

    def init(self, **_: object) -> None:
        self.attempts += 1
        if self.attempts < self.starts_at:
            raise Exception("The current node timed out\nduring startup.")

    def shutdown(self) -> None:
        self.ends += 1


def test_a_busy_machine_is_given_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data = lv.open_data("digits")
    slow = BusyRay(starts_at=3)
    ray_engine._start(slow, data, 2)
    assert (slow.attempts, slow.ends) == (3, 2)
    with pytest.raises(lv.SolveError, match="a cluster on this machine, got The current node timed out during"):
        ray_engine._start(BusyRay(starts_at=9), data, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "rya", "method": "dedicated"}, "expected an engine, got 'rya'; try 'ray'"),
        (
            {"engine": "ray", "method": "path"},
            "points that do not wait for each other, got path; try --method dedicated",
        ),
        ({"engine": "ray"}, "points that do not wait for each other, got amortised"),
        ({"engine": "ray", "method": "dedicated"}, "expected a folder for points on a cluster, got none; try out="),
    ],
)
def test_what_cannot_be_spread_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(lv.SettingError, match=message):
        lv.fit_front("digits", PROBLEMS, **{**OPTIONS, **options})


def test_ray_is_imported_only_where_points_are_trained_on_it() -> None:
    code = "import sys, lagvae.front.fit_front, lagvae.front.dedicated.ray_engine; print('ray' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
