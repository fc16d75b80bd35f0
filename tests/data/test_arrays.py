from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from lagvae.data.arrays import build_examples
from lagvae.errors import DataError, ProblemWarning

BYTES = np.array([[[0, 1, 2]], [[253, 254, 255]]])


@pytest.mark.parametrize("dtype", ["u1", "i2", "<u2", ">i4", "i8", "u8"])
def test_integers_in_the_range_of_bytes_become_bytes(dtype: str) -> None:
    examples = build_examples(BYTES.astype(dtype))
    assert isinstance(examples.values, torch.Tensor)
    assert examples.values.dtype == torch.uint8
    assert examples.values.tolist() == BYTES.tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.uint16, torch.uint64])
def test_integer_tensors_too(dtype: torch.dtype) -> None:
    examples = build_examples(torch.from_numpy(BYTES).to(dtype))
    assert examples.is_uint8
    assert examples.values.tolist() == BYTES.tolist()


@pytest.mark.parametrize("bad", [-1, 256])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_integers_beyond_bytes_are_refused(bad: int, as_tensor: bool) -> None:
    array = np.array([[[3, bad]]])
    with pytest.raises(DataError, match=r"integers in 0\.\.255.* in x, got torch\.int64 values in .*; try scaling"):
        build_examples(torch.from_numpy(array) if as_tensor else array, where="x")


def test_integers_that_wrap_in_int64_are_refused() -> None:
    with pytest.raises(DataError, match=r"got torch\.uint64 values in"):
        build_examples(np.array([[0, 2**64 - 1]], dtype=np.uint64))
    with pytest.raises(DataError, match=r"got torch\.uint64 values in"):
        build_examples(np.array([[[0, 2**64 - 1]]], dtype=np.uint64))


@pytest.mark.parametrize("dtype", ["i2", ">i4", "i8", "u4"])
def test_integers_in_a_table_mean_themselves(dtype: str) -> None:
    table = np.array([[0, 1], [300, 9]]).astype(dtype)
    for given in (table, torch.from_numpy(table.astype(table.dtype.newbyteorder("=")))):
        values = build_examples(given).values
        assert values.dtype == torch.float32
        assert values.tolist() == [[0.0, 1.0], [300.0, 9.0]]
    assert build_examples(np.array([[-7, 2**24]])).values.tolist() == [[-7.0, 2.0**24]]
    assert build_examples(table.astype(np.uint8)).is_uint8


def test_integers_that_float32_would_round_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"integers within ±16777216, .* in x, got torch\.int64 values in 0\.\.16777217"
    ):
        build_examples(np.array([[0, 2**24 + 1]]), where="x")


def test_bool_becomes_black_and_white() -> None:
    for bits in (np.array([[True, False]]), torch.tensor([[True, False]])):
        assert build_examples(bits).values.tolist() == [[255, 0]]


def test_integers_that_look_like_bits_warn_and_others_do_not() -> None:
    with pytest.warns(ProblemWarning, match="1 means an intensity of 1/255; try bool"):
        assert build_examples(np.array([[[0, 1]]])).values.tolist() == [[[0, 1]]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_examples(np.array([[[0, 2]]]))
        build_examples(np.array([[[0, 0]]]))
        build_examples(np.array([[0, 1]]))  # in a table, bits


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "g"])
def test_floats_become_float32(dtype: str) -> None:
    examples = build_examples(np.array([[0.0, 0.5], [-2.0, 8.0]], dtype=dtype))
    assert isinstance(examples.values, torch.Tensor)
    assert examples.values.dtype == torch.float32
    assert examples.values.tolist() == [[0.0, 0.5], [-2.0, 8.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_float_tensors_become_float32_without_a_graph(dtype: torch.dtype) -> None:
    values = build_examples(torch.tensor([[0.5]], dtype=dtype, requires_grad=True)).values
    assert isinstance(values, torch.Tensor)
    assert values.dtype == torch.float32
    assert not values.requires_grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_refused(dtype: type) -> None:
    with pytest.raises(DataError, match=r"finite values in x, got nan at index \[1, 0\]"):
        build_examples(np.array([[0.0], [np.nan]], dtype=dtype), where="x")


def test_what_float32_cannot_hold_is_refused_without_a_numpy_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"got inf at index \[0, 1\]"):
            build_examples(np.array([[0.0, 1e300]]))


@pytest.mark.parametrize("shape", [(), (5,)])
def test_arrays_without_an_event_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"\[N, \*event_shape\] .*; try x\[:, None\]"):
        build_examples(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3, 2, 0)])
def test_empty_arrays_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="at least one example of at least one value"):
        build_examples(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [object, complex, "U3", "M8[s]"])
def test_dtypes_without_a_meaning_are_refused(dtype: object) -> None:
    with pytest.raises(DataError, match=r"expected numbers .* in x, got dtype"):
        build_examples(np.zeros((2, 2)).astype(dtype), where="x")  # type: ignore[call-overload]


def test_complex_tensors_are_refused() -> None:
    with pytest.raises(DataError, match=r"got dtype torch\.complex64"):
        build_examples(torch.zeros(2, 2, dtype=torch.complex64))


def test_an_array_of_the_right_dtype_is_shared_and_a_read_only_one_is_not() -> None:
    array = np.zeros((2, 3), dtype=np.float32)
    assert np.shares_memory(np.asarray(build_examples(array).values), array)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = build_examples(array).values
    assert not np.shares_memory(np.asarray(values), array)


def test_reversed_arrays_are_understood() -> None:
    assert build_examples(np.array([[1.0], [2.0]])[::-1]).values.tolist() == [[2.0], [1.0]]


def _map(folder: Path, array: np.ndarray) -> np.memmap:
    np.save(folder / "x.npy", array)
    mapped = np.load(folder / "x.npy", mmap_mode="r+")
    assert isinstance(mapped, np.memmap)
    return mapped


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_memory_map_stays_one_and_is_read_only(dtype: type, tmp_path: Path) -> None:
    mapped = _map(tmp_path, np.ones((2, 3), dtype=dtype))
    values = build_examples(mapped).values
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable
    assert mapped.flags.writeable


def test_a_memory_map_that_would_need_conversion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"uint8 or float32 in x, .*, got float64; try saving it again"):
        build_examples(_map(tmp_path, np.ones((2, 3))), where="x")


def test_a_memory_map_with_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got nan at index \[0, 0\]"):
        build_examples(_map(tmp_path, np.full((2, 3), np.nan, dtype=np.float32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, ">i8"])
def test_labels_become_int64(dtype: str) -> None:
    for labels in (np.array([3, 1]).astype(dtype), torch.tensor([3, 1])):
        found = build_examples(np.zeros((2, 3)), labels).labels
        assert found is not None
        assert found.dtype == torch.int64
        assert found.tolist() == [3, 1]


@pytest.mark.parametrize("labels", [np.array([1]), np.array([1, 2, 3]), np.array([[1], [2]]), np.array([0.5, 1.0])])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected 2 integer labels for x"):
        build_examples(np.zeros((2, 3)), labels, where="x")
