"""One point of a front: a model, what it solves and what it measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import divergence_of
from lagvae.problem.problem import Problem
from lagvae.terms.mmd import MMD


@dataclass(frozen=True)
class FrontPoint:
    """A member of a front.

    Attributes:
        problem: What it solves, as text.
        status: How its run ended: ``feasible``, ``infeasible``, ``diverged``, ``stopped``; ``failed`` where an error
            ended it.
        message: The same in a sentence.
        beta: The weight of rate with distortion's as 1; None where distortion has none.
        gamma: The same of the divergence.
        multipliers: Constraint's name → λ.
        violations: Constraint's name → violation on the data that bounds are judged on.
        estimates: Part → name → estimate; empty where the run did not reach its end.
        seconds: Spent on it alone.
        folder: Of its run, relative to the front's; None for a member of one network.
    """

    problem: str
    status: str
    message: str = ""
    beta: float | None = None
    gamma: float | None = None
    multipliers: dict[str, float] = field(default_factory=dict)
    violations: dict[str, float] = field(default_factory=dict)
    estimates: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    seconds: float = 0.0
    folder: str | None = None

    @property
    def is_solution(self) -> bool:
        """Whether its run reached its end, and did not run away on the way."""
        return self.status in ("feasible", "infeasible") and bool(self.estimates)

    @property
    def has_information(self) -> bool:
        """Whether it was measured how much information its codes carry."""
        return any("mutual_information_lower" in found for found in self.estimates.values())

    @property
    def divergence(self) -> MMD:
        """Which mmd its problem bounds, or weighs; the original's, if none."""
        return divergence_of(Problem.parse(self.problem))

    def value(self, name: str, part: str) -> float:
        """Returns an estimate's value; NaN where there is none."""
        found = self.estimates.get(part, {}).get(name)
        return math.nan if found is None else found.value

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in plain types."""
        return asdict(self)

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> FrontPoint:
        """Reads back what ``as_dict`` returns, by way of JSON, which has no NaN."""
        estimates = {
            part: {name: Estimate.from_dict(found) for name, found in measured.items()}
            for part, measured in fields["estimates"].items()
        }
        numbers = {
            name: {key: math.nan if value is None else value for key, value in fields[name].items()}
            for name in ("multipliers", "violations")
        }
        own = {name: value for name, value in fields.items() if name != "non_dominated"}
        return FrontPoint(**{**own, **numbers, "estimates": estimates})
