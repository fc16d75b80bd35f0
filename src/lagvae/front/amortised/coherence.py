"""Does a front hold together? No member may be far worse than another, or than no code at all, at its own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lagvae.front.point import FrontPoint
from lagvae.training.outcome.runaway import is_beaten


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
