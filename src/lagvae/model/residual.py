"""Residual perceptrons: what a layer computes is added to what it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.model.networks import FlatDecoder, FlatEncoder, activation_named, glorot_linear


class ResidualLayer(nn.Module):
    """h → skip(h) + act(W norm(h) + b), the skip a linear map where the width changes.

    One matrix per layer, so that it costs what a layer of a plain perceptron does. Source: [He2016], with the
    normalisation before the layer.
    """

    def __init__(self, inputs: int, outputs: int, activation: str, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.linear = glorot_linear(inputs, outputs, generator)
        self.activation = activation_named(activation)
        self.skip = nn.Identity() if inputs == outputs else glorot_linear(inputs, outputs, generator)

    def forward(self, h: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Returns the sum."""
        return self.skip(h) + self.activation(self.linear(self.norm(h)))


def residual_perceptron(
    widths: Sequence[int], activation: str, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Builds a linear map into the first hidden width, residual layers from one to the next, and a linear map out.

    Without hidden widths it is one linear map, as ``perceptron`` is.
    """
    if len(widths) < 3:
        return nn.Sequential(glorot_linear(widths[0], widths[-1], generator))
    first, *hidden, last = widths
    layers: list[nn.Module] = [glorot_linear(first, hidden[0], generator), activation_named(activation)]
    layers += [ResidualLayer(inputs, outputs, activation, generator) for inputs, outputs in pairwise(hidden)]
    return nn.Sequential(*layers, nn.LayerNorm(hidden[-1]), glorot_linear(hidden[-1], last, generator))


class ResidualEncoder(FlatEncoder):
    """x → (mean, log standard deviation) of q(z|x), by a residual perceptron.

    Args:
        event_shape: Shape of one example, flattened at the entrance.
        latent_dim: Dimensions of z.
        hidden: Widths; each after the first is a residual layer.
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
        super().__init__(residual_perceptron([math.prod(event_shape), *hidden, 2 * latent_dim], activation, generator))


class ResidualDecoder(FlatDecoder):
    """z → the parameters of p(x|z), shaped like one example, by a residual perceptron.

    Args:
        latent_dim: Dimensions of z.
        event_shape: Shape of one example.
        hidden: Widths; each after the first is a residual layer.
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
        layers = residual_perceptron([latent_dim, *hidden, math.prod(event_shape)], activation, generator)
        super().__init__(layers, event_shape)
