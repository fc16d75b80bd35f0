"""The tables that end a command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lagvae.duality.sensitivity import price_unit
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.problem.problem import Problem
from lagvae.settings import PROBE_EPOCHS, PrimalSettings, Settings
from lagvae.storage.folder import RunFolder
from lagvae.terms.algebra import Constraint
from lagvae.training.outcome.diagnosis import Diagnosis, budget
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.probe import VAE_WEIGHT, Probe
from lagvae.training.progress import format_price, format_value, format_violation, short_exponent

_COLOURS = {Status.FEASIBLE: "green", Status.INFEASIBLE: "red", Status.DIVERGED: "red", Status.STOPPED: "yellow"}


def print_solution(solution: Solution) -> None:
    """Prints how a run ended: status, estimates, multipliers, and where to look."""
    console = Console(highlight=False, emoji=False)
    colour = _COLOURS[solution.status]
    console.print(f"\n[bold]{solution.problem}[/]", soft_wrap=True)
    console.print(f"[bold {colour}]{solution.status.upper()}[/]: {escape(solution.message)}", soft_wrap=True)
    if solution.history:  # none was trained to find a member of a front
        console.print(f"{solution.step} steps in {solution.seconds:.0f} s")
    console.print()
    if solution.evaluation is not None:
        console.print(estimate_table(solution.evaluation))
        if solution.problem.subject_to:
            console.print(bound_table(solution, solution.evaluation))
            if any(_have_multipliers(solution)):
                console.print(_meaning_of_price(solution.problem))
        console.print(describe_weights(solution))
    for diagnosis in solution.diagnosis:
        console.print(explanation(solution, diagnosis))
    if commands := list(_next_commands(solution)):
        console.print("\n" + "\n".join(f"  {command}" for command in commands), markup=False, soft_wrap=True)
    if solution.folder is None:
        return
    console.print(f"\nrun      {solution.folder}", markup=False, soft_wrap=True)
    if (picture := solution.folder / "report.png").exists():
        console.print(f"picture  {picture}", markup=False, soft_wrap=True)
    quoted = shlex.quote(str(solution.folder))
    run = RunFolder(solution.folder)
    if run.tensorboard.exists():
        console.print(f"curves   tensorboard --logdir {quoted}", markup=False, soft_wrap=True)
    for tracker, tracked in run.read_tracked().items():
        console.print(f"{tracker:<8} {tracked['where']}", markup=False, soft_wrap=True)
    if solution.status is Status.STOPPED:
        own = (solution.config or {}).get("custom")
        command = f"lagvae train --resume {quoted}"
        if own:
            command = f"lv.fit(..., out='{solution.folder}', resume=True) with the same {', '.join(own)}"
        console.print(f"next     {command}", markup=False, soft_wrap=True)
    elif solution.status is not Status.DIVERGED:
        for command in ("evaluate", "encode", "sample"):
            console.print(f"next     lagvae {command} {quoted}", markup=False, soft_wrap=True)


def print_probe(probe: Probe, *, data: str) -> None:
    """Prints what a probe reached, and commands whose bounds it shows to be reachable."""
    console = Console(highlight=False, emoji=False)
    vae = probe.solutions[VAE_WEIGHT]
    epochs, flags = probe.settings.primal.epochs, " ".join(_flags(probe.settings))
    tail = f"--data {shlex.quote(data)} {flags}".rstrip()
    console.print(probe_table(probe))
    console.print(
        f"A perfect model measures mmd, biased, at {format_value(probe.floor)} (batches of {probe.measured_size},"
        f" {vae.model.latent_dim} dimensions): bounds below that are hardly kept.",
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
    """Returns quantity × (β = 0.1, the VAE, β = 10), on the data that bounds are judged on."""
    is_held_out = probe.settings.dual.held_out > 0
    caption = f"{'held-out' if is_held_out else 'training'} data; nats per example, ± one standard error"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    table.add_column("quantity")
    table.add_column("unit", style="dim")
    for beta in probe.solutions:
        table.add_column("VAE" if beta == VAE_WEIGHT else f"β = {beta:g}", justify="right")
    for name, reached in probe.ranges.items():
        cells = [format_estimate(run[name]) for run in probe.estimates.values()]
        table.add_row(format_label(name), _short_unit(reached.unit), *cells)
    return table


def estimate_table(evaluation: Evaluation) -> Table:
    """Returns quantity × part, each with its standard error."""
    caption = "nats per example, ± one standard error"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    table.add_column("quantity")
    table.add_column("unit", style="dim")
    for part in evaluation.estimates:
        table.add_column(format_label(part), justify="right")
    first = next(iter(evaluation.estimates.values()))
    reported = ("distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased")
    for name, estimate in first.items():
        if name in reported:
            cells = [format_estimate(found[name]) for found in evaluation.estimates.values()]
            table.add_row(format_label(name), _short_unit(estimate.unit), *cells)
    return table


def bound_table(solution: Solution, evaluation: Evaluation) -> Table:
    """Returns (violation on each part, multiplier, price, whether active) × constraint."""
    problem = solution.problem
    table = Table(header_style="bold")
    table.add_column("bound")
    for constraint in problem.subject_to:
        table.add_column(str(constraint), justify="right")
    for part in evaluation.estimates:
        missed = evaluation.missed(part)
        cells = [format_violation(v, is_met=name not in missed) for name, v in evaluation.violations(part).items()]
        table.add_row(f"violation, {format_label(part)}", *cells)
    known = _have_multipliers(solution)
    if any(known):
        units = [price_unit(problem, constraint) for constraint in problem.subject_to]
        rows = {
            "multiplier": [short_exponent(f"{multiplier:.4g}") for multiplier in solution.multipliers.values()],
            "price": [*map(format_price, solution.prices.values(), units)],
            "active": ["yes" if name in solution.active else "no" for name in problem.names],
        }
        for what, cells in rows.items():
            table.add_row(what, *(cell if is_known else "–" for cell, is_known in zip(cells, known, strict=True)))
    return table


def _have_multipliers(solution: Solution) -> list[bool]:
    """Returns for each bound whether its multiplier is known: of none, where no member of a front keeps them all."""
    return [not math.isnan(multiplier) for multiplier in solution.multipliers.values()]


def describe_weights(solution: Solution) -> str:
    """Returns the weights of the final Lagrangian with distortion's as 1, and the known model that they make."""
    if solution.beta is None:
        weights = ", ".join(f"{term} {weight:.3g}" for term, weight in solution.weights.items())
        return f"effective weights: {weights}. Nothing is asked of distortion: there is no β."
    # Rates and divergences have the letters that the field gives to their weights.
    symbols = {"rate": " (β)", "mmd": " (γ)"}
    scale = solution.weights["distortion"]
    weights = ", ".join(
        f"{term} {weight / scale:.3g}{symbols.get(term, '')}" for term, weight in solution.weights.items()
    )
    return short_exponent(f"effective weights: {weights}{_known_model(solution)}")


def explanation(solution: Solution, diagnosis: Diagnosis) -> Table:
    """Returns what became of a missed bound: values, the multiplier's history, the reason, and what would help."""
    constraint = solution.problem.constraints[diagnosis.name]
    best = ""
    if math.isfinite(diagnosis.best_epoch):
        best = f", best {format_value(diagnosis.best)} at epoch {diagnosis.best_epoch:.3g}, by the log"
    table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
    table.title = f"\nmissed: {constraint}"
    value = format_value(diagnosis.value)
    table.add_row(
        "value", f"{value}, the front's nearest" if diagnosis.cause == "front" else f"{value} at the end{best}"
    )
    table.add_row("multiplier", diagnosis.multiplier)
    table.add_row("because", diagnosis.why)
    table.add_row("try", ", or\n".join(_remedies(solution, constraint, diagnosis)))
    return table


def _remedies(solution: Solution, constraint: Constraint, diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.epochs is not None:
        yield budget(diagnosis.epochs, diagnosis.cause)
    if diagnosis.cause == "floor":
        yield "an unbiased estimate (estimator=unbiased) or a larger batch"
    if diagnosis.reachable is not None:
        reachable = Constraint(constraint.quantity, constraint.sense, diagnosis.reachable)
        yield f"'{reachable}', which is within reach at this budget"
    for name in diagnosis.conflicts:
        other = solution.problem.constraints[name]
        cost = format_price(solution.prices[name], price_unit(solution.problem, other))
        yield f"{'another bound than' if other.is_equality else 'a looser'} '{other}', whose price is {cost}"


def _meaning_of_price(problem: Problem) -> str:
    if not problem.objective.quantity.items:
        return "price: multiplier per unit of the bound (nothing is optimised: only their ratios matter)"
    way = "loosening (of ==, raising)" if any(c.is_equality for c in problem.subject_to) else "loosening"
    return f"price: how much better '{problem.objective}' gets by {way} a bound by one unit"


def _known_model(solution: Solution) -> str:
    """Returns which model has these weights, leaving aside what the inactive bounds weigh."""
    shaping = [solution.problem.objective.surrogate()]
    shaping += [solution.problem.constraints[name].quantity.surrogate() for name in solution.active]
    kinds = {term.name for weights in shaping for term in weights}
    bounded = {term.name for c in solution.problem.subject_to for term in c.quantity.surrogate()}
    # A member of a front may weigh what no bound of its problem asks for.
    weighed = {name.partition("(")[0] for name, weight in solution.weights.items() if weight}
    kinds |= weighed - bounded
    beta, gamma = solution.beta or 0.0, solution.gamma or 0.0
    if beta < 0:
        return ""
    if kinds <= {"distortion", "rate"}:
        return f": this solution is the β-VAE with β = {beta:.3g}" if abs(beta - 1) > 0.005 else ": the VAE"
    if kinds <= {"distortion", "rate", "mmd"}:
        return f": this solution is the InfoVAE with β = {beta:.3g} and γ = {gamma:.3g}"
    return ""


def _next_commands(solution: Solution) -> Iterator[str]:
    """Yields commands that repeat a run that missed its bounds: longer, and with bounds within reach."""
    if solution.folder is None or not solution.diagnosis:
        return
    config, longer, wider = (
        shlex.quote(f"{solution.folder}{suffix}") for suffix in ("/config.yaml", "-longer", "-wider")
    )
    epochs = [found.epochs for found in solution.diagnosis if found.epochs is not None]
    if epochs:
        yield f"lagvae train --config {config} --epochs {max(epochs)} --out {longer}"
    if solution.suggestion is not None:
        yield f'lagvae train "{solution.suggestion}" --config {config} --out {wider}'


def _flags(settings: Settings) -> Iterator[str]:
    """Yields the flags of every setting that is not a bare command's own."""
    usual = Settings(primal=PrimalSettings(epochs=PROBE_EPOCHS)).settled().flat()
    for name, value in settings.flat().items():
        flag = name.replace("_", "-")
        if value == usual[name]:
            continue
        if isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{flag}"
        else:
            yield f"--{flag} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def format_label(name: str) -> str:
    """Writes a quantity's or a part's name for people."""
    return name.replace("_b", ", b").replace("_u", ", u").replace("held_out", "held-out")


def _short_unit(unit: str) -> str:
    return unit.removesuffix(" per example")  # the caption says it


def format_estimate(estimate: Estimate) -> str:
    """Writes a value ± its standard error to one digit."""
    value, error = estimate.value, estimate.standard_error
    if estimate.unit == "dimensions":
        return f"{value:.0f} ± {error:.1g}"
    if estimate.unit == "probability":
        return f"{value:.3f} ± {error:.1g}"
    is_small = 0 < error < 1e-3 or (0 < abs(value) < 0.1 and error > 0)
    digits = "?" if math.isnan(error) else f"{error:.0e}" if is_small else f"{error:.1g}"
    return f"{format_value(value)} ± {short_exponent(digits)}"
