"""Why a bound was missed, on histories made for the purpose."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

import lagvae as lv
from lagvae.storage.files import to_plain
from lagvae.training.outcome.diagnosis import Diagnosis, diagnose, round_outward, summarize, within_reach
from tiny_runs import run

PROBLEM = lv.Problem.parse("max mi s.t. neg_elbo <= 100, mmd <= 5e-4")
FALLING = [130 - 0.8 * epoch for epoch in range(30)]  # 106.8 in the end
FLAT = [max(106.8, 130 - 4 * epoch) + (-1) ** epoch * 0.1 for epoch in range(30)]
AT_LIMIT = [min(10.0, 0.4 + 0.5 * epoch) for epoch in range(30)]
SETTLED = [min(2.0, 0.4 + 0.5 * epoch) for epoch in range(30)]
GROWING = [0.4 + 0.1 * epoch for epoch in range(30)]
INSIDE = [3e-4] * 30


def explain(
    values: dict[str, list[float]],
    multipliers: dict[str, list[float]],
    *,
    problem: lv.Problem = PROBLEM,
    latent_dim: int = 64,
    **evaluated: float,
) -> tuple[Diagnosis, ...]:
    """Diagnoses a run of 30 epochs with a line each; it is evaluated as it was last logged unless told otherwise."""
    history = [
        {
            "epoch": epoch + 1.0,
            "constraints": {
                name: {"value": values[name][epoch], "multiplier": multipliers[name][epoch]} for name in problem.names
            },
        }
        for epoch in range(30)
    ]
    ends = {name: evaluated.get(name, values[name][-1]) for name in problem.names}
    constraints = problem.constraints
    return diagnose(
        problem,
        [name for name, c in constraints.items() if not c.is_met_by(ends[name], slack=c.tolerance)],
        violations={name: c.violation(ends[name]) for name, c in constraints.items()},
        multipliers={name: multipliers[name][-1] for name in problem.names},
        largest={name: 10.0 / c.unit for name, c in constraints.items()},
        history=history,
        latent_dim=latent_dim,
        batch_size=250,
    )


def of_loss(values: list[float], multipliers: list[float], **evaluated: float) -> Diagnosis:
    (found,) = explain({"neg_elbo": values, "mmd": INSIDE}, {"neg_elbo": multipliers, "mmd": [100.0] * 30}, **evaluated)
    return found


def test_at_its_limit() -> None:
    found = of_loss(FLAT, AT_LIMIT, neg_elbo=106.83)
    assert found.name == "neg_elbo"
    assert (found.value, found.violation) == (pytest.approx(106.83), pytest.approx(6.83))
    assert (found.best, found.best_epoch) == (pytest.approx(106.7), 8.0)
    assert (found.cause, found.why) == ("limit", "it came no nearer with its multiplier at its limit")
    assert found.multiplier.endswith("0.4 → 10, at its limit since epoch 20")
    assert (found.reachable, found.epochs, found.conflicts) == (107.0, None, ())
    assert summarize(PROBLEM, [found]) == "missed 'neg_elbo <= 100' by 6.83; try 'neg_elbo <= 107'"
    assert str(within_reach(PROBLEM, [found])) == "max mutual_information s.t. neg_elbo <= 107, mmd <= 0.0005"


def test_still_falling() -> None:
    found = of_loss(FALLING, AT_LIMIT)
    assert (found.cause, found.why) == ("approaching", "it was still coming nearer at the end, by 0.8 an epoch")
    assert found.epochs == 60  # nine more at that speed, but an approach slows down
    assert found.reachable == 107.0
    assert summarize(PROBLEM, [found]) == "missed 'neg_elbo <= 100' by 6.80; try 60 epochs or 'neg_elbo <= 107'"
    slow = of_loss([130 - 0.2 * epoch for epoch in range(30)], AT_LIMIT)
    assert (slow.cause, slow.epochs) == ("limit", None)  # 121 more epochs: beyond three times the run
    slower = of_loss([120 - 0.3 * epoch for epoch in range(30)], AT_LIMIT)  # 38 more
    assert (slower.cause, slower.epochs) == ("approaching", 110)


def test_met_once_and_lost() -> None:
    found = of_loss([*FLAT[:19], 99.9, *FLAT[20:]], SETTLED)
    assert (found.cause, found.why, found.epochs) == ("unsettled", "it was met at epoch 20, and lost again", 60)
    assert (found.best, found.best_epoch) == (99.9, 20.0)
    early = of_loss([99.9, *FLAT[1:]], SETTLED)
    assert (early.cause, early.best_epoch) == ("flat", 1.0)


def test_a_multiplier_that_had_not_grown_enough() -> None:
    found = of_loss(FLAT, GROWING)
    assert (found.cause, found.epochs) == ("growing", 60)
    assert found.why == "its multiplier was still growing at the end"


def test_a_conflict_is_named() -> None:
    values, multipliers = {"neg_elbo": FLAT, "mmd": [5e-4] * 30}, {"neg_elbo": AT_LIMIT, "mmd": [3e3] * 30}
    (found,) = explain(values, multipliers)
    assert found.conflicts == ("mmd",)
    (found,) = explain({**values, "mmd": INSIDE}, multipliers)
    assert found.conflicts == ()
    (found,) = explain(values, {**multipliers, "mmd": [100.0] * 30})
    assert found.conflicts == ()


def test_an_equality() -> None:
    problem = lv.Problem.parse("min distortion s.t. rate == 20")
    (found,) = explain({"rate": [14.3] * 30}, {"rate": [-9.99] * 30}, problem=problem)
    assert (found.violation, found.best, found.reachable) == (pytest.approx(-5.7), 14.3, 14.3)
    assert found.multiplier.endswith("-9.99 → -9.99, at its limit since epoch 1")
    assert summarize(problem, [found]) == "missed 'rate == 20' by 5.70; try 'rate == 14.3'"
    (found,) = explain({"rate": [30.02] * 30}, {"rate": [1.0] * 30}, problem=problem)
    assert (found.cause, found.reachable) == ("flat", 30.0)


def test_a_bound_under_its_estimators_floor() -> None:
    problem = lv.Problem.parse("max mi s.t. neg_elbo <= 120, mmd <= 5e-4")
    values, multipliers = {"neg_elbo": FLAT, "mmd": [1.52e-3] * 30}, {"neg_elbo": SETTLED, "mmd": [1e5] * 30}
    (found,) = explain(values, multipliers, problem=problem, latent_dim=10)
    assert found.cause == "floor"
    assert found.why == "a perfect q(z) measures 1.42e-3 (biased estimate, 250 examples, 10 dimensions)"
    assert (found.reachable, found.epochs) == (1.52e-3, None)
    (lucky,) = explain({**values, "mmd": [1.3e-3] * 30}, multipliers, problem=problem, latent_dim=10)
    assert lucky.reachable == pytest.approx(1.2 * 1.42e-3, rel=0.02)  # and not 1.3e-3, which another run would miss
    (found,) = explain(values, multipliers, problem=problem, latent_dim=64)  # a floor of 2.5e-4
    assert found.cause == "limit"
    assert summarize(problem, [found]) == "missed 'mmd <= 0.0005' by 1.02e-3; try 'mmd <= 0.00152'"


def test_a_lower_bound() -> None:
    problem = lv.Problem.parse("min neg_elbo s.t. rate >= 20")
    (found,) = explain({"rate": [14.38] * 30}, {"rate": AT_LIMIT}, problem=problem)
    assert (found.violation, found.best, found.reachable) == (pytest.approx(5.62), 14.38, 14.3)


def test_several_at_once() -> None:
    values, multipliers = {"neg_elbo": FLAT, "mmd": [9.13e-4] * 30}, {"neg_elbo": GROWING, "mmd": [3e3] * 30}
    found = explain(values, multipliers)
    assert [f.name for f in found] == ["neg_elbo", "mmd"]
    assert [f.conflicts for f in found] == [("mmd",), ("neg_elbo",)]
    assert summarize(PROBLEM, found) == (
        "missed 'neg_elbo <= 100' by 6.70, 'mmd <= 0.0005' by 4.13e-4;"
        " try 60 epochs or 'neg_elbo <= 107, mmd <= 0.00092'"
    )


def test_a_value_that_is_no_number_suggests_nothing() -> None:
    found = of_loss(FLAT, AT_LIMIT, neg_elbo=math.nan)
    assert found.reachable is None
    assert within_reach(PROBLEM, [found]) is None
    assert summarize(PROBLEM, [found]) == "missed 'neg_elbo <= 100' by nan; try wider bounds"


def test_bounds_that_rounding_makes_contradictory_are_not_suggested() -> None:
    problem = lv.Problem.parse("min 0 s.t. distortion <= 60, rate <= 20, neg_elbo == 70")
    found = dataclasses.replace(of_loss(FLAT, AT_LIMIT), reachable=90.0)
    assert within_reach(problem, [found]) is None
    assert within_reach(problem, [dataclasses.replace(found, reachable=75.0)]) is not None


@pytest.mark.parametrize(
    ("value", "sense", "rounded"),
    [
        (106.83, "<=", 107.0),
        (98.2, "<=", 100.0),
        (98.2, ">=", 98.0),
        (97.2, "<=", 98.0),
        (5.31e-4, "<=", 5.4e-4),
        (5.31e-4, ">=", 5.3e-4),
        (1999.0, "<=", 2000.0),
        (-106.83, "<=", -106.0),
        (-106.83, ">=", -107.0),
        (0.0, "<=", 0.0),
        (20.06, "==", 20.0),
        (20.1, "==", 20.1),
        (19.95, "==", 20.0),
    ],
)
def test_a_bound_is_rounded_outward(value: float, sense: Any, rounded: float) -> None:
    constraint = lv.Problem.parse(f"min neg_elbo s.t. rate {sense} 1").subject_to[0]
    assert round_outward(value, constraint) == rounded


@pytest.mark.parametrize("sense", ["<=", ">=", "=="])
def test_what_was_reached_meets_the_suggested_bound(sense: Any) -> None:
    constraint = lv.Problem.parse(f"min neg_elbo s.t. rate {sense} 1").subject_to[0]
    for step in range(400):
        value = math.exp(-12 + step / 20) * (1 if step % 3 else -1)
        widened = dataclasses.replace(constraint, bound=round_outward(value, constraint))
        assert widened.is_met_by(value, slack=widened.tolerance / 2 if sense == "==" else 1e-9 * abs(value))


def test_the_round_trip_through_json() -> None:
    for found in (of_loss(FLAT, AT_LIMIT), of_loss(FALLING, GROWING, neg_elbo=106.9)):
        assert Diagnosis.from_dict(json.loads(json.dumps(to_plain(found.as_dict())))) == found
    lost = of_loss(FLAT, AT_LIMIT, neg_elbo=math.nan)
    assert math.isnan(Diagnosis.from_dict(to_plain(lost.as_dict())).value)


def test_a_run_is_diagnosed_and_its_suggestion_is_within_its_own_reach(tmp_path: Any) -> None:
    solution = run(tmp_path / "run", "max mi s.t. neg_elbo <= 15, mmd <= 1e-2")
    assert solution.status is lv.Status.INFEASIBLE
    assert [found.name for found in solution.diagnosis] == solution.evaluation.missed("train")  # type: ignore[union-attr]
    assert solution.suggestion is not None
    easier = lv.Problem.parse(solution.suggestion)
    for name, constraint in easier.constraints.items():
        assert solution.evaluation is not None
        value = solution.evaluation["train"][f"constraint {name}"].value
        assert constraint.is_met_by(value, slack=constraint.tolerance)
    assert run(problem="max mi s.t. neg_elbo <= 500").diagnosis == ()
    assert run(problem="max mi s.t. neg_elbo <= 500").suggestion is None
    with pytest.raises(lv.SolveError, match=r"missed 'neg_elbo <= 15' by .*; try "):
        solution.require_feasible()
    loaded = lv.load(tmp_path / "run")
    assert (loaded.diagnosis, loaded.suggestion) == (solution.diagnosis, solution.suggestion)
