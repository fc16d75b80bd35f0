"""What an evaluation says, question by question."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from lagvae.cli.tables import format_estimate, format_label
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.evaluation.questions import CONSTRAINT, DIMENSION
from lagvae.training.progress import format_violation

HEADINGS = {
    "feasibility": "Is it feasible?",
    "model": "How good is the model?",
    "information": "How much information does the code carry?",
    "latent_space": "Is the latent space used?",
}
LABELS = {
    "log_likelihood": "log-likelihood",
    "mutual_information_lower": "mixture of codes",
    "mutual_information": "fitted density",
    "mutual_information_upper": "rate",
    "active_units": "active units",
    "kl_to_prior": "KL(q(z)‖p(z)) from",
    "kl_to_prior_upper": "KL(q(z)‖p(z)) to",
    "total_correlation": "total correlation",
    "mmd_imq": "mmd, kernel=imq",
    "mmd_imq_p_value": "p of q(z) = p(z)",
    "linear_probe": "linear probe",
}
UNITS = {"nats per example": "nats", "dimensions": "dims", "probability": "", "accuracy": "", "as stated": ""}
SIGNS = {"lower": "≥ ", "upper": "≤ ", "none": ""}
"""What the truth is, seen from the value."""


def print_evaluation(evaluation: Evaluation) -> None:
    """Prints the estimates of an evaluation by question, and whether its bounds hold."""
    console = Console(highlight=False)
    console.print(f"[bold]{evaluation.problem}[/]", soft_wrap=True)
    questions = evaluation.as_dict()["questions"]
    for question, heading in HEADINGS.items():
        if questions[question]:
            console.print()
            console.print(question_table(evaluation, heading, questions[question]))
            for line in _notes(evaluation, question, questions[question]):
                console.print(line, soft_wrap=True)
    if evaluation.problem.subject_to:
        console.print()
    for part in evaluation.estimates:
        if evaluation.problem.subject_to:
            missed = ", ".join(f"'{evaluation.problem.constraints[name]}'" for name in evaluation.missed(part))
            verdict = f"[red]missed {missed}" if missed else "[green]every bound holds"
            console.print(f"{format_label(part)}: {verdict}[/]")
    console.print("\n[dim]± one standard error; ≥ the estimate reads low, ≤ it reads high; * saturated[/]")


def question_table(evaluation: Evaluation, heading: str, names: list[str]) -> Table:
    """Returns quantity × part of one question's estimates; a constraint has a second row for its violation."""
    table = Table(
        box=None, pad_edge=False, header_style="bold", title=heading, title_justify="left", title_style="bold"
    )
    table.add_column("", min_width=21)
    table.add_column("", style="dim", min_width=4)
    for part in evaluation.estimates:
        table.add_column(format_label(part), justify="right", min_width=17, no_wrap=True)
    for name in (name for name in names if not name.startswith(DIMENSION)):
        found = [part.get(name) for part in evaluation.estimates.values()]
        unit = next(estimate.unit for estimate in found if estimate is not None)
        table.add_row(_label(evaluation, name), UNITS.get(unit, unit), *map(_cell, found))
        if name.startswith(CONSTRAINT):
            table.add_row("  violation", UNITS.get(unit, unit), *_violations(evaluation, name.removeprefix(CONSTRAINT)))
    if any(name.startswith(DIMENSION) for name in names):
        for label, pick in (("rate, largest", max), ("rate, smallest", min)):
            cells = [
                _cell(pick(rates, key=lambda rate: rate.value)) if rates else _cell(None)
                for rates in (
                    [estimate for name, estimate in part.items() if name.startswith(DIMENSION)]
                    for part in evaluation.estimates.values()
                )
            ]
            table.add_row(label, "nats", *cells)
    return table


def _violations(evaluation: Evaluation, name: str) -> Iterator[str]:
    for part in evaluation.estimates:
        violation = evaluation.violations(part)[name]
        yield format_violation(violation, is_met=name not in evaluation.missed(part))


def _notes(evaluation: Evaluation, question: str, names: list[str]) -> Iterator[str]:
    """Yields what a table leaves out: how many draws and examples, and what saturation means."""
    parts = evaluation.estimates
    if question == "model" and "log_likelihood" in names:
        found = {part: estimates["log_likelihood"] for part, estimates in parts.items()}
        counts = ", ".join(f"{e.examples:,} {format_label(part)}" for part, e in found.items())
        yield f"[dim]log-likelihood: importance sampling, K = {next(iter(found.values())).samples}, on {counts}[/]"
    for name in names:
        saturated = [part for part in parts if name in parts[part] and parts[part][name].is_saturated]
        if saturated:
            where = " and ".join(map(format_label, saturated))
            yield f"[yellow]* {_label(evaluation, name)} ({where}): {_SATURATED.get(name, 'near its cap')}[/]"
    if any(name.startswith(DIMENSION) for name in names):
        dimensions = sum(name.startswith(DIMENSION) for name in names)
        yield f"[dim]{dimensions} dimensions; one is active where the posterior mean's variance is over 0.01[/]"


_SATURATED = {
    "log_likelihood": "the draws do not show that K suffices:\n  the truth may be much higher; try more --samples",
    "mutual_information_lower": "near its cap, log N:\n  the truth may lie anywhere up to the rate",
    "kl_to_prior_upper": "from a mixture near its cap:\n  the truth may be much lower",
}
"""What a reader should know of an estimate whose cap is near."""


def _label(evaluation: Evaluation, name: str) -> str:
    if name.startswith(CONSTRAINT):
        return str(evaluation.problem.constraints[name.removeprefix(CONSTRAINT)])
    return LABELS.get(name) or format_label(name)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{SIGNS[estimate.bias]}{format_estimate(estimate)}{'*' if estimate.is_saturated else ''}"
