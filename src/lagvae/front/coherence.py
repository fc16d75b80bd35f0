"""Does a front hold together? No member may be far worse than another at its own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lagvae.front.point import FrontPoint

ALLOWED = 10.0
"""Nats by which another member may be better at a member's own weights, if they are not more than that loss itself."""


def find_incoherence(points: Sequence[FrontPoint], *, part: str = "train") -> str:
    """Says at which weights one network failed to hold its family; "" where it holds all of it.

        L_i - best_i ≤ max(10 nats, |best_i|),    L_i = D_i + β_i R_i,    best_i = min_j (D_j + β_i R_j)

    Training is a compromise, and after few steps members may be nats worse than a neighbour. But where the rate of one
    end of the family has grown without limit, all that is interpolated from it is wrong, and nothing in the log of a
    mean over the family need show it. Members with more than the lowest weight of the divergence are left out.
    """
    plain = [point for point in points if not point.gamma]
    betas = np.array([point.beta for point in plain])
    distortion, rate = (np.array([point.value(name, part) for point in plain]) for name in ("distortion", "rate"))
    losses = distortion[None, :] + betas[:, None] * rate[None, :]  # [weights, member]
    best = losses.min(axis=1)
    excess = np.diag(losses) - best
    lost = ~(excess <= np.maximum(ALLOWED, np.abs(best)))  # not finite is lost too
    if not lost.any():
        return ""
    worst = int(np.nanargmax(np.where(np.isfinite(excess), excess, np.inf)))
    return (
        f"the member of β = {betas[worst]:.3g} is {excess[worst]:.3g} nats worse than another at its own weights:"
        " training did not hold there; try a lower learning_rate"
    )
