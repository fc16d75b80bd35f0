"""What a front will cost, before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from lagvae.data.dataset import Data
from lagvae.training.session import Session

WARM, TIMED = 2, 6
"""Steps that are taken to time one: the first ones are slower."""


@dataclass(frozen=True)
class Plan:
    """A front's cost.

    Attributes:
        method: How its points are found.
        points: How many.
        steps: Of each run.
        seconds_per_step: As timed on a few steps just now.
        memory: Of one run at a time, in bytes: weights, gradients and the optimiser's state; and the data.
    """

    method: str
    points: int
    steps: int
    seconds_per_step: float
    memory: int

    @property
    def seconds(self) -> float:
        """Of training, over all points."""
        return self.points * self.steps * self.seconds_per_step

    def __str__(self) -> str:
        runs = f"{self.points} point{'s' * (self.points != 1)}, {self.method}, {self.steps:,} steps each"
        return f"{runs}: about {format_duration(self.seconds)} of training, {self.memory / 2**20:,.0f} MB"


def make_plan(method: str, points: int, session: Session, data: Data) -> Plan:
    """Times a few steps of a session that is of no further use.

    Args:
        method: How the points are found.
        points: How many are to be trained.
        session: Like those that will train; its weights are moved.
        data: What it trains on.
    """
    for _ in range(WARM):
        session.take_step()
    began = time.monotonic()
    for _ in range(TIMED):
        session.take_step()
    weights = sum(weight.numel() * weight.element_size() for weight in session.model.parameters())
    # What is mapped stays in its file.
    arrays = {id(part.values): part.values.nbytes for part in data.parts.values() if isinstance(part.values, Tensor)}
    return Plan(
        method=method,
        points=points,
        steps=session.total_steps,
        seconds_per_step=(time.monotonic() - began) / TIMED,
        memory=4 * weights + sum(arrays.values()),
    )


def format_duration(seconds: float) -> str:
    """Writes seconds, minutes or hours, to two digits."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
