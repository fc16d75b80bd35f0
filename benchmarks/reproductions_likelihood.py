"""Published log-likelihoods of VAEs and importance weighted autoencoders on MNIST, and ours.

    python benchmarks/reproductions_likelihood.py                     trains, scores and prints what is missing
    python benchmarks/reproductions_likelihood.py --only-print        prints what is there
    python benchmarks/reproductions_likelihood.py --epochs 1 --hidden 64 64 --samples 20 --data fixed

Networks are [Burda2016]'s in size: 50 latent dimensions, two hidden layers of 200 units; tanh there, ``--activation``
here. The optimiser is ours (Adam, cosine decay), and so is the number of epochs: what is compared is where a training
of our length arrives. Scores are ``lv.log_likelihood`` on the whole test part with K = 200 and K = 5000 draws, with
the sign of a negative log-likelihood, as published. A trained run stays in the folder of results and is gone on with
where it was interrupted; its scores are a line of JSON.

Two data sets. ``dynamic``: grey pixels binarised afresh at each visit, in training and in testing. ``fixed``: each
example binarised once, by a seed of ours; the published ones use the binarisation of [Larochelle2011], whose
pixels are another draw of the same distribution.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from runs import Cache, Record, Run

import lagvae as lv
from lagvae.data.examples import Examples, binarise
from lagvae.storage.files import to_plain
from lagvae.streams import derive_seed

RESULTS = Path(__file__).parent / "results"
DATA = ("dynamic", "fixed")
PROBLEMS = {
    "VAE": "min neg_elbo",
    "IWAE, 5": "min neg_iwae(samples=5)",
    "IWAE, 50": "min neg_iwae(samples=50)",
}

PUBLISHED: dict[tuple[str, str, int], str] = {
    # Burda et al. 2016, table 1 (one stochastic layer) and, for a fixed binarisation, as pythae quotes it.
    ("dynamic", "VAE", 5000): "86.76 [Burda2016]",
    ("dynamic", "IWAE, 5", 5000): "85.54 [Burda2016]",
    ("dynamic", "IWAE, 50", 5000): "84.78 [Burda2016]",
    ("fixed", "IWAE, 5", 5000): "87.6 [Burda2016], 87.85 pythae",
    ("fixed", "IWAE, 50", 5000): "87.1 [Burda2016], 86.82 pythae",
    # pythae's VAE has other networks: 40 latent dimensions, one hidden layer of 400 units (ReLU).
    ("fixed", "VAE", 200): "89.9 (Rezende & Mohamed 2015), 89.78 pythae",
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


def train_and_score(run: Run, *, folder: Path, samples: tuple[int, ...]) -> Record:
    """Trains a run, or goes on with it, and scores it with so many draws each."""
    data = open_binarised(run.data)
    out = folder / hashlib.sha256(run.key.encode()).hexdigest()[:12]
    settings: dict[str, Any] = dict(run.settings)
    solution = lv.fit(run.problem, data, out=out, resume=out.exists(), seed=run.seed, progress=False, **settings)
    device = solution.model.device
    return {
        "status": str(solution.status),
        "seconds": round(solution.seconds, 1),
        "scores": {
            str(count): to_plain(lv.log_likelihood(solution.model, data.test.to(device), samples=count).as_dict())
            for count in samples
        },
    }


def table(cache: Cache, runs: dict[tuple[str, str], Run], samples: tuple[int, ...]) -> str:
    """Writes what is there beside what is published."""
    lines = [
        "| data | objective | K | -log p(x), test | published | flagged |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for (data, name), run in runs.items():
        found = cache.get(run)
        for count in samples:
            score = found["scores"].get(str(count)) if found else None
            if score:
                value = f"{-score['value']:.2f} ± {score['standard_error']:.2f}"
                flagged = "yes" if score["is_saturated"] else ""
                lines.append(
                    f"| {data} | {name} | {count} | {value} | {PUBLISHED.get((data, name, count), '')} | {flagged} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Trains and scores what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    parser.add_argument("--activation", default="silu")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs="+", default=[200, 5000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only-print", action="store_true")
    options = parser.parse_args()
    base = Run(
        "",
        seed=options.seed,
        settings=(
            ("activation", options.activation),
            ("batch_size", options.batch_size),
            ("epochs", options.epochs),
            ("hidden", tuple(options.hidden)),
            ("latent_dim", options.latent_dim),
        ),
    )
    runs = {
        (data, name): replace(base, problem=problem, data=data)
        for data in options.data
        for name, problem in PROBLEMS.items()
    }
    samples = tuple(options.samples)
    cache = Cache(options.results / "reproductions_likelihood.jsonl")
    if not options.only_print:
        work = partial(train_and_score, folder=options.results / "reproductions_runs", samples=samples)
        cache.fill(runs.values(), jobs=options.jobs, work=work)
    print(table(cache, runs, samples))


if __name__ == "__main__":
    main()
