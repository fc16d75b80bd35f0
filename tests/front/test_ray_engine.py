"""Points on a cluster: the same runs as here, also where a process of it is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lagvae as lv
from lagvae.front.engine import Task
from lagvae.front.ray_engine import RayEngine, share_done
from lagvae.settings import Settings
from small_fronts import SMALL
from tiny_runs import assert_same_run

OPTIONS: dict[str, Any] = {**SMALL, "batch_size": 500, "epochs": 150, "checkpoint_seconds": 0.0}
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


@needs_proc
def test_a_front_on_two_workers_of_which_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("lagvae.front.fit_front.RayEngine", lambda: RayEngine(cores=2))
    before = set(descendants())
    killed: list[int] = []
    is_over = threading.Event()

    def kill_one() -> None:
        """Kills the process of the second point, once that has some checkpoints behind it and most before it."""
        settings = Settings().replace(**{k: v for k, v in OPTIONS.items() if k not in ("progress", "front")})
        while not killed and not is_over.wait(0.02):
            for out in (tmp_path / "ray" / "points").glob("02-*"):
                if 0 < (share_done(Task(1, "", settings, out=out)) or 0.0) < 0.6:
                    at_work = [pid for pid, title in descendants().items() if title.startswith("ray::train_points")]
                    os.kill(max(at_work), signal.SIGKILL)
                    killed.append(max(at_work))

    watcher = threading.Thread(target=kill_one)
    watcher.start()
    try:
        front = lv.fit_front("digits", PROBLEMS, method="dedicated", engine="ray", out=tmp_path / "ray", **OPTIONS)
    finally:
        is_over.set()
        watcher.join()
    assert len(killed) == 1
    assert not set(descendants()) - before  # nobody is left
    here = lv.fit_front("digits", PROBLEMS, method="dedicated", out=tmp_path / "here", **OPTIONS)
    assert [point.status for point in front.points] == [point.status for point in here.points]
    for ours, theirs in zip(front.points, here.points, strict=True):
        assert (ours.problem, ours.multipliers, ours.folder) == (theirs.problem, theirs.multipliers, theirs.folder)
        assert_same_run(tmp_path / "ray" / str(ours.folder), tmp_path / "here" / str(theirs.folder))
    assert (front.status, front.message, front.steps) == (here.status, here.message, here.steps)
    again = lv.fit_front(
        "digits", PROBLEMS, method="dedicated", engine="ray", out=tmp_path / "ray", resume=True, **OPTIONS
    )
    assert again.values() == pytest.approx(front.values())  # nothing was left to do, and no cluster was started


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
    code = "import sys, lagvae.front.fit_front, lagvae.front.ray_engine; print('ray' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
