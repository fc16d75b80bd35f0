"""How far a point is from the Karush-Kuhn-Tucker conditions: no branch is convex in network weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lagvae.problem.problem import Problem


@dataclass(frozen=True)
class Residuals:
    """Distances from optimality; all are 0 at a KKT point.

    Attributes:
        feasibility: Largest violation in units of its bound (≤ 0 inside; the absolute value of an equality's).
        complementary_slackness: Σ |λ · violation|, in nats of objective.
        stationarity: Change of the Lagrangian's running mean over the last tenth of the run against
            the tenth before, in nats.
    """

    feasibility: float
    complementary_slackness: float
    stationarity: float

    def as_dict(self) -> dict[str, float]:
        """Returns the fields in plain types."""
        return asdict(self)


def kkt_residuals(
    problem: Problem,
    multipliers: Mapping[str, float],
    violations: Mapping[str, float],
    lagrangian_history: list[float],
) -> Residuals:
    """Measures the residuals of a finished run.

    Args:
        problem: What was solved.
        multipliers: Name → final multiplier.
        violations: Name → final violation, as evaluated.
        lagrangian_history: The Lagrangian at the *final* multipliers, along the run's log.
    """
    relative: list[float] = []
    slackness = 0.0
    for name, constraint in problem.constraints.items():
        violation = violations[name]
        scale = max(abs(constraint.bound), constraint.unit)
        relative.append(constraint.excess(violation) / scale)
        slackness += abs(multipliers[name] * violation)
    tenth = len(lagrangian_history) // 10
    last, before = lagrangian_history[-tenth:], lagrangian_history[-2 * tenth : -tenth]
    stationarity = abs(sum(last) / tenth - sum(before) / tenth) if tenth else float("nan")
    feasibility = math.nan if any(map(math.isnan, relative)) else max(relative, default=0.0)
    return Residuals(feasibility, slackness, stationarity)
