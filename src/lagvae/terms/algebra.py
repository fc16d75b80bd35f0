"""Sums of terms, and their comparison with numbers.

The convention is CVXPY's: arithmetic on terms makes sums, comparison with a *number* makes a
constraint. (Comparing two terms or two sums with ``==`` compares them, as everywhere in Python.)
A bound may also be relative to what a probe reaches: ``neg_elbo <= best + 4``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lagvae.errors import ProblemError, expected

if TYPE_CHECKING:
    from lagvae.terms.term import Term

Sense = Literal["<=", ">=", "=="]


class Quantity:
    """What terms and their sums share: arithmetic and comparison."""

    def as_sum(self) -> WeightedSum:
        """Returns this quantity as a sum of terms."""
        raise TypeError(f"{type(self).__name__} is not a quantity")

    def __add__(self, other: object) -> WeightedSum:
        if isinstance(other, Quantity):
            return WeightedSum.of([*self.as_sum().items, *other.as_sum().items])
        if _is_number(other) and other == 0:  # so that the builtin sum() works
            return self.as_sum()
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> WeightedSum:
        return self + (-other) if isinstance(other, Quantity) else NotImplemented

    def __neg__(self) -> WeightedSum:
        return -1.0 * self

    def __mul__(self, factor: object) -> WeightedSum:
        if not _is_number(factor):
            return NotImplemented
        weight = finite(factor, "weight")
        return WeightedSum.of((term, weight * old) for term, old in self.as_sum().items)

    __rmul__ = __mul__

    def __truediv__(self, divisor: object) -> WeightedSum:
        return self * (1.0 / finite(divisor, "divisor")) if _is_number(divisor) and divisor else NotImplemented

    def __le__(self, bound: object) -> Constraint:
        return _compare(self.as_sum(), "<=", bound)

    def __ge__(self, bound: object) -> Constraint:
        return _compare(self.as_sum(), ">=", bound)

    def __eq__(self, other: object) -> Constraint | bool:  # type: ignore[override]
        if _is_number(other) or isinstance(other, Best):
            return _compare(self.as_sum(), "==", other)
        return self._same_as(other)

    def __ne__(self, other: object) -> bool:
        return not self._same_as(other)

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} is not hashable")

    def _same_as(self, other: object) -> bool:
        return self is other


class WeightedSum(Quantity):
    """Σ weight · term, in the order written, each term once and no weight zero.

    Attributes:
        items: The terms and their weights.
    """

    def __init__(self, weights: Mapping[Term, float]) -> None:
        self.items: tuple[tuple[Term, float], ...] = tuple(
            (term, finite(weight, f"weight of {term}")) for term, weight in weights.items() if weight != 0
        )

    @classmethod
    def of(cls, items: Iterable[tuple[Term, float]]) -> WeightedSum:
        """Collects like terms."""
        weights: dict[Term, float] = {}
        for term, weight in items:
            weights[term] = weights.get(term, 0.0) + weight
        return cls(weights)

    def as_sum(self) -> WeightedSum:
        """Returns itself."""
        return self

    def weights(self) -> dict[Term, float]:
        """Returns term → weight."""
        return dict(self.items)

    def surrogate(self) -> dict[Term, float]:
        """Returns term → weight of what is measured and differentiated when this sum is *minimised*.

        Every term stands for itself or for the bounds that its sign asks for: neg_elbo is
        distortion + rate, and mutual information is its upper bound where it is pushed down and
        its lower bound where it is pushed up.
        """
        weights: dict[Term, float] = {}
        for term, weight in self.items:
            for measured, factor in term.surrogate(weight).items():
                weights[measured] = weights.get(measured, 0.0) + factor
        return {term: weight for term, weight in weights.items() if weight != 0}

    def _same_as(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.weights() == other.as_sum().weights()

    def __hash__(self) -> int:
        return hash(frozenset(self.items))

    def __str__(self) -> str:
        if not self.items:
            return "0"
        text = ""
        for position, (term, weight) in enumerate(self.items):
            sign = "-" if weight < 0 else "+"
            factor = "" if abs(weight) == 1 else f"{format_number(abs(weight))}*"
            lead = ("-" if sign == "-" else "") if position == 0 else f" {sign} "
            text += f"{lead}{factor}{term}"
        return text

    __repr__ = __str__


@dataclass(frozen=True)
class Best:
    """The best value that a probe reaches, plus an offset: a bound that is no number yet.

    The lowest value where the bound is an upper one, the highest where it is a lower one.

    Attributes:
        offset: In the unit of the quantity that is bounded: nats per example, or unscaled MMD².
    """

    offset: float = 0.0

    def __add__(self, offset: object) -> Best:
        return Best(self.offset + finite(offset, "offset from best"))

    __radd__ = __add__

    def __sub__(self, offset: object) -> Best:
        return Best(self.offset - finite(offset, "offset from best"))

    def __str__(self) -> str:
        if self.offset == 0:
            return "best"
        return f"best {'-' if self.offset < 0 else '+'} {format_number(abs(self.offset))}"

    __repr__ = __str__


best = Best()
"""What stands for the best value in a bound: ``neg_elbo <= best + 4``."""


@dataclass(frozen=True)
class Constraint:
    """A sum compared with its bound.

    ``violation = value - bound`` for ``<=`` (feasible iff ≤ 0), the mirrored ``bound - value`` for
    ``>=``, and ``value - bound`` for ``==`` (feasible iff 0).

    Attributes:
        quantity: What is bounded.
        sense: On which side.
        bound: In the unit of the quantity: nats per example, or unscaled MMD².
        is_relative: Whether ``bound`` is an offset from the best value that a probe reaches. Such a
            constraint has no violation until :meth:`resolve` has made a number of its bound.
    """

    quantity: WeightedSum
    sense: Sense
    bound: float
    is_relative: bool = False

    def __post_init__(self) -> None:
        if self.is_relative and self.is_equality:
            raise ProblemError(
                expected(
                    "a bound above or below, where it is relative to best",
                    got=f"'{self}'",
                    fix=f"'{self.quantity} <= {self.bound_text}'",
                )
            )

    @property
    def sign(self) -> float:
        """+1 where the violation grows with the value, -1 where it falls."""
        return -1.0 if self.sense == ">=" else 1.0

    @property
    def is_equality(self) -> bool:
        """Whether the multiplier may be negative."""
        return self.sense == "=="

    @property
    def unit(self) -> float:
        """The size of one natural unit of the quantity: 1 nat, or 1e-4 of MMD²; times its weight, where not in nats."""
        if self.in_nats:
            return 1.0
        return max(abs(weight) * term.unit for term, weight in self.quantity.items)

    @property
    def unit_name(self) -> str:
        """The natural unit in words: ``nat``, ``1e-4`` (of MMD²), or ``unit`` of a user's own quantity."""
        if self.in_nats:
            return "nat"
        if self.unit == 1:
            return "unit"
        digits, _, exponent = f"{self.unit:.1e}".partition("e")
        return f"{self.unit:.2g}" if int(exponent) in (-1, 0, 1) else f"{digits.removesuffix('.0')}e{int(exponent)}"

    @property
    def in_nats(self) -> bool:
        """Whether the bound is in nats per example."""
        return all(term.in_nats for term, _ in self.quantity.items)

    @property
    def tolerance(self) -> float:
        """How much violation still counts as feasible: 0.15 nat, or 2 % of another bound."""
        return 0.15 if self.in_nats else 0.02 * max(abs(self._number()), self.unit)

    @property
    def bound_text(self) -> str:
        """The bound as it is written: ``86``, or ``best + 4``."""
        return str(Best(self.bound)) if self.is_relative else format_number(self.bound)

    def resolve(self, best: float) -> Constraint:
        """Returns the constraint with a number as its bound.

        Args:
            best: The best value that a probe reached, in the unit of the quantity.

        Raises:
            ProblemError: ``best`` is not finite.
        """
        if not self.is_relative:
            return self
        bound = finite(best, f"best value of {self.quantity}") + self.bound
        # A probe's third digit is noise already; seven keep the bound readable.
        return Constraint(self.quantity, self.sense, float(f"{bound:.7g}"))

    def violation(self, value: float) -> float:
        """Returns how far ``value`` lies on the wrong side of the bound (negative: inside).

        Raises:
            ProblemError: The bound is relative.
        """
        return self.sign * (value - self._number())

    def excess(self, violation: float) -> float:
        """Returns by how much a violation misses the bound: an equality is missed either way."""
        return abs(violation) if self.is_equality else violation

    def is_met_by(self, value: float, *, slack: float = 0.0) -> bool:
        """Whether ``value`` is feasible, give or take ``slack``."""
        return self.excess(self.violation(value)) <= slack

    def floor(self, *, latent_dim: int, batch_size: int) -> float:
        """Returns what a perfect model measures of the quantity, because of its estimators' bias alone.

        Args:
            latent_dim: Dimensions of the codes.
            batch_size: Examples per estimate.
        """
        return sum(
            weight * term.floor(latent_dim=latent_dim, batch_size=batch_size) for term, weight in self.quantity.items
        )

    def is_below_floor(self, *, latent_dim: int, batch_size: int) -> bool:
        """Whether a perfect model would miss the bound, because of its estimators' bias alone."""
        floor = self.floor(latent_dim=latent_dim, batch_size=batch_size)
        return self.sense != ">=" and not self.is_relative and floor > 0 and self.bound <= floor

    def _number(self) -> float:
        """Returns the bound, which has to be a number."""
        if self.is_relative:
            raise ProblemError(
                expected(
                    "a number as bound", got=f"'{self}'", fix=f"Problem.resolve({{'{self.quantity}': ...}}) or fit(...)"
                )
            )
        return self.bound

    def __bool__(self) -> bool:
        raise ProblemError(
            expected(
                "each constraint on its own",
                got=f"'{self}' used as true or false",
                fix="two constraints instead of a chained comparison: [rate >= 10, rate <= 20]",
            )
        )

    def __str__(self) -> str:
        return f"{self.quantity} {self.sense} {self.bound_text}"


def finite(value: object, what: str) -> float:
    """Returns ``value`` as a float.

    Raises:
        ProblemError: It is no number, infinite or NaN.
    """
    try:
        number = float(value) if _is_number(value) else math.nan  # type: ignore[arg-type]
    except OverflowError:  # a whole number too large for a float
        number = math.inf
    if not math.isfinite(number):
        raise ProblemError(expected(f"a finite {what}", got=repr(value), fix="a number such as 86.0"))
    return number


def format_number(value: float) -> str:
    """Writes a float so that it reads back to the same float, without a trailing ``.0``."""
    text = repr(float(value))
    return text.removesuffix(".0")


def _compare(quantity: WeightedSum, sense: Sense, bound: object) -> Constraint:
    if isinstance(bound, Best):
        return Constraint(quantity, sense, bound.offset, is_relative=True)
    return Constraint(quantity, sense, finite(bound, "bound"))


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
