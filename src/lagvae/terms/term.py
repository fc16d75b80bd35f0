"""What a term is, and how a user adds one."""

from __future__ import annotations

import dataclasses
import importlib
import math
import operator
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from jaxtyping import Float
from torch import Tensor

from lagvae.errors import ProblemError, ShapeError, expected, nearest
from lagvae.model.draw import Draw
from lagvae.terms.algebra import Quantity, WeightedSum, format_number

TermT = TypeVar("TermT", bound="Term")
"""A term's own class; not typing.Self, which beartype cannot check method by method."""


@dataclass(frozen=True, eq=False, repr=False)
class Term(Quantity):
    """A number measured on a draw, differentiable in the model's weights.

    A term is its name and its options; the options are dataclass fields with defaults. Calling a
    term returns the same term with other options: ``mmd(kernel="imq")``.
    """

    name: ClassVar[str]
    unit: ClassVar[float] = 1.0
    """One natural unit (1 nat; 1e-4 for MMD²): what the original's dual rule counts in."""
    in_nats: ClassVar[bool] = True
    may_be_rewarded: ClassVar[bool] = True
    """Whether pushing the term *up* can make sense. A divergence, or a loss, may not be rewarded."""
    at_least_zero: ClassVar[bool] = False
    """Whether the exact quantity is never negative."""

    @abstractmethod
    def measure(self, draw: Draw) -> Float[Tensor, "*stack"]:
        """Returns the term's value on the draw."""

    def surrogate(self, weight: float) -> dict[Term, float]:
        """Returns the measured terms that stand for ``weight`` · this term in a sum that is minimised."""
        return {self: weight}

    def floor(self, *, latent_dim: int, batch_size: int) -> float:
        """Returns the value a perfect model measures, because of the estimator's bias alone."""
        return 0.0

    def __call__(self: TermT, **options: Any) -> TermT:
        """Returns this term with other options.

        Raises:
            ProblemError: An option is unknown, or its value is not one that is allowed.
        """
        kinds = get_type_hints(type(self))
        known = [field.name for field in dataclasses.fields(self)]
        for option, value in options.items():
            if option not in known:
                raise ProblemError(
                    expected(f"an option of {self.name}", got=f"'{option}'", fix=nearest(option, known or ["none"]))
                )
            options[option] = _read_option(f"{self.name}'s {option}", value, kinds[option])
        return dataclasses.replace(self, **options) if options else self

    def as_sum(self) -> WeightedSum:
        """Returns 1 · this term."""
        return WeightedSum({self: 1.0})

    def _key(self) -> tuple[object, ...]:
        return (self.name, *dataclasses.astuple(self))

    def _same_as(self, other: object) -> bool:
        if isinstance(other, Term):
            return self._key() == other._key()
        return isinstance(other, WeightedSum) and self.as_sum()._same_as(other)

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        changed = [
            f"{field.name}={value if isinstance(value, str) else format_number(float(value))}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    __repr__ = __str__


@dataclass(frozen=True, eq=False, repr=False)
class PerExampleTerm(Term):
    """A term that is a mean over examples, and keeps its per-example values to the last moment."""

    @abstractmethod
    def per_example(self, draw: Draw) -> Float[Tensor, "*stack batch"]:
        """Returns one value per example."""

    def measure(self, draw: Draw) -> Float[Tensor, "*stack"]:
        """Returns the mean over the batch."""
        return self.per_example(draw).mean(-1)


class FunctionTerm(Term):
    """A user's term: a function of the draw under a name. Made by :func:`term`."""

    function: Callable[[Draw], Tensor]

    def __init__(self, name: str, function: Callable[[Draw], Tensor], *, in_nats: bool, may_be_rewarded: bool) -> None:
        for attribute, value in {"name": name, "in_nats": in_nats, "may_be_rewarded": may_be_rewarded}.items():
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "function", function)

    def measure(self, draw: Draw) -> Float[Tensor, "*stack"]:
        """Returns the function's value; per-example values are averaged.

        Raises:
            ShapeError: It is neither one number nor one for each example.
        """
        value = self.function(draw)
        stack, batch = draw.x.shape[:-2], draw.x.shape[:-1]
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape not in (stack, batch):
            wanted = f"one number, or one for each of {batch[-1]} examples, from the term {self.name}"
            raise ShapeError(expected(wanted, got=shape, fix="value.sum(-1)"))
        return value.mean(-1) if shape == batch else value

    def __deepcopy__(self, memo: object) -> FunctionTerm:
        """Returns the term itself: nothing of it changes."""
        return self

    def __reduce__(self) -> Any:
        """Sends the term as its name and where its function stands: a decorated function stands under it no more."""
        module, path = self.function.__module__, self.function.__qualname__
        if "<" in path:  # of a lambda, or of a function within a function
            raise TypeError(f"the term {self.name} is of a function that stands in no module: {path}")
        return _find_term, (module, path, self.name, self.in_nats, self.may_be_rewarded)


RESERVED = ("mi", "st", "best")
"""Words that mean something else in the text form: mutual_information, subject to, what a probe reaches."""

_REGISTRY: dict[str, Term] = {}


def register(term: Term) -> Term:
    """Makes a term known to the text form under its name, and returns it.

    A function that is defined again, as in a notebook's cell, takes the place of the earlier one.

    Raises:
        ProblemError: Another term has that name, or it is not an identifier.
    """
    if not term.name.isidentifier():
        raise ProblemError(expected("an identifier as a term's name", got=repr(term.name), fix="letters and _"))
    if (term.name in _REGISTRY and not _is_again(term, _REGISTRY[term.name])) or term.name in RESERVED:
        raise ProblemError(expected("a new name for a term", got=f"'{term.name}' again", fix="another name"))
    _REGISTRY[term.name] = term
    return term


def _is_again(term: Term, earlier: Term) -> bool:
    """Whether a term is a function that was defined once more, as a notebook's cell does that is run again."""
    if not (isinstance(term, FunctionTerm) and isinstance(earlier, FunctionTerm)):
        return False
    places = [(one.function.__module__, one.function.__qualname__) for one in (term, earlier)]
    return places[0] == places[1] and "<lambda>" not in places[0][1]


def registered_terms() -> dict[str, Term]:
    """Returns name → term for every registered term."""
    return dict(_REGISTRY)


def term(
    function: Callable[[Draw], Tensor] | None = None,
    *,
    name: str | None = None,
    in_nats: bool = True,
    may_be_rewarded: bool = True,
) -> Any:
    """Makes a term of a function of the draw and registers it: a decorator.

    Args:
        function: Maps a :class:`~lagvae.model.draw.Draw` to one value per example, or to one number.
        name: The name in problems; the function's own if none is given.
        in_nats: Whether the value is in nats per example.
        may_be_rewarded: Whether a problem may push it up.

    Example:
        >>> @lv.term
        ... def code_energy(draw):
        ...     return draw.z.square().sum(-1)
        >>> problem = lv.Problem.parse("max mi s.t. code_energy <= 70")
    """
    if function is None:
        return lambda f: term(f, name=name, in_nats=in_nats, may_be_rewarded=may_be_rewarded)
    made = FunctionTerm(name or function.__name__, function, in_nats=in_nats, may_be_rewarded=may_be_rewarded)
    return register(made)


def _find_term(module: str, path: str, name: str, in_nats: bool, may_be_rewarded: bool) -> Term:
    """Returns a user's term again: the one that its module registers, or one of the function there."""
    found = operator.attrgetter(path)(importlib.import_module(module))
    if name in _REGISTRY:
        return _REGISTRY[name]
    return FunctionTerm(name, found, in_nats=in_nats, may_be_rewarded=may_be_rewarded)


def _read_option(what: str, value: Any, kind: Any) -> Any:
    """Returns the value as its option holds it: one of a few words, a whole number or a number, both positive."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ProblemError(
                expected(f"a known value of {what}", got=repr(value), fix=nearest(str(value), get_args(kind)))
            )
        return value
    if value in (None, "none") and type(None) in get_args(kind):
        return None
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise ProblemError(expected(f"a positive number as {what}", got=repr(value), fix="a number such as 1.0"))
    if kind in (int, int | None):  # the text form reads every number as a float
        if number != int(number):
            raise ProblemError(expected(f"a whole number as {what}", got=repr(value), fix="a number such as 5"))
        return int(number)
    return number
