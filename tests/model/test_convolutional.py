from __future__ import annotations

import pytest
import torch

from lagvae.errors import ShapeError
from lagvae.model.build import build_vae
from lagvae.model.convolutional import ConvolutionalDecoder, ConvolutionalEncoder, halved_sizes
from lagvae.settings import NetworkSettings
from lagvae.streams import Streams


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48), (4, 7, 13), (28, 28), (1, 1, 1), (2, 3, 1), (3, 5, 1000)])
@pytest.mark.parametrize("channels", [(4,), (4, 6, 8)])
@pytest.mark.parametrize("likelihood", ["bernoulli", "discretised_logistic"])
def test_any_size_and_number_of_channels(shape: tuple[int, ...], channels: tuple[int, ...], likelihood: str) -> None:
    settings = NetworkSettings(
        network="convolutional",
        latent_dim=3,
        channels=channels,
        likelihood=likelihood,  # type: ignore[arg-type]
    )
    model = build_vae(shape, settings, generator=generator())
    model.check_shapes(shape)
    x = torch.bernoulli(torch.full((2, *shape), 0.5), generator=generator())
    draw = model.draw(x, Streams(0))
    assert torch.isfinite(draw.log_likelihood).all()
    assert model.decode(draw.z).shape == x.shape


def test_levels_are_half_the_last_rounded_up_as_the_convolutions_make_them() -> None:
    assert halved_sizes((28, 9), 3) == [(28, 9), (14, 5), (7, 3), (4, 2)]
    encoder = ConvolutionalEncoder((1, 28, 9), 2, (4, 5, 6), generator=generator())
    assert encoder.levels(torch.zeros(1, 1, 28, 9)).shape == (1, 6, 4, 2)


def test_the_decoder_sees_neighbourhoods() -> None:
    """A change in one place of the smallest level stays in its part of the picture."""
    decoder = ConvolutionalDecoder(2, (1, 32, 32), (4, 4, 4), generator=generator())
    with torch.no_grad():
        before = decoder(torch.zeros(1, 2))
        decoder.entrance.bias.unflatten(0, decoder.smallest)[:, 0, 0] += 1.0
        changed = (decoder(torch.zeros(1, 2)) != before)[0, 0]
    assert changed[:8, :8].any()
    assert not changed[20:].any()
    assert not changed[:, 20:].any()


def test_same_generator_same_weights_and_the_global_one_is_left_alone() -> None:
    before = torch.get_rng_state()
    made = [ConvolutionalDecoder(2, (1, 8, 8), (4, 4), generator=generator(seed)).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not all(torch.equal(made[0][name], made[2][name]) for name in made[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    message = (
        r"expected images \[channels, height, width\] or \[height, width\] .*, got examples of shape .*; try --network"
    )
    with pytest.raises(ShapeError, match=message):
        build_vae(shape, NetworkSettings(network="convolutional", likelihood="bernoulli"))
