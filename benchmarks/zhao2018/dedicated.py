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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from figure import HERE, KINDS, curve_of, read

sys.path.insert(0, str(HERE.parent))
from fixed_weights import weighted_problem
from held_out import hardware
from runs import Cache, Record, Run

from front import RATE, bounded_run, settings_of, values

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
    """Returns the runs at bounds that those of fixed weights, which are there, show to be within reach."""
    lowest = math.ceil(min(sum(values(cache[run], "train")) for run in info_vae(epochs)))
    bounds = range(lowest, lowest + BOUNDS)
    return [bounded_run(way, bound, settings_of(epochs, RATE)) for way in ("max", "min") for bound in bounds]


def read_runs(kind: str, epochs: int) -> dict[str, dict[Run, Record]]:
    """Returns method → run → record of what one machine trained."""
    cache = Cache(HERE / kind / "runs.jsonl")
    groups = {"LagVAE": lag_vae(epochs, cache), "InfoVAE": info_vae(epochs)}
    return {method: {run: cache[run] for run in runs} for method, runs in groups.items()}


def points_of(records: Iterable[Record], part: str) -> np.ndarray:
    """Returns (neg_elbo, rate) of the runs."""
    found = np.array([values(record, part) for record in records])
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
    content, about, trained = read(kind, "front.json"), read(kind, "runs.json"), read_runs(kind, epochs)
    records = {run: record for found in trained.values() for run, record in found.items()}
    yield f"## {title}\n"
    yield f"{len(records)} runs of {epochs} epochs each, {sum(r['steps'] for r in records.values()):,} steps together,"
    yield f"beside a front of {content['steps']:,}; {about['hardware']}, {about['date']}.\n"
    yield f"![figure]({kind}/runs.png)\n"
    yield "| runs | of them keep their bounds | part | rates in reach | distance: least | median | most |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for method, found in trained.items():
        kept = sum(record["status"] == "feasible" for record in found.values())
        for part in PARTS:
            gaps = distances(content, points_of(found.values(), part), part)
            gaps = gaps[np.isfinite(gaps)]
            ends = " | ".join(f"{value:+.1f}" for value in (gaps.min(), np.median(gaps), gaps.max()))
            cells = ("–" if method == "InfoVAE" else f"{kept} of {len(found)}", part, f"{len(gaps)} of {len(found)}")
            yield f"| {method} | {' | '.join(cells)} | {ends} |"
    yield "\n| problem | status | neg_elbo, train | rate | distance | neg_elbo, test | rate | distance |"
    yield f"|{' --- |' * 2}{' ---: |' * 6}"
    for run, record in records.items():
        cells = []
        for part in PARTS:
            ((x, rate),) = point = points_of([record], part)
            (gap,) = distances(content, point, part)
            cells += [f"{x:.1f}", f"{rate:.1f}", "–" if math.isnan(gap) else f"{gap:+.1f}"]
        yield f"| {run.problem} | {'–' if run.dual == 'fixed' else record['status']} | {' | '.join(cells)} |"
    yield ""


def draw(kind: str, epochs: int) -> None:
    """Draws the published points, the front, and the runs, a panel for each part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lagvae.report.front_figure import TITLES, draw_published, tidy

    content, trained = read(kind, "front.json"), read_runs(kind, epochs)
    figure = Figure(figsize=(7.1, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, part in zip(figure.subplots(1, len(PARTS)), PARTS, strict=True):
        draw_published(axes, "mnist", part)
        curve, ends = curve_of(content, part)
        rates = np.linspace(*ends, 400)
        axes.plot(curve(rates), rates, color="#16324f", linewidth=1.8, label=f"one network, {content['steps']:,} steps")
        for (method, found), marker, colour in zip(trained.items(), "Dx", ("#d1603d", "#0f7b8a"), strict=True):
            steps = next(iter(found.values()))["steps"]
            label = f"{method}, {len(found)} runs of {steps:,} steps each"
            points = points_of(found.values(), part)
            axes.scatter(*points.T, s=14, marker=marker, color=colour, linewidth=1.0, label=label)
        axes.set_title(TITLES[part], fontsize=10, loc="left")
        axes.set_xlabel("−ELBO (nats per example)", fontsize=9)
        tidy(axes)
    figure.axes[0].set_ylabel("information, as the rate (nats)", fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(HERE / kind / "runs.png", dpi=200)


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
