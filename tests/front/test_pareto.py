from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagvae.front.pareto import dominated, hypervolume, non_dominated

# By hand: (2, 2) is dominated by (1, 2) and (2, 1); (3, 3) by all.
POINTS = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, 3.0], [0.0, 4.0]])


def test_the_non_dominated_set_by_hand() -> None:
    assert non_dominated(POINTS).tolist() == [True, True, False, False, True]


def test_equal_points_do_not_dominate_each_other() -> None:
    assert non_dominated(np.array([[1.0, 1.0], [1.0, 1.0]])).tolist() == [True, True]


def test_a_margin_asks_for_more_in_both_coordinates() -> None:
    others = np.array([[0.7, 0.9]])
    points = np.array([[1.0, 1.0], [1.0, 1.3], [0.5, 5.0]])
    assert dominated(points, by=others).tolist() == [True, True, False]
    assert dominated(points, by=others, margin=0.2).tolist() == [False, True, False]


def test_the_hypervolume_by_hand() -> None:
    # To (4, 5): columns [0, 1] of height 1, [1, 2] of 3, [2, 4] of 4.
    assert hypervolume(POINTS, reference=(4.0, 5.0)) == pytest.approx(1 + 3 + 8)
    assert hypervolume(POINTS, reference=(0.0, 0.0)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_hypervolume_is_the_number_of_dominated_cells(points: list[tuple[int, int]]) -> None:
    cells = sum(any(x <= i and y <= j for x, y in points) for i in range(10) for j in range(10))
    assert hypervolume(np.array(points, dtype=float), reference=(10.0, 10.0)) == pytest.approx(cells)
