"""Does a front hold together? No member may be far worse than another, or than no code at all, at its own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lagvae.data.examples import Examples
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed

NATS, TIMES = 1000.0, 10.0
"""How much a member may be beaten by at its own weights: so many nats, or so many times the better loss."""
BLIND = 1000
"""Training examples on which members are tried without a code."""


def find_incoherence(points: Sequence[FrontPoint], blind: Sequence[float], *, part: str = "train") -> str:
    """Says at which weights one network failed to hold its family; "" where it holds all of it.

        L_i - best_i ≤ max(1000 nats, 10 |best_i|),    L_i = D_i + β_i R_i,    best_i = min(D_i⁰, min_j (D_j + β_i R_j))

    with D⁰ of codes drawn from the prior. After few steps a rate of tens of nats, times β = 10, is no sign of anything.
    But where rates have grown without limit, at one end of the family or everywhere, all that is interpolated is
    wrong, and no number in the log need be infinite.

    Args:
        points: Members. Those with more than the lowest weight of the divergence are left out.
        blind: D⁰ of each of the others, by :func:`blind_distortion`.
        part: Of the data.
    """
    plain = [point for point in points if not point.gamma]
    betas = np.array([point.beta for point in plain])
    distortion, rate = (np.array([point.value(name, part) for point in plain]) for name in ("distortion", "rate"))
    losses = distortion[None, :] + betas[:, None] * rate[None, :]  # [weights, member]
    best = np.fmin(losses.min(axis=1), np.array(blind))
    excess = np.diag(losses) - best
    lost = ~(excess <= np.maximum(NATS, TIMES * np.abs(best)))  # not finite is lost too
    if not lost.any():
        return ""
    worst = int(np.argmax(np.where(lost, np.nan_to_num(excess, nan=np.inf), -np.inf)))
    return (
        f"the member of β = {betas[worst]:.3g} is {excess[worst]:.3g} nats worse at its own weights than another, or"
        " than without a code: training did not hold there; try a lower learning_rate"
    )


@torch.no_grad()
def blind_distortion(member: VAE, examples: Examples, *, seed: int) -> float:
    """Returns D⁰ = E_q(x)p(z) [-log p(x|z)]: what a member reaches with codes that know nothing of x, at no rate."""
    streams = Streams(derive_seed(seed, "front", "blind"), member.device)
    index = torch.arange(min(len(examples), BLIND))
    x = member.likelihood.prepare(examples.gather(index).to(member.device), streams.binarisation)
    z = member.prior.place(streams.prior_sample(torch.empty(len(index), member.latent_dim, device=member.device)))
    return -float(member.likelihood.log_prob(member.decoder(z).flatten(1), x.flatten(1)).mean())
