"""Which points of a front are trained as one stack, and whether that pays here."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lagvae.duality.lagrangian import Lagrangian
from lagvae.problem.problem import Problem
from lagvae.training.steps.session import Session
from lagvae.training.steps.stack import StackSession, why_no_stack

MOST = {"cpu": 16, "cuda": 64}
"""Models that a stack of automatic size has at most; a processor gains little from more."""
PROBED = 4
"""Models of the stack that is timed."""
WORTH = 1.2
"""Times by which a stack has to be faster per model: less may be the clock's noise."""
WARM, TIMED = 2, 6
"""Steps that are taken to time one: the first ones are slower."""


@dataclass(frozen=True)
class Pace:
    """How points are trained, and how fast.

    Attributes:
        stack: How many as one, at most.
        seconds_per_step: Of each.
    """

    stack: int
    seconds_per_step: float


def group_alike(problems: Sequence[str]) -> list[int]:
    """Returns for each problem the number of its group: those that measure the same terms under as many constraints."""
    groups: dict[object, int] = {}
    found = []
    for text in problems:
        lagrangian = Lagrangian(Problem.parse(text))
        found.append(groups.setdefault((lagrangian.terms, len(lagrangian.names)), len(groups)))
    return found


def number_stacks(problems: Sequence[str], size: int) -> list[int]:
    """Returns for each problem the number of the stack that it is in: of one group, and of at most ``size``."""
    numbers: dict[tuple[int, int], int] = {}
    seen: Counter[int] = Counter()
    found = []
    for group in group_alike(problems):
        found.append(numbers.setdefault((group, seen[group] // size), len(numbers)))
        seen[group] += 1
    return found


def find_pace(problems: Sequence[str], build: Callable[[str], Session], *, size: int | None) -> Pace:
    """Times a few steps of sessions that are of no further use.

    Args:
        problems: What is to be trained.
        build: Builds a session for one of them.
        size: Models of a stack; None to find out whether it pays.

    Returns:
        Of as few stacks as ``MOST`` allows and as even ones as can be, if these pay; of that size where it is given.
    """
    groups = group_alike(problems)
    largest, count = Counter(groups).most_common(1)[0]
    alike = [text for text, group in zip(problems, groups, strict=True) if group == largest]
    alone = build(alike[0])
    if size is None:
        most = MOST.get(alone.device.type, 1)
        size = math.ceil(count / math.ceil(count / most))
        least_gain = WORTH
    else:
        least_gain = 0.0
    seconds = time_step(alone)
    if min(size, count) == 1:
        return Pace(1, seconds)
    sessions = [build(text) for text in alike[: min(size, PROBED)]]
    if why_no_stack(sessions):
        return Pace(1, seconds)
    together = time_step(StackSession(sessions)) / len(sessions)
    return Pace(size, together) if together * least_gain <= seconds else Pace(1, seconds)


def time_step(session: Session | StackSession) -> float:
    """Returns the seconds that a step takes: the shortest of a few."""
    taken = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        session.take_step()
        if session.device.type == "cuda":
            torch.cuda.synchronize(session.device)
        taken.append(time.perf_counter() - began)
    return min(taken[WARM:])
