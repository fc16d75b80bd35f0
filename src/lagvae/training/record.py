"""A line of the log: what a few steps measured, and what the multipliers made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lagvae.duality.sensitivity import is_active, price, price_unit, relative_weight
from lagvae.training.steps.session import Session

Record = dict[str, Any]


def make_record(
    session: Session, values: Float[Tensor, "steps parts terms"], *, seconds: float, speed: float
) -> Record:
    """Summarises the steps since the last record.

    Args:
        session: After those steps.
        values: What each of them measured, on the training batch and on the held-out batch where there is one.
        seconds: Spent training so far, over all sessions.
        speed: Steps per second since the last record.

    Returns:
        ``terms`` (means over the steps, on the training batches), ``held_out`` (the same on the held-out batches,
        where there are any), ``constraints`` (value, bound, violation, multiplier, price, whether active; as
        judged), ``weights`` (of each term in the Lagrangian), ``beta`` and ``gamma`` (of rate and mmd, with
        distortion's as 1), ``lagrangian`` (on the training batches: what the weights descend on) and where the run is.
    """
    lagrangian = session.lagrangian
    means = values.double().mean(0).float()
    training, judged = means[0], means[-1]
    multipliers = session.rule.multipliers[0]
    problem, weights = lagrangian.problem, session.effective_weights()
    constrained = zip(
        lagrangian.names,
        problem.subject_to,
        lagrangian.constraint_values(judged).tolist(),
        lagrangian.violations(judged).tolist(),
        multipliers.tolist(),
        strict=True,
    )
    return {
        "step": session.step,
        "epoch": session.step / session.steps_per_epoch,
        "seconds": round(seconds, 3),
        "steps_per_second": round(speed, 2),
        "learning_rate": session.learning_rate(),
        "terms": _by_name(session, training),
        **({} if session.held_out is None else {"held_out": _by_name(session, judged)}),
        "constraints": {
            name: {
                "value": value,
                "bound": constraint.bound,
                "violation": violation,
                "met": constraint.excess(violation) <= constraint.tolerance,
                "multiplier": multiplier,
                "price": price(constraint, multiplier),
                "price_unit": price_unit(problem, constraint),
                "active": is_active(problem, constraint, multiplier=multiplier, violation=violation),
            }
            for name, constraint, value, violation, multiplier in constrained
        },
        "weights": weights,
        "beta": relative_weight(weights, "rate"),
        "gamma": relative_weight(weights, "mmd"),
        "lagrangian": float(lagrangian.value(training, multipliers)),
    }


def _by_name(session: Session, values: Float[Tensor, " terms"]) -> dict[str, float]:
    """Returns term → value, and neg_elbo, which is the sum of the first two."""
    terms = {str(term): value for term, value in zip(session.lagrangian.terms, values.tolist(), strict=True)}
    return {**terms, "neg_elbo": float(values[0] + values[1])}


def logged_violations(names: Sequence[str], history: list[Record]) -> dict[str, float]:
    """Returns name → violation in the last record; NaN where there is none yet."""
    last = history[-1]["constraints"] if history else {}
    return {name: last[name]["violation"] if last else math.nan for name in names}
