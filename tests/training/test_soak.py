"""Many steps with a line of the log and a checkpoint now and then take no more memory than few."""

from __future__ import annotations

import mmap
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from lagvae.training.steps.session import Session
from tiny_runs import run

STEPS = 8_000
"""In this test; an hour of the original's steps, at 14 ms each, is 257,000."""
EVERY = 200
TOLERANCE = 200.0
"""Bytes per step by which memory may grow: 50 MB in such an hour. A line of the log, of which there is one in 50 steps,
keeps about 3 kB."""
LEAK = mmap.PAGESIZE
"""Bytes per step that the control leaks: pages of its own, which freed memory cannot stand in for."""

needs_statm = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads /proc for the memory of a process"
)


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(folder: Path, total: int, leak: bool) -> float:
    """Returns the slope of memory over steps, in bytes per step, in the last two thirds of a run."""
    kept: list[mmap.mmap] = []
    data = np.random.default_rng(0).random((40, 6), dtype=np.float32)
    sizes: list[tuple[int, int]] = []
    take_step = Session.take_step

    def watched(session: Session) -> Tensor:
        values = take_step(session)
        if leak:
            kept.append(mmap.mmap(-1, LEAK))
            kept[-1][0] = 1
        if session.step % EVERY == 0 and session.step > total / 3:
            sizes.append((session.step, resident()))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "take_step", watched)
        settings = {
            "batch_size": 18,
            "epochs": total // 2,
            "hidden": (4,),
            "log_every": EVERY,
            "checkpoint_seconds": 0.5,
        }
        found = run(folder, "min rate s.t. distortion <= 4", data, **settings)
    assert found.step == total
    steps, bytes_ = zip(*sizes, strict=True)
    return float(np.polyfit(steps, bytes_, 1)[0])


@needs_statm
@pytest.mark.slow
def test_a_long_run_takes_no_more_memory(tmp_path: Path) -> None:
    # In a process of its own: here the memory that earlier tests freed goes back meanwhile.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        slope = pool.submit(growth, tmp_path / "run", STEPS, False).result()
        leaking = pool.submit(growth, tmp_path / "leaking", 3_000, True).result()
    assert slope < TOLERANCE
    assert leaking > TOLERANCE
    assert leaking == pytest.approx(slope + LEAK, rel=0.5)
