"""The tables that end a command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.settings import PROBE_EPOCHS, PrimalSettings, Settings
from lagvae.training.probe import VAE_WEIGHT, Probe
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
            console.print(f"{_label(part)}: {'[green]every bound holds' if holds else '[red]a bound is missed'}[/]")


def print_probe(probe: Probe, *, data: str) -> None:
    """Prints what a probe reached, and commands whose bounds it shows to be reachable."""
    console = Console(highlight=False)
    vae = probe.solutions[VAE_WEIGHT]
    epochs, flags = probe.settings.primal.epochs, " ".join(_flags(probe.settings))
    tail = f"--data {shlex.quote(data)} {flags}".rstrip()
    console.print(probe_table(probe))
    console.print(
        f"A perfect model measures mmd, biased, at {format_value(probe.floor)} (batches of {vae.batch_size},"
        f" {vae.model.latent_dim} dimensions): no bound below that can be kept.",
        soft_wrap=True,
    )
    if probe.ranges["neg_elbo"].lowest < probe.estimates[VAE_WEIGHT]["neg_elbo"].value:
        console.print("[yellow]The VAE has not the lowest neg_elbo yet: these runs are too short to go by.[/]")
    console.print(f"Bounds within reach after {epochs} epochs of each:\n", soft_wrap=True)
    for problem in probe.suggestions:
        console.print(f'  lagvae train "{problem}" {tail}', markup=False, soft_wrap=True)
    console.print(
        f"\nLonger runs reach a lower neg_elbo; --epochs {6 * epochs} shows which. A bound such as"
        " 'neg_elbo <= best + 4' is\nrelative to what an ordinary VAE reaches with the run's own budget.",
        soft_wrap=True,
    )


def probe_table(probe: Probe) -> Table:
    """Returns quantity × (β = 0.1, the VAE, β = 10, range), on the training data."""
    caption = "training data; nats per example, ± one standard error"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    table.add_column("quantity")
    table.add_column("unit", style="dim")
    for beta in probe.solutions:
        table.add_column("VAE" if beta == VAE_WEIGHT else f"β = {beta:g}", justify="right")
    table.add_column("range", justify="right")
    for name, reached in probe.ranges.items():
        cells = [_cell(run[name]) for run in probe.estimates.values()]
        span = f"{format_value(reached.lowest)} to {format_value(reached.highest)}"
        table.add_row(_label(name), _short_unit(reached.unit), *cells, span)
    return table


def estimate_table(evaluation: Evaluation) -> Table:
    """Returns quantity × part, each with its standard error."""
    caption = "nats per example, ± one standard error"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    table.add_column("quantity")
    table.add_column("unit", style="dim")
    for part in evaluation.estimates:
        table.add_column(_label(part), justify="right")
    first = next(iter(evaluation.estimates.values()))
    reported = ("distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased")
    for name, estimate in first.items():
        if name in reported:
            cells = [_cell(found[name]) for found in evaluation.estimates.values()]
            table.add_row(_label(name), _short_unit(estimate.unit), *cells)
    return table


def bound_table(solution: Solution, evaluation: Evaluation) -> Table:
    """Returns constraint × (its violation on each part, multiplier)."""
    table = Table(header_style="bold")
    violations = (f"violation ({_label(part)})" for part in evaluation.estimates)
    for column in ("constraint", *violations, "multiplier"):
        table.add_column(column, justify="left" if column == "constraint" else "right")
    for name, constraint in solution.problem.constraints.items():
        cells = []
        for part in evaluation.estimates:
            is_met = name not in evaluation.missed(part)
            cells.append(format_violation(evaluation.violations(part)[name], is_met=is_met))
        table.add_row(str(constraint), *cells, f"{solution.multipliers[name]:.4g}")
    return table


def _flags(settings: Settings) -> Iterator[str]:
    """Yields the flags of every setting that is not a bare command's own."""
    usual = Settings(primal=PrimalSettings(epochs=PROBE_EPOCHS)).flat()
    for name, value in settings.flat().items():
        flag = name.replace("_", "-")
        if value == usual[name]:
            continue
        if isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{flag}"
        else:
            yield f"--{flag} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _short_unit(unit: str) -> str:
    return unit.removesuffix(" per example")  # the caption says it


def _label(name: str) -> str:
    return name.replace("_b", ", b").replace("_u", ", u").replace("held_out", "held-out")


def _cell(estimate: Estimate) -> str:
    error = estimate.standard_error
    return f"{format_value(estimate.value)} ± {'?' if math.isnan(error) else f'{error:.1g}'}"
