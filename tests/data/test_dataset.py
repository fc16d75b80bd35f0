from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from lagvae.data.dataset import Data, open_data
from lagvae.data.examples import Examples
from lagvae.data.readers import npy
from lagvae.errors import DataError

from .conftest import SIDE, TEST_COUNT, TRAIN_KEPT, TinySet

HELD_OUT = "no test part in the data: 1 example in 10 held out"


def _count(number: int) -> torch.Tensor:
    """Examples that are told apart by their value."""
    return torch.arange(number, dtype=torch.uint8)[:, None].repeat(1, 3)


def _ids(part: Examples) -> list[int]:
    return [int(row[0]) for row in part.values]


def test_a_named_set_is_opened_by_its_name(tiny_mnist: TinySet, tmp_path: Path) -> None:
    tiny_mnist.write(tmp_path)
    data = open_data("mnist", folder=tmp_path, progress=False)
    assert (data.name, data.note) == ("mnist", "")
    assert (len(data.train), len(data.test)) == (TRAIN_KEPT, TEST_COUNT)
    assert data.train.event_shape == (1, SIDE, SIDE)


def test_every_tenth_example_is_held_out_and_labels_go_along() -> None:
    data = open_data(TensorDataset(_count(25), torch.arange(25)))
    assert _ids(data.test) == [9, 19]
    assert _ids(data.train) == [i for i in range(25) if i % 10 != 9]
    assert data.test.labels is not None
    assert data.train.labels is not None
    assert data.test.labels.tolist() == _ids(data.test)
    assert data.train.labels.tolist() == _ids(data.train)
    assert (data.name, data.note) == ("", HELD_OUT)


def test_of_less_than_ten_examples_the_last_is_held_out() -> None:
    data = open_data(_count(3))
    assert (_ids(data.train), _ids(data.test)) == ([0, 1], [2])
    data = open_data(_count(9))
    assert (_ids(data.train), _ids(data.test)) == (list(range(8)), [8])


def test_a_single_example_cannot_be_split() -> None:
    with pytest.raises(DataError, match="two examples or more, one of them to hold out, got 1"):
        open_data(_count(1))


@pytest.mark.parametrize("convert", [torch.Tensor.clone, torch.Tensor.numpy, Examples, TensorDataset])
def test_every_kind_in_memory_is_opened_alone_and_in_a_pair(convert: object) -> None:
    whole = convert(_count(20))  # type: ignore[operator]
    alone = open_data(whole)
    assert _ids(alone.test) == [9, 19]
    pair = open_data((whole, convert(_count(4))))  # type: ignore[operator]
    assert (_ids(pair.train), _ids(pair.test)) == (list(range(20)), list(range(4)))
    assert (pair.name, pair.note) == ("", "")


def test_a_pair_takes_the_test_part_of_a_member_that_has_one(tiny_mnist: TinySet, tmp_path: Path) -> None:
    tiny_mnist.write(tmp_path)
    images = np.zeros((4, 1, SIDE, SIDE), dtype=np.uint8)
    data = open_data((images, "mnist"), folder=tmp_path)
    assert (len(data.train), len(data.test)) == (4, TEST_COUNT)
    data = open_data(("mnist", images), folder=tmp_path)
    assert (len(data.train), len(data.test)) == (TRAIN_KEPT, 4)


def test_a_data_is_returned_unchanged() -> None:
    data = open_data(_count(20))
    assert open_data(data) is data


def test_paths_become_absolute_names_that_open_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", _count(20).numpy())
    for source in ("x.npy", Path("x.npy"), tmp_path / "x.npy"):
        data = open_data(source)
        assert data.name == str(tmp_path / "x.npy")
        assert _ids(data.test) == [9, 19]
        assert open_data(data.name).fingerprint() == data.fingerprint()


def test_of_a_mapped_file_the_last_tenth_is_held_out_as_a_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", _count(25).numpy())
    monkeypatch.setattr(npy, "MAP_ABOVE_BYTES", 0)
    data = open_data(tmp_path / "x.npy")
    assert isinstance(data.train.values, np.memmap)
    assert isinstance(data.test.values, np.memmap)
    assert (_ids(data.train), _ids(data.test)) == (list(range(23)), [23, 24])
    assert data.note == "no test part in the file: the last tenth, 2 examples, held out"


def test_an_npz_is_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "both.npz", train=_count(5), test=_count(3))
    np.savez(tmp_path / "one.npz", _count(20))
    both, one = open_data(tmp_path / "both.npz"), open_data(tmp_path / "one.npz")
    assert (len(both.train), len(both.test), both.note) == (5, 3, "")
    assert (len(one.train), len(one.test), one.note) == (18, 2, HELD_OUT)


def test_a_folder_of_images_is_opened(tmp_path: Path) -> None:
    for shade in range(11):
        Image.new("L", (3, 2), shade).save(tmp_path / f"{shade:02}.png")
    data = open_data(tmp_path)
    assert data.test.values.tolist() == [[[[9] * 3] * 2]]
    assert len(data.train) == 10


@pytest.mark.parametrize(
    ("name", "suggestion"), [("minst", "'mnist'"), ("Fashion_MNIST", "'fashion-mnist'"), ("zzz", "one of"), ("", "one")]
)
def test_an_unknown_name_gets_the_nearest_and_the_kinds(name: str, suggestion: str) -> None:
    kinds = r"mnist, fashion-mnist, digits\), a \.npy, \.npz, .* torch Dataset or a \(train, test\) pair"
    with pytest.raises(DataError, match=rf"{kinds}, got '{name}', .*; try {suggestion}"):
        open_data(name)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a file or folder, got .*absent\.npy, which does not exist"):
        open_data(tmp_path / "absent.npy")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_text("1,2")
    with pytest.raises(DataError, match=r"a \.npy, \.npz, \.csv, .* or a folder of images, got .*x\.xlsx"):
        open_data(tmp_path / "x.xlsx")


@pytest.mark.parametrize("source", [[_count(3), _count(3)], 3, None, {"train": 1}])
def test_other_objects_are_refused(source: object) -> None:
    with pytest.raises(DataError, match=rf"a \(train, test\) pair, got {type(source).__name__}"):
        open_data(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 1, 3])
def test_tuples_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(DataError, match=rf"a pair \(train, test\), got a tuple of {length}"):
        open_data((_count(3),) * length)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [torch.zeros(3, 4, dtype=torch.uint8), torch.zeros(3, 3)])
def test_parts_that_differ_are_refused(odd: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"one dtype and event shape, got uint8 \[3\] and "):
        open_data((_count(3), odd))


def test_nan_is_refused_and_values_beyond_the_unit_interval_are_not() -> None:
    open_data(np.full((20, 3), -7.5))
    with pytest.raises(DataError, match=r"finite values in the data, got nan at index \[0, 0\]"):
        open_data(np.full((20, 3), np.nan))


def _data(train: torch.Tensor, test: torch.Tensor) -> Data:
    return Data("", Examples(train), Examples(test))


def test_a_fingerprint_knows_shape_dtype_and_values() -> None:
    train, test = _count(20), _count(4)
    base = _data(train, test).fingerprint()
    others = [
        _data(test, train),
        _data(train.reshape(20, 3, 1), test.reshape(4, 3, 1)),
        _data(train[:-1], test),
        _data(train.float(), test.float()),
        _data(train.flip(0), test),
        _data(train, test ^ 1),
    ]
    assert len({base, *(other.fingerprint() for other in others)}) == 1 + len(others)


def test_a_fingerprint_does_not_know_where_the_values_lie(tmp_path: Path) -> None:
    data = _data(_count(20), _count(4))
    np.save(tmp_path / "x.npy", _count(20).numpy())
    mapped = dataclasses.replace(data, name="x", train=Examples(np.load(tmp_path / "x.npy", mmap_mode="r")))
    assert mapped.fingerprint() == data.fingerprint()
    assert data.fingerprint() == _data(_count(20), _count(4)).fingerprint()
    assert len(data.fingerprint()) == 16


def test_a_fingerprint_samples_data_of_every_proportion() -> None:
    """Many small examples, and few that are larger than the whole sample."""
    for shape in ((300_000, 3), (3, 1_000_000)):
        zeros = torch.zeros(shape, dtype=torch.uint8)
        assert _data(zeros, zeros).fingerprint() != _data(zeros, zeros + 1).fingerprint()


def _labelled(number: int) -> Data:
    examples = Examples(_count(number), torch.arange(number))
    return Data("numbers", examples, Examples(_count(4)), "a note")


def _gathered(part: Examples) -> list[int]:
    return part.gather(torch.arange(len(part)))[:, 0].tolist()


def test_a_share_is_held_out_at_random_in_order_with_its_labels() -> None:
    whole = _labelled(50)
    data = whole.hold_out(0.2, seed=0)
    assert list(data.parts) == ["train", "held_out", "test"]
    assert (data.name, data.note, data.test) == ("numbers", "a note", whole.test)
    train, held_out = data.parts["train"], data.parts["held_out"]
    assert (len(train), len(held_out)) == (40, 10)
    for part in (train, held_out):
        assert _gathered(part) == sorted(_gathered(part))
        assert part.labels is not None
        assert part.labels.tolist() == _gathered(part)
    assert sorted(_gathered(train) + _gathered(held_out)) == list(range(50))
    assert _gathered(held_out) not in ([*range(10)], [*range(40, 50)])


def test_the_seed_decides_what_is_held_out() -> None:
    first, again, other = (_labelled(50).hold_out(0.2, seed=seed).parts["held_out"] for seed in (0, 0, 1))
    assert _gathered(first) == _gathered(again) != _gathered(other)


def test_nothing_is_held_out_unless_asked() -> None:
    whole = _labelled(50)
    assert whole.hold_out(0.0, seed=0) is whole
    assert list(whole.parts) == ["train", "test"]


@pytest.mark.parametrize("mapped", [True, False], ids=["memory map", "tensor"])
def test_holding_out_copies_no_values(mapped: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", _count(50).numpy())
    examples = Examples(np.load(tmp_path / "x.npy", mmap_mode="r") if mapped else _count(50))
    data = Data("", examples, Examples(_count(4))).hold_out(0.2, seed=0)
    train, held_out = data.parts["train"], data.parts["held_out"]
    assert train.values is held_out.values is examples.values
    assert sorted(_gathered(train) + _gathered(held_out)) == list(range(50))


@pytest.mark.parametrize(
    ("count", "share", "message"),
    [
        (50, 0.02, r"got 1 held out of 50 \(held_out=0.02\); try a larger share"),
        (50, 0.98, r"got 49 held out of 50 \(held_out=0.98\); try a smaller share"),
        (3, 0.5, r"got 2 held out of 3 \(held_out=0.5\); try more data"),
    ],
)
def test_two_examples_are_left_on_either_side(count: int, share: float, message: str) -> None:
    with pytest.raises(DataError, match=f"two training examples or more on either side of the split, {message}"):
        _labelled(count).hold_out(share, seed=0)
    assert len(_labelled(4).hold_out(0.5, seed=0).train) == 2


def test_what_is_split_is_not_split_again() -> None:
    data = _labelled(50).hold_out(0.2, seed=0)
    for share, seed in ((0.2, 1), (0.3, 0)):
        with pytest.raises(DataError, match=r"data to hold out from, got data with a held-out part .*; try held_out=0"):
            data.hold_out(share, seed=seed)
    assert data.hold_out(0.2, seed=0) is data.hold_out(0, seed=0) is data


def test_a_fingerprint_knows_what_is_held_out() -> None:
    splits = [_labelled(50), *(_labelled(50).hold_out(0.2, seed=seed) for seed in (0, 1))]
    assert len({data.fingerprint() for data in splits}) == 3
    assert splits[1].fingerprint() == _labelled(50).hold_out(0.2, seed=0).fingerprint()


def test_a_part_that_was_split_off_is_opened_like_any_other() -> None:
    rest = _labelled(50).hold_out(0.2, seed=0).train
    assert open_data((rest, _count(4))).train is rest
    data = open_data(rest)
    assert sorted(_ids(data.train) + _ids(data.test)) == _gathered(rest)
