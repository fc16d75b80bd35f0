"""Front: the solutions of many problems, whichever way they were found."""

from __future__ import annotations

import importlib.util
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lagvae.data.dataset import Data
from lagvae.errors import DataError, ProblemError, SettingError, expected
from lagvae.evaluation.assess import assess_information
from lagvae.front.pareto import hypervolume, non_dominated
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.files import write_json, write_whole
from lagvae.storage.folder import FRONT, POINTS, TABLE, Config, RunFolder, make_config, settings_of
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.progress import staged_progress

COORDINATES = ("distortion", "rate")
"""What is traded against each other: both are pushed down, in nats per example.

At a neg_elbo that is kept, most information is least distortion and least information is least rate: both
branches of the paper's figure are one front of these two.
"""


@dataclass(repr=False)
class Front(ABC):
    """Solutions of many problems on the same data.

    Attributes:
        points: Every one, infeasible and failed ones too.
        status: How the training of the front as a whole ended; FEASIBLE where nothing went wrong.
        message: The same in a sentence.
        settings: Of every run.
        data_name: Of the data set; empty for arrays in memory.
        seconds: Spent training, over all points and sessions.
        steps: Taken, likewise.
        folder: Where it was written, if it was.
        data: What it was trained on, where it is at hand.
        method: How points were found: ``amortised``, ``dedicated`` or ``path``.
        config: What was asked for, as ``config.yaml`` holds it.
    """

    points: tuple[FrontPoint, ...]
    status: Status
    message: str
    settings: Settings
    data_name: str
    seconds: float
    steps: int
    folder: Path | None = None
    data: Data | None = field(default=None, repr=False)
    method: str = ""
    config: Config | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """In a line: the points themselves fill pages."""
        kept = sum(point.status == Status.FEASIBLE for point in self.points)
        where = f", folder={str(self.folder)!r}" if self.folder else ""
        data = f", data={self.data_name!r}" if self.data_name else ""
        return f"{type(self).__name__}({len(self.points)} points, {kept} feasible{data}{where})"

    @abstractmethod
    def solve(self, problem: Problem | str) -> Solution:
        """Returns the solution of a problem that the front holds."""

    @abstractmethod
    def model_of(self, index: int) -> VAE | None:
        """Returns a point's model; None where there is none, or none that can be built without the user."""

    def measure_information(self, *, seed: int = 0, progress: bool = False) -> None:
        """Measures how much information the codes of every point carry, and adds that to its estimates.

            mutual_information_lower ≤ I_q(x;z) ≤ mutual_information

        As :func:`~lagvae.evaluation.assess.assess_information` does: by the mixture of all posteriors, which never
        reads above log N, and by a density fitted to the codes, on the front's own data. It takes some half minute a
        point on MNIST. A front that has a folder is written after each point; points that were measured before are
        left alone.

        Args:
            seed: Of everything that is drawn.
            progress: Whether to show a bar on a terminal.

        Raises:
            DataError: The data are not at hand.
            ProblemError: No point has a model that can be built without the user's own.
        """
        if self.data is None:
            raise DataError(expected("the front's data to measure on", got="none", fix="load_front(folder, data=...)"))
        for index, point in enumerate(self.points):
            if not point.estimates or point.has_information or (model := self.model_of(index)) is None:
                continue
            with staged_progress(show=progress, before=f"point {index + 1} of {len(self.points)}: ") as stage:
                found = assess_information(model, self.data, seed=seed, stage=stage)
            estimates = {part: {**known, **found.get(part, {})} for part, known in point.estimates.items()}
            self.set_point(index, replace(point, estimates=estimates))
            if self.folder is not None:
                self.write()
        if self.parts and not any(point.has_information for point in self.points):
            fix = "load_front(folder, model=my_vae)"
            raise ProblemError(expected("points whose codes can be looked at", got=self.message, fix=fix))

    def set_point(self, index: int, point: FrontPoint) -> None:
        """Puts a point in the place of another."""
        self.points = (*self.points[:index], point, *self.points[index + 1 :])

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the data that points were measured on."""
        return next((tuple(point.estimates) for point in self.points if point.estimates), ())

    def judged(self, on: str | None = None) -> str:
        """Returns the part that bounds are to hold on: the one that is named, else held_out, or train.

        Raises:
            DataError: There is no such part, or it is the test part: what is chosen by it is no test any more.
        """
        part = on or ("held_out" if "held_out" in self.parts else "train")
        if part == "test" or (self.parts and part not in self.parts):
            fix = "a front that was fitted with held_out=0.1"
            raise DataError(expected("train or held_out", got=f"'{part}'", fix=fix))
        return part

    def check_out(self, out: str | Path | None) -> None:
        """Raises SettingError where a solution would be written over the front that it is of."""
        if out is None or self.folder is None:
            return
        home = self.folder.resolve()
        if Path(out).resolve() in (home, home / POINTS):
            fix = "--out runs/from-front"
            raise SettingError(expected("a folder beside the front's as --out", got=str(out), fix=fix))

    def values(self, part: str = "train", names: tuple[str, ...] = COORDINATES) -> Float[np.ndarray, "points names"]:
        """Returns every point's estimates; NaN where a point has none."""
        rows = [[point.value(name, part) for name in names] for point in self.points]
        return np.array(rows, dtype=float).reshape(len(rows), len(names))

    def non_dominated(self, part: str = "train") -> Bool[np.ndarray, " points"]:
        """Returns which points no other one beats in distortion and rate.

        Points that were not measured, or that diverged, count as beaten.
        """
        values = self.values(part)
        measured = self._is_solution(values)
        found = measured.copy()
        found[measured] = non_dominated(values[measured])
        return found

    def hypervolume(self, reference: tuple[float, float], part: str = "train") -> float:
        """Returns the area, in nats², that the points dominate in (distortion, rate) up to a reference point."""
        values = self.values(part)
        return hypervolume(values[self._is_solution(values)], reference=reference)

    def _is_solution(self, values: Float[np.ndarray, "points names"]) -> Bool[np.ndarray, " points"]:
        return np.isfinite(values).all(-1) & np.array([point.is_solution for point in self.points], dtype=bool)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything in plain types: the content of ``front.json``."""
        return {
            "method": self.method,
            "status": str(self.status),
            "message": self.message,
            "data": self.data_name,
            "seconds": self.seconds,
            "steps": self.steps,
            "coordinates": list(COORDINATES),
            "points": [
                {**point.as_dict(), "non_dominated": {part: bool(flags[index]) for part, flags in shown.items()}}
                for shown in [{part: self.non_dominated(part) for part in self.parts}]
                for index, point in enumerate(self.points)
            ],
        }

    def rows(self) -> list[dict[str, str | float | None]]:
        """Returns a flat row for each point: what it solves, its weights, every estimate and its standard error."""
        measured = {
            part: dict.fromkeys(name for point in self.points for name in point.estimates.get(part, {}))
            for part in self.parts
        }
        rows = []
        for point in self.points:
            row: dict[str, str | float | None] = {
                "problem": point.problem,
                "status": point.status,
                "beta": point.beta,
                "gamma": point.gamma,
                "seconds": point.seconds,
                "folder": point.folder,
            }
            for part, names in measured.items():
                for name in names:
                    found = point.estimates.get(part, {}).get(name)
                    row[f"{part} {name}"] = None if found is None else found.value
                    row[f"{part} {name} standard error"] = None if found is None else found.standard_error
            row |= {f"multiplier {name}": value for name, value in point.multipliers.items()}
            rows.append({**row, **{f"violation {name}": value for name, value in point.violations.items()}})
        return rows

    def write(self) -> None:
        """Writes ``points.parquet`` into the front's folder, where pyarrow is installed, and then ``front.json``.

        In that order: a front that has its ``front.json`` is a finished one, which ``--resume`` only reads.
        """
        assert self.folder is not None
        if self.points and importlib.util.find_spec("pyarrow") is not None:
            import pyarrow
            import pyarrow.parquet

            rows = self.rows()
            names = dict.fromkeys(name for row in rows for name in row)
            table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
            content = io.BytesIO()
            pyarrow.parquet.write_table(table, content)
            write_whole(self.folder / TABLE, content.getvalue())
        write_json(self.folder / FRONT, self.as_dict())


def describe_front(
    problem: object,
    opened: Data,
    settings: Settings,
    *,
    model: object | None,
    optimizer: object | None,
    front: dict[str, Any],
) -> Config:
    """Returns the content of a front's ``config.yaml``; ``front`` is what makes it one."""
    return make_config(
        problem,
        opened.name,
        opened.fingerprint(),
        settings,
        event_shape=opened.train.event_shape,
        custom=[name for name, given in {"model": model, "optimizer": optimizer}.items() if given is not None],
        names=opened.names.as_dict(),
        front=front,
    )


def member_config(config: Config | None, problem: Problem) -> Config | None:
    """Returns the content of ``config.yaml`` for a solution that was found on a front rather than by a run.

    Args:
        config: Of the front, or of the run that one of its points is.
        problem: What it solves.
    """
    if config is None:
        return None
    own = {name: value for name, value in config.items() if name not in ("front", "asked")}
    custom = [name for name in own["custom"] if name != "front"]
    return {**own, "problem": str(problem), "custom": ["front", *custom]}


def read_fields(folder: RunFolder, content: dict[str, Any], *, data: Data | None) -> dict[str, Any]:
    """Returns what ``front.json`` holds of any front, by the names of its attributes."""
    config = folder.read_config()
    return {
        "points": tuple(map(FrontPoint.from_dict, content["points"])),
        "status": Status(content["status"]),
        "message": content["message"],
        "settings": settings_of(config),
        "data_name": content["data"],
        "seconds": content["seconds"],
        "steps": content["steps"],
        "folder": folder.path,
        "data": data,
        "method": content["method"],
        "config": config,
    }
