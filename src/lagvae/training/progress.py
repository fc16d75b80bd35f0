"""What the person at the keyboard sees while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lagvae.data.dataset import Data
from lagvae.evaluation.assess import Stage
from lagvae.evaluation.codes import Advance
from lagvae.model.likelihoods.names import Choice
from lagvae.training.record import Record
from lagvae.training.steps.hardware import describe


class Display(Protocol):
    """Shows records as they come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, record: Record) -> None:
        """Shows the newest record."""


def make_display(
    total_steps: int, first_step: int, epochs: int, *, show: bool, console: Console | None = None
) -> Display:
    """Returns a live table on a terminal, a line now and then elsewhere, or nothing."""
    console = console or Console(stderr=True)
    if not show:
        return Silent()
    if console.is_terminal:
        return LiveTable(console, total_steps, first_step, epochs)
    return PlainLines(console, total_steps, first_step, epochs)


MEANS = "mean over all weights"
"""What a front measures while it trains."""
MINUTE = 60.0
FEW_STEPS = 200
"""Below so many steps most networks have hardly left their start: small data sets want more epochs than large ones."""


def announce(
    data: Data,
    device: torch.device,
    dtype: torch.dtype,
    *,
    choice: Choice | None = None,
    steps: int | None = None,
    show: bool,
) -> None:
    """Says what is trained on and where, which likelihood was picked for it, and whether the run is very short."""
    if not show:
        return
    shape = "×".join(map(str, data.train.event_shape))
    held_out = "" if data.held_out is None else f", {len(data.held_out)} held-out"
    counts = f"{len(data.train)} training{held_out} and {len(data.test)} test examples"
    what = f"{data.name or 'data'}: {counts} of {shape}"
    where = f"{describe(device)}, {str(dtype).removeprefix('torch.')} networks"
    console = Console(stderr=True, highlight=False, emoji=False)
    console.print(f"{what}; {where}", markup=False, soft_wrap=True)
    short = ""
    if steps is not None and steps < FEW_STEPS:
        short = f"{steps} steps in all, which is few: more --epochs, or a smaller --batch-size"
    for note in filter(None, (data.note, str(choice or ""), short)):
        console.print(note, markup=False, soft_wrap=True)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, record: Record) -> None:
        """Does nothing."""


class LiveTable:
    """A bar with the time left, above a table of every term: value, bound, violation, price, weight."""

    def __init__(self, console: Console, total_steps: int, first_step: int, epochs: int) -> None:
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[speed]}"),
            console=console,
        )
        self.task = self.bar.add_task("", total=total_steps, completed=first_step, epoch=f"0/{epochs}", speed="")
        self.live = Live(self.bar, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.__exit__(*error)  # type: ignore[arg-type]

    def show(self, record: Record) -> None:
        """Redraws bar and table."""
        speed = f"{record['steps_per_second']:.0f} steps/s"
        epoch = f"{record['epoch']:.1f}/{self.epochs}"
        self.bar.update(self.task, completed=record["step"], epoch=epoch, speed=speed)
        self.live.update(Group(self.bar, constraint_table(record)))


class PlainLines:
    """One line of text about every twentieth of the run, at least one a minute, at most one a second: for logs."""

    def __init__(self, console: Console, total_steps: int, first_step: int, epochs: int) -> None:
        self.console, self.total, self.epochs = console, total_steps, epochs
        self.first = first_step
        self.shown = first_step
        self.began = self.last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, record: Record) -> None:
        """Prints the record if its turn has come."""
        step, now = record["step"], time.monotonic()
        is_last = step >= self.total
        quiet = now - self.last
        if not is_last and quiet < MINUTE and (step - self.shown < self.total / 20 or quiet < 1):
            return
        self.shown, self.last = step, now
        left = (now - self.began) / max(1, step - self.first) * (self.total - step)
        parts = [f"step {step}/{self.total}", f"epoch {record['epoch']:.1f}/{self.epochs}"]
        parts += [] if record["weights"] else [f"{MEANS}:"]
        parts += [f"{name} {format_value(value)}" for name, value in record["terms"].items()]
        parts += [
            f"[{name}: violation {c['violation']:+.2g}, multiplier {c['multiplier']:.3g},"
            f" price {format_price(c['price'], c['price_unit'])}, {'active' if c['active'] else 'inactive'}]"
            for name, c in record["constraints"].items()
        ]
        parts += [f"{name} {record[name]:.3g}" for name in ("beta", "gamma") if record[name]]
        self.console.print(
            " ".join([*parts, f"left {format_duration(left)}"]), markup=False, highlight=False, soft_wrap=True
        )


def constraint_table(record: Record) -> Table:
    """Returns the table of a record: every term with its weight, and bound, violation and price where constrained.

    Weights are relative to distortion's, so that the rate's is β, wherever distortion has one. A run that
    holds data out has a column for what is measured there: those values are the judged ones. A front, which has no
    weights of its own and no bounds, has its means over all weights.
    """
    if not record["weights"]:
        return _means_table(record)
    held_out = record.get("held_out")
    has_ratios = record["beta"] is not None
    scale = record["weights"]["distortion"] if has_ratios else 1.0
    caption = "price: gain per unit of bound loosened" + ("; weight of distortion = 1" * has_ratios)
    columns = ("value", *(() if held_out is None else ("held-out",)), "bound", "violation", "price", "active", "weight")
    table = Table(box=None, pad_edge=False, header_style="dim", caption=caption, caption_justify="left")
    table.add_column("term")
    for column in columns:
        table.add_column(column, justify="right")
    constraints = dict(record["constraints"])
    for name, value in record["terms"].items():
        weight = record["weights"].get(name)
        c = constraints.pop(name, None)
        values = [value] if held_out is None else [value, held_out[name]]
        cells = (*map(format_value, values), *_bound_cells(c), "" if weight is None else f"{weight / scale:.3g}")
        table.add_row(name, *cells)
    for name, c in constraints.items():
        values = ["", format_value(c["value"])][held_out is None :]
        table.add_row(name, *values, *_bound_cells(c), "")
    return table


def _means_table(record: Record) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("term")
    table.add_column(MEANS, justify="right")
    for name, value in record["terms"].items():
        table.add_row(name, format_value(value))
    return table


def format_value(value: float) -> str:
    """Writes nats with two decimals and small numbers in scientific notation."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else short_exponent(f"{value:.2e}")


def format_price(price: float, unit: str) -> str:
    """Writes a price with its unit: ``0.385 nats per nat``."""
    return f"{short_exponent(f'{price:.3g}')} {unit}"


def format_duration(seconds: float) -> str:
    """Writes seconds, minutes or hours, to two digits."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def short_exponent(number: str) -> str:
    """Writes ``2.5e-04`` as ``2.5e-4``, and ``1e+06`` as ``1e6``."""
    return number.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def format_violation(violation: float, *, is_met: bool) -> str:
    """Writes a violation with its sign, green where the bound is met and red elsewhere."""
    return f"[{'green' if is_met else 'red'}]{'+' if violation > 0 else ''}{format_value(violation)}[/]"


class PlainStages:
    """A line of text a minute: what is being measured, and how much of it is done."""

    def __init__(self, console: Console, before: str) -> None:
        self.console, self.before = console, before
        self.last = time.monotonic()

    def __call__(self, what: str, steps: int) -> Advance:
        """Begins a stage; returns what tells of the steps that are done."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            now = time.monotonic()
            if now - self.last >= MINUTE:
                self.last = now
                text = f"{self.before}{what} {done / max(1, steps):.0%}"
                self.console.print(text, markup=False, highlight=False, soft_wrap=True)

        return advance


@contextmanager
def staged_progress(*, show: bool, before: str = "", console: Console | None = None) -> Iterator[Stage]:
    """Shows what is measured, after words that stay: a bar on a terminal; elsewhere a line a minute, for logs."""
    console = console or Console(stderr=True)
    if not show:
        yield lambda what, steps: lambda count: None
        return
    if not console.is_terminal:
        yield PlainStages(console, before)
        return
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")

        def begin(what: str, steps: int) -> Advance:
            bar.reset(task, description=before + what, total=steps)
            return lambda count: bar.advance(task, count)

        yield begin


def _bound_cells(constraint: Record | None) -> tuple[str, str, str, str]:
    if constraint is None:
        return "", "", "", ""
    violation = constraint["violation"]
    return (
        format_value(constraint["bound"]),
        format_violation(violation, is_met=constraint["met"]),
        format_price(constraint["price"], constraint["price_unit"]),
        "yes" if constraint["active"] else "no",
    )
