"""The runs of the paper's figure beside one front: 26 at bounds (LagVAE), 30 of fixed weights (InfoVAE).

    python benchmarks/zhao2018/dedicated.py                    the page and the pictures of what is there
    python benchmarks/zhao2018/dedicated.py --train --jobs 2   trains what is missing; resumes
    python benchmarks/zhao2018/dedicated.py --train --device cuda --epochs 60

The original's networks on MNIST, softplus, 2e-3. InfoVAE: min D + βR + γ mmd, ten β from 0.2 to 5 with each of three
γ. LagVAE: most and least information at neg_elbo <= e and mmd <= 5e-4, by the default dual rule, for thirteen e a nat
apart; the lowest is the nat above the best that the InfoVAE runs reached, as 83 is in the paper, whose runs take 1.1
million steps each. Nine epochs, what a run has if no more are asked for, make 110,880 steps of all 56: as many as the
front on two cores has alone (``figure.py``). A run's *distance* is its neg_elbo minus the front's at the same rate,
where the front has that rate: above 0 it lies inside the front. Results: ``dedicated.md``, and ``runs.jsonl`` and
``runs.png`` in ``processor/`` and ``graphics/``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from figure import HERE, KINDS, curve_of, read

sys.path.insert(0, str(HERE.parent))
from fixed_weights import weighted_problem
from held_out import hardware
from runs import Cache, Record, Run

from front import RATE, bounded_run, settings_of, values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BETAS = tuple(float(f"{beta:.2g}") for beta in np.geomspace(0.2, 5.0, 10))
GAMMAS = (0.0, 1e3, 1e4)
BOUNDS = 13
EPOCHS = 9
PARTS = ("train", "test")


def info_vae(epochs: int) -> list[Run]:
    """Returns the runs of fixed weights."""
    problems = (weighted_problem(beta, gamma) for gamma in GAMMAS for beta in BETAS)
    return [Run(problem, "fixed", settings=settings_of(epochs, RATE)) for problem in problems]


def lag_vae(epochs: int, cache: Cache) -> list[Run]:
    """Returns the runs at bounds; none before the others are there."""
    others = info_vae(epochs)
    if any(run not in cache for run in others):
        return []
    lowest = math.ceil(min(sum(values(cache[run], "train")) for run in others))
    bounds = range(lowest, lowest + BOUNDS)
    return [bounded_run(way, bound, settings_of(epochs, RATE)) for way in ("max", "min") for bound in bounds]


def points_of(runs: Sequence[Run], cache: Cache, part: str) -> np.ndarray:
    """Returns (neg_elbo, rate) of the runs."""
    found = np.array([values(cache[run], part) for run in runs]).reshape(-1, 2)
    return np.stack([found.sum(1), found[:, 1]], axis=-1)


def distances(content: dict[str, Any], points: np.ndarray, part: str) -> np.ndarray:
    """Returns how far inside the front each (neg_elbo, rate) lies, in nats; NaN at rates that the front has not."""
    curve, (low, high) = curve_of(content, part)
    within = (points[:, 1] >= low) & (points[:, 1] <= high)
    return np.where(within, points[:, 0] - curve(points[:, 1].clip(low, high)), np.nan)


def page(epochs: dict[str, int]) -> Iterator[str]:
    """Yields the page.

    Args:
        epochs: Kind of machine → of each run, where any was trained.
    """
    yield f"# The runs of the paper's figure\n\n{__doc__.strip()}\n"
    for kind, title in KINDS.items():
        if kind not in epochs:
            yield f"## {title}\n\nNot run.\n"
            continue
        yield from section(kind, title, epochs[kind])


def section(kind: str, title: str, epochs: int) -> Iterator[str]:
    """Yields what one machine trained."""
    cache, content, about = Cache(HERE / kind / "runs.jsonl"), read(kind, "front.json"), read(kind, "runs.json")
    groups = {"InfoVAE": info_vae(epochs), "LagVAE": lag_vae(epochs, cache)}
    records: dict[str, list[Record]] = {name: [cache[run] for run in runs] for name, runs in groups.items()}
    steps = sum(one["steps"] for found in records.values() for one in found)
    yield f"## {title}\n"
    yield f"{sum(map(len, groups.values()))} runs of {epochs} epochs each, {steps:,} steps together, beside a front of"
    yield f"{content['steps']:,}; {about['hardware']}, {about['date']}.\n"
    yield f"![figure]({kind}/runs.png)\n"
    yield "| runs | of them keep their bounds | part | rates in reach | distance: least | median | most |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for name, runs in groups.items():
        kept = "–" if name == "InfoVAE" else f"{sum(r['status'] == 'feasible' for r in records[name])} of {len(runs)}"
        for part in PARTS:
            gaps = distances(content, points_of(runs, cache, part), part)
            gaps = gaps[np.isfinite(gaps)]
            ends = " | ".join(f"{value:+.1f}" for value in (gaps.min(), np.median(gaps), gaps.max()))
            yield f"| {name} | {kept} | {part} | {len(gaps)} of {len(runs)} | {ends} |"
    yield "\n| problem | status | neg_elbo, train | rate | distance | neg_elbo, test | rate | distance |"
    yield f"|{' --- |' * 2}{' ---: |' * 6}"
    for run in (run for runs in groups.values() for run in runs):
        cells = []
        for part in PARTS:
            ((x, rate),) = points = points_of([run], cache, part)
            (gap,) = distances(content, points, part)
            cells += [f"{x:.1f}", f"{rate:.1f}", "–" if math.isnan(gap) else f"{gap:+.1f}"]
        yield f"| {run.problem} | {cache[run]['status'] if run.dual != 'fixed' else '–'} | {' | '.join(cells)} |"
    yield ""


def draw(kind: str, epochs: int) -> None:
    """Draws the published points, the front, and the runs, a panel for each part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.1, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, part in zip(figure.subplots(1, len(PARTS)), PARTS, strict=True):
        draw_part(axes, kind, epochs, part)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(HERE / kind / "runs.png", dpi=200)


def draw_part(axes: Axes, kind: str, epochs: int, part: str) -> None:
    """Draws one panel."""
    from lagvae.report.published_points import published_points

    for method, marker in (("LagVAE", "D"), ("InfoVAE", "x")):
        chosen = [(p.neg_elbo, p.rate) for p in published_points("mnist") if p.part == part and p.method == method]
        style = {"facecolors": "white", "edgecolors": "#8a8f98"} if marker == "D" else {"color": "#8a8f98"}
        label = f"{method}, as published: 1.1 million steps each"
        axes.scatter(*np.array(chosen).T, s=12, marker=marker, linewidth=0.9, label=label, **style)
    content, cache = read(kind, "front.json"), Cache(HERE / kind / "runs.jsonl")
    curve, ends = curve_of(content, part)
    rates = np.linspace(*ends, 400)
    axes.plot(curve(rates), rates, color="#16324f", linewidth=1.8, label=f"one network, {content['steps']:,} steps")
    steps = cache[info_vae(epochs)[0]]["steps"]
    for name, colour, marker, runs in (
        ("LagVAE", "#d1603d", "D", lag_vae(epochs, cache)),
        ("InfoVAE", "#0f7b8a", "x", info_vae(epochs)),
    ):
        points = points_of(runs, cache, part)
        label = f"{name}, {len(runs)} runs of {steps:,} steps each"
        axes.scatter(*points.T, s=14, marker=marker, color=colour, linewidth=1.0, label=label)
    axes.set_title("Training data" if part == "train" else "Test data", fontsize=10, loc="left")
    axes.set_xlabel("−ELBO (nats per example)", fontsize=9)
    if part == "train":
        axes.set_ylabel("information, as the rate (nats)", fontsize=9)
    axes.grid(color="#e7e9ec", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    parser.add_argument("--device", default="cpu", help="cuda: as stacks on a graphics processor")
    arguments = parser.parse_args()
    if arguments.train:
        folder = HERE / ("processor" if arguments.device == "cpu" else "graphics")
        cache = Cache(folder / "runs.jsonl")
        cache.fill(info_vae(arguments.epochs), jobs=arguments.jobs, device=arguments.device)
        cache.fill(lag_vae(arguments.epochs, cache), jobs=arguments.jobs, device=arguments.device)
        about = {"epochs": arguments.epochs, "hardware": hardware(arguments.device)}
        about["date"] = datetime.date.today().isoformat()
        (folder / "runs.json").write_text(json.dumps(about) + "\n")
    epochs = {kind: read(kind, "runs.json")["epochs"] for kind in KINDS if (HERE / kind / "runs.json").exists()}
    for kind, count in epochs.items():
        draw(kind, count)
    text = "\n".join(page(epochs)) + "\n"
    (HERE / "dedicated.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
