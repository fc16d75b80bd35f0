"""Starts training processes and kills them: run by test_kill in a process that forks after the slow imports.

    python killing.py FOLDER KILLS LOG_EVERY [LOG_EVERY ...]

trains FOLDER/whole-LOG_EVERY undisturbed, then FOLDER/killed-0, -1, ... with SIGKILL after delays of a fixed seed,
resuming each until it ends and beginning another until there were KILLS kills. Prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import sklearn.datasets  # noqa: F401 (imported by every child otherwise)
import torch

import lagvae.evaluation.evaluate
import lagvae.report.figure
import lagvae.training.fit  # noqa: F401
from lagvae.cli.main import main

PROBLEM = "max mi s.t. neg_elbo <= 45, mmd <= 2e-2"
SETTINGS = [
    "--data",
    "digits",
    "--epochs",
    "10",
    "--hidden",
    "32",
    "--latent-dim",
    "2",
    "--device",
    "cpu",
    "--checkpoint-seconds",
    "0",
    "--quiet",
]


def start(out: Path, log_every: int) -> int:
    """Trains in a child, or goes on where an earlier one was killed; returns its process id."""
    fresh = ["train", PROBLEM, *SETTINGS, "--log-every", str(log_every), "--out", str(out)]
    arguments = ["train", "--resume", str(out), "--quiet"] if (out / "config.yaml").exists() else fresh
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.dup2(os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            status = main(arguments)
        finally:
            os._exit(status)
    return child


def finish(child: int) -> int:
    """Waits for a child; its exit status, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(folder: Path, wanted: int, log_every: list[int]) -> dict[str, object]:
    began = time.monotonic()
    for every in log_every:
        assert finish(start(folder / f"whole-{every}", every)) == 0
    whole = (time.monotonic() - began) / len(log_every)
    delays = random.Random(0)
    runs: list[tuple[str, int, int]] = []
    kills = cut_writes = 0
    while kills < wanted:
        every = log_every[len(runs) % len(log_every)]
        out = folder / f"killed-{len(runs)}"
        own = 0
        while True:
            child = start(out, every)
            if kills < wanted:
                time.sleep(delays.uniform(0, whole / 2))
                os.kill(child, signal.SIGKILL)
            status = finish(child)
            if status == 0:
                break
            if status != -signal.SIGKILL:
                raise SystemExit(f"exit status {status}: {out.with_suffix('.log').read_text()}")
            kills += 1
            own += 1
            cut_writes += any((out / "checkpoints").glob(".*.part"))
        runs.append((out.name, every, own))
    return {"kills": kills, "cut_writes": cut_writes, "runs": runs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # the first optimiser of a process imports much
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), [int(word) for word in sys.argv[3:]])))
