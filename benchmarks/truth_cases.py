"""What the two halves of the truth table share: rows that are measured together, and what a row says."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lagvae.evaluation.estimate import Estimate

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Rows that one measurement gives.

    Attributes:
        name: What was measured on.
        estimators: Of the rows, in their order.
        measure: Returns the rows.
    """

    name: str
    estimators: tuple[str, ...]
    measure: Callable[[], list[Row]]


def summarise(estimator: str, case: str, truth: float, found: Sequence[Estimate], excesses: Sequence[float]) -> Row:
    """Returns a row: bias (the mean excess), its error, coverage of the 95 % interval, share of flagged estimates."""
    return {
        "estimator": estimator,
        "case": case,
        "truth": truth,
        "mean": statistics.mean(e.value for e in found),
        "bias": statistics.mean(excesses),
        "standard_error_of_bias": statistics.stdev(excesses) / len(excesses) ** 0.5,
        "coverage": statistics.mean(abs(e.value - truth) < 1.96 * e.standard_error for e in found),
        "repeats": len(found),
        "flag": statistics.mean(e.is_saturated for e in found),
    }
