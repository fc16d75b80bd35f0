"""A run that is killed at any moment goes on to the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_runs import assert_same_run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that are forked")


def kill(folder: Path, kills: int, *log_every: int) -> dict[str, int]:
    """Returns run → how often it was killed, after comparing each with the run that was not."""
    driver = [sys.executable, str(Path(__file__).with_name("killing.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*driver, str(folder), str(kills), *map(str, log_every)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    done = json.loads(ended.stdout.splitlines()[-1])
    assert done["kills"] == kills
    for name, every, _ in done["runs"]:
        assert_same_run(folder / name, folder / f"whole-{every}")
    return {name: own for name, _, own in done["runs"]}


@needs_fork
def test_three_kills(tmp_path: Path) -> None:
    assert sum(kill(tmp_path, 3, 1).values()) == 3


@needs_fork
@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    assert sum(kill(tmp_path, 20, 1, 4).values()) == 20
