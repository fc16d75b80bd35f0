from __future__ import annotations

import pytest

import lagvae as lv
from lagvae.front.dedicated.ranges import expand_ranges


def test_a_text_without_a_range_is_one_problem() -> None:
    assert expand_ranges("max mi s.t. neg_elbo <= 86") == ["max mutual_information s.t. neg_elbo <= 86"]


def test_a_range_includes_both_ends() -> None:
    found = expand_ranges("max mi s.t. neg_elbo <= 86:95:1, mmd <= 5e-4")
    assert found == [f"max mutual_information s.t. neg_elbo <= {bound}, mmd <= 0.0005" for bound in range(86, 96)]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("0.1:0.4:0.1", ["0.1", "0.2", "0.3", "0.4"]),
        ("3:1:-1", ["3", "2", "1"]),
        ("1:2:3", ["1"]),
        ("1:8:3", ["1", "4", "7"]),
    ],
)
def test_steps_count_in_decimals_either_way(text: str, bounds: list[str]) -> None:
    assert expand_ranges(f"min distortion s.t. rate <= {text}") == [f"min distortion s.t. rate <= {b}" for b in bounds]


def test_two_ranges_are_every_pair_the_last_one_fastest() -> None:
    found = expand_ranges("max mi s.t. neg_elbo <= 90:91:1, mmd <= 0.1:0.2:0.1")
    tails = ["90, mmd <= 0.1", "90, mmd <= 0.2", "91, mmd <= 0.1", "91, mmd <= 0.2"]
    assert found == [f"max mutual_information s.t. neg_elbo <= {tail}" for tail in tails]


def test_an_offset_from_best_may_be_a_range() -> None:
    found = expand_ranges("max mi s.t. neg_elbo <= best + 1:2:1")
    assert found == [f"max mutual_information s.t. neg_elbo <= best + {offset}" for offset in (1, 2)]


@pytest.mark.parametrize("text", ["86:95:0", "95:86:1", "86:95:-1"])
def test_a_step_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(lv.ProblemError, match=rf"a range first:last:step, got '{text}'; try 86:95:1"):
        expand_ranges(f"max mi s.t. neg_elbo <= {text}")


@pytest.mark.parametrize("text", ["0:1:1e-9", "0:150:1, mmd <= 0:150:1"])
def test_too_many_problems_are_refused(text: str) -> None:
    with pytest.raises(lv.ProblemError, match="at most 10,000 problems"):
        expand_ranges(f"max mi s.t. neg_elbo <= {text}")


def test_what_is_no_problem_is_refused_as_everywhere() -> None:
    with pytest.raises(lv.ProblemError, match="a term at column"):
        expand_ranges("max mi s.t. elbow <= 1:2:1")
