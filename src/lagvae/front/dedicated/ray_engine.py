"""Trains the points of a front on a Ray cluster, each stack in its own process: ``pip install "lagvae[distributed]"``.

Ray is imported when points are trained, and not before.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lagvae.data.dataset import Data
from lagvae.errors import CheckpointError, SettingError, SolveError, expected
from lagvae.front.dedicated.engine import Observer, Outcome, Shared, Task, in_stacks, train_together
from lagvae.storage.lock import discard_elsewhere
from lagvae.training.interrupt import Interrupt
from lagvae.training.load import load
from lagvae.training.outcome.solution import Solution

LOOK_EVERY = 0.5
"""Seconds between two looks at how far the points are."""

LEAST_STORE = 80 * 2**20
"""Bytes of shared memory without which Ray does not start."""

STARTS = 3
"""How often a cluster of this machine is started, where the machine is too busy for it at first."""

TRIES = 10
"""How often a point is gone on with whose process was killed, or whose machine went away."""


@dataclass(frozen=True)
class RayEngine:
    """Spreads points over the cluster that ``RAY_ADDRESS`` names, or over the cores of this machine.

    A point's folder is all that its process leaves behind, and where another process goes on if it is killed: on a
    cluster of several machines the front's folder, and mapped data, have to lie where all of them see them.

    Attributes:
        cores: Of the machine this starts a cluster on, where ``RAY_ADDRESS`` names none; all if None.
    """

    cores: int | None = None

    def train_points(self, tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
        """Yields what came of each task, in the order in which they end.

        The first Ctrl-C asks every process to finish its step and write a checkpoint.

        Raises:
            SettingError: Ray is not installed, or there is no folder for the points.
            SolveError: Ray does not start.
        """
        if not tasks:
            return
        if any(task.out is None for task in tasks):
            raise SettingError(expected("a folder for points on a cluster", got="none", fix="out='fronts/mine'"))
        ray = _import_ray()
        is_own = not ray.is_initialized()
        if is_own:
            _start(ray, shared.data, self.cores)
        try:
            yield from self._train(ray, tasks, shared, observe)
        finally:
            if is_own:
                ray.shutdown()

    def _train(self, ray: Any, tasks: Sequence[Task], shared: Shared, observe: Observer) -> Iterator[Outcome]:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        train = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TRIES)(train_points)
        sent, threads = ray.put(shared), torch.get_num_threads() if is_local() else 1
        groups = in_stacks(tasks)
        running = {train.remote(list(group), sent, threads): group for group in groups}
        is_asked = False
        with Interrupt() as interrupt:
            while running:
                ended, _ = ray.wait(list(running), timeout=LOOK_EVERY)
                if interrupt.requested and not is_asked:
                    is_asked = True
                    for reference in running:
                        ray.cancel(reference)  # as Ctrl-C, which a run answers with a checkpoint
                for reference in ended:
                    yield from _outcomes(ray, reference, running.pop(reference), shared)
                for task in (task for group in running.values() for task in group):
                    if (share := share_done(task)) is not None:
                        observe(task.index, share)


def train_points(tasks: Sequence[Task], shared: Shared, threads: int) -> dict[int, str]:
    """What a worker does: trains points into their folders; returns place → error of those that failed."""
    torch.set_num_threads(threads)
    for task in tasks:
        discard_elsewhere(_folder(task))  # a point is given to one process at a time: whose lock it was is gone
    outcomes = train_together(tasks, shared, observe=lambda index, share: None)
    return {outcome.task.index: outcome.error for outcome in outcomes if outcome.solution is None}


def share_done(task: Task) -> float | None:
    """Returns the share of its steps that a point has logged; None where its folder is not there yet."""
    log = _folder(task) / "metrics.jsonl"
    if not (_folder(task) / "config.yaml").exists():
        return None
    lines = _end_of(log).splitlines() if log.exists() else []
    for line in reversed(lines):
        try:
            return min(1.0, float(json.loads(line)["epoch"]) / task.settings.primal.epochs)
        except (ValueError, TypeError, KeyError):
            continue  # half a line, at either end
    return 0.0


def is_local() -> bool:
    """Whether the cluster is started here, and for this alone."""
    return not os.environ.get("RAY_ADDRESS")


def _outcomes(ray: Any, reference: Any, tasks: Sequence[Task], shared: Shared) -> Iterator[Outcome]:
    """Reads what a worker left in its points' folders; nothing comes of points that were stopped before they began."""
    try:
        errors: dict[int, str] = ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        errors = {}
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[-300:]
        errors = {task.index: reason for task in tasks if not (_folder(task) / "evaluation.json").exists()}
    for task in tasks:
        if task.index in errors:
            yield Outcome(task, None, errors[task.index])
        elif (solution := _read(task, shared)) is not None:
            yield Outcome(task, solution)


def _read(task: Task, shared: Shared) -> Solution | None:
    try:
        solution = load(_folder(task), model=copy.deepcopy(shared.model))
    except CheckpointError:
        return None
    data = shared.data.hold_out(task.settings.dual.held_out, seed=task.settings.execution.seed)
    return replace(solution, data=data)


def _folder(task: Task) -> Path:
    assert task.out is not None  # asked for before anything begins
    return task.out


def _end_of(path: Path, size: int = 2**16) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        fix = 'pip install "lagvae[distributed]"'
        raise SettingError(expected("ray for this engine", got="no such package", fix=fix)) from error
    return ray


def _start(ray: Any, data: Data, cores: int | None) -> None:
    """Connects to the cluster that ``RAY_ADDRESS`` names, or starts one of this machine's cores for the moment."""
    if not is_local():
        ray.init(log_to_driver=False)
        return
    arrays = {id(part.values): part.values.nbytes for part in data.parts.values() if isinstance(part.values, Tensor)}
    store = LEAST_STORE + 2 * sum(arrays.values())
    reason: Exception | None = None
    for _ in range(STARTS):
        try:
            ray.init(num_cpus=cores, object_store_memory=store, include_dashboard=False, log_to_driver=False)
            return
        except Exception as error:  # Ray waits half a minute for its processes, and then raises no class of its own
            ray.shutdown()
            reason = error
    got = " ".join(str(reason).split())[:200]
    raise SolveError(
        expected("a cluster on this machine", got=got, fix="a less busy machine, or --engine local")
    ) from reason
