"""The two halves of the evidence bound, and their sum. All in nats per example, all losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lagvae.model.draw import Draw
from lagvae.terms.term import PerExampleTerm, Term, register

RateEstimator = Literal["analytic", "one_sample"]


@dataclass(frozen=True, eq=False, repr=False)
class Distortion(PerExampleTerm):
    """D = E_q(x)q(z|x) [ -log p(x|z) ]: summed over the dimensions of x, mean over examples.

    Units: nats per example. Bias: none (one z per example). Source: [Kingma2014], equation 3.
    """

    name = "distortion"
    may_be_rewarded = False

    def per_example(self, draw: Draw) -> Float[Tensor, "*stack batch"]:
        """Returns -log p(x|z)."""
        return -draw.log_likelihood


@dataclass(frozen=True, eq=False, repr=False)
class Rate(PerExampleTerm):
    """R = E_q(x) KL(q(z|x) ‖ p(z)).

    Units: nats per example. Bias: none. ``estimator="analytic"`` is the closed form, or where the
    prior allows none, the entropy of q(z|x) in closed form and log p(z) at one z; ``"one_sample"``
    is the original's log q(z|x) - log p(z): the same mean, more noise. Source: [Kingma2014],
    equation 3.
    """

    estimator: RateEstimator = "analytic"
    name = "rate"
    at_least_zero = True

    def per_example(self, draw: Draw) -> Float[Tensor, "*stack batch"]:
        """Returns KL(q(z|x) ‖ p(z)), or its one-sample estimate."""
        if self.estimator == "analytic":
            return draw.kl
        return draw.log_posterior - draw.log_prior


@dataclass(frozen=True, eq=False, repr=False)
class NegElbo(PerExampleTerm):
    """-ELBO = D + R ≥ E[-log p(x)]: an upper bound of the cross-entropy.

    Units: nats per example. KL(q(x,z) ‖ p(x,z)) = D + R - H(x). ``estimator`` is the rate's.
    Source: [Kingma2014], equation 3.
    """

    estimator: RateEstimator = "analytic"
    name = "neg_elbo"
    may_be_rewarded = False

    def surrogate(self, weight: float) -> dict[Term, float]:
        """Returns weight · D + weight · R."""
        return {distortion: weight, rate(estimator=self.estimator): weight}

    def per_example(self, draw: Draw) -> Float[Tensor, "*stack batch"]:
        """Returns -log p(x|z) + KL(q(z|x) ‖ p(z))."""
        return distortion.per_example(draw) + rate(estimator=self.estimator).per_example(draw)


distortion = Distortion()
rate = Rate()
neg_elbo = NegElbo()
for _term in (distortion, rate, neg_elbo):
    register(_term)
