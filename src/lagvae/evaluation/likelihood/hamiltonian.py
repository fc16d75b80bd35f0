"""Hamiltonian Monte Carlo on the path from a start to the posterior: the moves that annealing makes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.model.gaussian import DiagonalGaussian, standard_normal_log_prob
from lagvae.model.vae import VAE

TARGET_ACCEPTANCE = 0.65
"""What step sizes are tuned to [Neal2011]."""


@dataclass(frozen=True)
class State:
    """Where chains are, with what the decoder says there: it is asked once per place.

    Attributes:
        z: Positions, one per chain and example.
        log_likelihood: The log-likelihoods log p(x|z).
        gradient: Its gradient in z.
    """

    z: Float[Tensor, "chains batch latent"]
    log_likelihood: Float[Tensor, "chains batch"]
    gradient: Float[Tensor, "chains batch latent"]


class Path:
    """f_β(z) = s(z)^(1-β) (p(z) p(x|z))^β, unnormalised: from a start s at β = 0 to the posterior at β = 1.

    Where s is the prior, f_β(z) = p(z) p(x|z)^β.

    Args:
        model: Whose p(x|z), and whose prior gives the coordinates that z is in: p(z) = N(0, I) in them.
        x: Prepared examples.
        start: s, one Gaussian per example.
        encoder: q(z|x) there, which tells how wide the posterior is in each direction. It steers step sizes only: a
            poor one costs acceptance and biases nothing.
    """

    def __init__(
        self,
        model: VAE,
        x: Float[Tensor, "batch *event"],
        *,
        start: DiagonalGaussian,
        encoder: DiagonalGaussian,
    ) -> None:
        self.model, self.x, self.start = model, x.flatten(1), start
        self._start_precision = (-2 * start.log_std).exp()
        self._end_precision = (-2 * encoder.log_std).exp().clamp_min(1.0)  # no posterior is wider than the prior

    def sample_start(self, chains: int, generator: torch.Generator) -> State:
        """Draws z ~ s for every chain."""
        return self.at(self.start.at(self._normal(chains, generator)))

    def at(self, z: Float[Tensor, "chains batch latent"]) -> State:
        """Asks the decoder about these places."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            codes = self.model.prior.place(z.flatten(0, 1))
            parameters = self.model.decoder(codes).flatten(1).unflatten(0, z.shape[:2])
            log_likelihood = self.model.likelihood.log_prob(parameters, self.x.expand(len(z), *self.x.shape))
            (gradient,) = torch.autograd.grad(log_likelihood.sum(), z)
        return State(z.detach(), log_likelihood.detach(), gradient)

    def log_density(self, state: State, beta: float) -> Float[Tensor, "chains batch"]:
        """Returns log f_β(z)."""
        return self.start.log_prob(state.z) + beta * self.log_ratio(state)

    def log_ratio(self, state: State) -> Float[Tensor, "chains batch"]:
        """Returns ∂/∂β log f_β(z) = log p(x|z) + log p(z) - log s(z)."""
        return state.log_likelihood + standard_normal_log_prob(state.z) - self.start.log_prob(state.z)

    def gradient(self, state: State, beta: float) -> Float[Tensor, "chains batch latent"]:
        """Returns ∇_z log f_β(z)."""
        start = (1 - beta) * (self.start.mean - state.z) * self._start_precision
        return start + beta * (state.gradient - state.z)

    def scale(self, beta: float) -> Float[Tensor, "batch latent"]:
        """Returns the standard deviations that f_β would have if the encoder were exact: steps are measured in them."""
        return ((1 - beta) * self._start_precision + beta * self._end_precision).rsqrt()

    def _normal(self, chains: int, generator: torch.Generator) -> Tensor:
        mean = self.start.mean
        return torch.randn(chains, *mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)


def leapfrog(
    path: Path,
    state: State,
    momentum: Float[Tensor, "chains batch latent"],
    *,
    beta: float,
    step_size: Float[Tensor, "*chains batch"],
    steps: int,
) -> tuple[State, Float[Tensor, "chains batch latent"]]:
    """Follows H(z, v) = -log f_β(z) + ½‖v‖² for ``steps`` leapfrogs, in coordinates where f_β is about as wide as 1.

    Reversible (start at the end with -v) and volume-preserving; the error in H is of second order
    in the step size. Source: [Neal2011], section 2.3.
    """
    stride = step_size.unsqueeze(-1) * path.scale(beta)
    kick = 0.5 * stride * path.gradient(state, beta)
    for _ in range(steps):
        momentum = momentum + kick
        state = path.at(state.z + stride * momentum)
        kick = 0.5 * stride * path.gradient(state, beta)
        momentum = momentum + kick
    return state, momentum


def transition(
    path: Path,
    state: State,
    *,
    beta: float,
    step_size: Float[Tensor, " batch"],
    steps: int,
    generator: torch.Generator,
) -> tuple[State, Float[Tensor, "chains batch"]]:
    """Makes one move that leaves f_β invariant, and is its own reversal; returns the probability of acceptance too.

    The step size is shaken by ±20 %, which keeps trajectories from closing on themselves. A step that leaves the
    numbers' range is refused. Source: [Neal2011], sections 3.2 and 4.2.
    """
    device = state.z.device
    shake = torch.empty(state.z.shape[:2], device=device).uniform_(0.8, 1.2, generator=generator)
    momentum = torch.randn(state.z.shape, dtype=state.z.dtype, device=device, generator=generator)
    proposed, final = leapfrog(path, state, momentum, beta=beta, step_size=shake * step_size, steps=steps)
    gain = path.log_density(proposed, beta) - path.log_density(state, beta)
    gain = gain - 0.5 * (final.square().sum(-1) - momentum.square().sum(-1))
    acceptance = gain.clamp_max(0).exp().nan_to_num(nan=0.0)
    is_accepted = torch.rand(acceptance.shape, device=device, generator=generator) < acceptance
    moved = State(
        torch.where(is_accepted.unsqueeze(-1), proposed.z, state.z),
        torch.where(is_accepted, proposed.log_likelihood, state.log_likelihood),
        torch.where(is_accepted.unsqueeze(-1), proposed.gradient, state.gradient),
    )
    return moved, acceptance
