"""Codes and rows as files that other programs open."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

import lagvae as lv
from lagvae.report.tables import check_suffix, save_codes, save_columns

CODES = np.array([[0.1, -2.0], [1 / 3, 1e-20], [4.0, 5.5]], dtype=np.float32)
LABELS = np.array([2, 0, 1])


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".CSV", ",")])
def test_text_reads_back_to_the_bit(suffix: str, delimiter: str, tmp_path: Path) -> None:
    save_codes(CODES, LABELS, tmp_path / f"codes{suffix}")
    head, *rows = (tmp_path / f"codes{suffix}").read_text().splitlines()
    assert head.split(delimiter) == ["z0", "z1", "label"]
    cells = [row.split(delimiter) for row in rows]
    assert np.array_equal(np.array([row[:2] for row in cells], dtype=np.float32), CODES)
    assert [row[2] for row in cells] == ["2", "0", "1"]


def test_a_table_of_codes_is_data_with_labels_again(tmp_path: Path) -> None:
    save_codes(CODES.repeat(10, 0), LABELS.repeat(10), tmp_path / "codes.csv")
    opened = lv.open_data(tmp_path / "codes.csv")
    assert opened.train.event_shape == (2,)
    assert opened.train.labels is not None


def test_parquet_keeps_types(tmp_path: Path) -> None:
    save_codes(CODES, LABELS, tmp_path / "codes.parquet")
    table = parquet.read_table(tmp_path / "codes.parquet")
    assert table.column_names == ["z0", "z1", "label"]
    assert [str(field.type) for field in table.schema] == ["float", "float", "int64"]
    assert np.array_equal(table["z1"].to_numpy(), CODES[:, 1])


def test_arrays(tmp_path: Path) -> None:
    save_codes(CODES, LABELS, tmp_path / "codes.npy")
    assert np.array_equal(np.load(tmp_path / "codes.npy"), CODES)
    save_codes(CODES, LABELS, tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as archive:
        assert set(archive) == {"codes", "labels"}
        assert np.array_equal(archive["labels"], LABELS)
    save_codes(CODES, None, tmp_path / "bare.npz")
    with np.load(tmp_path / "bare.npz") as archive:
        assert set(archive) == {"codes"}


def test_other_names_and_places_are_refused(tmp_path: Path) -> None:
    check_suffix(Path("codes.npz"), (".csv", ".npz"))
    with pytest.raises(lv.SettingError, match=r"ending in \.csv, \.npz, got codes\.txt; try codes\.csv"):
        check_suffix(Path("codes.txt"), (".csv", ".npz"))
    with pytest.raises(lv.SettingError, match=r"ending in \.csv, \.tsv, \.parquet, got x\.npy; try x\.csv"):
        save_columns({"a": CODES[:, 0]}, Path("x.npy"))
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*nowhere/codes\.csv"):
        save_codes(CODES, LABELS, tmp_path / "nowhere" / "codes.csv")
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(lv.DataError, match=r"pyarrow, to write Parquet, got no such package; try pip install"):
        save_codes(CODES, LABELS, tmp_path / "codes.parquet")
