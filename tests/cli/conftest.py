"""The command line in this process (fast), and in one of its own (true)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lagvae.cli.main import main

FEASIBLE = "min mi s.t. neg_elbo <= 28, mmd <= 5e-3"
FEASIBLE_SETTINGS = [
    "--data",
    "digits",
    "--epochs",
    "40",
    "--batch-size",
    "100",
    "--learning-rate",
    "5e-3",
    "--hidden",
    "64",
    "--latent-dim",
    "8",
    "--device",
    "cpu",
    "--precision",
    "float32",
]
TINY = [
    "--data",
    "digits",
    "--epochs",
    "1",
    "--hidden",
    "8",
    "--latent-dim",
    "2",
    "--device",
    "cpu",
    "--precision",
    "float32",
    "--quiet",
]
EASY = "min rate s.t. neg_elbo <= 500"


@dataclass
class Answer:
    status: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def lagvae(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: object) -> Answer:
        capsys.readouterr()
        try:
            status = main(list(map(str, words)))
        except SystemExit as end:  # help
            status = int(end.code or 0)
        shown = capsys.readouterr()
        return Answer(status, shown.out, shown.err)

    return run


def process(*words: object, cwd: Path, **environment: str) -> Answer:
    """Runs ``python -m lagvae`` in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "lagvae", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Answer(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A run on digits that reaches its bounds, trained by the command line as it is typed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder / "run", process("train", FEASIBLE, *FEASIBLE_SETTINGS, "--out", "run", cwd=folder)
