"""The dual, solved on a surface that is already there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from lagvae.errors import ProblemError
from lagvae.front.amortised.surface import Surface, family_column
from lagvae.front.bounds import check_measured
from lagvae.problem.problem import Problem
from lagvae.terms.mmd import MMD
from lagvae.terms.term import Term

Array = np.ndarray
GRID = (161, 41)
"""Lines along log β and log γ in each round of the search."""
ROUNDING = 0.01
"""Share of a bound's tolerance by which it is missed where it is met, to the precision of the search."""
ROUNDS = 4
"""Each looks closer at the surroundings of the best point so far: 12 times."""
UNLIKE = 0.05
"""Share of the objective by which a member's loss is another than the problem's Lagrangian."""


@dataclass(frozen=True)
class Optimum:
    """Where a problem is solved on a surface, or comes nearest to it.

    Attributes:
        beta: Its β.
        gamma: Its γ.
        objective: What is minimised there.
        is_feasible: Whether every bound holds there.
        violations: Name → violation.
        multipliers: Name → λ ≥ 0 (free for equalities), per unit of the bound; NaN where it is not feasible.
    """

    beta: float
    gamma: float
    objective: float
    is_feasible: bool
    violations: dict[str, float]
    multipliers: dict[str, float]


@dataclass(frozen=True)
class _Points:
    """Candidates, flat."""

    log_beta: Float[Array, " n"]
    log_gamma: Float[Array, " n"]
    objective: Float[Array, " n"]
    violations: Float[Array, "c n"]


def solve_on(surface: Surface, problem: Problem, *, part: str) -> Optimum:
    """Finds the member that solves a problem.

        min over (β, γ) of f(β, γ)   subject to   violation_c(β, γ) ≤ 0  (= 0 for ==)

    One search for every problem: along the lines of a grid, an optimum is a grid point or a point where some
    constraint becomes an equality; then the same on a finer grid around the best. Where no point is feasible,
    the one with the least sum of violations, each in its natural unit.

    Args:
        surface: What the members measure.
        problem: Over terms that the surface holds; every bound a number.
        part: The data on which bounds are to hold.

    Raises:
        ProblemError: A bound is relative to best, or a term is not on the surface.
    """
    check_solvable(surface, problem)
    best = _search(surface, problem, part)
    return replace(best, multipliers=_multipliers(surface, problem, best, part)) if best.is_feasible else best


def _search(surface: Surface, problem: Problem, part: str) -> Optimum:
    """Returns the optimum, its multipliers still NaN: nothing finite holds a bound that is out of reach."""
    low, high = (np.log([weights[end] for weights in (surface.betas, surface.gammas)]) for end in (0, -1))
    box = (low, high)
    best, is_feasible = None, False
    for _ in range(ROUNDS):
        points = _candidates(surface, problem, part, box)
        allowed = _is_feasible(problem, points)
        is_feasible = bool(allowed.any())
        cost = np.where(allowed, points.objective, np.inf) if is_feasible else _excess(problem, points)
        index = int(np.argmin(cost))
        best = (points.log_beta[index], points.log_gamma[index], points.objective[index], points.violations[:, index])
        reach = (box[1] - box[0]) / 12 / 2
        center = np.array(best[:2])
        box = (np.maximum(low, center - reach), np.minimum(high, center + reach))
    assert best is not None
    violations = dict(zip(problem.names, best[3].tolist(), strict=True))
    # Two bounds that both have to be met exactly meet on no line of a grid.
    is_feasible = is_feasible or all(
        c.excess(violations[name]) <= ROUNDING * c.tolerance for name, c in problem.constraints.items()
    )
    return Optimum(
        beta=float(np.exp(best[0])),
        gamma=float(np.exp(best[1])),
        objective=float(best[2]),
        is_feasible=is_feasible,
        violations=violations,
        multipliers=dict.fromkeys(problem.names, math.nan),
    )


def check_solvable(surface: Surface, problem: Problem) -> None:
    """Raises ProblemError unless the surface holds every term of the problem, and every bound is a number."""
    check_measured(map(surface.name_of, _terms(problem)), surface.names, surface.divergence)


def _terms(problem: Problem) -> dict[Term, None]:
    sums = (problem.objective.surrogate(), *(c.quantity.surrogate() for c in problem.subject_to))
    return dict.fromkeys(term for weights in sums for term in weights)


def _candidates(surface: Surface, problem: Problem, part: str, box: tuple[Array, Array]) -> _Points:
    """Returns every grid point in the box, and every point on its lines where a violation changes its sign."""
    (low_beta, low_gamma), (high_beta, high_gamma) = box
    log_betas = np.linspace(low_beta, high_beta, GRID[0])
    log_gammas = np.linspace(low_gamma, high_gamma, GRID[1]) if high_gamma > low_gamma else np.array([low_gamma])
    tables = {term: surface.values(surface.name_of(term), part, log_betas, log_gammas) for term in _terms(problem)}
    zero = np.zeros((len(log_betas), len(log_gammas)))
    objective = sum((weight * tables[t] for t, weight in problem.objective.surrogate().items()), zero)
    violations = np.stack(
        [
            c.sign * (sum((weight * tables[t] for t, weight in c.quantity.surrogate().items()), zero) - c.bound)
            for c in problem.subject_to
        ]
        or [np.full_like(zero, -1.0)]
    )
    grids = np.meshgrid(log_betas, log_gammas, indexing="ij")
    stacked = np.stack([*grids, objective, *violations])
    found = [stacked.reshape(len(stacked), -1), *_crossings(stacked)]
    columns = np.concatenate(found, axis=1)
    return _Points(columns[0], columns[1], columns[2], columns[3 : 3 + len(problem.subject_to)])


def _crossings(stacked: Float[Array, "rows m k"]) -> Iterator[Float[Array, "rows n"]]:
    """Yields, for every violation and each direction, all rows at its zeros between neighbours on the grid."""
    for row in range(3, len(stacked)):
        for axis in (1, 2):
            before = np.take(stacked, range(stacked.shape[axis] - 1), axis=axis)
            after = np.take(stacked, range(1, stacked.shape[axis]), axis=axis)
            crosses = before[row] * after[row] < 0
            one, other = before[:, crosses], after[:, crosses]
            share = one[row] / (one[row] - other[row])
            between = one + share * (other - one)
            between[row] = 0.0
            yield between


def _is_feasible(problem: Problem, points: _Points) -> Bool[Array, " n"]:
    allowed = np.ones_like(points.objective, dtype=bool)
    for constraint, violation in zip(problem.subject_to, points.violations, strict=True):
        rounding = 1e-9 * max(abs(constraint.bound), constraint.unit)
        allowed &= (np.abs(violation) if constraint.is_equality else violation) <= rounding
    return allowed


def _excess(problem: Problem, points: _Points) -> Float[Array, " n"]:
    excess = np.zeros_like(points.objective)
    for constraint, violation in zip(problem.subject_to, points.violations, strict=True):
        excess += (np.abs(violation) if constraint.is_equality else np.maximum(violation, 0)) / constraint.unit
    return excess


def _multipliers(surface: Surface, problem: Problem, best: Optimum, part: str) -> dict[str, float]:
    """Returns the λ with which the problem's Lagrangian weighs its terms as the member's own loss does.

        objective + Σ λ_c sign_c constraint_c = s · (1, β, γ),    s ≥ 0, λ_c ≥ 0, and 0 where c is not active

    in the terms' natural units, by least squares: exact for members of the family inside its rectangle. Where no λ
    makes the two alike, at an end of the family or for a divergence that it does not weigh, λ is the slope of the
    optimum: by how much the objective falls for a bound that is wider by its tolerance.
    """
    from scipy.optimize import lsq_linear  # not at import: it changes warning filters

    def row(weights: dict[Term, float]) -> Array:
        columns = np.zeros(3)
        for term, weight in weights.items():
            if (column := family_column(term)) is not None:
                columns[column] += weight * term.unit
        return columns

    member = np.array([1.0, best.beta, surface.weight_of_divergence(best.gamma) * MMD.unit])
    active = [
        name
        for name, c in problem.constraints.items()
        if (abs(best.violations[name]) if c.is_equality else -best.violations[name]) <= 0.02 * c.tolerance
    ]
    rows = [problem.constraints[name].sign * row(problem.constraints[name].quantity.surrogate()) for name in active]
    lowest = [-np.inf if problem.constraints[name].is_equality else 0.0 for name in active]
    objective = row(problem.objective.surrogate())
    matrix = np.stack([*rows, -member], axis=1)
    solved = lsq_linear(matrix, -objective, bounds=([*lowest, 0.0], np.inf))
    found = dict(zip(active, solved.x.tolist(), strict=False))
    if active and np.linalg.norm(matrix @ solved.x + objective) > UNLIKE * np.linalg.norm(objective):
        found = {name: _slope(surface, problem, best, name, part) for name in active}
    return {name: found.get(name, 0.0) for name in problem.names}


def _slope(surface: Surface, problem: Problem, best: Optimum, name: str, part: str) -> float:
    """Returns by how much the objective falls for each unit that a bound is wider; NaN where that cannot be had."""
    constraint = problem.constraints[name]
    wider = replace(constraint, bound=constraint.bound + constraint.sign * constraint.tolerance)
    try:
        relaxed = Problem(problem.objective, [wider if one == constraint else one for one in problem.subject_to])
    except ProblemError:  # such a bound says nothing
        return math.nan
    found = _search(surface, relaxed, part)
    if not found.is_feasible:
        return math.nan
    slope = (best.objective - found.objective) / constraint.tolerance
    return slope if constraint.is_equality else max(0.0, slope)
