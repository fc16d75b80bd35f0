"""Which examples a step sees follows from seed and step alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from lagvae.data.examples import Examples
from lagvae.streams import Streams
from lagvae.training.steps.batches import Batches


def make(count: int = 10, size: int = 3, *, shuffle: bool = True, seed: int = 0) -> Batches:
    values = torch.arange(count, dtype=torch.uint8)[:, None]
    return Batches(Examples(values), Streams(seed), size=size, shuffle=shuffle)


def seen(batches: Batches, *steps: int) -> list[list[int]]:
    return [batches.at(step)[:, 0].tolist() for step in steps]


def test_a_pass_visits_each_example_once_but_for_those_that_fill_no_batch() -> None:
    batches = make()
    assert (batches.size, batches.per_pass) == (3, 3)
    first, second = ([*itertools.chain(*seen(batches, *steps))] for steps in ((0, 1, 2), (3, 4, 5)))
    assert len(set(first)) == len(set(second)) == 9
    assert first != second
    assert seen(make(), 0) != seen(make(seed=1), 0)


def test_a_step_sees_the_same_whatever_was_seen_before() -> None:
    batches = make()
    in_turn = seen(batches, *range(9))
    assert seen(make(), 7) == in_turn[7:8]
    assert seen(batches, *range(9)) == in_turn  # back to the first pass


def test_without_shuffling_it_is_the_examples_own_order() -> None:
    assert seen(make(shuffle=False), 0, 2, 3) == [[0, 1, 2], [6, 7, 8], [0, 1, 2]]


def test_a_batch_is_no_larger_than_the_part() -> None:
    batches = make(count=4, size=250)
    assert (batches.size, batches.per_pass) == (4, 1)
    assert sorted(seen(batches, 5)[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("shuffle", [True, False])
def test_of_a_shared_array_only_the_parts_own_rows_are_seen(shuffle: bool) -> None:
    part = Examples(torch.arange(10, dtype=torch.uint8)[:, None]).pick(torch.tensor([1, 4, 8]))
    batches = Batches(part, Streams(0), size=3, shuffle=shuffle)
    assert sorted(seen(batches, 0)[0]) == [1, 4, 8]
    assert sorted(batches.index(0).tolist()) == [0, 1, 2]
