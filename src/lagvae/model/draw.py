"""One pass of a batch through a model: what every term is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from lagvae.model.gaussian import DiagonalGaussian, standard_normal_log_prob
from lagvae.model.likelihoods.likelihood import Likelihood


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
        draw_prior: Samples p(z), in the shape of z.
        draw_again: Draws so many more z for every example, fresh ones, stacked in front of all other dimensions.
    """

    x: Float[Tensor, "*stack batch event"]
    posterior: DiagonalGaussian
    z: Float[Tensor, "*stack batch latent"]
    parameters: Float[Tensor, "*stack batch outputs"]
    likelihood: Likelihood
    draw_prior: Callable[[], Tensor]
    draw_again: Callable[[int], Draw]

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
        return standard_normal_log_prob(self.z)

    @cached_property
    def log_weight(self) -> Float[Tensor, "*stack batch"]:
        """The importance weight log w = log p(x|z) + log p(z) - log q(z|x), in nats: E_q(z|x) w = p(x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    @cached_property
    def kl(self) -> Float[Tensor, "*stack batch"]:
        """KL(q(z|x) ‖ p(z)) in closed form, in nats."""
        return self.posterior.kl_to_standard_normal()

    @cached_property
    def prior_sample(self) -> Float[Tensor, "*stack batch latent"]:
        """A fresh sample of p(z), as large as the batch."""
        return self.draw_prior()
