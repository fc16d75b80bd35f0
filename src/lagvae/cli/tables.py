"""The tables that end a command."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.training.progress import format_value, format_violation
from lagvae.training.solution import Solution, Status

_COLOURS = {Status.FEASIBLE: "green", Status.INFEASIBLE: "red", Status.DIVERGED: "red", Status.STOPPED: "yellow"}


def print_solution(solution: Solution) -> None:
    """Prints how a run ended: status, estimates, multipliers, and where to look."""
    console = Console(highlight=False)
    colour = _COLOURS[solution.status]
    console.print(f"\n[bold]{solution.problem}[/]", soft_wrap=True)
    console.print(f"[bold {colour}]{solution.status.upper()}[/]: {solution.message}", soft_wrap=True)
    console.print(f"{solution.step} steps in {solution.seconds:.0f} s\n")
    if solution.evaluation is not None:
        console.print(estimate_table(solution.evaluation))
        if solution.problem.subject_to:
            console.print(bound_table(solution, solution.evaluation))
        weights = ", ".join(f"{term} {weight:.4g}" for term, weight in solution.weights.items())
        console.print(f"effective weights: {weights}", soft_wrap=True)
    if solution.folder is None:
        return
    console.print(f"\nrun      {solution.folder}", soft_wrap=True)
    if (picture := solution.folder / "report.png").exists():
        console.print(f"picture  {picture}", soft_wrap=True)
    console.print(f"curves   tensorboard --logdir {solution.folder}", soft_wrap=True)
    if solution.status is Status.STOPPED:
        console.print(f"next     lagvae train --resume {solution.folder}", soft_wrap=True)
    elif solution.status is not Status.DIVERGED:
        console.print(f"next     lagvae sample {solution.folder}", soft_wrap=True)


def print_evaluation(evaluation: Evaluation) -> None:
    """Prints the estimates of an evaluation, and whether its bounds hold."""
    console = Console(highlight=False)
    console.print(f"[bold]{evaluation.problem}[/]", soft_wrap=True)
    console.print(estimate_table(evaluation))
    for part in evaluation.estimates:
        if evaluation.problem.subject_to:
            holds = evaluation.is_feasible(part)
            console.print(f"{part}: {'[green]every bound holds' if holds else '[red]a bound is missed'}[/]")


def estimate_table(evaluation: Evaluation) -> Table:
    """Returns quantity × part, each with its standard error."""
    table = Table(header_style="bold", caption="± one standard error", caption_justify="left")
    table.add_column("quantity")
    table.add_column("unit", style="dim")
    for part in evaluation.estimates:
        table.add_column(part, justify="right")
    first = next(iter(evaluation.estimates.values()))
    reported = ("distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased")
    for name, estimate in first.items():
        if name in reported:
            cells = [_cell(found[name]) for found in evaluation.estimates.values()]
            table.add_row(name.replace("_b", ", b").replace("_u", ", u"), estimate.unit, *cells)
    return table


def bound_table(solution: Solution, evaluation: Evaluation) -> Table:
    """Returns constraint × (value, violation, multiplier)."""
    table = Table(header_style="bold")
    for column in ("constraint", "violation (train)", "violation (test)", "multiplier"):
        table.add_column(column, justify="left" if column == "constraint" else "right")
    for name, constraint in solution.problem.constraints.items():
        cells = []
        for part in evaluation.estimates:
            is_met = name not in evaluation.missed(part)
            cells.append(format_violation(evaluation.violations(part)[name], is_met=is_met))
        table.add_row(str(constraint), *cells, f"{solution.multipliers[name]:.4g}")
    return table


def _cell(estimate: Estimate) -> str:
    error = estimate.standard_error
    return f"{format_value(estimate.value)} ± {'?' if math.isnan(error) else f'{error:.1g}'}"
