"""Trains a run for each problem of a front, and keeps what came of each."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lagvae.data.dataset import Data
from lagvae.errors import CheckpointError, LagvaeError
from lagvae.front.dedicated.engine import Engine, LocalEngine, Observer, Outcome, Shared, Task
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.front.dedicated.monitor import Monitor
from lagvae.front.dedicated.plan import Plan, make_plan
from lagvae.front.dedicated.stacking import find_pace, number_stacks
from lagvae.front.front import describe_front, read_fields
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.files import read_json
from lagvae.storage.folder import FRONT, POINTS, Config, RunFolder
from lagvae.storage.lock import LOCK
from lagvae.training.build import build_session, settle_likelihood
from lagvae.training.load import load
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.probe import resolve_bounds
from lagvae.training.progress import announce
from lagvae.training.steps.session import Session


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
    stack: int | Literal["auto"] | None = None,
    engine: Engine | None = None,
) -> DedicatedFront:
    """Trains, or goes on training, what :func:`~lagvae.front.fit_front.fit_front` describes.

    Points that do not depend on each other are trained by ``engine``, by this process if there is none, up to ``stack``
    of them as one.
    """
    asked = list(problems)
    saved = (folder.read_config().get("front") or {}) if resume and folder is not None else None
    if saved is not None:
        problems = saved.get("resolved", asked)
    else:
        problems = _resolve(asked, opened, settings, model=model, optimizer=optimizer, progress=progress)
    size: int | None = 1
    if method != "path" and settings.execution.devices == 1:
        if saved is not None and not isinstance(stack, int):  # the same stacks give the same bits
            size = saved.get("stack", 1)
        elif stack == "auto":  # elsewhere there are as many workers as points, for all that is known here
            size = None if engine is None else 1
        else:
            size = stack or 1

    def build(text: str) -> Session:
        problem = Problem.parse(text)
        return build_session(problem, opened, settings, model=copy.deepcopy(model), optimizer=optimizer)

    pace = find_pace(problems, build, size=size)
    config: Config | None = None
    if folder is not None:
        front = {"method": method, "problems": asked, **({"stack": pace.stack} if pace.stack > 1 else {})}
        if list(problems) != asked:
            front["resolved"] = list(problems)
        config = describe_front(problems[0], opened, settings, model=model, optimizer=optimizer, front=front)
        if resume:
            folder.check_continues(config)
        else:
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
        config=config,
        model=model,
    )
    before = _read_points(folder) if resume and folder is not None else {}
    finished = [folder is not None and _read_finished(made, index, before) for index in range(len(problems))]
    stacks = number_stacks(problems, pace.stack)
    tasks = [
        Task(index, text, settings, stacks[index], out=_folder_of(made, index))
        for index, text in enumerate(problems)
        if not finished[index]
    ]
    shared = Shared(opened, model, optimizer)

    def introduce() -> Plan:
        first = build(problems[0])
        choice = settle_likelihood(settings, opened)[1] if model is None else None
        announce(opened, first.device, first.dtype, choice=choice, steps=first.total_steps, show=progress)
        return make_plan(method, len(tasks), pace, first, opened)

    plan = introduce() if tasks else None
    with Monitor(made, show=progress) as monitor:
        if plan is not None:
            monitor.announce(plan)
        if method == "path":
            outcomes = _train_path(made, tasks, shared, observe=monitor.observe)
        else:
            outcomes = (engine or LocalEngine()).train_points(tasks, shared, observe=monitor.observe)
        for outcome in outcomes:
            _record(made, outcome.task.index, _point_of(made, outcome), outcome.solution)
            monitor.end(outcome.task.index)
    stopped = [index for index, point in enumerate(made.points) if point.status in (Status.STOPPED, "waiting")]
    if stopped:
        made.message = f"stopped at point {stopped[0] + 1} of {len(problems)}"
    else:
        made.status, made.message = Status.FEASIBLE, _summary(made)
    if made.folder is not None:
        made.write()
    return made


def read_dedicated(
    folder: RunFolder, content: dict[str, Any], *, model: VAE | None, data: Data | None
) -> DedicatedFront:
    """Returns the front that a folder holds; its runs are read when asked for."""
    return DedicatedFront(**read_fields(folder, content, data=data), model=model)


def _resolve(
    asked: Sequence[str],
    opened: Data,
    settings: Settings,
    *,
    model: VAE | None,
    optimizer: OptimizerFactory | None,
    progress: bool,
) -> list[str]:
    """Returns the problems with numbers for bounds relative to best: the same best for all of them, from one probe."""
    problems = [Problem.parse(text) for text in asked]
    if not any(problem.is_relative for problem in problems):
        return list(asked)
    data = opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
    found = resolve_bounds(problems, data, settings, model=model, optimizer=optimizer, progress=progress)
    return list(map(str, found))


def _train_path(made: DedicatedFront, tasks: Sequence[Task], shared: Shared, *, observe: Observer) -> Iterator[Outcome]:
    """Trains one point after another, each from the solution of the one before it, if that has one."""
    for task in tasks:
        before = made.solutions[task.index - 1] if task.index else None
        start = before if before is not None and before.status in (Status.FEASIBLE, Status.INFEASIBLE) else None
        for outcome in LocalEngine().train_points([dataclasses.replace(task, start=start)], shared, observe=observe):
            yield outcome
            if outcome.solution is not None and outcome.solution.status is Status.STOPPED:
                return


def _point_of(made: DedicatedFront, outcome: Outcome) -> FrontPoint:
    solution, out = outcome.solution, outcome.task.out
    if solution is None:
        return FrontPoint(outcome.task.problem, status="failed", message=outcome.error)
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
    made.set_point(index, point)
    made.solutions = (*made.solutions[:index], solution, *made.solutions[index + 1 :])
    made.seconds += point.seconds
    made.steps += solution.step if solution is not None else 0
    if made.folder is not None:
        made.write()


def _read_points(folder: RunFolder) -> dict[str | None, FrontPoint]:
    """Returns the points that ``front.json`` holds, by the folders of their runs; none where it is damaged."""
    with contextlib.suppress(CheckpointError, KeyError, TypeError, ValueError):
        points = map(FrontPoint.from_dict, read_json(folder.path / FRONT)["points"])
        return {point.folder: point for point in points}
    return {}


def _read_finished(made: DedicatedFront, index: int, before: Mapping[str | None, FrontPoint]) -> bool:
    """Records the run of a point that reached its end in an earlier session; False where it is to be gone on with.

    What was measured of it since, as ``before`` has it, is kept.
    """
    out = _folder_of(made, index)
    if out is None or not (out / "evaluation.json").exists():
        return False
    try:
        # Killed after its last file and before it let go of the folder: that lock is nobody's.
        with RunFolder(out).locked() if (out / LOCK).exists() else contextlib.nullcontext():
            solution = load(out, model=copy.deepcopy(made.model))
    except LagvaeError:  # resuming it evaluates it again, or says what is damaged
        return False
    if solution.status is Status.STOPPED:
        return False
    task = Task(index, made.points[index].problem, made.settings, stack=index, out=out)
    point = _point_of(made, Outcome(task, solution))
    known = before[point.folder].estimates if point.folder in before else {}
    estimates = {part: {**known.get(part, {}), **found} for part, found in point.estimates.items()}
    _record(made, index, dataclasses.replace(point, estimates=estimates), solution)
    return True


def _folder_of(made: DedicatedFront, index: int) -> Path | None:
    if made.folder is None:
        return None
    words = re.sub(r"[^a-z0-9.]+", "-", made.points[index].problem.lower()).strip("-.")
    return made.folder / POINTS / f"{index + 1:02d}-{words[:60]}"


def _summary(made: DedicatedFront) -> str:
    counts = {status: sum(point.status == status for point in made.points) for status in ("feasible", "infeasible")}
    others = len(made.points) - sum(counts.values())
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    return ", ".join([*parts, *([f"{others} failed or diverged"] if others else [])])
