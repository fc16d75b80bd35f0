"""Examples in one picture, and pictures in files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lagvae as lv
from lagvae.report.pictures import is_picture, limits_of, save_examples, tile


def test_tiles_stand_row_by_row_between_black_lines() -> None:
    examples = torch.stack([torch.full((1, 2, 3), value) for value in (0.2, 0.4, 0.6, 0.8, 1.0)])
    picture = tile(examples, columns=2)
    assert picture.shape == (3 * 3 + 1, 2 * 4 + 1)
    corners = [[picture[1 + 3 * row, 1 + 4 * column] for column in range(2)] for row in range(3)]
    assert np.allclose(corners, [[0.2, 0.4], [0.6, 0.8], [1.0, 0.0]])
    assert not picture[::3].any()
    assert not picture[:, ::4].any()
    assert np.allclose(picture[1:3, 1:4], 0.2)


def test_without_columns_it_is_about_square() -> None:
    assert tile(torch.zeros(10, 1, 8, 8)).shape == (3 * 9 + 1, 4 * 9 + 1)
    assert tile(torch.zeros(1, 1, 8, 8)).shape == (10, 10)


def test_colours_are_kept_and_values_clipped() -> None:
    examples = torch.zeros(1, 3, 2, 2)
    examples[0, 0], examples[0, 2] = 1.2, -0.1
    assert tile(examples).shape == (4, 4, 3)
    assert tile(examples)[1, 1].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([0.0, 0.1, 0.2], (0.0, 1.0)),
        ([-0.1, 0.5, 1.2], (0.0, 1.0)),  # a Gaussian's, of intensities
        ([0.0, 3.0, 12.0], (0.0, 12.0)),  # counts
        ([-2.0, 0.0, 2.5], (-2.0, 2.5)),  # standardised
        ([math.nan, math.inf, 4.0], (4.0, 4.0)),
    ],
)
def test_counts_and_standardised_images_are_drawn_between_their_extremes(
    values: list[float], limits: tuple[float, float]
) -> None:
    shown = torch.tensor(values).reshape(1, 1, 3)
    assert limits_of(shown) == pytest.approx(limits, abs=1e-5)
    drawn = tile(shown, columns=1)[1, 1:4]
    expected = (np.array(values) - limits[0]) / max(limits[1] - limits[0], 1e-6)
    assert np.allclose(drawn[np.isfinite(values)], expected[np.isfinite(values)].clip(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "is_one"), [((1, 8, 8), True), ((3, 8, 8), True), ((8, 8), True), ((2, 8, 8), False), ((64,), False)]
)
def test_what_is_a_picture(shape: tuple[int, ...], is_one: bool) -> None:
    assert is_picture(shape) is is_one
    if is_one:
        assert tile(torch.zeros(2, *shape)).size
    else:
        with pytest.raises(lv.DataError, match=r"expected images of shape \(1 or 3, height, width\) or .*\.npy"):
            tile(torch.zeros(2, *shape))


def test_files(tmp_path: Path) -> None:
    examples = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    save_examples(examples, tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), examples.numpy())
    save_examples(examples, tmp_path / "a.png")
    scale = 800 // 19
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (19 * scale, 19 * scale)
        pixels = np.asarray(picture)[::scale, ::scale] / 255
    assert np.abs(pixels[1:9, 1:9] - examples[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6
    save_examples(torch.rand(3, 5), tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").shape == (3, 5)


@pytest.mark.parametrize("name", ["a.what", "absent/a.png", "absent/a.npy"])
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(lv.CheckpointError, match=f"expected to write .*{name}, got .*; try a .png or .npy file"):
        save_examples(torch.zeros(4, 1, 8, 8), tmp_path / name)
    with pytest.raises(lv.DataError, match=r"expected images .*, got shape \(64,\)"):
        save_examples(torch.zeros(4, 64), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
