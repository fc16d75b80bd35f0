"""What multipliers mean: the price of each bound, which bounds are active, and the weights that users know.

At a saddle point a multiplier is a shadow price: by loosening a bound by one unit the optimal objective gets better
by λ, on the data that the weights are trained on. Everything that reports multipliers takes its words from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from lagvae.problem.problem import Problem
from lagvae.terms.algebra import Constraint

NEGLIGIBLE = 0.003
"""Nats of objective that a bound's tolerance may be worth before the bound is active. In multipliers, where
the objective's weight is 1: 0.02 for a bound in nats, and for another one 0.15 nats for all that it allows."""

TIGHT = 5.0
"""Tolerances inside its bound up to which a value counts as at its bound: the spread of a line of the log."""


def price(constraint: Constraint, multiplier: float) -> float:
    """Returns what one natural unit of a bound is worth: λ · unit, in the unit of the objective.

    Loosening the bound by one unit (1 nat, 1e-4 of MMD²) improves the objective, as it is stated
    and with its weights, by as much, to first order. Of an equality it is *raising* that does, and
    the price may be negative. Maximised mutual information is counted by its lower bound. Both are those of the
    training data: with bounds judged on held-out data the multipliers are of the member that keeps them there, but
    what a looser bound would gain there is less, the more the networks overfit.

    Args:
        constraint: Whose bound.
        multiplier: λ, in units of the objective per unit of the bound.
    """
    return multiplier * constraint.unit


def price_unit(problem: Problem, constraint: Constraint) -> str:
    """Returns the unit of a price in words: ``nats per nat``, ``nats per 1e-4``."""
    in_nats = all(term.in_nats for term, _ in problem.objective.quantity.items)
    return f"{'nats' if in_nats else 'objective'} per {constraint.unit_name}"


def is_active(problem: Problem, constraint: Constraint, *, multiplier: float, violation: float) -> bool:
    """Whether a constraint shapes the solution, in the sense of complementary slackness.

    An inequality is active iff its multiplier is not negligible *and* it is at its bound or beyond:

        λ · tolerance > 0.003 Σ |objective weight| · unit   and   violation ≥ -5 tolerance

    with the tolerance within which the bound counts as met. An equality is always active.

    Args:
        problem: Whose objective gives multipliers their scale.
        constraint: One of the problem's.
        multiplier: λ.
        violation: value - bound, or its mirror image; NaN (not known yet) is not active.
    """
    if constraint.is_equality:
        return True
    matters = multiplier * constraint.tolerance > NEGLIGIBLE * problem.objective.scale
    return matters and violation >= -TIGHT * constraint.tolerance


def active_constraints(
    problem: Problem, multipliers: Mapping[str, float], violations: Mapping[str, float]
) -> tuple[str, ...]:
    """Returns the names of the active constraints, in order.

    Args:
        problem: Whose constraints.
        multipliers: Name → λ.
        violations: Name → violation.
    """
    return tuple(
        name
        for name, constraint in problem.constraints.items()
        if is_active(problem, constraint, multiplier=multipliers[name], violation=violations[name])
    )


def relative_weight(weights: Mapping[str, float], name: str) -> float | None:
    """Returns a term's weight with distortion's as 1: β of ``rate``, γ of ``mmd``.

    Args:
        weights: Term, as text → its effective weight in the Lagrangian.
        name: The term's name; the weights of its forms (other estimators or kernels) are added up.

    Returns:
        None where distortion weighs nothing, or is rewarded: there is no such ratio.
    """
    on_distortion = weights.get("distortion", 0.0)
    if on_distortion <= 0:
        return None
    return sum(weight for term, weight in weights.items() if term.split("(")[0] == name) / on_distortion
