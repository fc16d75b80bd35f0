from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from lagvae.data.readers import npy
from lagvae.data.readers.npy import read_npy, read_npz
from lagvae.errors import DataError

X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


def _save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_a_small_npy_is_loaded(tmp_path: Path) -> None:
    examples = read_npy(_save(tmp_path / "x.npy", X))
    assert isinstance(examples.values, torch.Tensor)
    assert examples.values.tolist() == X.tolist()


def test_a_large_npy_is_mapped_and_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "x.npy", X)
    monkeypatch.setattr(npy, "MAP_ABOVE_BYTES", path.stat().st_size)
    assert isinstance(read_npy(path).values, torch.Tensor)
    monkeypatch.setattr(npy, "MAP_ABOVE_BYTES", path.stat().st_size - 1)
    mapped = read_npy(path).values
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert mapped.tolist() == X.tolist()


@pytest.mark.parametrize("map_above", [0, 2**30])
@pytest.mark.parametrize("kept", [0, 5, 60, 100, -1])
def test_a_truncated_npy_is_refused(map_above: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "x.npy", X)
    path.write_bytes(path.read_bytes()[:kept])
    monkeypatch.setattr(npy, "MAP_ABOVE_BYTES", map_above)
    with pytest.raises(DataError, match=rf"^expected a whole file of numeric arrays {path}, got .*; try saving"):
        read_npy(path)


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    """Every byte of the header in turn is replaced: the outcome is an array or a DataError, and nothing else."""
    path = _save(tmp_path / "x.npy", X)
    whole = path.read_bytes()
    refusals: list[str] = []
    for position, byte in itertools.product(range(128), (0, ord("("), ord("9"), 255)):
        path.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
        try:
            read_npy(path)
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[{}]]), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([[{}]]))
    with pytest.raises(DataError, match=r"x\.npy, got Python objects"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"x\.npz, got Python objects"):
        read_npz(tmp_path / "x.npz")


def test_the_one_kind_under_the_name_of_the_other_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    (tmp_path / "x.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / "array.npz")
    with pytest.raises(DataError, match=r"its name should end in \.npz"):
        read_npy(tmp_path / "archive.npy")
    with pytest.raises(DataError, match=r"its name should end in \.npy"):
        read_npz(tmp_path / "array.npz")


@pytest.mark.parametrize("parts", [("train", "test"), ("x_train", "x_test")])
@pytest.mark.parametrize("labels", [None, ("y_train", "y_test"), ("train_labels", "test_labels")])
def test_train_and_test_are_found_by_their_keys(
    parts: tuple[str, str], labels: tuple[str, str] | None, tmp_path: Path
) -> None:
    arrays = dict(zip(parts, (X[:3], X[3:]), strict=True))
    if labels:
        arrays |= dict(zip(labels, (np.array([2, 1, 0]), np.array([7])), strict=True))
    np.savez(tmp_path / "x.npz", **arrays)
    train, test = read_npz(tmp_path / "x.npz")
    assert test is not None
    assert train.values.tolist() == X[:3].tolist()
    assert test.values.tolist() == X[3:].tolist()
    found = [None if part.labels is None else part.labels.tolist() for part in (train, test)]
    assert found == ([[2, 1, 0], [7]] if labels else [None, None])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["x", "anything"])
def test_a_single_array_is_the_whole(key: str, save: object, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", **{key: X})  # type: ignore[operator]
    whole, test = read_npz(tmp_path / "x.npz")
    assert test is None
    assert whole.values.tolist() == X.tolist()


def test_x_with_y_is_the_whole_with_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(4))
    whole, test = read_npz(tmp_path / "x.npz")
    assert test is None
    assert whole.labels is not None
    assert whole.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "keys", [("a", "b"), ("train", "test", "extra"), ("x_train", "test"), ("train", "test", "y_train"), ()]
)
def test_other_keys_are_refused_by_name(keys: tuple[str, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **dict.fromkeys(keys, X))
    shown = ", ".join(sorted(keys)) or "no key"
    with pytest.raises(DataError, match=rf"expected the keys train, test or x_train, x_test .*, got {shown}; try"):
        read_npz(tmp_path / "x.npz")


def test_a_bad_array_is_named_by_its_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=X, test=np.full((1, 2), np.nan))
    with pytest.raises(DataError, match=r"finite values in .*x\.npz\[test\], got nan"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_is_refused(save: object, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save(path, x=X)  # type: ignore[operator]
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[: middle - 20] + bytes(byte ^ 0x55 for byte in whole[middle - 20 : middle]) + whole[middle:]
    for damaged in (whole[:-30], whole[:40], b"", b"not an archive", flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"^expected a whole file of numeric arrays {path}, got .*; try saving"):
            read_npz(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_npy(tmp_path / "absent.npy")
