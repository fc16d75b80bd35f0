"""What stopped being a number first, a term, a multiplier, the data or the weights, and at which step."""

from __future__ import annotations

import math
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.training.steps.session import Session


def find_trouble(
    session: Session, values: Float[Tensor, "steps parts terms"], multipliers: Float[Tensor, "steps constraints"]
) -> str | None:
    """Returns a sentence that names what was first not finite, and its step; None if everything is finite.

    A step measures its terms before it changes anything: a gradient or a weight that is not finite shows in the terms
    of the step after, and in the weights, which are named.

    Args:
        session: After those steps.
        values: What each of them measured, on the training batch and on the held-out batch where there is one.
        multipliers: After each of them.
    """
    first = session.step - len(values) + 1
    bad_term, bad_multiplier = _first_bad(values), _first_bad(multipliers)
    if bad_multiplier is not None and (bad_term is None or bad_multiplier[0] < bad_term[0]):
        row, column = bad_multiplier
        name = session.lagrangian.names[column]
        return f"the multiplier of {name} became {_word(multipliers[row, column])} at step {first + row}"
    weight = non_finite_weight(session)
    if bad_term is None:
        return None if weight is None else f"weights became non-finite at step {session.step} ({weight})"
    row, part, column = bad_term
    word, where = _word(values[row, part, column]), " on the held-out data" if part else ""
    found = f"{session.lagrangian.terms[column]} became {word}{where} at step {first + row}"
    if not _has_finite_data(session, first + row - 1, is_held_out=bool(part)):
        return f"{found}; the data of that step are not finite"
    return found if weight is None else f"{found}; weights are not finite since ({weight})"


def non_finite_weight(session: Session) -> str | None:
    """Returns the name of the first weight or running statistic that is not finite; None if all are."""
    named = [
        (name, tensor.detach())
        for name, tensor in chain(session.model.named_parameters(), session.model.named_buffers())
        if tensor.is_floating_point()
    ]
    if not named:
        return None
    finite = torch.stack([torch.isfinite(tensor).all() for _, tensor in named])  # one wait for the device
    return next((name for (name, _), good in zip(named, finite.tolist(), strict=True) if not good), None)


def _has_finite_data(session: Session, step: int, *, is_held_out: bool) -> bool:
    batches = session.held_out if is_held_out and session.held_out is not None else session.batches
    batch = batches.at(step)
    return not batch.is_floating_point() or bool(torch.isfinite(batch).all())


def _first_bad(values: Tensor) -> tuple[int, ...] | None:
    bad = ~torch.isfinite(values)
    return tuple(int(i) for i in bad.nonzero()[0]) if bool(bad.any()) else None


def _word(value: Tensor) -> str:
    return "nan" if math.isnan(float(value)) else "infinite"
