"""Who trains the points of a dedicated front? An engine: this process, or another one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from lagvae.data.dataset import Data
from lagvae.errors import LagvaeError, ShapeError
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.checkpoint import forget_after, steps_of
from lagvae.storage.folder import RunFolder, claim_folder
from lagvae.training.fit import fitting
from lagvae.training.loop import Company
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.together import Fitting, finish_alone, finish_together


@dataclass(frozen=True)
class Task:
    """A point that is to be trained.

    Attributes:
        index: Its place in the front.
        problem: What it solves, as text.
        settings: Of its run.
        stack: Points with the same number are to be trained together, as one stack.
        out: Folder of its run, where there is one to be: what an earlier session left there is gone on with.
        start: A solution to go on from.
    """

    index: int
    problem: str
    settings: Settings
    stack: int = 0
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


class LocalEngine:
    """Trains points in this process, stack after stack."""

    def train_points(self, tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
        """Yields what came of each task."""
        for stack in in_stacks(tasks):
            is_stopped = False
            for outcome in train_together(stack, shared, observe=observe):
                is_stopped |= outcome.solution is not None and outcome.solution.status is Status.STOPPED
                yield outcome
            if is_stopped:
                return


def in_stacks(tasks: Sequence[Task]) -> list[list[Task]]:
    """Returns the tasks by the stacks that they are to be trained in."""
    ordered = sorted(tasks, key=lambda task: task.stack)
    return [list(stack) for _, stack in groupby(ordered, key=lambda task: task.stack)]


def train_together(tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
    """Trains points here, as one stack: what an engine's workers call for the points that they are given.

    Points that cannot be stacked are trained one after another.

    Yields:
        What came of each, when it ends. Once one was STOPPED, no further ones begin.
    """
    if len(tasks) == 1:
        return _train_each(tasks, shared, observe)
    return _train_stack(tasks, shared, observe)


def _train_stack(tasks: Sequence[Task], shared: Shared, observe: Observer) -> Iterator[Outcome]:
    """Trains points as one stack, from the newest step that all of them have a checkpoint of."""
    reached = [steps_of(RunFolder(task.out).checkpoints) if task.out else set() for task in tasks]
    common = set.intersection(*(steps or {0} for steps in reached))
    for task in tasks:
        if task.out and common:
            forget_after(RunFolder(task.out).checkpoints, max(common))
        observe(task.index, 0.0)
    company, left = Company(models=len(tasks)), dict(enumerate(tasks))
    fittings = [_begin(task, shared, company) for task in tasks]

    def observe_place(place: int, share: float) -> None:
        observe(tasks[place].index, share)

    try:
        for place, result in finish_together(fittings, company, tasks[0].settings.output, observe=observe_place):
            yield _outcome(left.pop(place), result)
    except ShapeError:
        yield from _train_each(list(left.values()), shared, observe)


def _train_each(tasks: Sequence[Task], shared: Shared, observe: Observer) -> Iterator[Outcome]:
    """Trains points one after another."""
    for task in tasks:
        observe(task.index, 0.0)
        outcome = train_alone(task, shared)
        yield outcome
        if outcome.solution is not None and outcome.solution.status is Status.STOPPED:
            return


def train_alone(task: Task, shared: Shared) -> Outcome:
    """Trains one point by a run of its own."""
    try:
        return _outcome(task, finish_alone(_begin(task, shared)))
    except LagvaeError as error:
        return _outcome(task, error)


def _begin(task: Task, shared: Shared, company: Company | None = None) -> Fitting:
    """Starts, or goes on with, a point's run; errors wait until its first step is asked for."""
    folder, begun, resume = None, False, False
    if task.out is not None:
        begun = (task.out / "config.yaml").exists()
        # A run killed before its first checkpoint left nothing to go on with.
        resume = begun and (task.out / "checkpoints").exists()
        folder = claim_folder(task.out, resume=resume, overwrite=begun and not resume, what="run")
    return (
        yield from fitting(
            Problem.parse(task.problem),
            shared.data,
            task.settings,
            model=copy.deepcopy(shared.model) if task.start is None else None,
            start=task.start,
            optimizer=shared.optimizer,
            folder=folder,
            resume=resume,
            overwrite=begun and not resume,
            company=company,
        )
    )


def _outcome(task: Task, result: Solution | LagvaeError) -> Outcome:
    if isinstance(result, Solution):
        return Outcome(task, result)
    return Outcome(task, None, " ".join(str(result).split()))
