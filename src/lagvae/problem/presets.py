"""Published models as problems. There is no class per paper: only who sets the multipliers differs.

Sources are keys of the bibliography in ``docs/bibliography.md``.
"""

from __future__ import annotations

from lagvae.problem.problem import Maximize, Minimize, Objective, Problem
from lagvae.terms.algebra import WeightedSum
from lagvae.terms.elbo import RateEstimator, distortion, neg_elbo, rate
from lagvae.terms.information import mutual_information
from lagvae.terms.mmd import mmd


def vae() -> Problem:
    """The variational autoencoder, min D + R. Source: [Kingma2014], equation 3."""
    return Problem(Minimize(distortion + rate))


def beta_vae(beta: float) -> Problem:
    """β-VAE, min D + βR. Source: [Higgins2017], equation 4."""
    return Problem(Minimize(distortion + beta * rate))


def info_vae(mi: float, l1: float, l2: float, *, estimator: RateEstimator = "analytic") -> Problem:
    """The relaxation of :func:`lag_vae` at fixed multipliers: the original's ``infovae.py``.

    min (l1 + mi) D + l1 R + 10⁴ l2 mmd for mi > 0, and min l1 D + (l1 - mi) R + 10⁴ l2 mmd otherwise.

    Args:
        mi: Weight of mutual information: maximised if positive, minimised if negative.
        l1: Multiplier of neg_elbo.
        l2: Multiplier of 10⁴ mmd.
        estimator: How the rate is estimated; the original took ``"one_sample"``.

    Source: [InfoVAE], equation 6.
    """
    constrained = Problem(_information(mi, estimator), [neg_elbo(estimator=estimator) <= 0, mmd <= 1])
    return constrained.relax(neg_elbo=l1, mmd=1e4 * l2)


def lag_vae(mi: float, e1: float, e2: float, *, estimator: RateEstimator = "analytic") -> Problem:
    """Optimise mutual information subject to neg_elbo ≤ e1 and 10⁴ mmd ≤ e2: the original's ``lagvae.py``.

    Args:
        mi: Weight of mutual information: maximised if positive, minimised if negative.
        e1: Bound of neg_elbo, in nats.
        e2: Bound of mmd in the original's unit: 5 means mmd ≤ 5e-4.
        estimator: How the rate is estimated; the original took ``"one_sample"``.

    Source: [LagVAE].
    """
    return Problem(_information(mi, estimator), [neg_elbo(estimator=estimator) <= e1, mmd <= 1e-4 * e2])


def geco(kappa: float) -> Problem:
    """GECO, min R subject to D ≤ κ. Source: [Rezende2018]."""
    return Problem(Minimize(rate), [distortion <= kappa])


def mdr(minimum_rate: float) -> Problem:
    """Minimum desired rate, min D + R subject to R ≥ r. Source: [Pelsmaeker2020]."""
    return Problem(Minimize(neg_elbo), [rate >= minimum_rate])


def _information(mi: float, estimator: RateEstimator) -> Objective:
    information = mutual_information(estimator=estimator)
    if mi == 0:
        return Minimize(WeightedSum({}))
    return Maximize(mi * information) if mi > 0 else Minimize(-mi * information)
