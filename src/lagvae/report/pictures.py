"""Examples as pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import CheckpointError, DataError, expected

Limits = tuple[float, float]
"""What is drawn black, and what white."""
SLACK = 0.25
"""How far outside [0, 1] intensities may be."""


def is_picture(event_shape: Sequence[int]) -> bool:
    """Returns whether an example of that shape is an image [C, H, W] of one or three colours, or [H, W] of one."""
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[0] in (1, 3))


def limits_of(values: Tensor) -> Limits:
    """Returns the values to draw black and white: 0 and 1 of intensities, else the lowest and the highest there is.

    What a Gaussian reconstructs of intensities is a little outside. Counts and standardised images are far outside.
    """
    finite = values[values.isfinite()].float()
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (0.0, 1.0) if low >= -SLACK and high <= 1 + SLACK else (low, max(high, low + 1e-6))


def shades(values: Tensor, limits: Limits | None = None) -> Tensor:
    """Returns values as shades from 0, black, to 1, white; by default between :func:`limits_of` their own."""
    low, high = limits or limits_of(values)
    return values.float().sub(low).div(high - low).clamp(0, 1).cpu()


def tile(examples: Float[Tensor, "batch *event"], columns: int | None = None) -> np.ndarray:
    """Returns examples of shape [N, C, H, W] (C is 1 or 3) or [N, H, W] in one picture, row by row, in shades.

    Raises:
        DataError: They are no images.
    """
    if not is_picture(examples.shape[1:]):
        raise DataError(
            expected(
                "images of shape (1 or 3, height, width) or (height, width)",
                got=f"shape {tuple(examples.shape[1:])}",
                fix="--out FILE.npy, which holds any shape; samples of a table also as FILE.csv",
            )
        )
    if examples.dim() == 3:
        examples = examples.unsqueeze(1)
    pixels = shades(examples).numpy()
    count, channels, height, width = pixels.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    picture = np.zeros((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), dtype=np.float32)
    for index, image in enumerate(pixels):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        picture[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return picture.squeeze(-1) if channels == 1 else picture


def save_grid(grid: Float[Tensor, "rows columns *event"], path: Path) -> None:
    """Writes rows of images as they stand, or an array [rows, columns, ...] if ``path`` ends in ``.npy``.

    Raises:
        DataError: They are no images and ``path`` is no array.
        CheckpointError: The file cannot be written.
    """
    _save(grid, path, lambda: tile(grid.flatten(0, 1), columns=grid.shape[1]))


def save_examples(examples: Float[Tensor, "batch *event"], path: Path) -> None:
    """Writes a picture of images, or an array if ``path`` ends in ``.npy``.

    Raises:
        DataError: They are no images and ``path`` is no array.
        CheckpointError: The file cannot be written.
    """
    _save(examples, path, lambda: tile(examples))


def _save(array: Tensor, path: Path, draw: Callable[[], np.ndarray]) -> None:
    try:
        if path.suffix == ".npy":
            np.save(path, array.float().cpu().numpy())
            return
        from PIL import Image

        picture = np.round(draw() * 255).astype(np.uint8)
        scale = max(1, 800 // max(picture.shape[:2]))
        Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(path)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        fix = "a .png or .npy file in a folder that exists"
        raise CheckpointError(expected(f"to write {path}", got=str(error), fix=fix)) from error
