"""Pictures small enough to travel inside a page: what one model draws, as one PNG."""

from __future__ import annotations

import base64
import io

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.model.vae import VAE
from lagvae.report.latent import reconstructions
from lagvae.report.pictures import Limits, limits_of, shades

COLUMNS = 8
"""Pictures beside each other."""
SAMPLE_ROWS = 2
SIDE = 28
"""Largest height and width of a picture in pixels; larger ones are reduced."""
COLOURS = 64
"""Of a sprite, where there are any."""


def pick_examples(examples: Examples) -> Examples:
    """Returns eight examples to look at: one of each class where there are labels, else the first ones."""
    chosen = list(range(min(COLUMNS, len(examples))))
    if examples.labels is not None:
        labels = examples.labels.tolist()
        # The first of every class in the order of classes, then whatever comes next.
        classes = sorted(set(labels))[:COLUMNS]
        chosen = list(dict.fromkeys([*(labels.index(label) for label in classes), *chosen]))
    return examples.pick(torch.tensor(chosen[:COLUMNS]))


def draw_originals(model: VAE, examples: Examples) -> tuple[str, Limits]:
    """Returns a row of examples as the likelihood scores them, as a data URI, and which values are black and white."""
    originals = reconstructions(model, examples, rows=1)[:1]
    return encode(originals), limits_of(originals)


def draw_member(model: VAE, examples: Examples, limits: Limits | None = None) -> str:
    """Returns a row of reconstructions and two of samples z ~ p(z), the same z for every model, as a data URI."""
    rebuilt = reconstructions(model, examples, rows=1)[1:]
    samples = model.sample(SAMPLE_ROWS * rebuilt.shape[1]).unflatten(0, (SAMPLE_ROWS, -1))
    return encode(torch.cat([rebuilt, samples.to(rebuilt).reshape(SAMPLE_ROWS, *rebuilt.shape[1:])]), limits)


def tile_shape(event_shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the height and width at which a picture of that shape is embedded."""
    height, width = event_shape[-2:]
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def encode(grid: Float[Tensor, "rows columns *event"], limits: Limits | None = None) -> str:
    """Returns a grid of images, edge to edge, as a PNG in a data URI: grey, or in at most 64 colours."""
    from PIL import Image

    rows, columns, *shape = grid.shape
    images = shades(grid, limits).reshape(rows * columns, -1, *shape[-2:])
    size = tile_shape(tuple(shape))
    if size != tuple(shape[-2:]):
        images = F.interpolate(images, size=size, mode="area")
    height, width = size
    pixels = images.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, -1)
    levels = (pixels * 255).round().byte().numpy()
    if levels.shape[-1] == 1:
        # The last two bits of a grey value are invisible and a third of a file.
        picture = Image.fromarray((levels[..., 0] // 4 * (255 / 63)).astype("uint8"))
    else:
        picture = Image.fromarray(levels).quantize(COLOURS)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
