"""Who trains the points of a dedicated front? An engine: this process, or another one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lagvae.data.dataset import Data
from lagvae.errors import LagvaeError
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.settings import Settings
from lagvae.training.fit import fit
from lagvae.training.solution import Solution, Status


@dataclass(frozen=True)
class Task:
    """A point that is to be trained.

    Attributes:
        index: Its place in the front.
        problem: What it solves, as text.
        settings: Of its run.
        out: Folder of its run, where there is one to be: what an earlier session left there is gone on with.
        start: A solution to go on from.
    """

    index: int
    problem: str
    settings: Settings
    out: Path | None = None
    start: Solution | None = None


@dataclass(frozen=True)
class Shared:
    """What the points of a front have in common.

    Attributes:
        data: What they train on, opened; nothing of it is held out yet.
        model: The user's own, which is copied for each point; built from a point's settings if there is none.
        optimizer: A function of the weights, in place of the settings' optimiser.
    """

    data: Data
    model: VAE | None = None
    optimizer: OptimizerFactory | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        task: Which one.
        solution: How its run ended; None where an error kept it from ending.
        error: The error in a line, there.
    """

    task: Task
    solution: Solution | None
    error: str = ""


Observer = Callable[[int, float], None]
"""Is told a point's place and the share of its steps that are taken: 0 when it begins."""


class Engine(Protocol):
    """Trains the points of a front, wherever it does so."""

    def train_points(self, tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
        """Yields what came of each task when it ends, in any order; once one was STOPPED, no further ones begin."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Trains points in this process, so many at a time as one stack.

    Attributes:
        stack: How many.
    """

    stack: int = 1

    def train_points(self, tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
        """Yields what came of each task, stack after stack."""
        for first in range(0, len(tasks), self.stack):
            is_stopped = False
            for outcome in train_together(tasks[first : first + self.stack], shared, observe=observe):
                is_stopped |= outcome.solution is not None and outcome.solution.status is Status.STOPPED
                yield outcome
            if is_stopped:
                return


def train_together(tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
    """Trains points here: what an engine's workers call for the points that they are given.

    Yields:
        What came of each, when it ends. Once one was STOPPED, no further ones begin.
    """
    for task in tasks:
        observe(task.index, 0.0)
        outcome = train_alone(task, shared)
        yield outcome
        if outcome.solution is not None and outcome.solution.status is Status.STOPPED:
            return


def train_alone(task: Task, shared: Shared) -> Outcome:
    """Trains one point by a run of its own."""
    begun = task.out is not None and (task.out / "config.yaml").exists()
    # A run killed before its first checkpoint left nothing to go on with.
    resume = begun and task.out is not None and (task.out / "checkpoints").exists()
    try:
        solution = fit(
            task.problem,
            shared.data,
            model=copy.deepcopy(shared.model) if task.start is None else None,
            start=task.start,
            optimizer=shared.optimizer,
            out=task.out,
            resume=resume,
            overwrite=begun and not resume,
            settings=task.settings,
            progress=False,
        )
    except LagvaeError as error:
        return Outcome(task, None, " ".join(str(error).split()))
    return Outcome(task, solution)
