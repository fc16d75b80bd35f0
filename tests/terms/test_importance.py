"""The importance-weighted bound against linear-Gaussian models, whose log p(x) is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import lagvae as lv
from lagvae.errors import ProblemError
from lagvae.model.draw import Draw
from lagvae.streams import Streams
from lagvae.terms.elbo import neg_elbo
from lagvae.terms.importance import neg_iwae
from truth import SIGMAS, LinearGaussian, standard_errors

SIZE = 20_000


@pytest.fixture(scope="module")
def tight() -> LinearGaussian:
    return LinearGaussian.with_true_posterior(event=5, latent=3, noise=0.6, seed=1)


@pytest.fixture(scope="module")
def loose() -> LinearGaussian:
    return LinearGaussian.arbitrary(event=5, latent=3, seed=2)


def draw(model: LinearGaussian, size: int = SIZE, seed: int = 4) -> Draw:
    return model.vae().draw(model.sample_data(size, seed=3), Streams(seed))


@torch.no_grad()
def values(model: LinearGaussian, samples: int, size: int = SIZE) -> Tensor:
    return neg_iwae(samples=samples).per_example(draw(model, size))


def test_one_draw_is_the_one_sample_neg_elbo(loose: LinearGaussian) -> None:
    drawn = draw(loose, 100)
    torch.testing.assert_close(
        neg_iwae(samples=1).per_example(drawn), neg_elbo(estimator="one_sample").per_example(drawn)
    )


def test_one_draw_is_neg_elbo_in_expectation(loose: LinearGaussian) -> None:
    with torch.no_grad():
        difference = values(loose, 1) - neg_elbo.per_example(draw(loose))
    assert abs(standard_errors(difference, 0.0)) < SIGMAS  # false alarm 6.3e-5


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_exact_posterior_gives_the_likelihood_for_every_draw(tight: LinearGaussian, samples: int) -> None:
    drawn = draw(tight, 500)
    found = neg_iwae(samples=samples).per_example(drawn).detach()
    np.testing.assert_allclose(found.numpy(), -tight.log_likelihood(drawn.x), atol=2e-5)


def test_it_falls_with_every_further_draw_towards_the_likelihood(loose: LinearGaussian) -> None:
    exact = -torch.tensor(loose.log_likelihood(loose.sample_data(SIZE, seed=3)))
    ladder = [values(loose, samples) for samples in (1, 2, 5, 20, 100)]
    for fewer, more in pairwise(ladder):
        assert standard_errors(fewer - more, 0.0) > SIGMAS
        assert standard_errors(more - exact, 0.0) > SIGMAS
    assert float((ladder[-1] - exact).mean()) < 0.3 * float((ladder[0] - exact).mean())


def test_it_is_the_formula_and_so_are_its_gradients(loose: LinearGaussian) -> None:
    """-log (1/K) Σ w_k written out for the same noise, differentiated by hand-written densities."""
    samples, x = 6, loose.sample_data(40, seed=3)
    model = loose.vae()
    neg_iwae(samples=samples).measure(model.draw(x, Streams(4))).backward()

    plain = loose.vae()
    generator = Streams(4).posterior
    first = torch.randn(1, 40, 3, generator=generator)
    noise = torch.cat([first, torch.randn(samples - 1, 40, 3, generator=generator)])
    mean, log_std = plain.encoder(x)
    z = mean + log_std.exp() * noise
    residual = (x - z @ plain.decoder.loading.T - plain.decoder.mean) / loose.noise
    log_joint = -0.5 * residual.square().sum(-1) - 5 * math.log(loose.noise) - 0.5 * z.square().sum(-1)
    log_w = log_joint + 0.5 * noise.square().sum(-1) + log_std.sum(-1) - 2.5 * math.log(2 * math.pi)
    (-log_w.exp().mean(0).log().mean()).backward()
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    for found, known in zip(model.parameters(), plain.parameters(), strict=True):
        assert float(found.grad.abs().max()) > 1e-3
        torch.testing.assert_close(found.grad, known.grad, rtol=1e-4, atol=1e-5)


def test_its_gradient_is_the_likelihoods_where_the_encoder_is_the_posterior(tight: LinearGaussian) -> None:
    """E ∂/∂b of -L_K = ∂/∂b of -log p(x) = -S⁻¹ (x - b), with S = W Wᵀ + noise² I."""
    x, model = tight.sample_data(50, seed=3), tight.vae()
    inverse = np.linalg.inv(tight.loading @ tight.loading.T + tight.noise**2 * np.eye(5))
    known = -(inverse @ (x.double().numpy() - tight.mean).T).mean(1)
    streams, found = Streams(5), []
    for _ in range(400):
        (gradient,) = torch.autograd.grad(neg_iwae(samples=3).measure(model.draw(x, streams)), [model.decoder.mean])
        found.append(gradient)
    for column, truth in zip(torch.stack(found).T, known, strict=True):
        assert abs(standard_errors(column, truth)) < SIGMAS  # false alarm 6.3e-5 each


def test_k_is_not_raised_to_the_batch_size(loose: LinearGaussian) -> None:
    model, decoded = loose.vae(), []
    model.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(len(output)))
    neg_iwae(samples=3).measure(model.draw(loose.sample_data(40, seed=3), Streams(0)))
    assert sum(decoded) == 3 * 40


def test_its_noise_goes_on_where_the_streams_stopped(loose: LinearGaussian) -> None:
    """What a resumed run relies on: all draws come from the posterior's stream, which is saved."""
    model, x, streams = loose.vae(), loose.sample_data(10, seed=3), Streams(0)
    neg_iwae.measure(model.draw(x, streams))
    state = streams.state_dict()
    expected = [neg_iwae.measure(model.draw(x, streams)) for _ in range(2)]
    again = Streams(9)
    again.load_state_dict(state)
    assert [neg_iwae.measure(model.draw(x, again)) for _ in range(2)] == expected
    assert expected[0] != expected[1]


def test_text_form() -> None:
    problem = lv.Problem.parse("min neg_iwae(samples=50) s.t. rate >= 3")
    assert problem == lv.Problem(lv.Minimize(lv.neg_iwae(samples=50)), [lv.rate >= 3])
    assert str(problem) == "min neg_iwae(samples=50) s.t. rate >= 3"
    assert str(lv.Problem.parse("min neg_iwae(samples=5)")) == "min neg_iwae"
    assert isinstance(neg_iwae(samples=8.0).samples, int)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min iwae(samples=5)", "expected a term .*, got 'iwae'; try 'neg_iwae'"),
        ("min neg_iwae(samples=2.5)", "expected a whole number as neg_iwae's samples, got 2.5; try"),
        ("min neg_iwae(samples=0)", "expected a positive number as neg_iwae's samples, got 0.0; try"),
        ("min neg_iwae(samples=many)", "expected a positive number as neg_iwae's samples, got 'many'; try"),
        ("max neg_iwae", "expected neg_iwae to be kept down, got 'max neg_iwae', which rewards it"),
    ],
)
def test_mistakes_are_answered(text: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        lv.Problem.parse(text)
