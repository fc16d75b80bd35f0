"""The networks of the original: multilayer perceptrons with Glorot-uniform weights and zero biases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.errors import SettingError, expected, nearest

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


def activation_named(name: str) -> nn.Module:
    """Returns a nonlinearity.

    Raises:
        SettingError: There is none of that name.
    """
    if name not in ACTIVATIONS:
        raise SettingError(expected("a known activation", got=repr(name), fix=nearest(name, ACTIVATIONS)))
    return ACTIVATIONS[name]()


def glorot_linear(inputs: int, outputs: int, generator: torch.Generator | None = None) -> nn.Linear:
    """Returns a linear map with Glorot-uniform weights and zero biases."""
    # skip_init leaves torch's global random state alone; every weight is set below.
    linear: nn.Linear = torch.nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.xavier_uniform_(linear.weight, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear


def perceptron(widths: Sequence[int], activation: str, generator: torch.Generator | None = None) -> nn.Sequential:
    """Builds Linear layers of the given widths with ``activation`` between them, none at the end."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [glorot_linear(inputs, outputs, generator), activation_named(activation)]
    return nn.Sequential(*layers[:-1])


class FlatEncoder(nn.Module):
    """x, flattened → (mean, log standard deviation), side by side at the end of its layers."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(
        self, x: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns (mean, log_std)."""
        mean, log_std = self.layers(x.flatten(1)).chunk(2, dim=-1)
        return mean, log_std


class FlatDecoder(nn.Module):
    """z → the parameters of p(x|z), shaped like one example at the end of its layers."""

    def __init__(self, layers: nn.Module, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.layers = layers

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch *event"]:
        """Returns the parameters of p(x|z)."""
        return self.layers(z).unflatten(-1, self.event_shape)


class MLPEncoder(FlatEncoder):
    """x → (mean, log standard deviation) of q(z|x).

    Args:
        event_shape: Shape of one example, flattened at the entrance.
        latent_dim: Dimensions of z.
        hidden: Widths of the hidden layers.
        activation: Name of the nonlinearity.
        generator: Where the initial weights are drawn from; torch's global one if none is given.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        latent_dim: int = 64,
        hidden: Sequence[int] = (1024, 1024),
        *,
        activation: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(perceptron([math.prod(event_shape), *hidden, 2 * latent_dim], activation, generator))


class MLPDecoder(FlatDecoder):
    """z → the parameters of p(x|z), shaped like one example (Bernoulli: logits).

    Args:
        latent_dim: Dimensions of z.
        event_shape: Shape of one example.
        hidden: Widths of the hidden layers.
        activation: Name of the nonlinearity.
        generator: Where the initial weights are drawn from; torch's global one if none is given.
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Sequence[int],
        hidden: Sequence[int] = (1024, 1024),
        *,
        activation: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        layers = perceptron([latent_dim, *hidden, math.prod(event_shape)], activation, generator)
        super().__init__(layers, event_shape)
