"""Published models are relaxations of the constrained problem: the gradients of a hand-written loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)

from lagvae.duality.lagrangian import Lagrangian
from lagvae.model.vae import VAE, mlp_vae
from lagvae.problem.presets import beta_vae, info_vae, lag_vae, vae
from lagvae.problem.problem import Problem
from lagvae.streams import Streams, derive_seed

BATCH, EVENT, LATENT, SEED = 12, 6, 3, 7


@pytest.fixture
def model() -> VAE:
    return mlp_vae((EVENT,), latent_dim=LATENT, hidden=(8,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.bernoulli(torch.full((BATCH, EVENT), 0.4), generator=torch.Generator().manual_seed(2))


def gradients(model: VAE, x: torch.Tensor, problem: Problem, multipliers: tuple[float, ...] = ()) -> torch.Tensor:
    lagrangian = Lagrangian(problem)
    values = lagrangian.measure(model.draw(x, Streams(SEED)))
    return flat_gradients(model, lagrangian.value(values, torch.tensor(multipliers)))


def flat_gradients(model: VAE, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def loss_by_hand(model: VAE, x: torch.Tensor, weights: tuple[float, float, float], *, one_sample: bool) -> torch.Tensor:
    """weights · (D, R, mmd) in plain PyTorch, on the noise of the streams' seeds."""

    def noise(stream: str) -> torch.Tensor:
        return torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(derive_seed(SEED, stream)))

    mean, log_std = model.encoder.layers(x)[:, :LATENT], model.encoder.layers(x)[:, LATENT:]
    posterior = torch.distributions.Normal(mean, log_std.exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    z, w = mean + log_std.exp() * noise("posterior"), noise("prior")
    logits = model.decoder.layers(z)
    distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()
    if one_sample:
        rate = (posterior.log_prob(z) - prior.log_prob(z)).sum(1).mean()
    else:
        rate = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(a[:, None] - b[None]).square().sum(-1) / LATENT**2).mean()

    mmd = kernel(z, z) + kernel(w, w) - 2 * kernel(z, w)
    return weights[0] * distortion + weights[1] * rate + weights[2] * mmd


RELAXATIONS = {
    "vae": (vae(), lag_vae(0.0, 86.0, 5.0), (1.0, 0.0), (1.0, 1.0, 0.0)),
    "beta_vae": (beta_vae(4.0), lag_vae(-3.0, 86.0, 5.0), (1.0, 0.0), (1.0, 4.0, 0.0)),
    "beta_vae below one": (beta_vae(0.25), lag_vae(0.75, 86.0, 5.0), (0.25, 0.0), (1.0, 0.25, 0.0)),
    "info_vae up": (info_vae(1.0, 2.0, 0.003), lag_vae(1.0, 86.0, 5.0), (2.0, 30.0), (3.0, 2.0, 30.0)),
    "info_vae down": (info_vae(-1.5, 2.0, 0.003), lag_vae(-1.5, 86.0, 5.0), (2.0, 30.0), (2.0, 3.5, 30.0)),
    "info_vae level": (info_vae(0.0, 2.0, 0.003), lag_vae(0.0, 86.0, 5.0), (2.0, 30.0), (2.0, 2.0, 30.0)),
    "one sample": (
        info_vae(1.0, 2.0, 0.003, estimator="one_sample"),
        lag_vae(1.0, 86.0, 5.0, estimator="one_sample"),
        (2.0, 30.0),
        (3.0, 2.0, 30.0),
    ),
}


@pytest.mark.parametrize("name", RELAXATIONS)
def test_gradients_are_those_of_the_constrained_problem_and_of_the_hand_written_loss(
    name: str, model: VAE, x: torch.Tensor
) -> None:
    relaxed, constrained, multipliers, weights = RELAXATIONS[name]
    found = gradients(model, x, relaxed)
    tolerance = 1e-5 * float(found.abs().max())
    torch.testing.assert_close(gradients(model, x, constrained, multipliers), found, rtol=0, atol=tolerance)
    by_hand = flat_gradients(model, loss_by_hand(model, x, weights, one_sample=name == "one sample"))
    torch.testing.assert_close(by_hand, found, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", RELAXATIONS)
def test_other_multipliers_have_other_gradients(name: str, model: VAE, x: torch.Tensor) -> None:
    relaxed, constrained, (first, second), _ = RELAXATIONS[name]
    found = gradients(model, x, relaxed)
    moved = gradients(model, x, constrained, (first + 0.1, second))
    assert float((moved - found).abs().max()) > 1e-3 * float(found.abs().max())


def test_geco_relaxes_to_a_beta_vae(model: VAE, x: torch.Tensor) -> None:
    relaxed = Problem.parse("min 4*rate s.t. distortion <= 80").relax(distortion=1.0)
    torch.testing.assert_close(gradients(model, x, relaxed), gradients(model, x, beta_vae(4.0)))


def test_relaxing_changes_the_lagrangian_by_a_constant() -> None:
    problem = lag_vae(1.0, 86.0, 5.0)
    values, multipliers = torch.tensor([60.0, 25.0, 7e-4]), torch.tensor([2.0, 3e4])
    relaxed = Lagrangian(problem.relax(neg_elbo=2.0, mmd=3e4))
    difference = relaxed.value(values, torch.zeros(0)) - Lagrangian(problem).value(values, multipliers)
    assert float(difference) == pytest.approx(2 * 86 + 3e4 * 5e-4, abs=1e-3)
