"""The Lagrangian of a problem, as linear algebra over what is measured.

Every objective and constraint is linear in a few measured terms (distortion, rate, mmd, ...), so
one forward pass measures them all, and multipliers only choose the weights of their sum.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import ProblemError, expected
from lagvae.model.draw import Draw
from lagvae.problem.problem import Problem
from lagvae.terms.elbo import Rate, distortion, rate
from lagvae.terms.term import Term


class Lagrangian:
    """L(θ, λ) = f(θ) + Σ_c λ_c · violation_c(θ), min over θ, max over λ.

    ``violation = value - bound`` for ``<=`` and ``==``, ``bound - value`` for ``>=``.

    Args:
        problem: What to solve.
        device: Where its matrices live.

    Attributes:
        terms: What is measured: distortion and a rate first, then whatever the problem asks for.
        names: The constraints' names, in the order of the multipliers.

    Raises:
        ProblemError: A bound is relative to ``best``: there is no violation yet.
    """

    def __init__(self, problem: Problem, device: torch.device | str = "cpu") -> None:
        if problem.is_relative:
            raise ProblemError(
                expected("numbers as bounds", got=f"'{problem}'", fix="Problem.resolve(...) with what a probe reaches")
            )
        self.problem = problem
        self.names = problem.names
        objective = problem.objective.surrogate()
        constraints = [constraint.quantity.surrogate() for constraint in problem.subject_to]
        asked = dict.fromkeys(term for weights in (objective, *constraints) for term in weights)
        rates = [term for term in asked if isinstance(term, Rate)] or [rate]
        self.terms: tuple[Term, ...] = tuple(dict.fromkeys([distortion, *rates, *asked]))

        def row(weights: dict[Term, float]) -> list[float]:
            return [weights.get(term, 0.0) for term in self.terms]

        rows = [row(weights) for weights in constraints]
        self.objective = torch.tensor(row(objective), device=device)
        self.matrix = torch.tensor(rows, device=device).reshape(len(constraints), len(self.terms))
        self.bounds = torch.tensor([c.bound for c in problem.subject_to], device=device)
        self.signs = torch.tensor([c.sign for c in problem.subject_to], device=device)

    def measure(self, draw: Draw) -> Float[Tensor, "*models terms"]:
        """Returns the value of every measured term on the draw, differentiable."""
        return torch.stack([term.measure(draw) for term in self.terms], dim=-1)

    def constraint_values(self, values: Float[Tensor, "*models terms"]) -> Float[Tensor, "*models constraints"]:
        """Returns the value of every constrained quantity."""
        return values @ self.matrix.mT

    def violations(self, values: Float[Tensor, "*models terms"]) -> Float[Tensor, "*models constraints"]:
        """Returns how far each constrained quantity lies beyond its bound (≤ 0 is feasible)."""
        return self.signs * (self.constraint_values(values) - self.bounds)

    def weights(self, multipliers: Float[Tensor, "*models constraints"]) -> Float[Tensor, "*models terms"]:
        """Returns the weight of every measured term in the Lagrangian."""
        return self.objective + (multipliers * self.signs) @ self.matrix

    def value(
        self, values: Float[Tensor, "*models terms"], multipliers: Float[Tensor, "*models constraints"]
    ) -> Float[Tensor, "*models"]:
        """Returns L = f + Σ λ · violation."""
        return values @ self.objective + (multipliers * self.violations(values)).sum(-1)
