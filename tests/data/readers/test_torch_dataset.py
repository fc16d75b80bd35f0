from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from lagvae.data.readers.torch_dataset import stack_dataset
from lagvae.errors import DataError


class _Listed(Dataset[object]):
    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


class _Streamed(IterableDataset[object]):
    def __iter__(self) -> Iterator[object]:
        return iter([torch.zeros(2)])


class _StreamedWithLength(_Streamed):
    def __len__(self) -> int:
        return 1


class _Endless(Dataset[object]):
    def __getitem__(self, index: int) -> object:
        return torch.zeros(2)


X = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)


def test_tensors_are_stacked_in_order() -> None:
    examples = stack_dataset(_Listed(list(X)), where="x")
    assert torch.equal(torch.as_tensor(examples.values), X)
    assert examples.labels is None


def test_arrays_are_stacked_whatever_their_byte_order() -> None:
    examples = stack_dataset(_Listed([np.array([0.5, 1.0], dtype=">f8")] * 2), where="x")
    assert examples.values.tolist() == [[0.5, 1.0]] * 2
    assert not examples.is_uint8


@pytest.mark.parametrize("label", [3, np.int64(3), torch.tensor(3), np.array(3)])
def test_labels_come_second(label: object) -> None:
    examples = stack_dataset(_Listed([(x, label, "more") for x in X]), where="x")
    assert examples.labels is not None
    assert examples.labels.dtype == torch.int64
    assert examples.labels.tolist() == [3, 3, 3]


@pytest.mark.parametrize("label", [0.5, "cat", None, torch.tensor([1, 2]), torch.tensor(0.5)])
def test_what_is_no_integer_is_no_label(label: object) -> None:
    assert stack_dataset(_Listed([(x, label) for x in X]), where="x").labels is None


def test_torchs_own_datasets_are_read() -> None:
    whole = TensorDataset(X, torch.tensor([5, 6, 7]))
    examples = stack_dataset(Subset(whole, [2, 0]), where="x")
    assert torch.equal(torch.as_tensor(examples.values), X[[2, 0]])
    assert examples.labels is not None
    assert examples.labels.tolist() == [7, 5]
    assert stack_dataset(TensorDataset(X), where="x").labels is None


@pytest.mark.parametrize("source", [_Streamed(), _StreamedWithLength(), _Endless()])
def test_what_can_only_be_iterated_is_refused(source: Dataset[object]) -> None:
    with pytest.raises(DataError, match=r"map-style dataset.* for train, got _.*; try torch\.stack\(list\(dataset\)\)"):
        stack_dataset(source, where="train")


def test_no_items_are_refused() -> None:
    with pytest.raises(DataError, match="at least one item in train, got 0"):
        stack_dataset(_Listed([]), where="train")


@pytest.mark.parametrize("item", ["text", {"x": X[0]}, (), ("text", 1), np.array(["a"])])
def test_items_of_other_kinds_are_refused(item: object) -> None:
    with pytest.raises(DataError, match="items that are tensors or arrays"):
        stack_dataset(_Listed([item]), where="x")


@pytest.mark.parametrize("odd", [torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(2, 2)])
def test_items_that_differ_are_refused_by_their_index(odd: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"one shape and dtype in x, got torch\.uint8 \[2, 2\] at 0 and .* at 3"):
        stack_dataset(_Listed([*X, odd]), where="x")


def test_items_without_a_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"event_shape\] of two or more dimensions in x"):
        stack_dataset(_Listed([torch.tensor(1.0)] * 3), where="x")
