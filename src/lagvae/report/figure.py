"""One look at a run: did it reach its bounds, what did the multipliers do, what does it draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lagvae.errors import CheckpointError, expected
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.report.latent import reconstructions
from lagvae.report.pictures import is_picture, tile
from lagvae.training.outcome.solution import Solution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#1f6f8b", "#d1495b", "#66a182", "#edae49", "#8d6a9f")


def draw_run(solution: Solution, path: Path) -> None:
    """Draws constraints against their bounds, multipliers, reconstructions and samples.

    Args:
        solution: A run with a history; reconstructions need its ``data``.
        path: Where to write (PNG, PDF or SVG by its suffix).

    Raises:
        CheckpointError: The file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise CheckpointError(expected("a .png, .pdf or .svg file", got=str(path), fix=f"{path.name}.png"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = solution.problem.names
    is_image = solution.data is not None and is_picture(solution.data.train.event_shape)
    rows = max(1, len(names)) + 1
    figure = Figure(figsize=(11 if is_image else 7, 2.4 * rows), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, 2 if is_image else 1, width_ratios=[1.5, 1] if is_image else [1])
    figure.suptitle(f"{solution.problem}\n{solution.status}: {solution.message}", fontsize=10)
    for row, (name, colour) in enumerate(zip(names, _COLOURS * len(names), strict=False)):
        _draw_constraint(figure.add_subplot(grid[row, 0]), solution, name, colour)
    if not names:
        _draw_terms(figure.add_subplot(grid[0, 0]), solution)
    _draw_multipliers(figure.add_subplot(grid[rows - 1, 0]), solution)
    if is_image:
        pictures = grid[:, 1].subgridspec(2, 1)
        _draw_reconstructions(figure.add_subplot(pictures[0]), solution)
        axes = figure.add_subplot(pictures[1])
        _show(axes, tile(solution.model.sample(64).cpu(), columns=8), "samples")
    try:
        figure.savefig(path)
    except OSError as error:
        raise CheckpointError(expected(f"to write {path}", got=str(error), fix="a folder that exists")) from error


def _draw_constraint(axes: Axes, solution: Solution, name: str, colour: str) -> None:
    steps = [record["step"] for record in solution.history]
    values = [record["constraints"][name]["value"] for record in solution.history]
    constraint = solution.problem.constraints[name]
    bound = constraint.bound
    batches = "held-out batches" if any("held_out" in record for record in solution.history) else "batches"
    axes.plot(steps, values, color=colour, linewidth=1.2, marker=_marker(steps), label=f"{name} ({batches})")
    axes.axhline(bound, color="black", linewidth=0.8, linestyle="--", label=str(constraint))
    if values:
        # The first epochs are off the scale on purpose: what matters is the approach to the bound.
        settled = sorted(values[len(values) // 5 :])
        low, high = min(settled[0], bound), max(settled[-1], bound)
        margin = 0.1 * (high - low) or 0.1 * abs(bound)
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("step")
    axes.set_ylabel(f"{name} (nats)" if constraint.unit == 1 else f"{name} (MMD²)")
    axes.legend(frameon=False, fontsize=8)


def _draw_terms(axes: Axes, solution: Solution) -> None:
    steps = [record["step"] for record in solution.history]
    for term, colour in zip(("distortion", "rate", "neg_elbo"), _COLOURS, strict=False):
        values = [record["terms"].get(term) for record in solution.history]
        axes.plot(steps, values, color=colour, marker=_marker(steps), label=term)
    drawn = [record["terms"].get(term) or 1.0 for record in solution.history for term in ("distortion", "neg_elbo")]
    axes.set_yscale("log" if min(drawn, default=1.0) > 0 else "linear")  # a density may have less than 0 nats
    axes.set_xlabel("step")
    axes.set_ylabel("nats per example")
    axes.legend(frameon=False, fontsize=8)


def _draw_multipliers(axes: Axes, solution: Solution) -> None:
    steps = [record["step"] for record in solution.history]
    names = list(solution.weights)
    for name, colour in zip(names, _COLOURS * len(names), strict=False):
        values = [record["weights"][name] for record in solution.history]
        axes.plot(steps, values, color=colour, marker=_marker(steps), label=name)
    drawn = [abs(weight) for record in solution.history for weight in record["weights"].values() if weight]
    if drawn and max(drawn) > 30 * min(drawn):
        axes.set_yscale("symlog", linthresh=0.01)
    if solution.beta is not None:
        axes.set_title(f"β = weight of rate / weight of distortion = {solution.beta:.3g} at the end", fontsize=9)
    axes.set_xlabel("step")
    axes.set_ylabel("effective weight")
    axes.legend(frameon=False, fontsize=8)


def _marker(steps: list[int]) -> str | None:
    """Returns how to mark points of which a line has too few to be one."""
    return "o" if len(steps) < 3 else None


def _draw_reconstructions(axes: Axes, solution: Solution) -> None:
    assert solution.data is not None
    grid = reconstructions(solution.model, solution.data.test, rows=4)
    picture = tile(grid.flatten(0, 1).cpu(), columns=grid.shape[1])
    how = ", binarised," if isinstance(solution.model.likelihood, Bernoulli) else ""
    _show(axes, picture, f"test examples{how} and their reconstructions")


def _show(axes: Axes, picture: object, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")  # type: ignore[arg-type]
    axes.set_title(title, fontsize=9)
    axes.axis("off")
