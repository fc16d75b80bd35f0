"""Progress for all points of a front at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lagvae.front.dedicated.plan import Plan
from lagvae.front.point import FrontPoint
from lagvae.training.progress import format_duration, format_value

if TYPE_CHECKING:
    from lagvae.front.dedicated.front import DedicatedFront

MOST_ROWS = 30
"""Points that a live table shows: those around the first that is being trained."""


class Monitor:
    """A live table with a row for each point on a terminal; elsewhere a line for each point that ends.

    Args:
        front: Whose points to show.
        show: Whether to show anything.
    """

    def __init__(self, front: DedicatedFront, *, show: bool) -> None:
        self.front, self.show = front, show
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self.running: dict[int, tuple[float, float]] = {}
        self.done, self.left = 0, 0
        self.began = time.monotonic()
        self.expected = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.show and self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=2, get_renderable=self._table)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)  # type: ignore[arg-type]

    def announce(self, plan: Plan) -> None:
        """Prints what is about to be trained, and what it will cost."""
        self.expected = plan.seconds / max(1, plan.points)
        self.left = plan.points
        if self.show:
            self.console.print(f"plan: {plan}", markup=False, soft_wrap=True)

    def observe(self, index: int, share: float) -> None:
        """Marks a point as being trained, with the share of its steps that are taken; 0 where only the clock tells."""
        began, _ = self.running.get(index, (time.monotonic(), 0.0))
        self.running[index] = (began, share)

    def end(self, index: int) -> None:
        """Marks it as done, and prints its line where there is no terminal."""
        self.running.pop(index, None)
        self.done += 1
        if not self.show or self._live is not None:
            return
        point = self.front.points[index]
        left = (time.monotonic() - self.began) / self.done * (self.left - self.done)
        where = f"point {index + 1}/{len(self.front.points)}"
        values = "" if not point.estimates else f" {', '.join(_values(point))}"
        self.console.print(
            f"{where} {point.status}: {point.problem}{values} ({point.seconds:.0f} s; left {format_duration(left)})",
            markup=False,
            soft_wrap=True,
        )

    def _table(self) -> Table:
        points = self.front.points
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("", "problem", "state"):
            table.add_column(column)
        for column in ("neg_elbo", "rate", "worst violation"):
            table.add_column(column, justify="right")
        first = max(0, min(min(self.running, default=0) - MOST_ROWS // 2, len(points) - MOST_ROWS))
        for index in range(first, min(len(points), first + MOST_ROWS)):
            point = points[index]
            state = self._running(index) if index in self.running else point.status
            table.add_row(str(index + 1), escape(point.problem), state, *_cells(point))
        return table

    def _running(self, index: int) -> str:
        began, share = self.running[index]
        if share:
            return f"training, {share:.0%}"
        share = min(0.99, (time.monotonic() - began) / self.expected) if self.expected else 0.0
        return f"training, about {share:.0%}"


def _values(point: FrontPoint) -> list[str]:
    part = next(iter(point.estimates))
    return [f"{name} {format_value(point.value(name, part))}" for name in ("neg_elbo", "rate")]


def _cells(point: FrontPoint) -> list[str]:
    if not point.estimates:
        return ["", "", ""]
    part = next(iter(point.estimates))
    worst = max(point.violations.values(), default=None)
    cells = [format_value(point.value(name, part)) for name in ("neg_elbo", "rate")]
    return [*cells, "" if worst is None else format_value(worst)]
