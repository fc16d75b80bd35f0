"""Published log-likelihoods of VAEs and importance weighted autoencoders on MNIST, and ours.

    python benchmarks/reproductions_likelihood.py                     trains, scores and prints what is missing
    python benchmarks/reproductions_likelihood.py --only-print        prints what is there
    python benchmarks/reproductions_likelihood.py --epochs 500 --batch-size 100 --objectives VAE "IWAE, 50"

Networks are [Burda2016]'s in size: 50 latent dimensions, two hidden layers of 200 units; tanh there, ``--activation``
here. The optimiser is ours (Adam, cosine decay), and so is the number of epochs: what is compared is where a training
of our length arrives. Scores are ``lv.log_likelihood``, with the sign of a negative log-likelihood, as published:
K = 200 on the whole test part; K = 5000 on some of it, and what it gains there over K = 200 (the same binarisation,
other draws) is taken off the whole part's. A trained run stays in the folder of results and is gone on with where
it was interrupted; its scores are a line of JSON.

Two data sets. ``dynamic``: grey pixels binarised afresh at each visit, in training and in testing. ``fixed``: each
example binarised once, by a seed of ours; the published ones use the binarisation of [Larochelle2011], whose
pixels are another draw of the same distribution.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from runs import Cache, Record, Run
from step_time import hardware

import lagvae as lv
from lagvae.data.examples import Examples, binarise
from lagvae.streams import derive_seed

RESULTS = Path(__file__).parent / "results"
CACHE, FOLDER = "reproductions_likelihood.jsonl", "reproductions_runs"
DATA = ("dynamic", "fixed")
PROBLEMS = {
    "VAE": "min neg_elbo",
    "IWAE, 5": "min neg_iwae(samples=5)",
    "IWAE, 50": "min neg_iwae(samples=50)",
}
OBJECTIVES = ("VAE", "IWAE, 5")
"""What is trained where nothing else is asked for: fifty draws take six times as long as five."""
SETTINGS: dict[str, Any] = {
    "activation": "silu",
    "batch_size": 250,
    "epochs": 20,
    "hidden": (200, 200),
    "latent_dim": 50,
}

FEW, MANY = 200, 5000
"""K."""
CHUNK = 100
"""Examples that one difference between the two is measured on."""

PUBLISHED: dict[tuple[str, str, int], str] = {
    # Burda et al. 2016, table 1 (one stochastic layer) and, for a fixed binarisation, appendix D; both as quoted by
    # the reproduction of nbip/IWAE, and those of the latter also by pythae's model cards.
    ("dynamic", "VAE", MANY): "86.76 [Burda2016]",
    ("dynamic", "IWAE, 5", MANY): "85.54 [Burda2016]",
    ("dynamic", "IWAE, 50", MANY): "84.78 [Burda2016]",
    ("fixed", "VAE", MANY): "88.71 [Burda2016]",
    ("fixed", "IWAE, 5", MANY): "87.63 [Burda2016], 87.85 pythae",
    ("fixed", "IWAE, 50", MANY): "87.10 [Burda2016], 86.82 pythae",
    # pythae's VAE has other networks: 40 latent dimensions, one hidden layer of 400 units (ReLU).
    ("fixed", "VAE", FEW): "89.9 [Rezende2015], 89.78 pythae",
}


def open_binarised(name: str, *, seed: int = 0) -> lv.Data:
    """Returns MNIST as it is (``dynamic``), or with every pixel drawn once and for all (``fixed``)."""
    grey = lv.open_data("mnist")
    if name == "dynamic":
        return grey

    def fix(part: str, examples: Examples) -> Examples:
        generator = torch.Generator().manual_seed(derive_seed(seed, "fixed binarisation", part))
        bits = binarise(torch.as_tensor(examples.values), generator)
        return Examples(bits.to(torch.uint8) * 255, examples.labels)  # bytes of 255 are 1 at every visit

    return lv.Data("", fix("train", grey.train), fix("test", grey.test))


def train_and_score(run: Run, *, folder: Path, examples: int) -> Record:
    """Trains a run, or goes on with it, and scores it."""
    data = open_binarised(run.data)
    out = folder / hashlib.sha256(run.key.encode()).hexdigest()[:12]
    settings: dict[str, Any] = dict(run.settings)
    solution = lv.fit(run.problem, data, out=out, resume=out.exists(), seed=run.seed, progress=False, **settings)
    test = data.test.to(solution.model.device)
    few = lv.log_likelihood(solution.model, test, samples=FEW)
    gain, is_saturated = gain_of_many(solution.model, test.subset(0, examples))
    return {
        "status": str(solution.status),
        "steps": solution.step,
        "seconds": round(solution.seconds, 1),
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(),
        "scores": {
            str(FEW): [-few.value, few.standard_error, few.is_saturated],
            str(MANY): [-few.value - gain.value, math.hypot(few.standard_error, gain.standard_error), is_saturated],
        },
        "gain": [gain.value, gain.standard_error, examples],
    }


def gain_of_many(model: lv.VAE, examples: Examples) -> tuple[lv.Estimate, bool]:
    """Returns by how much K = 5000 reads higher than K = 200, over chunks of examples, and whether it was flagged."""
    gains, flags = [], []
    for seed, start in enumerate(range(0, len(examples), CHUNK)):
        chunk = examples.subset(start, start + CHUNK)
        many, few = (lv.log_likelihood(model, chunk, samples=count, seed=seed) for count in (MANY, FEW))
        gains.append(many.value - few.value)
        flags.append(many.is_saturated)
    method = f"K = {MANY} less K = {FEW}, over chunks of {CHUNK}"
    gain = lv.Estimate.of_mean(
        torch.tensor(gains), unit="nats per example", bias="none", method=method, examples=len(examples)
    )
    return gain, sum(flags) > len(flags) / 2


def table(cache: Cache, runs: dict[tuple[str, str], Run]) -> str:
    """Writes what is there beside what is published."""
    lines = [
        "| data | objective | K | -log p(x), test | published | flagged | epochs, seconds | date |",
        "| --- | --- | ---: | ---: | --- | --- | --- | --- |",
    ]
    for (data, name), run in runs.items():
        found = cache.get(run)
        for count in (FEW, MANY) if found else ():
            value, error, is_saturated = found["scores"][str(count)]
            published = PUBLISHED.get((data, name, count), "-")
            budget = f"{dict(run.settings)['epochs']}, {found['seconds']:.0f}"
            lines.append(
                f"| {data} | {name} | {count} | {value:.2f} ± {error:.2f} | {published} |"
                f" {'yes' if is_saturated else 'no'} | {budget} | {found['date']} |"
            )
    return "\n".join(lines)


def plan(
    data: Sequence[str] = DATA, objectives: Sequence[str] = OBJECTIVES, *, seed: int = 0, **settings: Any
) -> dict[tuple[str, str], Run]:
    """Returns (data, objective) → the run, with settings beside or instead of the defaults."""
    changed = tuple(sorted((SETTINGS | settings).items()))
    base = Run("", seed=seed, settings=changed)
    return {(which, name): replace(base, problem=PROBLEMS[name], data=which) for which in data for name in objectives}


def fill(cache: Cache, runs: dict[tuple[str, str], Run], *, folder: Path, examples: int = 500, jobs: int = 1) -> None:
    """Trains and scores what is missing."""
    cache.fill(runs.values(), jobs=jobs, work=partial(train_and_score, folder=folder, examples=examples))


def main() -> None:
    """Trains and scores what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--objectives", nargs="+", choices=list(PROBLEMS), default=list(OBJECTIVES))
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--latent-dim", type=int, default=SETTINGS["latent_dim"])
    parser.add_argument("--hidden", type=int, nargs="+", default=SETTINGS["hidden"])
    parser.add_argument("--activation", default=SETTINGS["activation"])
    parser.add_argument("--batch-size", type=int, default=SETTINGS["batch_size"])
    parser.add_argument("--examples", type=int, default=500, help="of the test part that K = 5000 is measured on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only-print", action="store_true")
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in SETTINGS} | {"hidden": tuple(options.hidden)}
    runs = plan(options.data, options.objectives, seed=options.seed, **settings)
    cache = Cache(options.results / CACHE)
    if not options.only_print:
        fill(cache, runs, folder=options.results / FOLDER, examples=options.examples, jobs=options.jobs)
    print(table(cache, runs))


if __name__ == "__main__":
    main()
