from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lagvae.errors import ProblemError
from lagvae.terms.algebra import Best, Constraint, WeightedSum, best, finite, format_number
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.information import mutual_information
from lagvae.terms.mmd import mmd


def test_sums_collect_like_terms_in_the_order_written() -> None:
    total = 2 * rate + distortion - rate / 2
    assert total.items == ((rate, 1.5), (distortion, 1.0))
    assert str(total) == "1.5*rate + distortion"


def test_what_cancels_is_gone() -> None:
    assert (rate - rate).items == ()
    assert str(rate - rate) == "0"


def test_builtin_sum_works() -> None:
    assert sum([rate, distortion]) == rate + distortion


@pytest.mark.parametrize(
    ("total", "text"),
    [
        (-rate + distortion, "-rate + distortion"),
        (-2 * rate - 0.5 * distortion, "-2*rate - 0.5*distortion"),
        (1e4 * mmd, "10000*mmd"),
        (mmd(kernel="imq", bandwidth=2.0) * 3, "3*mmd(kernel=imq, bandwidth=2)"),
    ],
)
def test_sums_are_written_as_read(total: WeightedSum, text: str) -> None:
    assert str(total) == repr(total) == text


def test_order_does_not_matter_for_equality_but_weights_do() -> None:
    assert rate + distortion == distortion + rate
    assert hash(rate + distortion) == hash(distortion + rate)
    assert rate + distortion != 2 * rate + distortion
    assert rate == 1.0 * rate
    assert rate != rate(estimator="one_sample")


@pytest.mark.parametrize("operation", [lambda: rate + 3, lambda: rate * "2", lambda: rate * rate, lambda: rate / 0])
def test_nonsense_arithmetic_is_a_type_error(operation) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=r"unsupported operand|can't multiply"):
        operation()


@pytest.mark.parametrize("weight", [math.inf, -math.inf, math.nan])
def test_weights_are_finite(weight: float) -> None:
    with pytest.raises(ProblemError, match=r"expected a finite weight, got (-?inf|nan); try"):
        weight * rate


@pytest.mark.parametrize("overflow", [lambda: 1e200 * (1e200 * rate), lambda: 1e308 * rate + 1e308 * rate])
def test_weights_do_not_overflow(overflow) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProblemError, match=r"expected a finite weight of rate, got inf; try"):
        overflow()


@pytest.mark.parametrize("number", [3, 3.0, Fraction(3), np.float32(3), np.int64(3)])
def test_every_kind_of_number_is_one(number: object) -> None:
    assert finite(number, "bound") == 3.0


@pytest.mark.parametrize("number", ["3", True, None, 10**400, math.nan])
def test_what_is_no_number_is_refused(number: object) -> None:
    with pytest.raises(ProblemError, match=r"expected a finite bound, got .*; try a number such as 86\.0"):
        finite(number, "bound")


def test_comparisons_make_constraints_from_both_sides() -> None:
    assert (rate <= 5) == Constraint(rate.as_sum(), "<=", 5.0)
    assert (5 >= rate) == (rate <= 5)  # noqa: SIM300
    assert (rate >= 5) == (5 <= rate)  # noqa: SIM300
    assert (rate == 5) == Constraint(rate.as_sum(), "==", 5.0)
    assert (rate <= 5) != (rate <= 6)


def test_chained_comparison_is_refused() -> None:
    with pytest.raises(ProblemError, match=r"expected each constraint on its own, got 'rate >= 3' used as true"):
        3 <= rate <= 5  # noqa: B015


@pytest.mark.parametrize("bound", [math.inf, math.nan, distortion, "5"])
def test_bounds_are_finite_numbers(bound: object) -> None:
    with pytest.raises(ProblemError, match="expected a finite bound, got"):
        rate <= bound  # noqa: B015


@pytest.mark.parametrize(
    ("constraint", "value", "violation"),
    [
        (rate <= 5, 7.0, 2.0),
        (rate <= 5, 4.0, -1.0),
        (rate >= 5, 7.0, -2.0),
        (rate >= 5, 4.0, 1.0),
        (rate == 5, 4.0, -1.0),
    ],
    ids=str,
)
def test_violation_is_how_far_the_value_lies_beyond(constraint: Constraint, value: float, violation: float) -> None:
    assert constraint.violation(value) == violation
    assert constraint.is_met_by(value) == (violation <= 0 and not constraint.is_equality)
    assert constraint.is_met_by(value, slack=abs(violation))


def test_an_equality_is_met_on_its_bound_alone() -> None:
    assert (rate == 5).is_met_by(5.0)
    assert not (rate == 5).is_met_by(4.9)
    assert not (rate == 5).is_met_by(5.1)


def test_unit_and_tolerance_are_of_the_quantity() -> None:
    assert ((neg_elbo <= 86).unit, (neg_elbo <= 86).tolerance) == (1.0, 0.15)
    assert ((mmd <= 5e-4).unit, (mmd <= 5e-4).tolerance) == (1e-4, pytest.approx(1e-5))


def test_surrogate_splits_and_collects() -> None:
    assert (neg_elbo - mutual_information + 2 * rate).surrogate() == {distortion: 2.0, rate: 3.0}
    assert (neg_elbo - distortion).surrogate() == {rate: 1.0}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e22, 5e-324, -0.0, 86.0, 1.7976931348623157e308])
def test_numbers_read_back(value: float) -> None:
    assert float(format_number(value)) == value
    assert not format_number(value).endswith(".0")


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (best, "best"),
        (best + 4, "best + 4"),
        (4 + best, "best + 4"),
        (best - 2.5, "best - 2.5"),
        (best + 4 - 6, "best - 2"),
        (best + Fraction(1, 2), "best + 0.5"),
        (best - 0.0, "best"),
    ],
)
def test_a_bound_may_be_relative_to_best(bound: Best, text: str) -> None:
    upper, lower = neg_elbo <= bound, bound <= rate
    assert upper == Constraint(neg_elbo.as_sum(), "<=", bound.offset, is_relative=True)
    assert lower == Constraint(rate.as_sum(), ">=", bound.offset, is_relative=True)
    assert (str(bound), repr(bound)) == (text, text)
    assert (str(upper), upper.bound_text) == (f"neg_elbo <= {text}", text)
    assert upper != Constraint(neg_elbo.as_sum(), "<=", bound.offset)


@pytest.mark.parametrize("offset", ["4", None, True, math.nan, math.inf, rate, best])
def test_only_numbers_are_added_to_best(offset: object) -> None:
    for operation in (lambda: best + offset, lambda: offset + best, lambda: best - offset):  # type: ignore[operator]
        with pytest.raises(ProblemError, match=r"expected a finite offset from best, got .*; try a number"):
            operation()


@pytest.mark.parametrize("operation", [lambda: 2 * best, lambda: best / 2, lambda: -best, lambda: 4 - best])
def test_best_is_neither_scaled_nor_negated(operation) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=r"unsupported operand|bad operand"):
        operation()


def test_an_equality_is_not_relative() -> None:
    message = r"expected a bound above or below, .*, got 'rate == best \+ 1'; try 'rate <= best \+ 1'"
    with pytest.raises(ProblemError, match=message):
        rate == best + 1  # noqa: B015
    with pytest.raises(ProblemError, match=message):
        Constraint(rate.as_sum(), "==", 1.0, is_relative=True)
    assert rate != best
    assert (rate == 1) == Constraint(rate.as_sum(), "==", 1.0)


def test_a_relative_bound_has_no_violation_until_it_is_resolved() -> None:
    relative = neg_elbo <= best + 4
    message = r"expected a number as bound, got 'neg_elbo <= best \+ 4'; try Problem.resolve\({'neg_elbo': ...}\)"
    with pytest.raises(ProblemError, match=message):
        relative.violation(90.0)
    with pytest.raises(ProblemError, match=message):
        relative.is_met_by(90.0, slack=5.0)
    with pytest.raises(ProblemError, match=r"expected a number as bound, got 'mmd <= best \+ 0.0001'"):
        _ = (mmd <= best + 1e-4).tolerance
    assert relative.tolerance == 0.15  # of a bound in nats, whatever it is
    resolved = relative.resolve(86.0)
    assert resolved == (neg_elbo <= 90)
    assert resolved.violation(92.0) == 2.0
    assert resolved.resolve(1.0) is resolved


@pytest.mark.parametrize(
    ("constraint", "value", "resolved"),
    [
        (neg_elbo <= best + 4, 103.7265123, neg_elbo <= 107.7265),
        (rate >= best - 2, 20.0, rate >= 18),
        (mmd <= best + 1e-4, 2.4e-4, mmd <= 3.4e-4),
        (rate <= best, 0.1 + 0.2, rate <= 0.3),
    ],
    ids=str,
)
def test_best_and_offset_make_a_readable_bound(constraint: Constraint, value: float, resolved: Constraint) -> None:
    assert constraint.resolve(value) == resolved


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_was_never_reached_is_no_best(value: float) -> None:
    with pytest.raises(ProblemError, match=r"expected a finite best value of neg_elbo, got (nan|inf); try"):
        (neg_elbo <= best + 4).resolve(value)


def test_units_have_names() -> None:
    constraints = (neg_elbo <= 86, mmd <= 5e-4, mmd + rate <= 20, 1.5 * mmd <= 1e-3, 12_000 * mmd <= 8)
    assert [c.unit_name for c in constraints] == ["nat", "1e-4", "unit", "1.5e-4", "1.2"]


def test_a_bound_weighs_the_same_in_whatever_scale_it_is_written() -> None:
    plain, scaled = mmd <= 5e-4, 10_000 * mmd <= 5
    assert (plain.unit, scaled.unit) == (1e-4, 1.0)
    assert scaled.bound / scaled.unit == pytest.approx(plain.bound / plain.unit)
    assert scaled.tolerance == pytest.approx(10_000 * plain.tolerance)
    assert (2 * neg_elbo <= 172).unit == 1.0


def test_a_floor_is_the_weighted_sum_of_its_terms() -> None:
    sizes = {"latent_dim": 10, "batch_size": 250}
    floor = mmd.floor(**sizes)
    assert floor == pytest.approx(1.42e-3, rel=1e-2)
    assert (2 * mmd + rate <= 20).floor(**sizes) == 2 * floor
    assert (mmd(estimator="unbiased") <= 1e-5).floor(**sizes) == 0.0
    assert (mmd <= 0.99 * floor).is_below_floor(**sizes)
    for reachable in (mmd <= 1.01 * floor, mmd(estimator="unbiased") <= 1e-5, neg_elbo <= 0, mmd <= best + 1e-4):
        assert not reachable.is_below_floor(**sizes)
