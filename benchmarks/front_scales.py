"""Likelihoods with scales of their own: a front, beside runs of their own at three of its weights.

    python benchmarks/front_scales.py            what is measured already, as a table; nothing is trained
    python benchmarks/front_scales.py --train    trains what is missing

Two tables of 4,000 rows made from two hidden numbers: three columns of real numbers with noises of 0, 0.05 and 0.2, and
ten columns of counts whose dispersion is 2. Perceptrons of 64 and 64 units, a latent of 2, 120 epochs of 40 steps;
everything else as it comes. Results: ``benchmarks/results/front_scales.md``, rows in ``front_scales_rows.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
from rich.progress import track

import lagvae as lv

RESULTS = Path(__file__).parent / "results"
ROWS = RESULTS / "front_scales_rows.jsonl"
LIKELIHOODS, BETAS, SEEDS = ("optimal_gaussian", "gaussian", "negative_binomial"), (0.1, 1.0, 10.0), (0, 1)
METHODS = {"front": "one front", "own": "runs of their own"}
SETTINGS = {"hidden": (64, 64), "latent_dim": 2, "epochs": 120, "batch_size": 100, "progress": False}
Row = dict[str, str | int | float]


def real_numbers(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Returns three columns of two hidden numbers."""
    u, noise = rng.normal(size=(rows, 2)), rng.normal(size=(rows, 2))
    columns = [u[:, 0], np.sin(2 * u[:, 0]) + 0.05 * noise[:, 0], 5 * u[:, 1] + 0.2 * noise[:, 1]]
    return np.stack(columns, axis=1).astype(np.float32)


def counts(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Returns ten columns of counts, negative binomial with r = 2, whose logarithms are linear in two numbers."""
    u, loadings = rng.normal(size=(rows, 2)), np.random.default_rng(0).normal(size=(2, 10))
    means = np.exp(2 + u @ loadings)
    return rng.poisson(rng.gamma(2.0, means / 2)).astype(np.float32)


def measure(method: str, likelihood: str, seed: int) -> Iterator[Row]:
    """Trains a front, or a run at each weight; yields D + βR on the test part at each."""
    table = counts if likelihood == "negative_binomial" else real_numbers
    data = (table(4000, np.random.default_rng(1)), table(1000, np.random.default_rng(2)))
    settings = {**SETTINGS, "likelihood": likelihood, "seed": seed}
    front = lv.fit_front(data, divergence="none", **settings) if method == "front" else None
    for beta in BETAS:
        problem = f"min distortion + {beta}*rate"
        solution = front.solve(problem) if front else lv.fit(problem, data, **settings)
        found = solution.evaluation["test"]
        loss = found["distortion"].value + beta * found["rate"].value
        yield {"method": method, "likelihood": likelihood, "seed": seed, "beta": beta, "loss": loss}


def read_rows() -> list[Row]:
    """Returns what is measured already."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def table_of(rows: list[Row]) -> Iterator[str]:
    """Yields the page."""
    yield f"# Fronts of likelihoods with scales\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield f"D + βR on the test rows, in nats: less is better; means over {len(SEEDS)} seeds, spread in brackets.\n"
    yield f"| likelihood | | {' | '.join(f'β = {beta:g}' for beta in BETAS)} |"
    yield f"| --- | --- |{' ---: |' * len(BETAS)}"
    for likelihood in LIKELIHOODS:
        for method, words in METHODS.items():
            cells = []
            for beta in BETAS:
                wanted = {"method": method, "likelihood": likelihood, "beta": beta}
                found = [float(row["loss"]) for row in rows if wanted.items() <= row.items()]
                cells.append(f"{mean(found):.2f} ({max(found) - min(found):.2f})" if found else "")
            yield f"| {likelihood} | {words} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    rows = read_rows()
    if parser.parse_args().train:
        done = {(row["method"], row["likelihood"], row["seed"]) for row in rows}
        runs = [(method, likelihood, seed) for seed in SEEDS for likelihood in LIKELIHOODS for method in METHODS]
        for run in track([run for run in runs if run not in done], "fronts and runs"):
            rows += measure(*run)
            ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = "\n".join(table_of(rows)) + "\n"
    (RESULTS / "front_scales.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
