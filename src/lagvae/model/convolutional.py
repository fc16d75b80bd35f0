"""Convolutional networks for images of any height, width and number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.errors import ShapeError, expected
from lagvae.model.networks import activation_named, glorot_linear


def image_shape(event_shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns (channels, height, width) of an example [C, H, W], or [H, W] of one channel.

    Raises:
        ShapeError: It is no image.
    """
    shape = tuple(event_shape)
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) != 3:
        raise ShapeError(
            expected(
                "images [channels, height, width] or [height, width] for convolutional networks",
                got=f"examples of shape {shape}",
                fix="--network residual, or reshaping the data",
            )
        )
    return shape


def halved_sizes(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """Returns (height, width) of the image and of each level below it: half the last, rounded up."""
    sizes = [size]
    for _ in range(levels):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


class ConvolutionalEncoder(nn.Module):
    """x → (mean, log standard deviation) of q(z|x): strided 3x3 convolutions, then a linear map.

    Args:
        event_shape: [C, H, W] or [H, W].
        latent_dim: Dimensions of z.
        channels: Of the levels, each half as high and wide as the last.
        activation: Name of the nonlinearity.
        generator: Where the initial weights are drawn from; torch's global one if none is given.

    Raises:
        ShapeError: The examples are no images.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        latent_dim: int = 64,
        channels: Sequence[int] = (32, 64, 128),
        *,
        activation: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        depth, *size = image_shape(event_shape)
        self.image_shape = (depth, *size)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([depth, *channels]):
            layers += [_convolution(inputs, outputs, 2, generator), activation_named(activation)]
        height, width = halved_sizes((size[0], size[1]), len(channels))[-1]
        self.levels = nn.Sequential(*layers)
        self.head = glorot_linear([depth, *channels][-1] * height * width, 2 * latent_dim, generator)

    def forward(
        self, x: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns (mean, log_std)."""
        mean, log_std = self.head(self.levels(x.reshape(-1, *self.image_shape)).flatten(1)).chunk(2, dim=-1)
        return mean, log_std


class ConvolutionalDecoder(nn.Module):
    """z → the parameters of p(x|z): a linear map to the smallest level, a 3x3 convolution after each enlargement.

    Enlarging by nearest neighbours to the sizes of the encoder's levels suits any image, and leaves no checkerboard.

    Args:
        latent_dim: Dimensions of z.
        event_shape: [C, H, W] or [H, W] of one example.
        channels: Of the levels, from the largest to the smallest: the encoder's.
        each: Parameters per dimension of x.
        activation: Name of the nonlinearity.
        generator: Where the initial weights are drawn from; torch's global one if none is given.

    Raises:
        ShapeError: The examples are no images.
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 128),
        *,
        each: int = 1,
        activation: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        depth, *size = image_shape(event_shape)
        self.output_shape = tuple(event_shape) if each == 1 else (each, *event_shape)
        self.sizes = halved_sizes((size[0], size[1]), len(channels))[::-1]
        widths = [*channels[::-1], channels[0] if channels else depth]
        self.smallest = (widths[0], *self.sizes[0])
        self.entrance = glorot_linear(latent_dim, widths[0] * self.sizes[0][0] * self.sizes[0][1], generator)
        self.activation = activation_named(activation)
        self.levels = nn.ModuleList(_convolution(inputs, outputs, 1, generator) for inputs, outputs in pairwise(widths))
        self.exit = _convolution(widths[-1], each * depth, 1, generator)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch *outputs"]:
        """Returns the parameters of p(x|z)."""
        h = self.activation(self.entrance(z)).unflatten(-1, self.smallest)
        for level, size in zip(self.levels, self.sizes[1:], strict=True):
            h = self.activation(level(F.interpolate(h, size=size, mode="nearest")))
        return self.exit(h).flatten(1).unflatten(-1, self.output_shape)


def _convolution(inputs: int, outputs: int, stride: int, generator: torch.Generator | None) -> nn.Conv2d:
    """Returns a 3x3 convolution with Glorot-uniform weights and zero biases."""
    made: nn.Conv2d = torch.nn.utils.skip_init(nn.Conv2d, inputs, outputs, 3, stride=stride, padding=1)
    nn.init.xavier_uniform_(made.weight, generator=generator)
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made
