"""A surface in closed form: D = 50 + 100 exp(-R / 20), of which the member at β minimises D + βR.

R(β) = 20 log(5 / β),    mmd(γ) = 0.01 / (1 + γ / 1000), which costs 2 log(1 + γ / 1000) nats of distortion
"""

from __future__ import annotations

import math

import numpy as np

from lagvae.evaluation.estimate import Estimate
from lagvae.front.amortised.family import Family
from lagvae.front.amortised.surface import Surface

BETAS = tuple(np.geomspace(0.1, 4.9, 11).tolist())
GAMMAS = (10.0, 1e3, 1e4, 1e5)


def measured(beta: float, gamma: float, shift: float = 0.0) -> dict[str, Estimate]:
    def estimate(value: float) -> Estimate:
        return Estimate(value, 0.1, "nats per example", "none", "closed form", 100)

    rate, mmd = 20 * math.log(5 / beta), 0.01 / (1 + gamma / 1e3)
    distortion = 50 + 100 * math.exp(-rate / 20) + 2 * math.log1p(gamma / 1e3) + shift
    values = {"distortion": distortion, "rate": rate, "neg_elbo": distortion + rate}
    return {name: estimate(v) for name, v in {**values, "mmd_biased": mmd, "mmd_unbiased": mmd - 1e-4}.items()}


def surface(gammas: tuple[float, ...] = GAMMAS) -> Surface:
    family = Family(beta=(BETAS[0], BETAS[-1]), gamma=(10.0, 1e5))
    members = [(beta, gamma) for beta in BETAS for gamma in gammas]
    return Surface(
        family, BETAS, gammas, tuple({"train": measured(*m), "test": measured(*m, shift=3.0)} for m in members)
    )
