"""The mutual information I_q(x;z) between data and code, with what each estimate of it is worth.

Every estimate is E log q(z|x) - E log q̂(z), with some q̂ for the unknown aggregate posterior q(z).
One that scores z under a mixture of N posteriors, its own among them, never reads above log N:
the mixture cannot fall under 1/N of its own component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import SettingError, expected, nearest
from lagvae.evaluation.codes import Codes
from lagvae.evaluation.density.aggregate import MixtureScores, log_densities
from lagvae.evaluation.density.fitted import Density
from lagvae.evaluation.estimate import Estimate

SATURATION_MARGIN = 2.0
"""In nats: an estimate this close to its cap is flagged. Farther off, it is less than 0.7 short of a Gaussian truth."""

NATS = "nats per example"

InBatch = Literal["info_nce", "leave_one_out", "minibatch_weighted", "stratified"]
"""Estimators that look at one batch of B among N examples."""


@dataclass(frozen=True)
class InformationInterval:
    """E lower ≤ I_q(x;z) ≤ E upper.

    Attributes:
        lower: From the mixture of all posteriors; where it is saturated, the truth may lie anywhere
            up to ``upper``.
        upper: The rate.
    """

    lower: Estimate
    upper: Estimate


def information_interval(codes: Codes, scores: MixtureScores) -> InformationInterval:
    """Returns the interval from the mixture over the whole set to the rate.

    Args:
        codes: Of one part of a data set.
        scores: The same codes' ``score_mixture``.
    """
    return InformationInterval(mixture_information(scores), rate_information(codes))


def rate_information(codes: Codes) -> Estimate:
    """I ≤ R = E KL(q(z|x) ‖ p(z)): the upper end, R - I = KL(q(z) ‖ p(z)).

    Units: nats per example. Bias: upper, by that divergence. Error: s/√N. Source: [LagVAE].
    """
    return Estimate.of_mean(
        codes.rates, unit=NATS, bias="upper", method=f"rate: {codes.how_rates}, mean over examples", examples=len(codes)
    )


def mixture_information(scores: MixtureScores) -> Estimate:
    """I ≥ E [ log q(z_i|x_i) - log 1/N Σ_j q(z_i|x_j) ], its own component among the N.

    Units: nats per example. Bias: lower for the information about all x; capped at log N and flagged
    near it. Exactly what it says for the information about *which* of the N examples it was. Error:
    s/√(codes scored); what the choice of components adds is of second order, because the mixture
    that is varied about is the optimum. Source: [Poole2019], with the exact critic.
    """
    differences = scores.log_own - scores.in_sample
    found = Estimate.of_mean(
        differences,
        unit=NATS,
        bias="lower",
        method=f"mixture of {scores.components} posteriors, its own among them",
        examples=len(differences),
    )
    return _flag(replace(found, samples=scores.components), math.log(scores.components))


def leave_one_out_information(scores: MixtureScores) -> Estimate:
    """I ≤ E [ log q(z_i|x_i) - log 1/(N-1) Σ_{j≠i} q(z_i|x_j) ].

    Units: nats per example. Bias: upper, by Jensen's inequality; without a cap, and above log N often
    tens of nats off, so that it is flagged where its counterpart with its own component is. Error:
    s/√(codes scored). Source: [Poole2019].
    """
    differences = scores.log_own - scores.leave_one_out
    found = Estimate.of_mean(
        differences,
        unit=NATS,
        bias="upper",
        method=f"mixture of the {scores.components - 1} other posteriors",
        examples=len(differences),
    )
    return replace(found, samples=scores.components - 1, is_saturated=mixture_information(scores).is_saturated)


def density_information(codes: Codes, density: Density) -> Estimate:
    """I = R - KL(q(z) ‖ p(z)) ≤ E [ KL(q(z|x_i) ‖ p(z)) + log p(z_i) - log q̂(z_i) ], with a fitted q̂.

    The value to report where an interval is too wide: it has no cap. Any q̂ that was *not* fitted to
    these codes scores them lower on average than q(z) does, by KL(q(z) ‖ q̂): so the divergence reads
    low, the information high, and the better q̂, the lower and the truer the estimate.

    Units: nats per example. Bias: upper, by KL(q(z) ‖ q̂). Error: s/√N, given q̂.

    Args:
        codes: Which q̂ has not seen: the other half, or another part.
        density: As ``fit_density`` returns it.
    """
    differences = codes.rates + codes.log_prior - density.log_prob(codes.z).to(codes.rates)
    return Estimate.of_mean(
        differences,
        unit=NATS,
        bias="upper",
        method=f"rate less KL(q(z) ‖ p(z)) by a fitted density ({density.name}), held-out score",
        examples=len(codes),
    )


def in_batch_weights(estimator: InBatch, batch_size: int, examples: int) -> Float[Tensor, "batch batch"]:
    """Returns w in log q̂(z_i) = log Σ_j w_ij q(z_i|x_j), for batches of B out of N examples.

    * ``info_nce``: 1/B. Its own component counts B times too little of N, or N/B times too much.
    * ``leave_one_out``: 0 on the diagonal, 1/(B-1) beside it.
    * ``minibatch_weighted``: 1/(N B): ``info_nce`` less log N.
    * ``stratified``: 1/N on the *diagonal*, (N-1)/(N (B-1)) beside it. z_i is certain to meet its own
      posterior, which is one of N; the B-1 others are a sample of the N-1 others and stand for them,
      so that the expectation over batches is 1/N Σ_n q(z_i|x_n) exactly. [Chen2018] gives one of the
      others a weight of its own; this is the mean over which one, with the same expectation.

    Raises:
        SettingError: The estimator's name is not known, or there are fewer than two codes a batch.
    """
    if estimator not in get_args(InBatch):
        fix = nearest(str(estimator), get_args(InBatch))
        raise SettingError(expected("an in-batch estimator", got=repr(estimator), fix=fix))
    if not 2 <= batch_size <= examples:
        raise SettingError(
            expected(f"a batch of 2 to {examples} codes, as many as there are", got=batch_size, fix="batch_size=128")
        )
    B, N = batch_size, examples
    own, other = {
        "info_nce": (1 / B, 1 / B),
        "leave_one_out": (0.0, 1 / (B - 1)),
        "minibatch_weighted": (1 / (N * B), 1 / (N * B)),
        "stratified": (1 / N, (N - 1) / (N * (B - 1))),
    }[estimator]
    weights = torch.full((B, B), other, dtype=torch.float64)
    return weights.fill_diagonal_(own)


@torch.inference_mode()
def in_batch_information(codes: Codes, estimator: InBatch, *, batch_size: int = 128, seed: int = 0) -> Estimate:
    """I ≈ E [ log q(z_i|x_i) - log Σ_j w_ij q(z_i|x_j) ] within batches: what training could afford.

    For comparison with other work; the mixture over the whole set is better and takes seconds.

    Units: nats per example. Bias: ``info_nce`` lower, capped at log B; the others upper as long as I is
    far under their cap (``stratified`` log N, ``minibatch_weighted`` log N + log B, ``leave_one_out``
    none). Near a cap they are flagged, ``leave_one_out`` where ``info_nce`` is. Error: over batches,
    which are disjoint. Source: [Oord2018] and [Poole2019]; [Chen2018] for the other two.
    """
    weights = in_batch_weights(estimator, batch_size, len(codes)).to(codes.z.device)
    log_weights = weights.log()
    cap = -float(log_weights[0, 0])
    batches = [index for index in torch.arange(len(codes)).split(batch_size) if len(index) == batch_size]
    shuffled = codes.shuffled(seed)
    means = []
    for index in batches:
        batch = shuffled.pick(index)
        log_density = log_densities(batch.z, batch.posterior)
        means.append((log_density.diagonal() - torch.logsumexp(log_weights + log_density, 1)).mean())
    found = Estimate.of_mean(
        torch.stack(means),
        unit=NATS,
        bias="lower" if estimator == "info_nce" else "upper",
        method=f"{estimator} in {len(batches)} batches of {batch_size}",
        examples=len(batches) * batch_size,
    )
    if estimator == "leave_one_out":
        with_own = in_batch_information(codes, "info_nce", batch_size=batch_size, seed=seed)
        return replace(found, samples=batch_size, is_saturated=with_own.is_saturated)
    return _flag(replace(found, samples=batch_size), cap)


def _flag(found: Estimate, cap: float) -> Estimate:
    return replace(found, is_saturated=cap - found.value < SATURATION_MARGIN)
