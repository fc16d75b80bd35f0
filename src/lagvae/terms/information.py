"""Mutual information between data and code, by the two bounds that a model offers."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lagvae.errors import ProblemError, expected
from lagvae.model.draw import Draw
from lagvae.terms.elbo import RateEstimator, distortion, rate
from lagvae.terms.term import Term, register


@dataclass(frozen=True, eq=False, repr=False)
class MutualInformation(Term):
    """I_q(x;z), between H(x) - D (lower bound) and R (upper bound).

    A problem pushes on the bound that makes the push honest: *maximised*, I stands for its lower
    bound H(x) - D with the constant H(x) dropped; *minimised*, for its upper bound R.

    Units: nats per example. ``estimator`` is the rate's. Source: [LagVAE].
    """

    estimator: RateEstimator = "analytic"
    name = "mutual_information"

    def surrogate(self, weight: float) -> dict[Term, float]:
        """Returns weight · R where information is pushed down, |weight| · D where it is pushed up."""
        if weight > 0:
            return {rate(estimator=self.estimator): weight}
        return {distortion: -weight}

    def measure(self, draw: Draw) -> Float[Tensor, "*stack"]:
        """Never: a single number would hide which bound it is."""
        raise ProblemError(
            expected(
                "a bound of mutual information to measure",
                got="mutual_information itself",
                fix="rate (its upper bound) or distortion (H(x) minus its lower bound)",
            )
        )


mutual_information = MutualInformation()
register(mutual_information)
