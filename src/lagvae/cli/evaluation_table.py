"""What an evaluation says, question by question."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
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
UNITS = {"nats per example": "nats", "dimensions": "dims", "probability": "prob", "accuracy": "acc", "as stated": ""}
LABEL, UNIT, CELL = 21, 4, 17
"""Widths of the columns: with three parts they fill 80."""
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
            labels = _labels(evaluation, questions[question], _label_room(evaluation, console.width))
            console.print(question_table(evaluation, heading, labels))
            for line in _notes(evaluation, question, labels):
                console.print(line, soft_wrap=True)
    if evaluation.problem.subject_to:
        console.print()
    for part in evaluation.estimates:
        if evaluation.problem.subject_to:
            missed = ", ".join(f"'{evaluation.problem.constraints[name]}'" for name in evaluation.missed(part))
            verdict = f"[red]missed {missed}" if missed else "[green]every bound holds"
            console.print(f"{format_label(part)}: {verdict}[/]")
    console.print("\n[dim]± one standard error; ≥ the estimate reads low, ≤ it reads high; * saturated[/]")


def question_table(evaluation: Evaluation, heading: str, labels: dict[str, str]) -> Table:
    """Returns quantity × part of one question's estimates; a constraint has a second row for its violation.

    Args:
        evaluation: What was measured.
        heading: The question.
        labels: Name → how its row begins, in their order.
    """
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, _gap(evaluation) - 1, 0, 1),
        header_style="bold",
        title=heading,
        title_justify="left",
        title_style="bold",
    )
    table.add_column("", min_width=LABEL, no_wrap=True)
    table.add_column("", style="dim", min_width=UNIT)
    for part in evaluation.estimates:
        table.add_column(format_label(part), justify="right", min_width=CELL, no_wrap=True)
    for name, label in ((name, label) for name, label in labels.items() if not name.startswith(DIMENSION)):
        found = [part.get(name) for part in evaluation.estimates.values()]
        unit = next(estimate.unit for estimate in found if estimate is not None)
        table.add_row(label, UNITS.get(unit, unit), *map(_cell, found))
        if name.startswith(CONSTRAINT):
            table.add_row("  violation", UNITS.get(unit, unit), *_violations(evaluation, name.removeprefix(CONSTRAINT)))
    if any(name.startswith(DIMENSION) for name in labels):
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


def _notes(evaluation: Evaluation, question: str, labels: dict[str, str]) -> Iterator[str]:
    """Yields what a table leaves out: constraints in full, how many draws and examples, and what saturation means."""
    parts = evaluation.estimates
    for name, label in labels.items():
        if name.startswith(CONSTRAINT) and label != (text := _label(evaluation, name)):
            yield f"[dim]{label}: {escape(text)}[/]"
    if question == "model" and "log_likelihood" in labels:
        found = {part: estimates["log_likelihood"] for part, estimates in parts.items()}
        counts = ", ".join(f"{e.examples:,} {format_label(part)}" for part, e in found.items())
        yield f"[dim]log-likelihood: K = {next(iter(found.values())).samples} draws, on {counts}[/]"
    for name, label in labels.items():
        saturated = [part for part in parts if name in parts[part] and parts[part][name].is_saturated]
        if saturated:
            where = ", ".join(map(format_label, saturated))
            yield f"[yellow]* {label} ({where}): {_SATURATED.get(name, 'near its cap')}[/]"
    if any(name.startswith(DIMENSION) for name in labels):
        dimensions = sum(name.startswith(DIMENSION) for name in labels)
        yield f"[dim]{dimensions} dimensions; one is active where the posterior mean's variance is over 0.01[/]"


_SATURATED = {
    "log_likelihood": "K may not suffice:\n  the truth may be much higher; try more --samples",
    "mutual_information_lower": "near its cap, log N:\n  the truth may lie anywhere up to the rate",
    "kl_to_prior_upper": "from a mixture near its cap:\n  the truth may be much lower",
}
"""What a reader should know of an estimate whose cap is near."""


def _gap(evaluation: Evaluation) -> int:
    """Returns how many blanks stand between two columns."""
    return 2 if len(evaluation.estimates) < 3 else 1


def _label_room(evaluation: Evaluation, width: int) -> int:
    """Returns how wide the first column may be."""
    parts, gap = len(evaluation.estimates), _gap(evaluation)
    return max(LABEL, width - (UNIT + gap) - parts * (CELL + gap))


def _labels(evaluation: Evaluation, names: list[str], room: int) -> dict[str, str]:
    """Returns name → label; a constraint whose text is wider than the room goes by its number."""
    labels = {}
    for name in names:
        label = _label(evaluation, name)
        if len(label) > room and name.startswith(CONSTRAINT):
            position = list(evaluation.problem.constraints).index(name.removeprefix(CONSTRAINT)) + 1
            label = f"constraint {position}"
        labels[name] = label
    return labels


def _label(evaluation: Evaluation, name: str) -> str:
    if name.startswith(CONSTRAINT):
        return str(evaluation.problem.constraints[name.removeprefix(CONSTRAINT)])
    return LABELS.get(name) or format_label(name)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{SIGNS[estimate.bias]}{format_estimate(estimate)}{'*' if estimate.is_saturated else ''}"
