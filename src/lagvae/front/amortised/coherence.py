"""Does a front hold together, and is a code worth anything to it? What its members reach, against no code at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lagvae.front.point import FrontPoint
from lagvae.training.outcome.runaway import is_beaten

WORTH = 0.1
"""Nats that codes have to gain at the lowest β."""


def find_incoherence(points: Sequence[FrontPoint], blind: Sequence[float], *, part: str = "train") -> str:
    """Says at which weights one network failed to hold its family; "" where it holds all of it.

        L_i - best_i ≤ max(1000 nats, 10 |best_i|),    L_i = D_i + β_i R_i,    best_i = min(D_i⁰, min_j (D_j + β_i R_j))

    with D⁰ of codes drawn from the prior. After few steps a rate of tens of nats, times β = 10, is no sign of anything.
    But where rates have grown without limit, at one end of the family or everywhere, all that is interpolated is
    wrong, and no number in the log need be infinite.

    Args:
        points: Members. Those with more than the lowest weight of the divergence are left out.
        blind: D⁰ of each of the others, by :func:`~lagvae.training.outcome.runaway.blind_distortion`.
        part: Of the data.
    """
    plain = [point for point in points if not point.gamma]
    betas = np.array([point.beta for point in plain])
    distortion, rate = (np.array([point.value(name, part) for point in plain]) for name in ("distortion", "rate"))
    losses = distortion[None, :] + betas[:, None] * rate[None, :]  # [weights, member]
    best = np.fmin(losses.min(axis=1), np.array(blind))
    excess = np.diag(losses) - best
    lost = np.array([is_beaten(float(lead), stake=float(reached)) for lead, reached in zip(excess, best, strict=True)])
    if not lost.any():
        return ""
    worst = int(np.argmax(np.where(lost, np.nan_to_num(excess, nan=np.inf), -np.inf)))
    return (
        f"the member of β = {betas[worst]:.3g} is {excess[worst]:.3g} nats worse at its own weights than another, or"
        " than without a code: training did not hold there; try a lower learning_rate"
    )


def find_collapse(points: Sequence[FrontPoint], blind: Sequence[float], *, part: str = "train") -> str:
    """Says that codes are worth nothing to a front; "" where they are.

        min_j D_j⁰ - (D_0 + β_0 R_0) < 0.1 nat,    of the member of the lowest β_0, for which a code is cheapest

    Arguments as of :func:`find_incoherence`.
    """
    lowest = next(point for point in points if not point.gamma)
    distortion, rate = (lowest.value(name, part) for name in ("distortion", "rate"))
    beta = float(lowest.beta or 0)
    if min(blind) - (distortion + beta * rate) >= WORTH:
        return ""
    return (
        f"trained, but codes are worth nothing to it: at β = {beta:.3g}, its lowest, it is no better than without them"
        f" (rate {rate:.2g} nats); try a lower learning_rate, more epochs or a lower beta_low"
    )
