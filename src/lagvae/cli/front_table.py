"""The table of a front."""

from __future__ import annotations

import math
import shlex

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lagvae.cli.evaluation_table import LABELS, SIGNS
from lagvae.cli.tables import format_label
from lagvae.front.front import Front
from lagvae.front.point import FrontPoint
from lagvae.training.progress import format_duration, format_value

_COLOURS = {"feasible": "green", "infeasible": "red", "failed": "red", "diverged": "red", "stopped": "yellow"}
SHOWN = ("neg_elbo", "rate", "mmd_unbiased")
INFORMATION = ("mutual_information_lower", "mutual_information", "rate")


def print_front(front: Front) -> None:
    """Prints a front's points, and what to do next."""
    console = Console(highlight=False, emoji=False)
    console.print(
        f"\n[bold]{front.method} front[/], {len(front.points)} points: {escape(front.message)}", soft_wrap=True
    )
    console.print(f"{front.steps:,} steps in {format_duration(front.seconds)}\n")
    if front.points:
        console.print(front_table(front))
    if front.folder is None:
        return
    console.print(f"\nfront    {front.folder}", markup=False, soft_wrap=True)
    for command in _next_commands(front, shlex.quote(str(front.folder))):
        console.print(f"next     {command}", markup=False, soft_wrap=True)


def _next_commands(front: Front, folder: str) -> tuple[str, ...]:
    if front.status == "stopped":
        return (f"lagvae front --resume {folder}",)
    if not front.points or front.status == "diverged":
        return ()
    return f'lagvae solve {folder} "max mi s.t. neg_elbo <= {_bound(front)}"', f"lagvae report {folder}"


def print_information(front: Front) -> None:
    """Prints how much information the codes of a front's points carry, and what to do next."""
    console = Console(highlight=False, emoji=False)
    console.print(information_table(front))
    shown = [found for point in front.points for found in point.estimates.values()]
    if any((low := found.get(INFORMATION[0])) is not None and low.is_saturated for found in shown):
        console.print(
            "[yellow]* near its cap, log N: the truth may lie anywhere up to the upper end[/]", soft_wrap=True
        )
    if front.folder is not None:
        console.print(f"\nnext     lagvae report {shlex.quote(str(front.folder))}", markup=False, soft_wrap=True)


def information_table(front: Front) -> Table:
    """Returns a row for each point: its weight, and what its codes carry on the training data and on test."""
    parts = _parts(front)
    table = Table(
        header_style="bold", caption="nats per example; ≥ the estimate reads low, ≤ it reads high", expand=False
    )
    is_one_network = front.method == "amortised"
    table.add_column("β" if is_one_network else "problem", justify="right" if is_one_network else "left")
    for part in parts:
        for name in INFORMATION:
            table.add_column(f"{LABELS.get(name, name)},\n{format_label(part)}", justify="right")
    for point in front.points:
        if (first := _first_cell(front, point)) is not None:
            table.add_row(first, *(_bound_cell(point, name, part) for part in parts for name in INFORMATION))
    return table


def _first_cell(front: Front, point: FrontPoint) -> str | None:
    """Returns a point's weight, or its problem; None where it has no row: a rectangle of members is for front.json."""
    if front.method != "amortised":
        return escape(point.problem.replace("mutual_information", "mi"))
    return None if point.gamma else f"{point.beta:.3g}"


def _bound_cell(point: FrontPoint, name: str, part: str) -> str:
    """Returns an estimate as a bound on the information, of which the rate is an upper one."""
    found = point.estimates.get(part, {}).get(name)
    if found is None:
        return "–"
    sign = SIGNS["lower" if name == INFORMATION[0] else "upper"]
    return f"{sign}{found.value:.2f}{'*' if found.is_saturated else ''}"


def _parts(front: Front) -> tuple[str, ...]:
    """Returns the two parts of the data that there is room for."""
    return tuple(part for part in ("held_out", "train", "test") if part in front.parts)[-2:]


def front_table(front: Front) -> Table:
    """Returns a row for each point: its weights, its state, and what it measures on the training data and on test."""
    parts = _parts(front)
    table = Table(header_style="bold", caption="nats per example; mmd: MMD²; * no other point beats it", expand=False)
    is_one_network = front.method == "amortised"
    if is_one_network:
        table.add_column("β", justify="right")
    else:
        table.add_column("problem")
        table.add_column("state")
    for part in parts:
        for name in SHOWN if is_one_network else SHOWN[:2]:
            label = format_label(name).replace("mmd, unbiased", "mmd")
            table.add_column(f"{label},\n{format_label(part)}", justify="right")
    table.add_column("")
    best = front.non_dominated(parts[0]) if parts else [False] * len(front.points)
    for point, is_best in zip(front.points, best, strict=True):
        if (first := _first_cell(front, point)) is None:
            continue
        cells = [first]
        if not is_one_network:
            cells.append(f"[{_COLOURS.get(point.status, 'dim')}]{escape(point.status)}[/]")
        values = [point.value(name, part) for part in parts for name in (SHOWN if is_one_network else SHOWN[:2])]
        marked = ["" if math.isnan(value) else format_value(value) for value in values]
        table.add_row(*cells, *marked, "*" if is_best else "")
    return table


def _bound(front: Front) -> str:
    """Returns a bound on neg_elbo that some members keep and others do not: four nats above its best, or less."""
    part = front.judged()
    values = [value for point in front.points if not math.isnan(value := point.value("neg_elbo", part))]
    if not values:
        return "86"
    room = min(4.0, (max(values) - min(values)) / 2)
    return f"{math.ceil(min(values) + 4)}" if room == 4.0 else f"{min(values) + room:.3g}"
