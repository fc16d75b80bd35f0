"""A picture of a run, whatever the run was like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import lagvae as lv
from lagvae.report.figure import _draw_terms, draw_run

TINY: dict[str, Any] = {
    "epochs": 2, "log_every": 2, "hidden": (8,), "latent_dim": 2, "progress": False, "device": "cpu", "batch_size": 20,
}  # fmt: skip


def fit(event_shape: tuple[int, ...], problem: str = "min rate s.t. neg_elbo <= 40", count: int = 100) -> lv.Solution:
    x = np.random.default_rng(0).random((count, *event_shape), dtype=np.float32)
    return lv.fit(problem, x, **TINY)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_images_stand_beside_the_curves(tmp_path: Path) -> None:
    solution = fit((1, 8, 8))
    draw_run(solution, tmp_path / "images.png")
    draw_run(fit((64,)), tmp_path / "vectors.png")
    solution.data = None
    draw_run(solution, tmp_path / "no data.png")
    assert size(tmp_path / "images.png")[0] > 1.3 * size(tmp_path / "vectors.png")[0]
    assert size(tmp_path / "no data.png") == size(tmp_path / "vectors.png")


@pytest.mark.parametrize("count", [20, 30, 70, 90, 500])
def test_few_test_examples_are_enough(tmp_path: Path, count: int) -> None:
    solution = fit((1, 4, 4), count=count)
    assert solution.data is not None
    assert len(solution.data.test) == count // 10
    draw_run(solution, tmp_path / "run.png")
    assert size(tmp_path / "run.png")[0] > 1000


def test_colours_are_drawn_and_other_channels_are_no_images(tmp_path: Path) -> None:
    draw_run(fit((3, 4, 4)), tmp_path / "colours.png")
    draw_run(fit((2, 4, 4)), tmp_path / "channels.png")
    assert size(tmp_path / "colours.png")[0] > size(tmp_path / "channels.png")[0]


def test_each_constraint_has_a_row(tmp_path: Path) -> None:
    heights = []
    for index, problem in enumerate(
        ["min neg_elbo", "min rate s.t. neg_elbo <= 40", "max mi s.t. neg_elbo <= 40, mmd <= 1"]
    ):
        draw_run(fit((64,), problem), tmp_path / f"{index}.png")
        heights.append(size(tmp_path / f"{index}.png")[1])
    assert heights[0] == heights[1] < heights[2]


@pytest.mark.filterwarnings("ignore:No artists with labels")
def test_a_run_without_a_record_is_drawn(tmp_path: Path) -> None:
    solution = fit((64,))
    solution.history, solution.weights = [], {}
    draw_run(solution, tmp_path / "run.png")
    assert size(tmp_path / "run.png")[1] > 100


def test_drawing_changes_nothing(tmp_path: Path) -> None:
    solution = fit((1, 8, 8))
    before = {name: tensor.clone() for name, tensor in solution.model.state_dict().items()}
    state = torch.get_rng_state()
    draw_run(solution, tmp_path / "one.png")
    draw_run(solution, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in solution.model.state_dict().items())


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    draw_run(fit((64,)), tmp_path / f"run.{suffix}")
    start = {"pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert (tmp_path / f"run.{suffix}").read_bytes().startswith(start)
    with pytest.raises(lv.CheckpointError, match=r"expected a .* file, got .*run\.what; try run\.what\.png"):
        draw_run(fit((64,)), tmp_path / "run.what")
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*absent.*No such file"):
        draw_run(fit((64,)), tmp_path / "absent" / "run.png")


def test_terms_below_0_and_runs_of_a_line_are_drawn() -> None:
    """A density may score more than 0 nats, which no logarithmic axis shows; a line of one point is none."""
    solution = fit((64,), "min distortion")
    _draw_terms(axes := Figure().add_subplot(), solution)
    assert axes.get_yscale() == "log"
    solution.history = solution.history[:1]
    _draw_terms(axes := Figure().add_subplot(), solution)
    assert axes.lines[0].get_marker() == "o"
    solution.history[0]["terms"]["distortion"] = -3.0
    _draw_terms(axes := Figure().add_subplot(), solution)
    assert axes.get_yscale() == "linear"


def test_a_suffix_that_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"expected a \.png, \.pdf or \.svg file, got .*/pic; try pic\.png"):
        draw_run(fit((64,)), tmp_path / "pic")
