from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from lagvae.errors import ShapeError
from lagvae.model.gaussian import LOG_STD_RANGE
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.networks import MLPDecoder, MLPEncoder
from lagvae.model.vae import VAE, mlp_vae
from lagvae.streams import Streams
from truth import Gaussian

EVENT, LATENT = (2, 3), 4


class Returning(nn.Module):
    """Applies a function to its input; has a weight, as every network does."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


def encoder() -> MLPEncoder:
    return MLPEncoder(EVENT, LATENT, (5,), generator=torch.Generator().manual_seed(1))


def decoder() -> MLPDecoder:
    return MLPDecoder(LATENT, EVENT, (5,), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model() -> VAE:
    return VAE(encoder(), decoder(), latent_dim=LATENT)


@pytest.fixture
def x() -> Tensor:
    return torch.bernoulli(torch.full((7, *EVENT), 0.5), generator=torch.Generator().manual_seed(3))


def test_encoder_may_return_one_tensor(model: VAE, x: Tensor) -> None:
    joined = VAE(Returning(lambda x: torch.cat(model.encoder(x), -1)), decoder(), latent_dim=LATENT)
    joined.check_shapes(EVENT)
    torch.testing.assert_close(joined.posterior(x).mean, model.posterior(x).mean)
    torch.testing.assert_close(joined.posterior(x).log_std, model.posterior(x).log_std)


def test_log_standard_deviation_is_bounded(x: Tensor) -> None:
    low, high = LOG_STD_RANGE
    extreme = torch.tensor([-1e9, 1e9, 0.5, low])
    wild = VAE(Returning(lambda x: (torch.zeros(len(x), LATENT), extreme.expand(len(x), -1))), decoder(), latent_dim=4)
    posterior = wild.posterior(x)
    torch.testing.assert_close(posterior.log_std[0], torch.tensor([low, high, 0.5, low]))
    assert torch.isfinite(posterior.kl_to_standard_normal()).all()


def test_posterior_is_float32_whatever_the_network_computes_in(x: Tensor) -> None:
    half = VAE(encoder().bfloat16(), decoder(), latent_dim=LATENT)
    assert half.posterior(x.bfloat16()).mean.dtype == torch.float32


def test_likelihood_is_bernoulli_unless_given() -> None:
    assert isinstance(VAE(encoder(), decoder(), latent_dim=LATENT).likelihood, Bernoulli)
    given = VAE(encoder(), decoder(), latent_dim=LATENT, likelihood=Gaussian(1.0)).likelihood
    assert isinstance(given, Gaussian)


def test_fitting_shapes_pass_and_leave_no_trace(model: VAE) -> None:
    before = torch.get_rng_state()
    model.train().check_shapes(EVENT)
    assert model.training
    model.eval().check_shapes(EVENT)
    assert not model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: VAE(MLPEncoder((7,), LATENT, (5,)), decoder(), latent_dim=LATENT),
            "expected an encoder that takes examples of shape (2, 3) to (mean, log_std), got mat1 and mat2",
        ),
        (
            lambda: VAE(Returning(lambda x: (x, x, x)), decoder(), latent_dim=LATENT),
            "expected an encoder that takes examples of shape (2, 3) to (mean, log_std), got too many values",
        ),
        (
            lambda: VAE(encoder(), decoder(), latent_dim=5),
            "expected an encoder with 5 means and log standard deviations per example, got (4,) and (4,); try the same",
        ),
        (
            lambda: VAE(encoder(), MLPDecoder(5, EVENT, (5,)), latent_dim=LATENT),
            "expected a decoder that takes codes of 4 dimensions, got mat1 and mat2",
        ),
        (
            lambda: VAE(encoder(), MLPDecoder(LATENT, (2, 4), (5,)), latent_dim=LATENT),
            "expected a decoder with 6 outputs for examples of shape (2, 3), got 8 outputs; try a decoder made for",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused(wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ShapeError, match=re.escape(message)) as raised:
        wrong().check_shapes(EVENT)
    assert len(str(raised.value).splitlines()) == 1


def test_encode_decode_and_sample(model: VAE, x: Tensor) -> None:
    z = model.encode(x)
    torch.testing.assert_close(z, model.posterior(x).mean)
    torch.testing.assert_close(model.decode(z), model.decoder(z.clone()).sigmoid())
    assert model.sample(5).shape == (5, *EVENT)
    assert torch.equal(model.sample(5, seed=1), model.sample(5, seed=1))
    assert not torch.equal(model.sample(5, seed=1), model.sample(5, seed=2))
    assert not model.encode(x).requires_grad


def test_draw_is_the_model_on_its_noise(model: VAE, x: Tensor) -> None:
    draw = model.draw(x, Streams(5))
    noise = torch.randn(7, LATENT, generator=Streams(5).posterior)
    torch.testing.assert_close(draw.z, model.posterior(x).at(noise))
    torch.testing.assert_close(draw.parameters, model.decoder(draw.z).flatten(1))
    assert draw.x.shape == (7, 6)


def test_original_networks_have_the_originals_shape() -> None:
    model = mlp_vae((28, 28))
    sizes = [tuple(weight.shape) for name, weight in model.named_parameters() if name.endswith("weight")]
    assert sizes == [(1024, 784), (1024, 1024), (128, 1024), (1024, 64), (1024, 1024), (784, 1024)]


def test_decoder_mirrors_the_encoder() -> None:
    model = mlp_vae(EVENT, latent_dim=4, hidden=(5, 7), generator=torch.Generator().manual_seed(1))
    sizes = [tuple(weight.shape) for name, weight in model.named_parameters() if name.endswith("weight")]
    assert sizes == [(5, 6), (7, 5), (8, 7), (7, 4), (5, 7), (6, 5)]
