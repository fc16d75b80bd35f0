"""A learned prior is a density: its map inverts, its determinant is the map's, it integrates to one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.errors import SettingError
from lagvae.evaluation.codes import Codes
from lagvae.evaluation.latent.divergence import mmd_test
from lagvae.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood, bracket_log_likelihood
from lagvae.evaluation.likelihood.importance import log_likelihood
from lagvae.model.flow import FlowPrior
from lagvae.model.gaussian import DiagonalGaussian, standard_normal_log_prob
from lagvae.model.prior import StandardNormal
from lagvae.model.vae import VAE
from lagvae.streams import Streams
from truth import LinearGaussian, gaussian_log_density


def bent(latent: int, *, seed: int = 0) -> FlowPrior:
    """A flow far from the identity."""
    generator = torch.Generator().manual_seed(seed)
    flow = FlowPrior(latent, generator=generator)
    for coupling in flow.couplings:
        nn.init.normal_(coupling.outer.weight, std=0.1, generator=generator)
        nn.init.normal_(coupling.outer.bias, std=0.3, generator=generator)
    return flow.requires_grad_(False)


def affine(latent: int, *, seed: int = 0) -> FlowPrior:
    """A flow whose map is affine with independent axes: z = mean + std * e."""
    flow = bent(latent, seed=seed)
    for coupling in flow.couplings:
        nn.init.zeros_(coupling.outer.weight)
    return flow


def moments(flow: FlowPrior, latent: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of an affine flow, read off two points."""
    mean = flow.place(torch.zeros(latent, dtype=torch.float64))
    return mean, flow.place(torch.ones(latent, dtype=torch.float64)) - mean


def grid(points: int = 401, reach: float = 12.0) -> tuple[Tensor, float]:
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float((axis[1] - axis[0]) ** 2)


@pytest.fixture
def z() -> Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_it_begins_as_the_standard_normal(z: Tensor) -> None:
    flow = FlowPrior(5)
    torch.testing.assert_close(flow.log_prob(z), standard_normal_log_prob(z))
    torch.testing.assert_close(flow.place(z), z)


@pytest.mark.parametrize("latent", [2, 3, 5])
def test_its_map_inverts(latent: int) -> None:
    flow = bent(latent)
    e = torch.randn(50, latent, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = flow.place(e)
    assert float((z - e).abs().max()) > 0.5
    torch.testing.assert_close(flow.standardise(z)[0], e, rtol=0, atol=1e-4)  # perceptrons see float32


def test_its_determinant_is_the_jacobians(z: Tensor) -> None:
    flow = bent(5).double()
    _, log_scale = flow.standardise(z)
    for row, found in zip(z, log_scale.sum(-1), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda point: flow.standardise(point)[0], row)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], found)


@pytest.mark.parametrize("seed", [0, 1])
def test_its_density_integrates_to_one(seed: int) -> None:
    points, cell = grid()
    assert float(bent(2, seed=seed).log_prob(points).exp().sum() * cell) == pytest.approx(1, abs=1e-3)


def test_its_samples_have_its_density() -> None:
    flow, generator = bent(2), torch.Generator().manual_seed(0)
    points, cell = grid()
    weights = flow.log_prob(points).exp() * cell
    samples = flow.place(torch.randn(40_000, 2, generator=generator, dtype=torch.float64))
    for moment in (
        lambda at: at[:, 0],
        lambda at: at[:, 1],
        lambda at: at.square().sum(-1),
        lambda at: at[:, 0].tanh(),
    ):
        error = moment(samples).std() / 200
        assert float(abs(moment(samples).mean() - (weights * moment(points)).sum())) < 5 * float(error)


def test_its_rate_is_the_divergence() -> None:
    flow, generator = bent(2), torch.Generator().manual_seed(0)
    posterior = DiagonalGaussian(torch.tensor([[0.4, -0.8]]).double(), torch.tensor([[-0.5, -1.2]]).double())
    points, cell = grid()
    log_q = posterior.log_prob(points)
    truth = float((log_q.exp() * (log_q - flow.log_prob(points))).sum() * cell)
    many = DiagonalGaussian(posterior.mean.expand(20_000, 2), posterior.log_std.expand(20_000, 2))
    found = flow.rate(many, many.at(torch.randn(20_000, 2, generator=generator, dtype=torch.float64)))
    assert abs(float(found.mean()) - truth) < 5 * float(found.std()) / 20_000**0.5
    assert abs(truth - float(posterior.kl_to_standard_normal())) > 0.1  # and no other prior's


def test_the_standard_normal_has_the_closed_form(z: Tensor) -> None:
    posterior, prior = DiagonalGaussian(z, 0.1 * z), StandardNormal()
    assert torch.equal(prior.rate(posterior, z), posterior.kl_to_standard_normal())
    assert torch.equal(prior.log_prob(z), standard_normal_log_prob(z))
    assert prior.pull_back(posterior) is posterior
    assert prior.state_dict() == {}


def test_entropy_is_torchs(z: Tensor) -> None:
    torch.testing.assert_close(
        DiagonalGaussian(z, 0.1 * z).entropy(), torch.distributions.Normal(z, (0.1 * z).exp()).entropy().sum(-1)
    )


def test_a_posterior_is_pulled_back_exactly_through_an_affine_flow(z: Tensor) -> None:
    flow = affine(5)
    mean, std = moments(flow, 5)
    found = flow.pull_back(DiagonalGaussian(z, 0.1 * z))
    torch.testing.assert_close(found.mean, (z - mean) / std, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.log_std, 0.1 * z - std.log(), rtol=1e-5, atol=1e-5)


def test_a_flow_in_one_dimension_is_refused() -> None:
    with pytest.raises(SettingError, match="over two dimensions or more, got 8 over 1; try a larger latent_dim"):
        FlowPrior(1)


def flow_vae(flow: FlowPrior) -> tuple[VAE, LinearGaussian]:
    """A linear-Gaussian decoder under another prior, and an encoder that does not know it."""
    linear = LinearGaussian.with_true_posterior(event=6, latent=2, noise=0.9, seed=4).with_encoder(widen=1.5)
    vae = linear.vae()
    vae.prior = flow
    return vae, linear


def exact_log_likelihood(linear: LinearGaussian, flow: FlowPrior, x: Tensor) -> np.ndarray:
    """Log ∫ p(z) p(x|z) dz on a grid."""
    points, cell = grid(points=601)
    means = points.numpy() @ linear.loading.T + linear.mean
    log_prior = flow.log_prob(points)
    rows = [
        torch.logsumexp(
            log_prior
            + torch.tensor(gaussian_log_density(row.numpy() - means, np.zeros(6), linear.noise**2 * np.eye(6))),
            0,
        )
        for row in x.double()
    ]
    return np.array([float(row) for row in rows]) + math.log(cell)


@pytest.fixture(scope="module")
def modelled() -> tuple[VAE, Tensor, np.ndarray]:
    """A model with a bent prior, data of its own, and their exact log p(x)."""
    flow = bent(2, seed=2)
    vae, linear = flow_vae(flow)
    generator = torch.Generator().manual_seed(5)
    codes = flow.place(torch.randn(40, 2, generator=generator))
    x = vae.simulate(codes, generator)
    return vae, x, exact_log_likelihood(linear, flow, x)


def test_importance_sampling_finds_its_log_likelihood(modelled: tuple[VAE, Tensor, np.ndarray]) -> None:
    vae, x, exact = modelled
    found = log_likelihood(vae, Examples(x), samples=4000)
    assert found.value == pytest.approx(exact.mean(), abs=0.05)
    under_normal = log_likelihood(flow_vae(FlowPrior(2))[0], Examples(x), samples=4000)
    assert abs(under_normal.value - exact.mean()) > 0.1


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_annealing_finds_its_log_likelihood(modelled: tuple[VAE, Tensor, np.ndarray], start: str) -> None:
    vae, x, exact = modelled
    annealing = Annealing(chains=16, temperatures=100, leapfrogs=4)
    found = annealed_log_likelihood(vae, Examples(x), annealing=annealing, start=start)  # type: ignore[arg-type]
    assert found.value == pytest.approx(exact.mean(), abs=0.05)


def test_a_bracket_closes_on_data_of_its_own(modelled: tuple[VAE, Tensor, np.ndarray]) -> None:
    vae, *_ = modelled
    bracket = bracket_log_likelihood(vae, size=40, annealing=Annealing(chains=16, temperatures=100, leapfrogs=4))
    assert abs(bracket.gap.value) < 0.1
    assert bracket.lower.value == pytest.approx(bracket.upper.value, abs=0.1)


def test_its_own_samples_are_not_told_from_it_and_those_of_another_are() -> None:
    flow, generator = bent(3), torch.Generator().manual_seed(1)
    noise = torch.randn(2000, 3, generator=generator)

    def p_value(z: Tensor) -> float:
        codes = Codes(DiagonalGaussian(z, torch.full_like(z, -3.0)), z, prior=flow)
        return mmd_test(codes, lv.mmd(kernel="imq"), permutations=200).p_value.value

    assert p_value(flow.place(noise)) > 0.01
    assert p_value(noise) < 0.01


def test_a_draw_measures_against_it() -> None:
    flow = affine(3)
    mean, std = moments(flow, 3)
    linear = LinearGaussian.arbitrary(event=4, latent=3, seed=1)
    vae = linear.vae()
    vae.prior = flow
    draw = vae.draw(linear.sample_data(9, seed=0), Streams(0))
    normal = torch.distributions.Normal(mean.float(), std.float())
    torch.testing.assert_close(draw.log_prior, normal.log_prob(draw.z).sum(-1), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(draw.standard_z, (draw.z - mean.float()) / std.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(draw.kl, -draw.posterior.entropy() - draw.log_prior)
    torch.testing.assert_close(lv.neg_elbo.measure(draw), (draw.kl - draw.log_likelihood).mean())
    again = draw.draw_again(2)
    torch.testing.assert_close(again.log_prior, normal.log_prob(again.z).sum(-1), rtol=1e-5, atol=1e-4)


def test_samples_go_through_it() -> None:
    flow = affine(2)
    mean, _ = moments(flow, 2)
    vae, linear = flow_vae(flow)
    found = vae.sample(4000).double().mean(0).numpy()
    np.testing.assert_allclose(found, linear.mean + linear.loading @ mean.numpy(), atol=0.2)
