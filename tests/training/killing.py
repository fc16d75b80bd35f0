"""Starts training processes and kills them: run by test_kill in a process that forks after the slow imports.

    python killing.py FOLDER '{"run": [40, 30], "amortised": [6, 6], ...}'

trains FOLDER/KIND-whole undisturbed, then FOLDER/KIND-0, -1, ... with SIGKILL, resuming each until it ends and
beginning another until there were so many kills of either sort: by the clock, after delays of a fixed seed; and in the
middle of a write, where the child sends the signal to itself. Prints what it did as JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

import lagvae as lv
import lagvae.evaluation.evaluate
import lagvae.front.fit_front
import lagvae.training.fit
from lagvae.storage import checkpoint, metrics

TINY: dict[str, Any] = {
    "hidden": (16,),
    "latent_dim": 2,
    "batch_size": 50,
    "checkpoint_seconds": 0.0,
    "device": "cpu",
    "progress": False,
}
PROBLEM = "max mi s.t. neg_elbo <= 45, mmd <= 5e-2"
RANGE = "min mi s.t. neg_elbo <= 40:42:1"


def train(kind: str, data: lv.Data, out: Path, *, resume: bool) -> None:
    if kind == "run":
        lv.fit(PROBLEM, data, out=out, resume=resume, epochs=5, log_every=3, **TINY)
    elif kind == "amortised":
        lv.fit_front(data, out=out, resume=resume, epochs=5, log_every=3, divergence="none", **TINY)
    else:
        lv.fit_front(data, RANGE, method=kind, out=out, resume=resume, epochs=2, log_every=3, **TINY)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def arm(where: str, count: int) -> None:
    """Has this process killed in its ``count``-th write of a sort: when half of the bytes are on the disk."""
    left = count

    def is_time() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if is_time():
                die()
            return function(*args, **kwargs)

        return wrapper

    if where == "tensors":

        def half_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
            content = save(tensors)
            path.write_bytes(content[: len(content) // 2] if is_time() else content)
            if left == 0:
                die()

        checkpoint.save_file = half_tensors
    elif where == "file":
        fsync = os.fsync

        def cut(handle: int) -> None:
            if is_time():
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    with contextlib.suppress(OSError):  # what was opened to be read
                        os.ftruncate(handle, os.fstat(handle).st_size // 2)
                die()
            fsync(handle)

        os.fsync = cut
    elif where == "line":
        append = metrics.MetricsLog.append

        def half_line(log: metrics.MetricsLog, record: dict[str, Any]) -> None:
            size = log.path.stat().st_size if log.path.exists() else 0
            append(log, record)
            if is_time():
                os.truncate(log.path, (size + log.path.stat().st_size) // 2)
                die()

        metrics.MetricsLog.append = half_line  # type: ignore[method-assign]
    else:  # between the calls that change a disk
        os.fsync = before(os.fsync)
        shutil.rmtree = before(shutil.rmtree)  # type: ignore[assignment]
        for method in ("mkdir", "rename", "replace", "unlink"):
            setattr(Path, method, before(getattr(Path, method)))


def start(kind: str, data: lv.Data, out: Path, armed: tuple[str, int] | None = None) -> int:
    """Trains in a child, or goes on where an earlier one was killed; returns its process id."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.dup2(os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            resume = (out / "config.yaml").exists()
            if armed:
                arm(*armed)
            train(kind, data, out, resume=resume)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def finish(child: int) -> int:
    """Waits for a child; its exit status, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


WRITES = {"tensors": 12, "file": 40, "line": 10, "call": 60}
"""Sorts of writes, and about how many of each there are in a run."""


def run(folder: Path, kind: str, by_clock: int, in_writes: int, data: lv.Data) -> dict[str, Any]:
    began = time.monotonic()
    assert finish(start(kind, data, folder / f"{kind}-whole")) == 0, (folder / f"{kind}-whole.log").read_text()
    whole = time.monotonic() - began
    chance = random.Random(kind)
    planned = [None] * by_clock + [list(WRITES)[index % len(WRITES)] for index in range(in_writes)]
    chance.shuffle(planned)
    runs: list[str] = []
    done = {"clock": 0, **dict.fromkeys(WRITES, 0)}
    cut_writes = 0
    while planned:
        out = folder / f"{kind}-{len(runs)}"
        while True:
            where = planned[-1] if planned else None
            armed = (where, chance.randint(1, WRITES[where])) if where else None
            child = start(kind, data, out, armed)
            if planned and where is None:
                time.sleep(chance.uniform(0, 0.8 * whole))
                os.kill(child, signal.SIGKILL)
            status = finish(child)
            if status == 0:
                break  # an armed one may have had fewer writes left than that: the next run is tried
            if status != -signal.SIGKILL:
                raise SystemExit(f"{kind}: exit status {status}: {out.with_suffix('.log').read_text()}")
            planned.pop()
            done[where or "clock"] += 1
            cut_writes += any(out.rglob(".*.part"))
        runs.append(out.name)
    return {"kills": done, "cut_writes": cut_writes, "runs": runs}


def small_data() -> lv.Data:
    digits = lv.open_data("digits")
    return dataclasses.replace(digits, train=digits.train.subset(0, 300), test=digits.test.subset(0, 50))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # the first optimiser of a process imports much
    opened = small_data()
    plan = json.loads(sys.argv[2])
    print(json.dumps({kind: run(Path(sys.argv[1]), kind, *kills, opened) for kind, kills in plan.items()}))
