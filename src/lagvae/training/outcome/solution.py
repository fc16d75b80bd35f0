"""How an optimisation ended: a value, not an exception."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lagvae.data.dataset import Data
from lagvae.duality.residuals import Residuals
from lagvae.duality.sensitivity import active_constraints, price, relative_weight
from lagvae.errors import SolveError
from lagvae.evaluation.evaluate import Evaluation
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.training.outcome.diagnosis import Diagnosis, within_reach


class Status(enum.StrEnum):
    """How a run ended."""

    FEASIBLE = "feasible"
    """Every bound holds on the judged data, within 0.15 nat (2 % for bounds not in nats).

    Judged are the held-out data where there are any, else the training data.
    """
    INFEASIBLE = "infeasible"
    """The budget is spent and a bound does not hold; ``Solution.diagnosis`` says why."""
    DIVERGED = "diverged"
    """The loss became non-finite, or the objective ran away; a folder keeps the last good checkpoint."""
    STOPPED = "stopped"
    """Interrupted; the run can be resumed."""


@dataclass(repr=False)
class Solution:
    """A trained model with the multipliers that go with it.

    Attributes:
        status: How the run ended.
        message: The same in a sentence.
        problem: What was solved.
        model: The trained model.
        multipliers: Constraint's name → λ, in nats of objective per unit of the bound.
        violations: Constraint's name → violation on the judged data (≤ 0 is feasible).
        diagnosis: Why each missed bound was out of reach; empty unless the status is INFEASIBLE.
        weights: Term → its effective weight in the final Lagrangian.
        evaluation: Estimates with standard errors; None unless the run reached its end.
        residuals: Distances from the KKT conditions; None likewise.
        step: Steps taken.
        seconds: Time spent training, over all sessions.
        history: The run's log, a record per line.
        folder: Where the run was written, if it was.
        data: What it was trained on, where it is at hand.
        batch_size: Examples per step.
        config: What was asked for, as ``config.yaml`` holds it.
    """

    status: Status
    message: str
    problem: Problem
    model: VAE
    multipliers: dict[str, float]
    violations: dict[str, float]
    weights: dict[str, float]
    evaluation: Evaluation | None
    residuals: Residuals | None
    step: int
    seconds: float
    history: list[dict[str, Any]] = field(repr=False)
    folder: Path | None
    data: Data | None = field(repr=False)
    batch_size: int = 250
    diagnosis: tuple[Diagnosis, ...] = ()
    config: dict[str, Any] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """In a line: status, problem, multipliers and violations, and the folder if there is one."""
        multipliers = {name: float(f"{value:.4g}") for name, value in self.multipliers.items()}
        violations = {name: float(f"{value:.4g}") for name, value in self.violations.items()}
        where = f", folder={str(self.folder)!r}" if self.folder else ""
        return f"Solution({self.status}, {str(self.problem)!r}, {multipliers=}, {violations=}{where})"

    @property
    def prices(self) -> dict[str, float]:
        """Constraint's name → what loosening its bound by one natural unit (1 nat, 1e-4 of MMD²) would gain."""
        return {name: price(c, self.multipliers[name]) for name, c in self.problem.constraints.items()}

    @property
    def active(self) -> tuple[str, ...]:
        """The names of the constraints that shape the solution, in order; see ``duality.sensitivity.is_active``."""
        return active_constraints(self.problem, self.multipliers, self.violations)

    @property
    def beta(self) -> float | None:
        """The effective weight of rate with distortion's as 1: β of the β-VAE. None where distortion has none."""
        return relative_weight(self.weights, "rate")

    @property
    def gamma(self) -> float | None:
        """The same of mmd."""
        return relative_weight(self.weights, "mmd")

    @property
    def suggestion(self) -> str | None:
        """The problem, as text, with the missed bounds moved to what this model reached, so that it solves it."""
        found = within_reach(self.problem, self.diagnosis) if self.diagnosis else None
        return str(found) if found else None

    def as_dict(self) -> dict[str, Any]:
        """Returns how it ended in plain types: the content of ``evaluation.json``."""
        return {
            "status": str(self.status),
            "message": self.message,
            "multipliers": self.multipliers,
            "prices": self.prices,
            "active": list(self.active),
            "weights": self.weights,
            "beta": self.beta,
            "gamma": self.gamma,
            "diagnosis": [found.as_dict() for found in self.diagnosis],
            "suggestion": self.suggestion,
            "residuals": self.residuals.as_dict() if self.residuals else None,
            "step": self.step,
            "seconds": self.seconds,
            "batch_size": self.batch_size,
            **(self.evaluation.as_dict() if self.evaluation else {"problem": str(self.problem)}),
        }

    def require_feasible(self) -> Solution:
        """Returns itself.

        Raises:
            SolveError: The status is another than FEASIBLE.
        """
        if self.status is not Status.FEASIBLE:
            raise SolveError(self.message)
        return self
