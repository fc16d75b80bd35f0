"""From which side of the front a run starts, and how far its multipliers can lead."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.problem.problem import Problem
from lagvae.terms.algebra import Constraint
from lagvae.terms.elbo import Distortion, Rate
from lagvae.terms.term import Term

LOW_BETA = 0.3
"""β while the multipliers rest, where the solution has β ≤ 1: latent units that pressure on R has
switched off stay off, so a run has to come from above."""
LOWEST_BETA = 0.01
"""β at the very beginning there, at 64 latent dimensions: next to an autoencoder."""
MANY = 64
"""Latent dimensions of which pressure switches many off."""


def start_multipliers(problem: Problem) -> Float[Tensor, " constraints"]:
    """Returns the multipliers to rest at: on the favourable side of the front, with no early pressure from mmd.

    With β = weight(R) / weight(D), constraints in nats start at the common multiplier that brings β
    nearest to 0.3 where the solution must have β ≤ 1 (information is maximised within a bound on neg_elbo; or
    the rate is bounded from below, or the distortion from above, beside the VAE's objective), and to 1
    elsewhere. All that a divergence's bound allows weighs a twentieth of a nat: next to nothing. An objective that
    is a hundred times another starts at a hundred times its multipliers.
    """
    return _multipliers_at(problem, LOW_BETA if _rewards_information(problem) else 1.0)


def first_multipliers(problem: Problem, latent_dim: int = MANY) -> Float[Tensor, " constraints"]:
    """Returns the multipliers to warm up from: those to rest at, but where that is β = 0.3 those of a lower one.

        β = min(0.3, 0.01 · (64 / latent_dim)²)

    Of many latent dimensions pressure on the rate switches off those that are of little use yet, and β has to come
    from far below. Few are all in use under any pressure; what they lack is room, and codes that were laid out next
    to without noise do not find their places any more: from β = 0.01 a latent of 10 ends 1 to 5 nats worse.
    """
    lowest = min(LOW_BETA, LOWEST_BETA * (MANY / latent_dim) ** 2)
    return _multipliers_at(problem, lowest if _rewards_information(problem) else 1.0)


def _rewards_information(problem: Problem) -> bool:
    """Whether the solution certainly has β ≤ 1: some of its parts lean to information, and none can lean away."""
    leans = [_lean(problem.objective.surrogate())]
    for constraint in problem.subject_to:
        if constraint.in_nats:
            lean = constraint.sign * _lean(constraint.quantity.surrogate())
            leans += [lean, -lean] if constraint.is_equality else [lean]
    return min(leans) >= 0 and max(leans) > 0


def _lean(weights: Mapping[Term, float]) -> float:
    return _weight(weights, Distortion) - _weight(weights, Rate)


def _multipliers_at(problem: Problem, target: float) -> Float[Tensor, " constraints"]:
    """Returns the common multiplier of the constraints in nats that brings β nearest to ``target``."""
    objective = problem.objective.surrogate()
    # Of the largest weight, not of all: λ meets each term by itself, and D + R starts where the VAE does.
    scale = max((abs(weight) * term.unit for term, weight in objective.items()), default=0.0) or 1.0
    start = torch.tensor([0.05 * scale / max(abs(c.bound), c.unit) for c in problem.subject_to])
    in_nats = torch.tensor([c.in_nats for c in problem.subject_to], dtype=torch.bool)
    # From 1 outwards: where every candidate is as good, it is the VAE's.
    candidates = sorted(torch.logspace(-2, 1, 121).tolist(), key=lambda multiplier: abs(math.log(multiplier)))
    candidates = [scale * candidate for candidate in candidates]

    def distance(multiplier: float) -> float:
        weights = dict(objective)
        for constraint in problem.subject_to:
            if constraint.in_nats:
                for term, weight in constraint.quantity.surrogate().items():
                    weights[term] = weights.get(term, 0.0) + constraint.sign * multiplier * weight
        ratio = _weight(weights, Rate) / max(_weight(weights, Distortion), 1e-6)
        return abs(math.log(max(ratio, 1e-6) / target))

    best = min(candidates, key=distance)
    return torch.where(in_nats, best, start)


def largest_multipliers(problem: Problem) -> Float[Tensor, " constraints"]:
    """Returns, for an objective of scale 1, where each multiplier stops mattering.

    A constraint in nats steers the model through β = weight(R) / weight(D) alone: beyond the multiplier
    where |d log β / d log λ| falls under 1/10 more of it changes nothing but the time it takes to come
    back (10 for neg_elbo; never under a bound on distortion alone, which may take 100). All that a
    divergence's bound allows may weigh 20 nats.
    """
    objective, scale = problem.objective.surrogate(), problem.objective.scale
    candidates = torch.logspace(1, 2, 11).tolist()

    def log_beta(constraint: Constraint, multiplier: float) -> float:
        weights = {term: weight / scale for term, weight in objective.items()}
        for term, weight in constraint.quantity.surrogate().items():
            weights[term] = weights.get(term, 0.0) + constraint.sign * multiplier * weight
        tiny = 1e-6
        return math.log(max(_weight(weights, Rate), tiny) / max(_weight(weights, Distortion), tiny))

    def largest(constraint: Constraint) -> float:
        if not constraint.in_nats:
            return 20.0 / max(abs(constraint.bound), constraint.unit)
        if not any(isinstance(term, Distortion | Rate) for term in constraint.quantity.surrogate()):
            return candidates[-1]
        steps = ((low, abs(log_beta(constraint, 1.01 * low) - log_beta(constraint, low))) for low in candidates)
        return next((low for low, change in steps if change <= 0.1 * math.log(1.01)), candidates[-1])

    return torch.tensor([largest(constraint) for constraint in problem.subject_to])


def _weight(weights: Mapping[Term, float], kind: type[Term]) -> float:
    return sum((weight for term, weight in weights.items() if isinstance(term, kind)), 0.0)
