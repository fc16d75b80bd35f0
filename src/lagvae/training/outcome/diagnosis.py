"""Why a bound was missed, how near the run came, and what would make it feasible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from lagvae.duality.sensitivity import active_constraints
from lagvae.errors import ProblemError
from lagvae.problem.problem import Problem
from lagvae.terms.algebra import Constraint, Sense
from lagvae.training.outcome.course import Course
from lagvae.training.progress import format_value, short_exponent
from lagvae.training.record import Record

Cause = Literal["floor", "unsettled", "approaching", "growing", "limit", "flat", "front", "unknown"]

COARSEST = 0.02
"""How far a suggested bound may lie outside what was reached, relative to it, for the sake of fewer digits."""
LEAST_OVER_FLOOR = 1.2
"""How far over what a perfect model measures a bound is suggested where a lucky run came out below that."""
LONGEST = 3.0
"""How many times its own length a run may have to go on, at its last speed, for more epochs to be advised."""


@dataclass(frozen=True)
class Diagnosis:
    """A bound that was out of reach at this budget. Values are in its unit, on the data that the run is judged by.

    Attributes:
        name: The constraint's name.
        value: As evaluated at the end.
        violation: How far beyond the bound that is.
        best: The best mean over a log interval: nearest to the bound, or deepest inside it.
        best_epoch: At the end of that interval.
        multiplier: Its history in one line.
        cause: The first that holds of ``floor`` (a perfect model would miss the bound, because of its
            estimator's bias), ``unsettled`` (met in the run's second half, and lost), ``approaching`` (still coming
            nearer at the end), ``growing`` (the multiplier still was), ``limit`` (the multiplier was at its
            largest) and ``flat``; ``front`` where the problem was solved on a front that does not reach it,
            ``unknown`` where the log is gone.
        why: The cause in words.
        reachable: A bound with few digits that this very model meets; None if the value is not finite.
        epochs: A budget that may meet the bound; None where more epochs promise little.
        conflicts: The names of the other active constraints: loosening one of them may help.
    """

    name: str
    value: float
    violation: float
    best: float
    best_epoch: float
    multiplier: str
    cause: Cause
    why: str
    reachable: float | None
    epochs: int | None
    conflicts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in plain types."""
        return asdict(self)

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Diagnosis:
        """Reads back what ``as_dict`` returns, by way of JSON, which has no NaN and no tuples."""
        numbers = {name: math.nan for name in ("value", "violation", "best", "best_epoch") if fields[name] is None}
        return Diagnosis(**{**fields, **numbers, "conflicts": tuple(fields["conflicts"])})


def diagnose(
    problem: Problem,
    missed: Sequence[str],
    *,
    violations: Mapping[str, float],
    multipliers: Mapping[str, float],
    largest: Mapping[str, float],
    history: Sequence[Record],
    latent_dim: int,
    batch_size: int,
) -> tuple[Diagnosis, ...]:
    """Explains every missed constraint.

    Args:
        problem: What was to be solved.
        missed: Names of the constraints to explain.
        violations: Name → violation of every constraint, as evaluated.
        multipliers: Name → final multiplier.
        largest: Name → the largest |λ| that the rule allows.
        history: The run's log; what it would tell is left out where it is gone.
        latent_dim: Dimensions of the codes, on which an estimator's floor depends.
        batch_size: Examples per step, likewise.
    """
    active = active_constraints(problem, multipliers, violations)
    found = []
    for name in missed:
        constraint = problem.constraints[name]
        if not history:
            found.append(_without_log(constraint, name, violations[name], multipliers[name]))
            continue
        course = Course.of(constraint, name, history, largest=largest[name])
        value = constraint.bound + constraint.sign * violations[name]
        cause, why = _find_cause(course, violations[name], latent_dim=latent_dim, batch_size=batch_size)
        floor = constraint.floor(latent_dim=latent_dim, batch_size=batch_size)
        nearest = LEAST_OVER_FLOOR * floor if constraint.sense == "<=" and 0 < value < floor else value
        found.append(
            Diagnosis(
                name=name,
                value=value,
                violation=violations[name],
                best=course.values[course.best],
                best_epoch=course.epochs[course.best],
                multiplier=course.describe_multiplier(),
                cause=cause,
                why=why,
                reachable=round_outward(nearest, constraint) if math.isfinite(value) else None,
                epochs=_longer(course, violations[name]) if cause in ("unsettled", "approaching", "growing") else None,
                conflicts=tuple(other for other in active if other != name),
            )
        )
    return tuple(found)


def _without_log(constraint: Constraint, name: str, violation: float, multiplier: float) -> Diagnosis:
    value = constraint.bound + constraint.sign * violation
    return Diagnosis(
        name=name,
        value=value,
        violation=violation,
        best=value,
        best_epoch=math.nan,
        multiplier=f"{multiplier:.3g} at the end",
        cause="unknown",
        why="its log is gone",
        reachable=round_outward(value, constraint) if math.isfinite(value) else None,
        epochs=None,
    )


def within_reach(problem: Problem, diagnosis: Sequence[Diagnosis]) -> Problem | None:
    """Returns the problem with the missed bounds moved to what the run reached: its own model solves it.

    None where a bound has no such value, or where rounded bounds contradict each other.
    """
    bounds = {found.name: found.reachable for found in diagnosis}
    constraints = []
    for name, constraint in problem.constraints.items():
        bound = bounds.get(name, constraint.bound)
        if bound is None:
            return None
        constraints.append(Constraint(constraint.quantity, constraint.sense, bound))
    try:
        return Problem(problem.objective, constraints)
    except ProblemError:
        return None


def summarize(problem: Problem, diagnosis: Sequence[Diagnosis], *, where: str = "") -> str:
    """Returns which bounds were missed, by how much, and what to try, in one line."""
    missed = [f"'{problem.constraints[found.name]}' by {format_value(abs(found.violation))}" for found in diagnosis]
    epochs = max((found.epochs for found in diagnosis if found.epochs is not None), default=None)
    reachable = within_reach(problem, diagnosis)
    bounds = [str(reachable.constraints[found.name]) for found in diagnosis] if reachable else []
    remedies = [budget(epochs, diagnosis[0].cause)] if epochs else []
    remedies.append(f"'{', '.join(bounds)}'" if bounds else "wider bounds")
    return f"missed {', '.join(missed)}{where}; try {' or '.join(remedies)}"


def budget(epochs: int, cause: Cause) -> str:
    """Returns a longer training in words: of what missed the bound."""
    return f"a front of {epochs} epochs" if cause == "front" else f"{epochs} epochs"


def round_outward(value: float, constraint: Constraint) -> float:
    """Returns a bound with few digits for the constraint's quantity and sense that ``value`` meets.

    It lies at most 2 % outside; for ``==`` within half the tolerance, on either side.
    """
    roundings: dict[Sense, str] = {"<=": ROUND_CEILING, ">=": ROUND_FLOOR, "==": ROUND_HALF_EVEN}
    allowed = constraint.tolerance / 2 if constraint.is_equality else COARSEST * abs(value)
    exact = Decimal(f"{value:.10g}")  # the digits beyond are arithmetic's
    for digits in range(1, 17):
        last = Decimal(1).scaleb(exact.adjusted() - digits + 1)
        rounded = exact.quantize(last, rounding=roundings[constraint.sense])
        if abs(float(rounded - exact)) <= allowed:
            return float(rounded)
    return value


def _find_cause(course: Course, violation: float, *, latent_dim: int, batch_size: int) -> tuple[Cause, str]:
    constraint = course.constraint
    if constraint.is_below_floor(latent_dim=latent_dim, batch_size=batch_size):
        floor = constraint.floor(latent_dim=latent_dim, batch_size=batch_size)
        sizes = f"{batch_size} examples, {latent_dim} dimensions"
        return "floor", f"a perfect q(z) measures {format_value(floor)} (biased estimate, {sizes})"
    if course.met_late is not None:
        return "unsettled", f"it was met at epoch {course.epochs[course.met_late]:.3g}, and lost again"
    speed, remaining = course.approach, abs(violation) - constraint.tolerance
    if speed > 0 and remaining <= LONGEST * course.epochs[-1] * speed:
        return "approaching", f"it was still coming nearer at the end, by {short_exponent(f'{speed:.2g}')} an epoch"
    if course.trend == "still growing":
        return "growing", "its multiplier was still growing at the end"
    if course.trend == "at its limit":
        return "limit", "it came no nearer with its multiplier at its limit"
    return "flat", "it came no nearer at the end"


def _longer(course: Course, violation: float) -> int:
    """Returns twice the epochs, or twice what is missing at the last speed on top, rounded up to two digits.

    Twice, because an approach slows down.
    """
    done = course.epochs[-1]
    missing = abs(violation) / course.approach if course.approach > 0 else 0.0
    wanted = math.ceil(done + max(done, 2 * missing))
    step = 10 ** max(0, len(str(wanted)) - 2)
    return math.ceil(wanted / step) * step
