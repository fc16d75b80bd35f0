from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lagvae.data import blocks
from lagvae.data.checks import check_finite, check_unit_interval
from lagvae.data.examples import Examples
from lagvae.errors import DataError


def _floats() -> torch.Tensor:
    return torch.rand((6, 2, 3), generator=torch.Generator().manual_seed(0))


def test_values_in_the_closed_interval_pass() -> None:
    values = _floats()
    values[0, 0, 0], values[5, 1, 2] = 0.0, 1.0
    check_unit_interval(Examples(values), name="train")
    check_finite(Examples(values), name="train")


def test_bytes_pass_as_they_are() -> None:
    check_unit_interval(Examples(torch.full((2, 3), 255, dtype=torch.uint8)), name="train")
    check_finite(Examples(torch.full((2, 3), 255, dtype=torch.uint8)), name="train")


@pytest.mark.parametrize(
    ("bad", "shown", "fix"),
    [
        (float("nan"), "nan", "finite"),
        (float("inf"), "inf", "finite"),
        (-float("inf"), "-inf", "finite"),
        (1.5, "1.5", "dividing the values by 255"),
        (255.0, "255", "dividing the values by 255"),
        (256.0, "256", "rescaling"),
        (-0.25, "-0.25", "rescaling"),
    ],
)
def test_outside_the_interval_is_refused_by_index_value_and_fix(bad: float, shown: str, fix: str) -> None:
    values = _floats()
    values[4, 1, 0] = bad
    with pytest.raises(DataError, match=rf"in test, got {shown} at index \[4, 1, 0\]; try .*{fix}"):
        check_unit_interval(Examples(values), name="test")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_refused(bad: float) -> None:
    values = _floats()
    values[2, 0, 1] = bad
    with pytest.raises(DataError, match=r"finite values in x, got .* at index \[2, 0, 1\]"):
        check_finite(Examples(values), name="x")


def test_finite_values_outside_the_interval_are_finite() -> None:
    check_finite(Examples(torch.tensor([[-3.0, 1e30]])), name="x")


def test_the_first_offender_is_named_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = _floats().numpy()
    values[3, 1, 2] = 7
    values[4, 0, 0] = 9
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for block in (1, 6, 13, 1000):
        monkeypatch.setattr(blocks, "BLOCK_VALUES", block)
        for examples in (Examples(mapped), Examples(torch.from_numpy(values))):
            with pytest.raises(DataError, match=r"got 7 at index \[3, 1, 2\]"):
                check_unit_interval(examples, name="x")
