"""What a front will cost, before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lagvae.data.dataset import Data
from lagvae.front.dedicated.stacking import Pace
from lagvae.training.progress import format_duration
from lagvae.training.steps.session import Session


@dataclass(frozen=True)
class Plan:
    """A front's cost.

    Attributes:
        method: How its points are found.
        points: How many.
        stack: How many are trained as one.
        steps: Of each run.
        seconds_per_step: Of each point, as timed on a few steps just now.
        memory: Of all that is trained at a time, in bytes: weights, gradients and the optimiser's state; and the data.
    """

    method: str
    points: int
    stack: int
    steps: int
    seconds_per_step: float
    memory: int

    @property
    def seconds(self) -> float:
        """Of training, over all points."""
        return self.points * self.steps * self.seconds_per_step

    def __str__(self) -> str:
        runs = f"{self.points} point{'s' * (self.points != 1)}, {self.method}, {self.steps:,} steps each"
        stacks = f" in stacks of up to {self.stack}" if self.stack > 1 else ""
        return f"{runs}{stacks}: about {format_duration(self.seconds)} of training, {self.memory / 2**20:,.0f} MB"


def make_plan(method: str, points: int, pace: Pace, session: Session, data: Data) -> Plan:
    """Returns what a front will cost.

    Args:
        method: How the points are found.
        points: How many are to be trained.
        pace: How many of them at a time, and how fast.
        session: Like those that will train.
        data: What it trains on.
    """
    weights = sum(weight.numel() * weight.element_size() for weight in session.model.parameters())
    # What is mapped stays in its file.
    arrays = {id(part.values): part.values.nbytes for part in data.parts.values() if isinstance(part.values, Tensor)}
    return Plan(
        method=method,
        points=points,
        stack=pace.stack,
        steps=session.total_steps,
        seconds_per_step=pace.seconds_per_step,
        memory=4 * weights * pace.stack + sum(arrays.values()),
    )
