"""One pass of a batch through a model: what every term is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.likelihoods.likelihood import Likelihood
from lagvae.model.prior import Prior, StandardNormal


@dataclass
class Draw:
    """(x, z) ~ q(x) q(z|x) with the log-densities that terms ask for.

    What is derived is computed once, when first asked for. Leading dimensions ``*stack``
    hold several models at once; a single model has none.

    Attributes:
        x: What was scored, flattened.
        posterior: q(z|x).
        z: One sample of it per example.
        parameters: The decoder's output for z, flattened.
        likelihood: p(x|z).
        draw_standard: Samples N(0, I), in the shape of z.
        draw_again: Draws so many more z for every example, fresh ones, stacked in front of all other dimensions.
        prior: p(z).
    """

    x: Float[Tensor, "*stack batch event"]
    posterior: DiagonalGaussian
    z: Float[Tensor, "*stack batch latent"]
    parameters: Float[Tensor, "*stack batch outputs"]
    likelihood: Likelihood
    draw_standard: Callable[[], Tensor]
    draw_again: Callable[[int], Draw]
    prior: Prior = field(default_factory=StandardNormal)

    @cached_property
    def log_likelihood(self) -> Float[Tensor, "*stack batch"]:
        """The log-likelihood log p(x|z), summed over the dimensions of x, in nats."""
        return self.likelihood.log_prob(self.parameters, self.x)

    @cached_property
    def log_posterior(self) -> Float[Tensor, "*stack batch"]:
        """The log-density log q(z|x), in nats."""
        return self.posterior.log_prob(self.z)

    @cached_property
    def log_prior(self) -> Float[Tensor, "*stack batch"]:
        """The log-density log p(z), in nats."""
        return self.prior.log_prob(self.z)

    @cached_property
    def log_weight(self) -> Float[Tensor, "*stack batch"]:
        """The importance weight log w = log p(x|z) + log p(z) - log q(z|x), in nats: E_q(z|x) w = p(x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    @cached_property
    def kl(self) -> Float[Tensor, "*stack batch"]:
        """KL(q(z|x) ‖ p(z)), in nats: in closed form, or without bias where p(z) allows none."""
        return self.prior.rate(self.posterior, self.z)

    @cached_property
    def standard_z(self) -> Float[Tensor, "*stack batch latent"]:
        """The codes in the coordinates in which p(z) is N(0, I)."""
        return self.prior.standardise(self.z)[0]

    @cached_property
    def standard_sample(self) -> Float[Tensor, "*stack batch latent"]:
        """A fresh sample of p(z) in the same coordinates, as large as the batch."""
        return self.draw_standard()
