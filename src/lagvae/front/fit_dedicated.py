"""Trains a run for each problem of a front, and keeps what came of each."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lagvae.data.dataset import Data
from lagvae.errors import LagvaeError
from lagvae.front.dedicated import DedicatedFront
from lagvae.front.front import describe_front, read_fields
from lagvae.front.monitor import Monitor
from lagvae.front.plan import make_plan
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.folder import RunFolder
from lagvae.training.build import build_session
from lagvae.training.fit import fit
from lagvae.training.load import load
from lagvae.training.solution import Solution, Status

POINTS = "points"
"""The folder of the runs, in the front's."""


def fit_dedicated(
    problems: Sequence[str],
    opened: Data,
    *,
    method: str,
    settings: Settings,
    model: VAE | None,
    optimizer: OptimizerFactory | None,
    folder: RunFolder | None,
    resume: bool,
    progress: bool,
) -> DedicatedFront:
    """Trains, or goes on training, what :func:`~lagvae.front.fit_front.fit_front` describes."""
    if folder is not None:
        front = {"method": method, "problems": list(problems)}
        config = describe_front(problems[0], opened, settings, model=model, optimizer=optimizer, front=front)
        if resume:
            folder.check_continues(config)
        else:
            folder.clear_points(POINTS)
            folder.create(config)
    made = DedicatedFront(
        points=tuple(FrontPoint(problem, status="waiting") for problem in problems),
        status=Status.STOPPED,
        message="",
        settings=settings,
        data_name=opened.name,
        seconds=0.0,
        steps=0,
        folder=None if folder is None else folder.path,
        data=opened,
        method=method,
        solutions=(None,) * len(problems),
    )
    finished = [_read_finished(made, index) for index in range(len(problems))] if folder is not None else []
    with Monitor(made, show=progress) as monitor:
        if waiting := len(problems) - sum(map(bool, finished)):
            trial = build_session(
                _numbers(problems[0]), opened, settings, model=copy.deepcopy(model), optimizer=optimizer
            )
            monitor.announce(make_plan(method, waiting, trial, opened))
        before: Solution | None = None
        for index, text in enumerate(problems):
            solution = finished[index] if finished else None
            if solution is None:
                monitor.begin(index)
                solution = _train(made, index, text, before, opened, settings, model, optimizer)
                monitor.end(index)
            if solution is not None and solution.status is Status.STOPPED:
                made.message = f"stopped at point {index + 1} of {len(problems)}"
                break
            usable = solution is not None and solution.evaluation is not None
            before = solution if method == "path" and usable else None
        else:
            made.status, made.message = Status.FEASIBLE, _summary(made)
    if made.folder is not None:
        made.write()
    return made


def read_dedicated(folder: RunFolder, content: dict[str, Any], *, data: Data | None) -> DedicatedFront:
    """Returns the front that a folder holds; its runs are read when asked for."""
    return DedicatedFront(**read_fields(folder, content, data=data))


def _train(
    made: DedicatedFront,
    index: int,
    text: str,
    before: Solution | None,
    opened: Data,
    settings: Settings,
    model: VAE | None,
    optimizer: OptimizerFactory | None,
) -> Solution | None:
    """Trains one point and records it; None where an error ended its run."""
    out = _folder_of(made, index)
    begun = out is not None and (out / "config.yaml").exists()
    # A run killed before its first checkpoint left nothing to go on with.
    resume = begun and out is not None and (out / "checkpoints").exists()
    try:
        solution = fit(
            text,
            opened,
            model=copy.deepcopy(model) if before is None else None,
            start=before,
            optimizer=optimizer,
            out=out,
            resume=resume,
            overwrite=begun and not resume,
            settings=settings,
            progress=False,
        )
    except LagvaeError as error:
        _record(made, index, FrontPoint(text, status="failed", message=" ".join(str(error).split())))
        return None
    _record(made, index, _point_of(made, index, solution), solution)
    return solution


def _point_of(made: DedicatedFront, index: int, solution: Solution) -> FrontPoint:
    out = _folder_of(made, index)
    return FrontPoint(
        problem=str(solution.problem),
        status=str(solution.status),
        message=solution.message,
        beta=solution.beta,
        gamma=solution.gamma,
        multipliers=solution.multipliers,
        violations=solution.violations,
        estimates=solution.evaluation.estimates if solution.evaluation else {},
        seconds=solution.seconds,
        folder=None if out is None or made.folder is None else str(out.relative_to(made.folder)),
    )


def _record(made: DedicatedFront, index: int, point: FrontPoint, solution: Solution | None = None) -> None:
    """Puts a point and its run into the front, and into its file."""
    made.points = (*made.points[:index], point, *made.points[index + 1 :])
    made.solutions = (*made.solutions[:index], solution, *made.solutions[index + 1 :])
    made.seconds += point.seconds
    made.steps += solution.step if solution is not None else 0
    if made.folder is not None:
        made.write()


def _read_finished(made: DedicatedFront, index: int) -> Solution | None:
    """Returns the run of a point that reached its end in an earlier session, and records it; None to go on with it."""
    out = _folder_of(made, index)
    if out is None or not (out / "evaluation.json").exists():
        return None
    try:
        solution = load(out)
    except LagvaeError:  # resuming it evaluates it again, or says what is damaged
        return None
    if solution.status is Status.STOPPED:
        return None
    _record(made, index, _point_of(made, index, solution), solution)
    return solution


def _folder_of(made: DedicatedFront, index: int) -> Path | None:
    if made.folder is None:
        return None
    words = re.sub(r"[^a-z0-9.]+", "-", made.points[index].problem.lower()).strip("-.")
    return made.folder / POINTS / f"{index + 1:02d}-{words[:60]}"


def _numbers(text: str) -> Problem:
    """Returns the problem with 0 for bounds relative to best: for timing its steps only."""
    problem = Problem.parse(text)
    return problem.resolve({name: 0.0 for name, c in problem.constraints.items() if c.is_relative})


def _summary(made: DedicatedFront) -> str:
    counts = {status: sum(point.status == status for point in made.points) for status in ("feasible", "infeasible")}
    others = len(made.points) - sum(counts.values())
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    return ", ".join([*parts, *([f"{others} failed or diverged"] if others else [])])
