"""One pass of a whole batch through a model, of which every process of a team made a share."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from lagvae.distributed.team import Team
from lagvae.model.draw import Draw
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.likelihoods.likelihood import sees_batch


class WholeDraw(Draw):
    """What every term is measured on: the shares side by side, each gathered when it is first asked for.

    Numbers of single examples are computed by the process that has the example, and only the numbers travel: of the
    built-in terms, one log-likelihood and one rate per example, and for mmd the codes. x and the decoder's output
    travel where a term of the user's own asks for them, or where the likelihood sees the batch as a whole.
    """

    def __init__(self, own: Draw, team: Team) -> None:
        self.own, self.team = own, team
        self.likelihood, self.prior = own.likelihood, own.prior
        self.draw_standard = own.draw_standard  # a team's streams draw the prior's sample for the whole batch

    def draw_again(self, samples: int) -> Draw:
        """Draws so many more z for every example."""
        return WholeDraw(self.own.draw_again(samples), self.team)

    @cached_property
    def x(self) -> Tensor:  # type: ignore[override]
        """What was scored."""
        return self.team.gather(self.own.x, -2)

    @cached_property
    def z(self) -> Tensor:  # type: ignore[override]
        """One code per example."""
        return self.team.gather(self.own.z, -2)

    @cached_property
    def parameters(self) -> Tensor:  # type: ignore[override]
        """The decoder's output."""
        return self.team.gather(self.own.parameters, -2)

    @cached_property
    def posterior(self) -> DiagonalGaussian:  # type: ignore[override]
        """q(z|x)."""
        return DiagonalGaussian(
            *(self.team.gather(p, -2) for p in (self.own.posterior.mean, self.own.posterior.log_std))
        )

    @cached_property
    def log_likelihood(self) -> Tensor:
        """The log-likelihood of each example."""
        if sees_batch(self.likelihood):
            return self.likelihood.log_prob(self.parameters, self.x)
        return self.team.gather(self.own.log_likelihood, -1)

    @cached_property
    def log_posterior(self) -> Tensor:
        """The log-density log q(z|x)."""
        return self.team.gather(self.own.log_posterior, -1)

    @cached_property
    def log_prior(self) -> Tensor:
        """The log-density log p(z)."""
        return self.team.gather(self.own.log_prior, -1)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) of each example."""
        return self.team.gather(self.own.kl, -1)

    @cached_property
    def standard_z(self) -> Tensor:
        """The codes in the coordinates in which p(z) is N(0, I)."""
        return self.team.gather(self.own.standard_z, -2)
