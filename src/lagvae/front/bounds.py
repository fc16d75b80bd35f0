"""What a problem makes of measured points: its constrained quantities, its objective, and what best is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lagvae.errors import ProblemError, expected
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.questions import CONSTRAINT
from lagvae.problem.problem import Problem
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.mmd import MMD, mmd
from lagvae.terms.term import Term


@dataclass(frozen=True)
class Measured:
    """What a model measures on one part of the data.

    Attributes:
        estimates: By name.
        divergence: Which mmd those called mmd are of.
    """

    estimates: Mapping[str, Estimate]
    divergence: MMD


def bounded_estimates(measured: Measured, problem: Problem) -> dict[str, Estimate]:
    """Returns the estimates with one more for every constraint of the problem.

    Raises:
        ProblemError: A constraint is over a term that was not measured.
    """
    found = {n: e for n, e in measured.estimates.items() if not n.startswith(CONSTRAINT)}
    for name, constraint in problem.constraints.items():
        found[f"{CONSTRAINT}{name}"] = _sum(measured, constraint.quantity.surrogate())
    return found


def objective_value(measured: Measured, problem: Problem) -> float:
    """Returns the value of what the problem minimises.

    Raises:
        ProblemError: It is over a term that was not measured.
    """
    weights = problem.objective.surrogate()
    return _sum(measured, weights).value if weights else 0.0


def resolve_on(problem: Problem, points: Sequence[Measured]) -> Problem:
    """Returns the problem with numbers for its bounds that are relative to best: what the points reach.

    Raises:
        ProblemError: A bound is over a term that was not measured, or the bounds turn out contradictory.
    """
    best = {}
    for name, constraint in problem.constraints.items():
        if constraint.is_relative:
            values = [_sum(point, constraint.quantity.surrogate()).value for point in points]
            best[name] = max(values) if constraint.sense == ">=" else min(values)
    return problem.resolve(best) if best else problem


def tabulated_as(term: Term, divergence: MMD) -> str:
    """Returns the name under which a term stands in a table whose mmd is ``divergence``, whichever the estimator."""
    if isinstance(term, MMD) and term(estimator=divergence.estimator) == divergence:
        return f"mmd_{term.estimator}"
    # The rate's estimators have one mean.
    return next((known.name for known in (distortion, rate, neg_elbo) if isinstance(term, type(known))), str(term))


def check_measured(names: Iterable[str], known: Iterable[str], divergence: MMD) -> None:
    """Raises ProblemError unless every name of what a problem is over is among those that were measured."""
    known = [name for name in known if not name.startswith(CONSTRAINT)]
    for name in names:
        if name not in known:
            kind = f" in {divergence}" if divergence != mmd else ""
            wanted = f"a problem over {', '.join(known)}{kind}"
            raise ProblemError(expected(wanted, got=name, fix="lv.fit, in a run of its own"))


def _sum(measured: Measured, weights: Mapping[Term, float]) -> Estimate:
    """Returns the estimate of a weighted sum; unless it was measured itself, its error is as if all went one way."""
    known = measured.estimates
    parts: dict[str, float] = {}
    for term, weight in weights.items():  # several of one name where estimators differ, of one mean
        name = tabulated_as(term, measured.divergence)
        parts[name] = parts.get(name, 0.0) + weight
    if set(parts) == {distortion.name, rate.name} and len(set(parts.values())) == 1:
        parts = {neg_elbo.name: next(iter(parts.values()))}
    check_measured(parts, known, measured.divergence)
    first = known[next(iter(parts))]
    return Estimate(
        value=sum(weight * known[name].value for name, weight in parts.items()),
        standard_error=sum(abs(weight) * known[name].standard_error for name, weight in parts.items()),
        unit=first.unit,
        bias=first.bias,
        method=first.method,
        examples=first.examples,
    )
