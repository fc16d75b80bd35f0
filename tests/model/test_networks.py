from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lagvae.errors import SettingError
from lagvae.model.networks import ACTIVATIONS, MLPDecoder, MLPEncoder, perceptron


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def encoder(seed: int, **options: str) -> MLPEncoder:
    return MLPEncoder((4, 5), 3, (16, 32), generator=torch.Generator().manual_seed(seed), **options)


def test_weights_are_glorot_uniform_and_biases_zero() -> None:
    for layer in linears(perceptron([300, 200, 100], "softplus", torch.Generator().manual_seed(1))):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        weight = layer.weight.detach()
        assert 0.999 * bound < float(weight.abs().max()) <= bound
        # A uniform's variance is bound²/3 and its square's is 4 bound⁴/45: 4 standard errors, false alarm 6.3e-5.
        error = bound**2 * math.sqrt(4 / 45 / weight.numel())
        assert float(weight.square().mean()) == pytest.approx(bound**2 / 3, abs=4 * error)
        assert not layer.bias.detach().any()


def test_layers_follow_the_widths() -> None:
    assert [(l.in_features, l.out_features) for l in linears(encoder(1))] == [(20, 16), (16, 32), (32, 6)]  # noqa: E741
    decoder = MLPDecoder(3, (4, 5), (32, 16))
    assert [(l.in_features, l.out_features) for l in linears(decoder)] == [(3, 32), (32, 16), (16, 20)]  # noqa: E741


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_stands_between_layers_only(name: str) -> None:
    kinds = [type(layer) for layer in perceptron([2, 3, 4, 5], name)]
    assert kinds == [nn.Linear, ACTIVATIONS[name], nn.Linear, ACTIVATIONS[name], nn.Linear]


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(SettingError, match="expected a known activation, got 'gleu'; try 'gelu'"):
        perceptron([2, 3], "gleu")


def test_same_generator_same_weights() -> None:
    first, again, other = encoder(1).state_dict(), encoder(1).state_dict(), encoder(2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    encoder(1)
    assert torch.equal(torch.get_rng_state(), before)
    MLPEncoder((4,), 2, (3,))  # without a generator it is what is drawn from
    assert not torch.equal(torch.get_rng_state(), before)


def test_encoder_flattens_and_halves() -> None:
    mean, log_std = encoder(1)(torch.zeros(7, 4, 5))
    assert mean.shape == log_std.shape == (7, 3)


def test_decoder_returns_the_shape_of_an_example() -> None:
    assert MLPDecoder(3, (4, 5), (8,))(torch.zeros(7, 3)).shape == (7, 4, 5)
