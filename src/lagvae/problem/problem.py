"""A problem: what to optimise, and the bounds to keep."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lagvae.errors import ProblemError, ProblemWarning, expected, nearest
from lagvae.problem.consistency import check_bounds, check_constraint, check_objective
from lagvae.terms.algebra import Constraint, Quantity, WeightedSum, finite, format_number
from lagvae.terms.information import MutualInformation
from lagvae.terms.term import Term


@dataclass(frozen=True)
class Objective:
    """A sum of terms and a direction. Made by :func:`Maximize` and :func:`Minimize`."""

    direction: Literal["max", "min"]
    quantity: WeightedSum

    @property
    def sign(self) -> float:
        """+1 for a minimisation, -1 for a maximisation: sign · quantity is what is minimised."""
        return 1.0 if self.direction == "min" else -1.0

    def surrogate(self) -> dict[Term, float]:
        """Returns term → weight of what is minimised."""
        return (self.sign * self.quantity).surrogate()

    @property
    def scale(self) -> float:
        """Σ |weight| · unit of what is minimised, 1 where that is nothing: what multipliers are measured by."""
        return sum(abs(weight) * term.unit for term, weight in self.surrogate().items()) or 1.0

    def __str__(self) -> str:
        return f"{self.direction} {self.quantity}"


def Maximize(quantity: Quantity | float) -> Objective:  # noqa: N802 (CVXPY's name)
    """States that a term or a weighted sum of terms is to be made as large as possible."""
    return Objective("max", _as_sum(quantity))


def Minimize(quantity: Quantity | float) -> Objective:  # noqa: N802 (CVXPY's name)
    """States that a term or a weighted sum of terms is to be made as small as possible.

    ``Minimize(0)`` asks for nothing but the constraints.
    """
    return Objective("min", _as_sum(quantity))


@dataclass(frozen=True)
class Problem:
    """optimise objective  subject to  constraints.

    The order of the constraints is the order of the multipliers, everywhere.

    Args:
        objective: :func:`Maximize` or :func:`Minimize` of a term or a weighted sum.
        subject_to: Constraints, made by comparing a term or a sum with a number, or with ``best``.

    Raises:
        ProblemError: The problem rewards a loss or a divergence, repeats or contradicts a bound,
            or asks of a term what it cannot certify.

    Example:
        >>> problem = Problem(Maximize(mutual_information), subject_to=[neg_elbo <= 86.0, mmd <= 5e-4])
        >>> str(problem)
        'max mutual_information s.t. neg_elbo <= 86, mmd <= 0.0005'
    """

    objective: Objective
    subject_to: tuple[Constraint, ...] = ()

    def __init__(self, objective: Objective, subject_to: Sequence[Constraint] = ()) -> None:
        if not isinstance(objective, Objective):
            raise ProblemError(
                expected("Maximize(...) or Minimize(...)", got=repr(objective), fix="Maximize(mutual_information)")
            )
        if isinstance(subject_to, Constraint):
            subject_to = [subject_to]
        for constraint in subject_to:
            if not isinstance(constraint, Constraint):
                raise ProblemError(
                    expected("constraints in subject_to", got=repr(constraint), fix="a comparison: neg_elbo <= 86.0")
                )
        object.__setattr__(self, "objective", objective)
        object.__setattr__(self, "subject_to", tuple(subject_to))
        check_objective(str(objective), objective.surrogate(), self.subject_to)
        for constraint in self.subject_to:
            check_constraint(constraint)
        check_bounds(self.subject_to)

    @staticmethod
    def parse(text: str) -> Problem:
        """Reads the text form, the inverse of ``str``.

        Raises:
            ProblemError: The text is not a problem; the message says where and what was expected.
        """
        from lagvae.problem.text import parse_problem

        return parse_problem(text)

    @property
    def names(self) -> tuple[str, ...]:
        """The constraints' names, in order: the term's plain name wherever that is unambiguous."""
        plain = [_plain_name(constraint) for constraint in self.subject_to]
        return tuple(
            name if plain.count(name) == 1 else f"{constraint.quantity} {constraint.sense}"
            for name, constraint in zip(plain, self.subject_to, strict=True)
        )

    @property
    def constraints(self) -> dict[str, Constraint]:
        """The constraints by name, in order."""
        return dict(zip(self.names, self.subject_to, strict=True))

    @property
    def is_relative(self) -> bool:
        """Whether a bound is relative to what a probe reaches: ``neg_elbo <= best + 4``."""
        return any(constraint.is_relative for constraint in self.subject_to)

    def resolve(self, best: Mapping[str, float]) -> Problem:
        """Makes a number of every bound that is relative to ``best``.

        Args:
            best: Name of the constraint → the best value that a probe reached, in the unit of the quantity.

        Raises:
            ProblemError: A best value is missing or not finite, a name is none of a relative
                constraint's, or the bounds, now numbers, contradict each other.
        """
        relative = [name for name, constraint in self.constraints.items() if constraint.is_relative]
        for name in best:
            if name not in relative:
                fix = nearest(name, relative) if relative else "a problem with bounds relative to best"
                raise ProblemError(expected("the name of a constraint relative to best", got=f"'{name}'", fix=fix))
        for name in relative:
            if name not in best:
                fix = f"resolve({{'{name}': ...}}) with what Probe.best returns"
                raise ProblemError(expected(f"the best value of {name}", got="none", fix=fix))
        resolved = [c.resolve(best[name]) if c.is_relative else c for name, c in self.constraints.items()]
        return Problem(self.objective, resolved)

    def relax(self, multipliers: Mapping[str, float] | None = None, /, **named: float) -> Problem:
        """Gives every constraint a fixed multiplier: an unconstrained, weighted problem.

        min f + Σ λ (value - bound), constants dropped. VAE, β-VAE and InfoVAE are relaxations.
        The bounds are among what is dropped: they may be relative to ``best``.

        Args:
            multipliers: Name of the constraint → multiplier; for names that are no identifiers.
            **named: The same, by keyword.

        Raises:
            ProblemError: A constraint has no multiplier, a name is unknown, or the multiplier of
                an inequality is negative.
        """
        given = {**(multipliers or {}), **named}
        for name in given:
            if name not in self.names:
                fix = nearest(name, self.names) if self.names else "a problem with constraints"
                raise ProblemError(expected("a constraint's name", got=f"'{name}'", fix=fix))
        quantity = self.objective.quantity
        for name, constraint in self.constraints.items():
            if name not in given:
                raise ProblemError(expected(f"a multiplier for {name}", got="none", fix=f"relax({name}=1.0, ...)"))
            multiplier = finite(given[name], f"multiplier of {name}")
            if multiplier < 0 and not constraint.is_equality:
                raise ProblemError(
                    expected(f"a multiplier of {name} ≥ 0", got=format_number(multiplier), fix="0 to switch it off")
                )
            # A constraint on mutual_information bounds its upper bound, whatever the objective does with the term.
            bounded = constraint.quantity
            if any(isinstance(term, MutualInformation) for term, _ in bounded.items):
                bounded = WeightedSum(bounded.surrogate())
            quantity = quantity + self.objective.sign * constraint.sign * multiplier * bounded
        return Problem(Objective(self.objective.direction, quantity))

    def warn_of_floors(self, *, latent_dim: int, batch_size: int) -> None:
        """Warns of every bound that a perfect model would miss, because of its estimator's bias alone.

        A bound relative to ``best`` says nothing before it is resolved.

        Args:
            latent_dim: Dimensions of the codes.
            batch_size: Examples per estimate.
        """
        for constraint in self.subject_to:
            if constraint.is_below_floor(latent_dim=latent_dim, batch_size=batch_size):
                floor = constraint.floor(latent_dim=latent_dim, batch_size=batch_size)
                warnings.warn(
                    expected(
                        f"a bound above the floor {floor:.2g} that a perfect q(z) measures"
                        f" (biased estimate, {batch_size} examples, {latent_dim} dimensions)",
                        got=f"'{constraint}'",
                        fix="mmd(estimator=unbiased), a larger batch, or a larger bound",
                    ),
                    ProblemWarning,
                    stacklevel=3,
                )

    def __str__(self) -> str:
        constraints = ", ".join(map(str, self.subject_to))
        return f"{self.objective} s.t. {constraints}" if constraints else str(self.objective)


def _plain_name(constraint: Constraint) -> str:
    items = constraint.quantity.items
    return items[0][0].name if len(items) == 1 and items[0][1] == 1.0 else str(constraint.quantity)


def _as_sum(quantity: Quantity | float) -> WeightedSum:
    if isinstance(quantity, Quantity):
        return quantity.as_sum()
    if isinstance(quantity, int | float) and quantity == 0:
        return WeightedSum({})
    raise ProblemError(expected("a term or a weighted sum of terms", got=repr(quantity), fix="mutual_information"))
