"""From which side of the front a run starts."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.problem.problem import Problem
from lagvae.terms.elbo import Distortion, Rate
from lagvae.terms.term import Term

LOW_BETA = 0.3
"""β while the multipliers rest, where information is maximised: latent units that pressure on R has
switched off stay off, so a run has to come from above."""


def start_multipliers(problem: Problem) -> Float[Tensor, " constraints"]:
    """Returns the first multipliers: on the favourable side of the front, with no early pressure from mmd.

    With β = weight(R) / weight(D), constraints in nats start at the common multiplier that brings β
    nearest to 0.3 where the objective rewards information more than the VAE does, and to 1
    elsewhere. All that a divergence's bound allows weighs a twentieth of a nat: next to nothing.
    """
    objective = problem.objective.surrogate()
    start = torch.tensor([0.05 / max(abs(c.bound), c.unit) for c in problem.subject_to])
    in_nats = torch.tensor([c.in_nats for c in problem.subject_to], dtype=torch.bool)
    target = LOW_BETA if _weight(objective, Distortion) > _weight(objective, Rate) else 1.0
    # From 1 outwards: where every candidate is as good, it is the VAE's.
    candidates = sorted(torch.logspace(-1, 1, 81).tolist(), key=lambda multiplier: abs(math.log(multiplier)))

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


def _weight(weights: dict[Term, float], kind: type[Term]) -> float:
    return sum((weight for term, weight in weights.items() if isinstance(term, kind)), 0.0)
