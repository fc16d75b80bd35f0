from __future__ import annotations

import numpy as np
import pytest
import torch

from lagvae.data import blocks
from lagvae.data.examples import Examples
from lagvae.data.moments import Extent, extent, moments

VALUES = torch.randn(101, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-3, 1e3, 1.0]) + 1e4


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("rows", [None, torch.arange(3, 90, 2)])
def test_moments_are_numpys_however_they_are_cut(
    block: int, rows: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 4 * block)
    chosen = VALUES if rows is None else VALUES[rows]
    mean, std = moments(Examples(VALUES, rows=rows), per_column=True)
    torch.testing.assert_close(mean, torch.from_numpy(chosen.double().numpy().mean(0)).float())
    torch.testing.assert_close(std, torch.from_numpy(chosen.double().numpy().std(0)).float(), rtol=1e-5, atol=0)
    mean, std = moments(Examples(VALUES, rows=rows), per_column=False)
    assert float(mean) == pytest.approx(chosen.double().mean().item())
    assert float(std) == pytest.approx(chosen.double().std(correction=0).item(), rel=1e-5)
    found = extent(Examples(VALUES, rows=rows))
    assert (found.low, found.high) == (float(chosen.min()), float(chosen.max()))


def test_bytes_mean_themselves_or_the_gap_to_the_next() -> None:
    raw = torch.tensor([[0, 10], [20, 30]], dtype=torch.uint8)
    assert moments(Examples(raw), per_column=False, scale_bytes=False)[0].tolist() == [15.0]
    assert moments(Examples(raw), per_column=True)[0].tolist() == pytest.approx([10.5 / 256, 20.5 / 256])
    assert extent(Examples(raw)) == Extent(0.0, 1.0, is_whole=False)


def test_whole_numbers_are_seen() -> None:
    assert extent(Examples(torch.tensor([[0.0, 3.0]]))).is_whole
    assert not extent(Examples(torch.tensor([[0.0, 3.5]]))).is_whole


def test_a_memory_map_is_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    np.save(tmp_path / "x.npy", VALUES.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    torch.testing.assert_close(moments(Examples(mapped), per_column=True), moments(Examples(VALUES), per_column=True))
