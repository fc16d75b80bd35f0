"""What is killed at any moment goes on to the same bits: runs, and fronts of every method."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lagvae.storage.checkpoint import load_checkpoint
from tiny_runs import assert_same_run, assert_same_tensors

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that are forked")


def kill(folder: Path, plan: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Returns what was done, after comparing each run and front with the one that was not disturbed."""
    driver = [sys.executable, str(Path(__file__).with_name("killing.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*driver, str(folder), json.dumps(plan)], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    done = json.loads(ended.stdout.splitlines()[-1])
    for kind, (by_clock, in_writes) in plan.items():
        kills = done[kind]["kills"]
        assert kills.pop("clock") == by_clock
        assert sum(kills.values()) == in_writes
        for name in done[kind]["runs"]:
            same = {"run": assert_same_run, "amortised": assert_same_network}.get(kind, assert_same_points)
            same(folder / name, folder / f"{kind}-whole")
            assert not list((folder / name).rglob(".*")), "something was left over"
    return done


def assert_same_network(ours: Path, theirs: Path) -> None:
    assert_same_tensors(*(load_checkpoint(front / "checkpoints")[0] for front in (ours, theirs)))
    assert described(ours) == described(theirs)


def assert_same_points(ours: Path, theirs: Path) -> None:
    points = sorted(path.name for path in (theirs / "points").iterdir())
    assert sorted(path.name for path in (ours / "points").iterdir()) == points
    for name in points:
        assert_same_run(ours / "points" / name, theirs / "points" / name)
    assert described(ours) == described(theirs)


def described(front: Path) -> Any:
    return without_clock(json.loads((front / "front.json").read_text()))


def without_clock(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: without_clock(v) for name, v in content.items() if name not in ("seconds", "checksum")}
    return list(map(without_clock, content)) if isinstance(content, list) else content


@needs_fork
def test_a_few_kills(tmp_path: Path) -> None:
    kill(tmp_path, {"run": (2, 4)})


@needs_fork
@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    plan = {"run": (36, 28), "amortised": (6, 8), "dedicated": (6, 8), "path": (4, 4)}
    assert sum(map(sum, plan.values())) == 100
    done = kill(tmp_path, plan)
    assert sum(found["kills"]["tensors"] for found in done.values()) == 12
    assert sum(found["cut_writes"] for found in done.values()) >= 12
