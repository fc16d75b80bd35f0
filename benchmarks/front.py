"""The judge of fronts: one modulated network against a run for every weight and every bound.

    python benchmarks/front.py                                 what is there, as a page; nothing is trained
    python benchmarks/front.py --train --setups mnist digits   trains what is missing; resumes

Each setup trains one amortised front over β alone (``divergence="none"``), with softplus between layers unless it names
another, and beside it, with as many epochs each, runs of fixed weights, constant and warmed up from 0 (MNIST: 9 β;
elsewhere 5 β), by a run's recipe (Adam, cosine) and, warmed up, by the *front's own* (``FRONT_RECIPE``: AdamW with a
decay of 0.1, β₂ = 0.98, a trapezoidal schedule); on MNIST also *runs at bounds*, most and least information at ten
bounds on neg_elbo; all at 2e-3, and eleven more on MNIST at 3e-3 (the rate of fronts until 2026-11-29): warmed up at
each β, and at the two bounds that are best at β = 1.7 and 3. What was trained beside MNIST's and digits' fronts at
1e-3, when that was the default, counts as well: the grid of ``regret.py`` and its runs of most and least information at
neg_elbo <= 99, 102 and 106.

A *gain* is the least D + βR over such runs at a β's own weight (so also of runs that were trained for another weight)
minus the front's: positive where the front is better. Hypervolumes are of (distortion, rate) in nats² up to the
point that is named; a point counts as dominated if another is 0.2 nat better in both. Bounds that were solved on the
front are measured again on the whole training data. *Methods* on MNIST are compared at equal epochs a run, and at equal
total time: with as many epochs a run as make the time of all runs together that of the front. On MNIST fronts and runs
by the front's own recipe are trained with two more *seeds* each, and compared by their means. Results:
``results/front.md``, points in ``results/front_points.json``, the other runs in ``front_runs.jsonl`` and
``regret_runs.jsonl``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fixed_weights import BETAS, grid_runs, weighted_problem
from held_out import hardware
from regret import PROBLEMS
from runs import Cache, Record, Run, convolutional_vae

from lagvae.settings import FRONT_RECIPE

RESULTS = Path(__file__).parent / "results"
POINTS = RESULTS / "front_points.json"
MARGIN = 0.2
SOLVED = ("max mi s.t. neg_elbo <= best + 1", "max mi s.t. neg_elbo <= best + 8", "min mi s.t. neg_elbo <= best + 1")
SOLVED += ("min mi s.t. neg_elbo <= best + 8", "min distortion s.t. rate == 15")


@dataclass(frozen=True)
class Setup:
    """Data and networks, the same for the front and for the runs beside it.

    Attributes:
        data: A named set.
        settings: Other settings than the defaults.
        betas: Weights of the runs beside it.
        solved: Problems to solve on the front and measure again.
        reference: (distortion, rate) up to which hypervolumes are.
    """

    data: str
    settings: dict[str, Any]
    betas: tuple[float, ...] = (0.1, 0.35, 1.0, 3.0, 10.0)
    solved: tuple[str, ...] = SOLVED[:4]
    reference: tuple[float, float] = (200.0, 150.0)

    def runs(self, **changes: Any) -> list[Run]:
        """Returns the runs of fixed weights, with other settings than the setup's where some are given."""
        settings = tuple(sorted({**self.settings, **changes}.items()))
        return [
            Run(weighted_problem(beta, 0.0), dual, self.data, 0, settings)
            for beta in self.betas
            for dual in ("warmup", "fixed")
        ]

    def rivals(self, seed: int = 0) -> list[Run]:
        """Returns a warmed-up run for each β that descends as the front does."""
        runs = self.runs(learning_rate=RATE, **FRONT_RECIPE)
        return [replace(run, seed=seed) for run in runs if run.dual == "warmup"]


RATE = 2e-3
"""Learning rate of fronts and of the runs beside them: the default."""
HIGH_RATE = 3e-3
"""What some runs gain by."""
EPOCHS = 30
BOUNDS = (98, 104, 96, 101, 100, 105, 97, 103, 99, 102)
"""On neg_elbo, in an order in which the first few say most: 96 to 105."""
TIME_RATIO = 1.21
"""Of a front's step to a plain run's, as ``--time`` measures it: what makes total times equal."""
LETTERS = "ABCDE"
SEEDS = (0, 1, 2)
"""Of MNIST's fronts and of the runs by their recipe, to compare means."""


def settings_of(epochs: int, rate: float = RATE) -> tuple[tuple[str, Any], ...]:
    """Returns the settings of a run of so many epochs beside MNIST's front."""
    return (("activation", "softplus"), ("epochs", epochs), ("learning_rate", rate))


def bounded_run(way: str, bound: int, settings: tuple[tuple[str, Any], ...]) -> Run:
    """Returns the run of most (``max``) or least information at a bound on neg_elbo."""
    return Run(f"{way} mi s.t. neg_elbo <= {bound}, mmd <= 0.0005", "forecast", settings=settings)


def bounded_runs(epochs: int = EPOCHS) -> list[Run]:
    """Returns a run for each bound and direction."""
    return [bounded_run(way, bound, settings_of(epochs)) for bound in BOUNDS for way in ("max", "min")]


def runs_at_high_rate() -> list[Run]:
    """Returns MNIST's runs at 3e-3: warmed up, for each β, and at the two bounds that are best at β = 1.7 and 3."""
    settings = settings_of(EPOCHS, HIGH_RATE)
    return [*(bounded_run("min", bound, settings) for bound in (98, 104)), *weighted_runs("warmup", settings)]


def weighted_runs(dual: str, settings: tuple[tuple[str, Any], ...]) -> list[Run]:
    """Returns a run of weights, constant (``fixed``) or warmed up (``warmup``), for each β."""
    return [Run(weighted_problem(beta, 0.0), dual, settings=settings) for beta in BETAS]


def epochs_each(runs: int) -> int:
    """Returns the epochs that each of so many runs may take in the time of a front."""
    return round(EPOCHS * TIME_RATIO / runs)


def methods() -> dict[str, list[Run]]:
    """Returns what stands beside MNIST's front, by the words for it."""
    few, fewer = epochs_each(len(bounded_runs())), epochs_each(len(BETAS))
    return {
        f"runs at bounds, {EPOCHS} epochs each": bounded_runs(),
        f"fixed weights, {EPOCHS} epochs each": SETUPS["mnist"].runs(learning_rate=RATE),
        f"runs at bounds, {few} epochs each": bounded_runs(few),
        f"fixed weights, {fewer} epochs each": weighted_runs("fixed", settings_of(fewer)),
    }


SMALL = {"hidden": (256, 256), "epochs": EPOCHS}
SETUPS = {
    "mnist": Setup("mnist", {}, BETAS, SOLVED),
    "digits": Setup("digits", {"hidden": (256, 256), "latent_dim": 10, "batch_size": 100, "epochs": 200}),
    "fashion-mnist": Setup("fashion-mnist", SMALL, reference=(300.0, 150.0)),
    "latent 10": Setup("mnist", {**SMALL, "latent_dim": 10}),
    "convolutional": Setup("mnist", {"network": "convolutional", "latent_dim": 16, "epochs": EPOCHS}),
}


def key_of(name: str, seed: int) -> str:
    """Returns the name of a setup's front with a seed."""
    return f"{name}, seed {seed}" if seed else name


def train_front(name: str, device: str, seed: int = 0) -> dict[str, Any]:
    """Trains a setup's front, solves problems on it, and returns points and what was measured."""
    import torch

    import lagvae as lv
    from lagvae.front.amortised.front import AmortisedFront

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    setup = SETUPS[name]
    settings = {"activation": "softplus", "learning_rate": RATE, "device": device, "seed": seed, **setup.settings}
    if settings.pop("network", "mlp") == "convolutional":
        settings["model"] = convolutional_vae(settings.pop("latent_dim"), seed=seed)
    began = time.process_time()
    front = lv.fit_front(setup.data, divergence="none", progress=False, **settings)
    assert isinstance(front, AmortisedFront)
    seconds, threads = time.process_time() - began, torch.get_num_threads()
    solved = {}
    for problem in setup.solved:
        solution = front.solve(problem)
        again = lv.evaluate(solution, quick=True)
        solved[str(solution.problem)] = {"solved": solution.violations, "measured": again.violations("train")}
    members = {
        f"{beta:g}": {
            part: {n: found[n].value for n in ("distortion", "rate")}
            for part in ("train", "test")
            for found in [front.surface.estimates(part, beta=beta, gamma=10.0)]  # type: ignore[union-attr]
        }
        for beta in setup.betas
    }
    return {
        "members": members,
        "points": {part: front.values(part).tolist() for part in ("train", "test")},
        "solved": solved,
        "training_seconds": front.seconds,
        "processor_seconds": seconds,
        "threads": threads,
        "steps": front.steps,
        "hardware": hardware(device),
        "date": datetime.date.today().isoformat(),
    }


def time_ratio(blocks: int = 12, steps: int = 10) -> dict[str, float]:
    """Times blocks of steps of a front and of a plain run in turn, on MNIST with the original's networks."""
    import torch

    import lagvae as lv
    from lagvae.front.amortised.fit import _build_session
    from lagvae.problem.problem import Problem
    from lagvae.settings import FrontSettings, Settings
    from lagvae.training.build import build_session
    from lagvae.training.steps.hardware import keep_freed_memory

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    keep_freed_memory()
    data, original = lv.open_data("mnist", progress=False), Settings().replace(activation="softplus")
    sessions = {
        "plain": build_session(Problem.parse("min distortion + rate"), data, original),
        "front": _build_session(data, FrontSettings(divergence="none"), original, None, None),
        "front with mmd": _build_session(data, FrontSettings(), original, None, None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(blocks):
        for name, session in sessions.items():
            began = time.process_time()
            for _ in range(steps):
                session.take_step()
            seconds[name].append((time.process_time() - began) / steps)
    medians = {name: float(np.median(found[2:])) for name, found in seconds.items()}
    return {name: medians[name] / medians["plain"] for name in ("front", "front with mmd")}


def values(record: Record, part: str) -> tuple[float, float]:
    """Returns (distortion, rate) of a run."""
    found = record["values"][part]
    return found["distortion"][0], found["rate"][0]


def least_loss(beta: float, points: Sequence[tuple[float, float]]) -> float:
    """Returns the least D + βR of points (D, R); NaN of none."""
    return min((distortion + beta * rate for distortion, rate in points), default=math.nan)


def trained(runs: Sequence[Run]) -> dict[Run, Record]:
    """Returns the records of the runs that are there, and reached their end, from either file."""
    caches = [Cache(RESULTS / f"{name}_runs.jsonl") for name in ("front", "regret")]
    return {run: cache[run] for run in runs for cache in caches if run in cache and "values" in cache[run]}


def beside(name: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Returns run → part → (distortion, rate) of everything that was trained beside a front."""
    runs = [*SETUPS[name].runs(), *SETUPS[name].runs(learning_rate=RATE), *SETUPS[name].rivals()]
    if name == "mnist":
        runs += [*grid_runs(), *(Run(p, "forecast", seed=seed) for p in PROBLEMS for seed in (0, 1, 2))]
        runs += [*bounded_runs(), *runs_at_high_rate()]
    return {
        f"{run.dual}: {run.problem}, seed {run.seed}, {run.settings}": {
            part: values(record, part) for part in ("train", "test")
        }
        for run, record in trained(runs).items()
    }


def compare_methods(front: dict[str, Any]) -> Iterator[str]:
    """Yields the tables of methods on MNIST, one for each part of the data."""
    from lagvae.front.pareto import dominated, hypervolume

    asked = methods()
    records = {words: [*trained(runs).values()] for words, runs in asked.items()}
    records = {f"one network, {EPOCHS} epochs": [], **{words: found for words, found in records.items() if found}}
    reference = SETUPS["mnist"].reference
    for part in ("train", "test"):
        points = [np.array([values(r, part) for r in found] or front["points"][part]) for found in records.values()]
        yield f"**methods, {part}**: area up to {reference} nats², share of the points that one of A, B, ... beats\n"
        yield f"| | method | points | steps | time | missed by | area | {' | '.join(LETTERS[: len(points)])} |"
        yield f"|{' --- |' * (7 + len(points))}"
        for letter, (words, found), own in zip(LETTERS, records.items(), points, strict=False):
            steps = sum(record["steps"] for record in found) or front["steps"]
            cost = steps / front["steps"] if found else TIME_RATIO
            violations = [record["violations"].get("neg_elbo") for record in found]
            violations = violations or [
                value for pair in front["solved"].values() for value in pair["measured"].values()
            ]
            missed = "–" if None in violations else f"{max(violations):+.2f}"
            area = hypervolume(own, reference=reference)
            shares = ["" if by is own else f"{dominated(own, by=by, margin=MARGIN).mean():.0%}" for by in points]
            count = f"{len(own)} of {len(asked[words])}" if 0 < len(found) < len(asked[words]) else len(own)
            cells = [letter, words, count, f"{steps:,}", f"{cost:.1f}", missed, f"{area:,.0f}", *shares]
            yield f"| {' | '.join(map(str, cells))} |"
        yield ""
    yield "*Time* is in plain runs of 30 epochs, and *missed by* the worst violation of a bound on neg_elbo, in nats on"
    yield "the training data; of the front, among the problems that are solved on it below.\n"


def compare_seeds(points: dict[str, Any]) -> Iterator[str]:
    """Yields the tables of MNIST's fronts beside runs by their recipe at the same β: means of D + βR over seeds."""
    setup = SETUPS["mnist"]
    fronts = [points[key] for key in (key_of("mnist", seed) for seed in SEEDS) if key in points]
    runs = [[*trained(setup.rivals(seed)).values()] for seed in SEEDS]
    if len(fronts) < len(SEEDS) or any(len(found) < len(setup.betas) for found in runs):
        return
    for part in ("train", "test"):
        yield f"**seeds, {part}**: D + βR of {len(SEEDS)} fronts and of {len(SEEDS)} runs by their recipe at each β\n"
        yield "| β | fronts | mean | runs | mean | gain | standard error |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for index, beta in enumerate(setup.betas):
            members = [front["members"][f"{beta:g}"][part] for front in fronts]
            ours = np.array([member["distortion"] + beta * member["rate"] for member in members])
            theirs = np.array([np.dot(values(found[index], part), (1.0, beta)) for found in runs])
            error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / len(SEEDS))
            words = [", ".join(f"{loss:.2f}" for loss in losses) for losses in (ours, theirs)]
            means = f"{theirs.mean() - ours.mean():+.2f} | {error:.2f}"
            yield f"| {beta:g} | {words[0]} | {ours.mean():.2f} | {words[1]} | {theirs.mean():.2f} | {means} |"
        yield ""


def page(points: dict[str, Any]) -> Iterator[str]:
    """Yields the page."""
    from lagvae.front.pareto import dominated, hypervolume

    yield f"# Fronts\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    if ratio := points.get("time ratio"):
        times = ", ".join(f"{name} {value:.2f}" for name, value in ratio["ratios"].items())
        yield f"Processor time of a step against a plain run's, in turn in one process: {times}"
        yield f"({ratio['hardware']}, {ratio['date']}).\n"
    for name in SETUPS:
        if name not in points:
            continue
        found, others, reference = points[name], beside(name), SETUPS[name].reference
        own = [run for run in others if "('schedule', 'trapezoidal')" in run]
        usual = [run for run in others if run not in own]
        recipes = {"a run's recipe": usual, "the front's own": own}
        counts = [(rate, sum(f"('learning_rate', {rate})" in run for run in usual)) for rate in (RATE, HIGH_RATE)]
        rates = [f"{count} at a learning rate of {rate:g}" for rate, count in counts if count]
        rates += [f"{len(own)} by the front's own recipe"] if own else []
        yield f"## {name}\n"
        yield (
            f"{found['steps']:,} steps in {found['training_seconds']:.0f} s, {found['threads']} thread(s);"
            f" {found['hardware']}, {found['date']}. {len(others)} runs beside it,"
            f" {', '.join(rates)}.\n"
        )
        if name == "mnist":
            yield from compare_methods(found)
            yield from compare_seeds(points)
        for part in ("train", "test"):
            theirs = np.array([run[part] for run in others.values()])
            ours = np.array(found["points"][part])
            yield f"**{part}**\n"
            yield f"| β | D | R | D + R | D + βR |{''.join(f' best by {words} | gain |' for words in recipes)}"
            yield f"|{' --- |' * (5 + 2 * len(recipes))}"
            for beta, member in found["members"].items():
                d, r = member[part]["distortion"], member[part]["rate"]
                loss = d + float(beta) * r
                bests = [least_loss(float(beta), [others[run][part] for run in runs]) for runs in recipes.values()]
                cells = [f"{value:.2f}" for value in (d, r, d + r, loss)]
                cells += [cell for best in bests for cell in (f"{best:.2f}", f"{best - loss:+.2f}")]
                yield f"| {beta} | {' | '.join(cells)} |"
            if len(theirs):
                lost = dominated(ours, by=theirs, margin=MARGIN).mean()
                won = dominated(theirs, by=ours, margin=MARGIN).mean()
                volumes = [hypervolume(points, reference=reference) for points in (ours, theirs)]
                yield f"\nHypervolume up to {reference}: front {volumes[0]:,.0f}, others {volumes[1]:,.0f}."
                yield f"Dominated by {MARGIN} nat:"
                yield f"{lost:.0%} of the front's {len(ours)} members, {won:.0%} of the other {len(theirs)} runs.\n"
        yield "| solved on the front | violation as solved | measured again |"
        yield "| --- | --- | --- |"
        for problem, violation in found["solved"].items():
            cells = (", ".join(f"{value:+.3f}" for value in violation[key].values()) for key in ("solved", "measured"))
            yield f"| {problem} | {' | '.join(cells)} |"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--setups", nargs="*", choices=list(SETUPS), default=list(SETUPS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    parser.add_argument(
        "--device", default="cpu", help="cuda: the runs beside fronts as stacks on a graphics processor"
    )
    parser.add_argument("--time", action="store_true", help="time a step against a plain run's")
    arguments = parser.parse_args()
    points: dict[str, Any] = json.loads(POINTS.read_text()) if POINTS.exists() else {}
    if arguments.time:
        points["time ratio"] = {
            "ratios": time_ratio(),
            "hardware": hardware(),
            "date": datetime.date.today().isoformat(),
        }
    for name in arguments.setups if arguments.train else ():
        seeds = SEEDS if name == "mnist" else (0,)
        for key, seed in ((key_of(name, seed), seed) for seed in seeds):
            if key not in points:
                points[key] = train_front(name, arguments.device, seed)
                POINTS.write_text(json.dumps(points, indent=1) + "\n")
        cache = Cache(RESULTS / ("regret_runs.jsonl" if name == "mnist" else "front_runs.jsonl"))
        rivals = [run for seed in seeds for run in SETUPS[name].rivals(seed)]
        asked = [*rivals, *SETUPS[name].runs(learning_rate=RATE)]
        cache.fill(asked, jobs=arguments.jobs, device=arguments.device)
        if name == "mnist":
            runs = [run for method in reversed(methods().values()) for run in method if run not in cache]
            Cache(RESULTS / "front_runs.jsonl").fill(
                [*runs_at_high_rate(), *runs], jobs=arguments.jobs, device=arguments.device
            )
    POINTS.write_text(json.dumps(points, indent=1) + "\n")
    text = "\n".join(page(points)) + "\n"
    (RESULTS / "front.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
