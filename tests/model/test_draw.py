from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lagvae.model.draw import Draw
from lagvae.model.vae import VAE, mlp_vae
from lagvae.streams import NAMES, Streams, derive_seed
from truth import Gaussian


class Counting(Gaussian):
    """Counts how often it is asked for a density."""

    calls = 0

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return super().log_prob(parameters, x)


@pytest.fixture
def model() -> VAE:
    made = mlp_vae((3,), latent_dim=2, hidden=(4,), generator=torch.Generator().manual_seed(1))
    made.likelihood = Counting(1.0)
    return made


X = torch.ones(5, 3)


def test_nothing_is_computed_before_it_is_asked_for_and_nothing_twice(model: VAE) -> None:
    draw = model.draw(X, Streams(1))
    assert model.likelihood.calls == 0  # type: ignore[attr-defined]
    assert draw.log_likelihood is draw.log_likelihood
    assert model.likelihood.calls == 1  # type: ignore[attr-defined]
    for name in ("log_posterior", "log_prior", "log_weight", "kl", "standard_sample"):
        assert name not in vars(draw)
        assert getattr(draw, name) is getattr(draw, name)


def test_prior_is_sampled_only_where_it_is_asked_for(model: VAE) -> None:
    streams = Streams(1)
    before = streams.prior.get_state()
    draw = model.draw(X, streams)
    assert torch.equal(streams.prior.get_state(), before)
    sample = draw.standard_sample
    assert not torch.equal(streams.prior.get_state(), before)
    torch.testing.assert_close(sample, torch.randn(5, 2, generator=Streams(1).prior))


def test_prior_sample_leaves_the_posterior_noise_alone(model: VAE) -> None:
    def two_draws(*, ask: bool) -> tuple[Draw, Draw]:
        streams = Streams(1)
        first = model.draw(X, streams)
        if ask:
            _ = first.standard_sample
        return first, model.draw(X, streams)

    with_prior, without = two_draws(ask=True), two_draws(ask=False)
    for one, other in zip(with_prior, without, strict=True):
        assert torch.equal(one.z, other.z)
    assert not torch.equal(with_prior[0].z, with_prior[1].z)


def test_drawing_again_gives_fresh_codes_of_the_same_posterior(model: VAE) -> None:
    streams = Streams(1)
    draw = model.draw(X, streams)
    again = draw.draw_again(4)
    assert again.z.shape == (4, 5, 2)
    assert again.log_weight.shape == (4, 5)
    noise = torch.randn(4, 5, 2, generator=skip(Streams(1).posterior))
    torch.testing.assert_close(again.z, draw.posterior.mean + draw.posterior.log_std.exp() * noise)
    for z, parameters in zip(again.z, again.parameters, strict=True):
        torch.testing.assert_close(parameters, model.decoder(z))
        assert not torch.equal(z, draw.z)


def skip(generator: torch.Generator) -> torch.Generator:
    """Steps over the noise of the first draw."""
    torch.randn(5, 2, generator=generator)
    return generator


def test_what_is_drawn_again_is_decoded_in_the_precision_of_the_first_draw(model: VAE) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        low = model.draw(X, Streams(1))
    full = model.draw(X, Streams(1))
    assert low.draw_again(2).parameters.dtype == low.parameters.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert full.draw_again(2).parameters.dtype == torch.float32


@pytest.mark.parametrize("consumed", NAMES)
def test_consuming_one_stream_shifts_no_other(consumed: str) -> None:
    fresh, used = Streams(3), Streams(3)
    torch.rand(1000, generator=getattr(used, consumed))
    for name in NAMES:
        same = torch.equal(torch.rand(4, generator=getattr(fresh, name)), torch.rand(4, generator=getattr(used, name)))
        assert same == (name != consumed)
    assert torch.equal(fresh.data_order(2, 50), used.data_order(2, 50))


def test_streams_and_seeds_are_unrelated() -> None:
    first = [torch.rand(8, generator=getattr(Streams(seed), name)) for seed in (0, 1) for name in NAMES]
    assert len({tuple(numbers.tolist()) for numbers in first}) == 2 * len(NAMES)
    assert len({derive_seed(0, "posterior"), derive_seed(0, "prior"), derive_seed(1, "posterior")}) == 3
    assert derive_seed(0, "posterior") == derive_seed(0, "posterior")
    assert 0 <= derive_seed(0, "posterior") < 2**63


def test_streams_continue_where_they_were() -> None:
    streams = Streams(4)
    torch.rand(10, generator=streams.posterior)
    state = streams.state_dict()
    expected = torch.rand(5, generator=streams.posterior)
    again = Streams(99)
    assert not torch.equal(torch.rand(5, generator=again.posterior), expected)
    again.load_state_dict(state)
    assert torch.equal(torch.rand(5, generator=again.posterior), expected)


def test_data_order_is_a_permutation_of_its_own_in_every_epoch() -> None:
    streams = Streams(5)
    first, second = streams.data_order(0, 100), streams.data_order(1, 100)
    assert torch.equal(first.sort().values, torch.arange(100))
    assert not torch.equal(first, second)
    assert torch.equal(Streams(5).data_order(1, 100), second)
    assert not torch.equal(Streams(6).data_order(1, 100), second)
