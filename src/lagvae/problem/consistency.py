"""What makes a problem impossible or absurd, found when it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lagvae.errors import ProblemError, expected
from lagvae.terms.algebra import Constraint
from lagvae.terms.elbo import Rate
from lagvae.terms.information import MutualInformation
from lagvae.terms.term import Term

Inequality = tuple[dict[Term, float], float]
"""Σ coefficient · term ≤ bound."""


def check_objective(text: str, minimised: Mapping[Term, float], constraints: Sequence[Constraint]) -> None:
    """Raises ProblemError for an objective that rewards a loss, or that nothing keeps from infinity."""
    for term, weight in minimised.items():
        if weight < 0 and not term.may_be_rewarded:
            raise ProblemError(
                expected(
                    f"{term} to be kept down",
                    got=f"'{text}', which rewards it",
                    fix=f"the other direction, or a positive weight on {term.name}",
                )
            )
    # A term is limited whichever its estimator: by an upper bound, or by a lower one on less of it.
    limited = {
        name
        for c in constraints
        for name, weight in _weights_by_name((c.sign * c.quantity).surrogate()).items()
        if weight > 0 or (c.is_equality and weight)
    }
    unlimited = [term for term, weight in minimised.items() if weight < 0 and term.name not in limited]
    only_rewards = all(weight < 0 for weight in minimised.values())
    # A rate can grow for ever while every loss beside it stays finite; of a user's own term nobody knows.
    unlimited = [term for term in unlimited if isinstance(term, Rate) or only_rewards]
    if unlimited:
        raise ProblemError(
            expected(
                f"something that limits {unlimited[0]}",
                got=f"'{text}', which is unbounded",
                fix=f"a constraint such as {unlimited[0]} <= 30 or neg_elbo <= 100",
            )
        )


def _weights_by_name(weights: Mapping[Term, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for term, weight in weights.items():
        found[term.name] = found.get(term.name, 0.0) + weight
    return found


def check_constraint(constraint: Constraint) -> None:
    """Raises ProblemError for a constraint that is constant, uncertifiable, or rewards what is a loss."""
    if not constraint.quantity.surrogate():
        raise ProblemError(expected("a term in each constraint", got=f"'{constraint}'", fix="neg_elbo <= 86"))
    information = [weight for term, weight in constraint.quantity.items if isinstance(term, MutualInformation)]
    if information and (constraint.sense != "<=" or min(information) < 0):
        raise ProblemError(
            expected(
                "an upper bound on mutual_information (its lower bound needs the unknown H(x))",
                got=f"'{constraint}'",
                fix=f"'rate {constraint.sense} {constraint.bound_text}', or 'distortion <= ...'"
                if constraint.sense != "<="
                else "rate or distortion in its place",
            )
        )
    pushed = (constraint.sign * constraint.quantity).surrogate()
    for term, weight in pushed.items():
        rewarded = weight < 0 or (constraint.is_equality and not term.in_nats)
        if rewarded and not term.may_be_rewarded:
            fix = f"'{term} <= {constraint.bound_text}'"
            if len(pushed) > 1:
                fix = f"a positive weight on {term}"
            raise ProblemError(expected(f"an upper bound on {term}", got=f"'{constraint}', which rewards it", fix=fix))


def check_bounds(constraints: Sequence[Constraint]) -> None:
    """Raises ProblemError for a bound that is stated twice, or that the others contradict.

    Contradictions are found exactly, as far as the constraints' linear relations tell: the system
    of inequalities, with rate ≥ 0 and divergences ≥ 0, is reduced variable by variable
    (Fourier-Motzkin elimination). Of a bound relative to best nothing is known until it is resolved.
    """
    for position, constraint in enumerate(constraints):
        for earlier in constraints[:position]:
            same = constraint.quantity == earlier.quantity
            if same and (constraint.sense == earlier.sense or constraint.is_equality or earlier.is_equality):
                raise ProblemError(
                    expected("one bound on each side of a quantity", got=f"'{earlier}' and '{constraint}'", fix="one")
                )
    known = [constraint for constraint in constraints if not constraint.is_relative]
    for count in range(1, len(known) + 1):
        if not _is_solvable(_as_inequalities(known[:count])):
            others = " and ".join(f"'{c}'" for c in known[: count - 1]) or "what the term can be"
            raise ProblemError(
                expected(
                    "bounds that can hold together",
                    got=f"'{known[count - 1]}', contradicting {others}",
                    fix="a wider bound",
                )
            )


def _as_inequalities(constraints: Sequence[Constraint]) -> list[Inequality]:
    system: list[Inequality] = []
    for constraint in constraints:
        coefficients = constraint.quantity.surrogate()
        if constraint.sense in ("<=", "=="):
            system.append((dict(coefficients), constraint.bound))
        if constraint.sense in (">=", "=="):
            system.append(({term: -weight for term, weight in coefficients.items()}, -constraint.bound))
    terms = {term for coefficients, _ in system for term in coefficients}
    system += [({term: -1.0}, 0.0) for term in terms if term.at_least_zero]
    return system


def _is_solvable(system: list[Inequality]) -> bool:
    """Whether some assignment of numbers to the terms satisfies every inequality."""
    rounding = 1e-12 * max([1.0, *(abs(bound) for _, bound in system)])
    while variable := next((term for coefficients, _ in system for term in coefficients), None):
        rest = [row for row in system if variable not in row[0]]
        upper = [row for row in system if row[0].get(variable, 0.0) > 0]
        lower = [row for row in system if row[0].get(variable, 0.0) < 0]
        system = _tightest(rest + [_eliminate(variable, above, below) for above in upper for below in lower])
    return all(bound >= -rounding for _, bound in system)


def _tightest(system: list[Inequality]) -> list[Inequality]:
    """Returns the system with one row for each left side, scaled to a largest weight of 1: elimination makes many."""
    bounds: dict[frozenset[tuple[Term, float]], float] = {}
    for coefficients, bound in system:
        size = max(map(abs, coefficients.values()), default=1.0)
        key = frozenset((term, round(weight / size, 12)) for term, weight in coefficients.items())
        bounds[key] = min(bound / size, bounds.get(key, bound / size))
    return [(dict(key), bound) for key, bound in bounds.items()]


def _eliminate(variable: Term, above: Inequality, below: Inequality) -> Inequality:
    """Adds two inequalities so that ``variable`` cancels."""
    up, down = -below[0][variable], above[0][variable]
    coefficients: dict[Term, float] = {}
    for row, factor in ((above, up), (below, down)):
        for term, weight in row[0].items():
            coefficients[term] = coefficients.get(term, 0.0) + factor * weight
    del coefficients[variable]
    return {t: w for t, w in coefficients.items() if abs(w) > 1e-12}, up * above[1] + down * below[1]
