"""The front as a figure for print: information against consistency, a panel for each part of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvae.errors import CheckpointError, expected
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.front import Front
from lagvae.front.point import FrontPoint
from lagvae.report.members import lines_of, series_of
from lagvae.report.published_points import published_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = ("neg_elbo", "rate")
"""As in the paper's figure: -ELBO to the right, information upwards."""
TITLES = {"train": "Training data", "held_out": "Held-out data", "test": "Test data"}
INTERVAL = "interval of the information"
WIDE = 90
"""Characters of a legend for which there is no room in a line."""

_INK, _PALE, _GREY = "#16324f", "#93a4b5", "#8a8f98"
_BRANCHES = {"max": "#0f7b8a", "min": "#d1603d"}
_BEYOND = 0.35
"""Of the published points' or the runs' span: how far an axis shows a line beyond them."""


def write_front_figure(front: Front, *paths: Path) -> None:
    """Draws the front and writes it to every path, in the format of its suffix (PDF, PNG or SVG).

    Raises:
        CheckpointError: No point is measured, or a file cannot be written.
    """
    from matplotlib import rc_context

    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "lagvae"}):  # text that stays text
        figure = draw_front(front)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # every file is the first one's layout
        for path in paths:
            try:
                figure.savefig(path, dpi=200, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
            except (OSError, ValueError) as error:
                fix = "a .png, .pdf or .svg file"
                raise CheckpointError(expected(f"to write {path}", got=str(error), fix=fix)) from error


def draw_front(front: Front) -> Figure:
    """Returns the figure: rate against neg_elbo, the members with γ = 0 as a line, dedicated runs as markers.

    Runs that miss a bound are hollow. Upright lines are the intervals that the mutual information lies in, where it was
    measured. On MNIST the points of the figure in [LagVAE] lie underneath.

    Raises:
        CheckpointError: No point is measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not front.parts:
        raise CheckpointError(expected("a front with points that were measured", got="none", fix="training it first"))
    parts = sorted(front.parts, key=list(TITLES).index)
    figure = Figure(figsize=(3.55 * len(parts), 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, len(parts), column + 1) for column in range(len(parts))]
    for column, (axes, part) in enumerate(zip(panels, parts, strict=True)):
        _draw_part(axes, front, part)
        axes.set_title(TITLES[part], fontsize=10, loc="left", color="#222222")
        axes.set_xlabel("−ELBO (nats per example)", fontsize=9)
        if column == 0:
            axes.set_ylabel("information, as the rate (nats)", fontsize=9)
    named: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    order = sorted(named, key=lambda label: ("published" in label, label.startswith((INTERVAL, "the same"))))
    figure.legend(
        [named[label] for label in order],
        order,
        loc="outside lower center",
        ncols=min(4 if sum(map(len, order)) < WIDE else 3, len(order)),
        frameon=False,
        fontsize=8,
    )
    return figure


def _draw_part(axes: Axes, front: Front, part: str) -> None:
    values = front.values(part, AXES)
    if not isinstance(front, AmortisedFront):
        values[[not point.is_solution for point in front.points]] = np.nan
    published = draw_published(axes, front.data_name, part)
    _focus(axes, values[np.isfinite(values).all(-1)], published)
    if isinstance(front, AmortisedFront):
        _draw_line(axes, front, part, values)
    else:
        _draw_runs(axes, front, part, values)
    tidy(axes)


def draw_published(axes: Axes, data_name: str, part: str) -> np.ndarray:
    """Draws the points that others have published on a part of the data, if any; returns their (neg_elbo, rate)."""
    published = [point for point in published_points(data_name) if point.part == part]
    for method, marker in (("InfoVAE", "x"), ("LagVAE", "D")):
        found = np.array([(p.neg_elbo, p.rate) for p in published if p.method == method])
        if len(found):
            style: dict[str, Any] = {"color": _GREY} if marker == "x" else {"facecolor": "white", "edgecolor": _GREY}
            label = f"{method}, as published"
            axes.scatter(found[:, 0], found[:, 1], s=14, marker=marker, linewidth=0.9, label=label, zorder=2, **style)
    return np.array([(p.neg_elbo, p.rate) for p in published])


def tidy(axes: Axes) -> None:
    """Gives a panel its grid and its two quiet spines."""
    axes.grid(color="#e7e9ec", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa0a6")
    axes.tick_params(labelsize=8, color="#9aa0a6")


def _draw_line(axes: Axes, front: AmortisedFront, part: str, values: np.ndarray) -> None:
    if front.surface is None:  # it fell apart: its members are no family
        axes.scatter(values[:, 0], values[:, 1], s=13, color=_PALE, label=str(front.status), zorder=5, gid="members")
        return
    _draw_intervals(axes, [point for point in front.points if not point.gamma], part, _INK)
    (first, line), *others = lines_of(front, part, AXES).items()
    for index, (_, other) in enumerate(others):
        label = "the same network, γ > 0" if index == 0 else None
        axes.plot(other[:, 0], other[:, 1], color=_PALE, linewidth=0.8, label=label, zorder=3, gid="line γ > 0")
    axes.plot(line[:, 0], line[:, 1], color=_INK, linewidth=1.8, label="one network, γ = 0", zorder=4, gid="line γ = 0")
    own = np.array([series_of(front, point) == first for point in front.points])
    axes.scatter(values[own, 0], values[own, 1], s=13, color=_INK, zorder=5, gid="members")


def _draw_intervals(axes: Axes, points: Sequence[FrontPoint], part: str, colour: str) -> None:
    """Draws the interval that the mutual information of each point lies in, where it was measured.

    From the mixture of posteriors to the fitted density, or the rate where that is less. Dotted where the mixture is
    near its cap, log N: the truth may lie anywhere up to the upper end. A point above what is shown has none.
    """
    top = math.inf if axes.get_autoscaley_on() else axes.get_ylim()[1]  # where nothing was published, all is shown
    for point in points:
        found = point.estimates.get(part, {})
        x, high = point.value("neg_elbo", part), point.value("rate", part)
        if (low := found.get("mutual_information_lower")) is None or high > top:
            continue
        high = min(high, point.value("mutual_information", part))  # the rate where nothing was fitted: NaN is not less
        style = ":" if low.is_saturated else "-"
        label = INTERVAL + (", lower end capped" if low.is_saturated else "")
        axes.plot([x, x], [low.value, high], style, color=colour, linewidth=0.9, alpha=0.6, label=label, zorder=1.5)
        axes.plot([x], [high], "_", color=colour, markersize=6, zorder=3, gid="information")


def _draw_runs(axes: Axes, front: Front, part: str, values: np.ndarray) -> None:
    series = [series_of(front, point) for point in front.points]
    for name in dict.fromkeys(series):
        colour = _BRANCHES.get(name.split(" ")[0], _INK)
        for is_feasible in (True, False):
            chosen = [
                index
                for index, point in enumerate(front.points)
                if series[index] == name and (point.status == "feasible") == is_feasible
            ]
            found = values[chosen][np.isfinite(values[chosen]).all(-1)]
            if len(found):
                _draw_intervals(axes, [front.points[index] for index in chosen], part, colour)
                label = name if is_feasible else f"{name}, a bound missed"
                fill = colour if is_feasible else "none"
                axes.scatter(
                    found[:, 0],
                    found[:, 1],
                    s=24,
                    facecolor=fill,
                    edgecolor=colour,
                    linewidth=1.1,
                    label=label,
                    zorder=5,
                    gid=label,
                )


def _focus(axes: Axes, values: np.ndarray, published: np.ndarray) -> None:
    """Shows all that was published and every run, and of a line that goes on from there, as much again as a third."""
    if len(values) == 0 or len(published) == 0:
        return
    low = np.minimum(published.min(0), values.min(0))
    reach = published.max(0) - published.min(0)
    high = np.minimum(np.maximum(published.max(0), values.max(0)), published.max(0) + _BEYOND * reach)
    low = np.maximum(low, published.min(0) - _BEYOND * reach)
    margin = 0.05 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
