"""How an optimisation ended: a value, not an exception."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lagvae.data.dataset import Data
from lagvae.duality.residuals import Residuals
from lagvae.errors import SolveError
from lagvae.evaluation.evaluate import Evaluation
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem


class Status(enum.StrEnum):
    """How a run ended."""

    FEASIBLE = "feasible"
    """Every bound holds on the judged data, within 0.15 nat (2 % for bounds not in nats).

    Judged are the held-out data where there are any, else the training data.
    """
    INFEASIBLE = "infeasible"
    """The budget is spent and a bound does not hold."""
    DIVERGED = "diverged"
    """The loss became non-finite; the last good checkpoint is kept."""
    STOPPED = "stopped"
    """Interrupted; the run can be resumed."""


@dataclass
class Solution:
    """A trained model with the multipliers that go with it.

    Attributes:
        status: How the run ended.
        message: The same in a sentence.
        problem: What was solved.
        model: The trained model.
        multipliers: Constraint's name → λ, in nats of objective per unit of the bound.
        violations: Constraint's name → violation on the judged data (≤ 0 is feasible).
        weights: Term → its effective weight in the final Lagrangian.
        evaluation: Estimates with standard errors; None unless the run reached its end.
        residuals: Distances from the KKT conditions; None likewise.
        step: Steps taken.
        seconds: Time spent training, over all sessions.
        history: The run's log, a record per line.
        folder: Where the run was written, if it was.
        data: What it was trained on, where it is at hand.
        batch_size: Examples per step.
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

    def as_dict(self) -> dict[str, Any]:
        """Returns how it ended in plain types: the content of ``evaluation.json``."""
        return {
            "status": str(self.status),
            "message": self.message,
            "multipliers": self.multipliers,
            "weights": self.weights,
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
