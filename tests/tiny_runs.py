"""Tiny runs on digits (6 steps an epoch), ways to stop them at a step, and what of a run has to repeat to the bit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lagvae as lv
from lagvae.settings import Settings
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.training.steps.session import Session

PROBLEM = "max mi s.t. neg_elbo <= 45, mmd <= 2e-2"
STEPS = 18
TINY: dict[str, Any] = {
    "hidden": (32,),
    "latent_dim": 2,
    "epochs": 3,
    "log_every": 5,
    "device": "cpu",
    "precision": "float32",
    "progress": False,
}


def settings_of(options: dict[str, Any], **changes: Any) -> Settings:
    """Returns what ``fit`` makes of options, one of which says whether to show progress."""
    named = {name: value for name, value in options.items() if name != "progress"}
    return Settings().replace(**named, **changes)


def run(out: Path | None = None, problem: str = PROBLEM, data: Any = "digits", **changes: Any) -> lv.Solution:
    """Fits a tiny model: 18 steps, a record every 5."""
    return lv.fit(problem, data, out=out, **{**TINY, **changes})


@contextlib.contextmanager
def stopped_after(*steps: int) -> Iterator[None]:
    """While entered, Ctrl-C is pressed when a run has taken one of these steps."""
    take_step = Session.take_step

    def watched(session: Session) -> Tensor:
        values = take_step(session)
        if session.step in steps:
            os.kill(os.getpid(), signal.SIGINT)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "take_step", watched)
        yield


def checkpoint_names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def assert_same_tensors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def metrics(out: Path) -> list[dict[str, Any]]:
    """The log without what the clock says, and without the checksums, which know of it."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [without(json.loads(line), "seconds", "steps_per_second", "checksum") for line in lines]


def evaluation(out: Path) -> dict[str, Any]:
    return without(json.loads((out / "evaluation.json").read_text()), "seconds", "checksum")


def measured(solution: lv.Solution) -> str:
    """A solution's evaluation as text, in which NaN equals NaN (the error of a single batch)."""
    assert solution.evaluation is not None
    return json.dumps(solution.evaluation.as_dict())


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Weights, optimiser, multipliers, random streams, log and evaluation are the same to the bit."""
    tensors, state = load_checkpoint(ours / "checkpoints")
    other_tensors, other_state = load_checkpoint(theirs / "checkpoints")
    assert_same_tensors(tensors, other_tensors)
    assert without(state, "seconds", "log") == without(other_state, "seconds", "log")  # the tensors' SHA-256 among it
    assert metrics(ours) == metrics(theirs)
    assert evaluation(ours) == evaluation(theirs)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
