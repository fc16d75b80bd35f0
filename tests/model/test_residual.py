from __future__ import annotations

import pytest
import torch

from lagvae.model.residual import ResidualDecoder, ResidualEncoder, ResidualLayer, residual_perceptron


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_layer_adds_to_what_it_was_given() -> None:
    layer = ResidualLayer(5, 5, "gelu", generator())
    h = torch.randn(3, 5, generator=generator())
    normal = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(h), h + torch.nn.functional.gelu(normal @ layer.linear.weight.T))
    torch.nn.init.zeros_(layer.linear.weight)
    torch.testing.assert_close(layer(h), h)


def test_a_layer_of_another_width_maps_what_it_was_given() -> None:
    layer = ResidualLayer(5, 7, "gelu", generator())
    torch.nn.init.zeros_(layer.linear.weight)
    h = torch.randn(3, 5, generator=generator())
    torch.testing.assert_close(layer(h), h @ layer.skip.weight.T)  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("hidden", [(), (8,), (8, 8), (8, 6, 4)])
def test_encoder_and_decoder_have_the_shapes_asked_for(hidden: tuple[int, ...]) -> None:
    mean, log_std = ResidualEncoder((2, 3), 4, hidden, generator=generator())(torch.zeros(5, 2, 3))
    assert mean.shape == log_std.shape == (5, 4)
    assert ResidualDecoder(4, (2, 3), hidden[::-1], generator=generator())(torch.zeros(5, 4)).shape == (5, 2, 3)


def test_same_generator_same_weights_and_the_global_one_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        residual_perceptron([3, 8, 8, 2], "gelu", generator(seed)).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)
