from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lagvae.data.examples import Examples, binarise


@pytest.fixture
def values() -> torch.Tensor:
    return torch.arange(5 * 2 * 3, dtype=torch.uint8).reshape(5, 2, 3)


@pytest.fixture(params=["tensor", "memmap"])
def examples(request: pytest.FixtureRequest, values: torch.Tensor, tmp_path: Path) -> Examples:
    labels = torch.tensor([4, 3, 2, 1, 0])
    if request.param == "tensor":
        return Examples(values, labels)
    np.save(tmp_path / "x.npy", values.numpy())
    return Examples(np.load(tmp_path / "x.npy", mmap_mode="r"), labels)


def test_shape_is_that_of_the_values(examples: Examples) -> None:
    assert len(examples) == 5
    assert examples.event_shape == (2, 3)
    assert examples.is_uint8


def test_floats_are_not_uint8() -> None:
    assert not Examples(torch.zeros(2, 3)).is_uint8


def test_gather_picks_in_the_order_asked_with_repeats(examples: Examples, values: torch.Tensor) -> None:
    index = torch.tensor([3, 0, 3])
    picked = examples.gather(index)
    assert picked.dtype == torch.uint8
    assert torch.equal(picked, torch.stack([values[3], values[0], values[3]]))


def test_gathered_values_may_be_written_without_touching_the_source(examples: Examples, values: torch.Tensor) -> None:
    before = values.clone()
    examples.gather(torch.tensor([1])).zero_()
    assert torch.equal(examples.gather(torch.arange(5)), before)


def test_subset_takes_a_contiguous_view_with_its_labels(examples: Examples, values: torch.Tensor) -> None:
    middle = examples.subset(1, 3)
    assert type(middle.values) is type(examples.values)
    assert torch.equal(middle.gather(torch.arange(2)), values[1:3])
    assert middle.labels is not None
    assert middle.labels.tolist() == [3, 2]
    assert np.shares_memory(np.asarray(middle.values), np.asarray(examples.values))


def test_to_moves_tensors_and_leaves_a_memory_map_alone(examples: Examples) -> None:
    moved = examples.to("meta")
    assert moved.labels is not None
    assert moved.labels.device.type == "meta"
    if isinstance(examples.values, torch.Tensor):
        assert isinstance(moved.values, torch.Tensor)
        assert moved.values.device.type == "meta"
    else:
        assert moved.values is examples.values


def test_picked_examples_share_the_values(examples: Examples) -> None:
    picked = examples.pick(torch.tensor([1, 3, 4]))
    assert picked.values is examples.values
    assert len(picked) == 3
    assert picked.labels is not None
    assert picked.labels.tolist() == [3, 1, 0]
    assert torch.equal(picked.gather(torch.tensor([2, 0])), examples.gather(torch.tensor([4, 1])))
    again = picked.pick(torch.tensor([2, 1]))
    assert torch.equal(again.gather(torch.arange(2)), examples.gather(torch.tensor([4, 3])))
    middle = picked.subset(1, 3)
    assert torch.equal(middle.gather(torch.arange(2)), examples.gather(torch.tensor([3, 4])))
    assert middle.labels is not None
    assert middle.labels.tolist() == [1, 0]


def test_of_shared_values_only_the_picked_go_to_another_device(examples: Examples) -> None:
    picked = examples.pick(torch.tensor([1, 3]))
    moved = picked.to("meta")
    assert len(moved) == 2
    if isinstance(examples.values, torch.Tensor):
        assert (moved.values.shape, moved.rows) == ((2, 2, 3), None)
        assert picked.to("cpu").values is examples.values
    else:
        assert moved.values is examples.values


def test_examples_in_use_on_a_device_are_not_sent_again(examples: Examples) -> None:
    moved = examples.to("meta")
    assert examples.to("meta") is moved
    there = pickle.loads(pickle.dumps(examples))  # what is on this machine's devices stays here
    assert there.to("meta") is not moved
    del moved
    assert not examples._moved


def test_missing_labels_stay_missing(values: torch.Tensor) -> None:
    examples = Examples(values)
    assert examples.to("cpu").labels is None
    assert examples.subset(0, 2).labels is None


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_black_is_never_on_and_white_always(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    white = 255 if kind == torch.uint8 else 1
    assert binarise(torch.zeros(1_000_000, dtype=kind), generator).sum() == 0
    assert binarise(torch.full((1_000_000,), white, dtype=kind), generator).sum() == 1_000_000


def test_the_lowest_draw_lights_everything_but_black(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert binarise(torch.tensor([0, 1 / 255, 1]), torch.Generator()).tolist() == [0.0, 1.0, 1.0]
    two_lowest = -(2**63) + 2**31  # the lowest 32-bit integer, twice
    monkeypatch.setattr(torch.Tensor, "random_", lambda pairs, *_, **__: pairs.fill_(two_lowest))
    assert binarise(torch.tensor([0, 1, 255], dtype=torch.uint8), torch.Generator()).tolist() == [0.0, 1.0, 1.0]


def test_every_level_is_on_as_often_as_its_intensity() -> None:
    """All 256 levels, 20,000 draws each, two-sided at 6 standard deviations.

    By Bernstein's inequality the 254 levels that vary give a false alarm with probability below 1e-3 (as Gaussians:
    254 * 2e-9 = 5e-7); the seed is fixed. A comparison with another rule, e.g. p/256, fails the sum below.
    """
    draws = 20_000
    levels = torch.arange(256, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    frequency = binarise(levels.expand(draws, 256), generator).double().mean(0)
    truth = levels.double() / 255
    deviation = (truth * (1 - truth) / draws).sqrt()
    assert ((frequency - truth).abs() <= 6 * deviation).all()
    # All levels together see p/256 instead of p/255, which is 0.5 in the sum, as ten deviations: at 4.5 of them the
    # false alarm rate is 7e-6.
    total_deviation = math.sqrt(float((deviation**2).sum()))
    assert abs(float((frequency - truth).sum())) <= 4.5 * total_deviation


def test_draws_are_afresh_and_repeat_with_the_seed() -> None:
    raw = torch.full((100,), 128, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(3)
    first, second = binarise(raw, generator), binarise(raw, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, binarise(raw, torch.Generator().manual_seed(3)))
    assert first.dtype == torch.float32
    assert set(first.tolist()) == {0.0, 1.0}
