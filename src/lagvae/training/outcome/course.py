"""How one constraint and its multiplier went, by the log of a run."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lagvae.terms.algebra import Constraint
from lagvae.training.progress import short_exponent
from lagvae.training.record import Record

Trend = Literal["at its limit", "still growing", "came down", "settled"]

BARS = "▁▂▃▄▅▆▇█"
AT_LIMIT = 0.99
"""Share of the largest multiplier from which it counts as reached."""


@dataclass(frozen=True)
class Course:
    """What the log says of one constraint; its values are means over a line's steps, which smooths them.

    Attributes:
        constraint: Which.
        epochs: When each line was written; at least one.
        values: In the unit of the bound.
        multipliers: In units of the objective per unit of the bound.
        largest: What the rule limits |λ| to; infinite where it does not.
    """

    constraint: Constraint
    epochs: tuple[float, ...]
    values: tuple[float, ...]
    multipliers: tuple[float, ...]
    largest: float = math.inf

    @staticmethod
    def of(constraint: Constraint, name: str, history: Sequence[Record], *, largest: float = math.inf) -> Course:
        """Reads a run's log."""
        lines = [record["constraints"][name] for record in history]
        return Course(
            constraint,
            tuple(record["epoch"] for record in history),
            tuple(line["value"] for line in lines),
            tuple(line["multiplier"] for line in lines),
            largest,
        )

    @functools.cached_property
    def distances(self) -> tuple[float, ...]:
        """How far beyond the bound each value is: the violation, of an equality its size."""
        violations = map(self.constraint.violation, self.values)
        return tuple(map(self.constraint.excess, violations))

    @property
    def best(self) -> int:
        """The position of the value nearest to the bound, or deepest inside it."""
        return self.distances.index(min(self.distances))

    @property
    def met_late(self) -> int | None:
        """The position of the last value in the run's second half that met the bound; None if none did."""
        half = self.epochs[-1] / 2
        met = [i for i, distance in enumerate(self.distances) if distance <= self.constraint.tolerance]
        return met[-1] if met and self.epochs[met[-1]] > half else None

    @property
    def approach(self) -> float:
        """How fast the bound came nearer in the last fifth of the run, in its unit per epoch.

        Zero unless the slope of the least-squares line is two standard errors from it.
        """
        count = max(4, len(self.epochs) // 5)
        epochs, distances = self.epochs[-count:], self.distances[-count:]
        if len(epochs) < count:
            return 0.0
        slope, intercept = statistics.linear_regression(epochs, distances)
        residual = sum((y - slope * x - intercept) ** 2 for x, y in zip(epochs, distances, strict=True))
        error = math.sqrt(residual / (count - 2) / (statistics.variance(epochs) * (count - 1)))
        return -slope if abs(slope) > 2 * error else 0.0

    @property
    def trend(self) -> Trend:
        """How the multiplier's size ended, by the last tenth of the run and its range over all of it."""
        sizes = list(map(abs, self.multipliers))
        last, peak = sizes[-1], max(sizes)
        if last >= AT_LIMIT * self.largest:
            return "at its limit"
        spread = peak - min(sizes)
        before = sizes[-1 - min(len(sizes) - 1, max(1, len(sizes) // 10))]
        if last - before > 0.05 * spread and last >= peak - 0.01 * spread:
            return "still growing"
        return "came down" if last < 0.95 * peak else "settled"

    def describe_multiplier(self) -> str:
        """Returns its history in one line: ``▁██ 0.5 → 10, at its limit since epoch 20``."""
        sizes, ending = list(map(abs, self.multipliers)), str(self.trend)
        if self.trend == "at its limit":
            below = [i for i, size in enumerate(sizes) if size < AT_LIMIT * self.largest]
            ending += f" since epoch {self.epochs[below[-1] + 1 if below else 0]:.3g}"
        elif self.trend == "still growing":
            ending += " at the end"
        elif self.trend == "came down":
            peak = sizes.index(max(sizes))
            ending += f" from {self.multipliers[peak]:.3g} at epoch {self.epochs[peak]:.3g}"
        first, last = self.multipliers[0], self.multipliers[-1]
        return short_exponent(f"{sparkline(self.multipliers)} {first:.3g} → {last:.3g}, {ending}")


def sparkline(values: Sequence[float], *, width: int = 16) -> str:
    """Returns a bar for each value, or for each group of neighbours if there are many; the scale includes 0."""
    count = min(width, len(values))
    groups = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    means = [sum(group) / len(group) for group in groups]
    low, high = min(0.0, *means), max(0.0, *means)
    scale = (len(BARS) - 1) / ((high - low) or 1.0)
    return "".join(BARS[round((mean - low) * scale)] for mean in means)
