"""What a learned prior is worth: the plain VAE with N(0, I) and with a flow, latent sizes 2, 10 and 64.

    python benchmarks/priors.py                      what is cached, as a table; nothing is trained
    python benchmarks/priors.py --train --jobs 2     trains what is missing, two runs at a time; resumes

MNIST, perceptrons of 512 and 512 units with softplus, a learning rate of 1e-3, 10 epochs, two seeds. Results:
``benchmarks/results/priors.md``, runs in ``priors_runs.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

from runs import Cache, Record, Run

RESULTS = Path(__file__).parent / "results"
LATENT_SIZES, SEEDS, PRIORS = (2, 10, 64), (0, 1), ("standard_normal", "flow")


def wanted(latent_dim: int, prior: str) -> list[Run]:
    """Returns a row's runs, one per seed."""
    settings = {"epochs": 10, "hidden": (512, 512), "latent_dim": latent_dim, "prior": prior}
    return [Run("min neg_elbo", "fixed", seed=seed, settings=tuple(sorted(settings.items()))) for seed in SEEDS]


def mean(records: list[Record], name: str, part: str = "test") -> float:
    """Returns the mean over seeds of an estimate."""
    return statistics.mean(record["values"][part][name][0] for record in records)


def table(cache: Cache) -> Iterator[str]:
    """Yields the page."""
    yield f"# A learned prior\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield "Nats per example on the test images, means over seeds; seconds with one thread, cores shared.\n"
    yield "| latent | prior | distortion | rate | neg_elbo | spread over seeds | neg_elbo, train | seconds |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for latent_dim in LATENT_SIZES:
        for prior in PRIORS:
            records = [found for run in wanted(latent_dim, prior) if (found := cache.get(run))]
            if not records:
                continue
            each = [mean([record], "neg_elbo") for record in records]
            yield (
                f"| {latent_dim} | {prior} | {mean(records, 'distortion'):.2f} | {mean(records, 'rate'):.2f} |"
                f" {mean(records, 'neg_elbo'):.2f} | {max(each) - min(each):.2f} |"
                f" {mean(records, 'neg_elbo', 'train'):.2f} | {statistics.mean(r['seconds'] for r in records):.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    arguments = parser.parse_args()
    cache = Cache(RESULTS / "priors_runs.jsonl")
    if arguments.train:
        runs = [run for latent_dim in LATENT_SIZES for prior in PRIORS for run in wanted(latent_dim, prior)]
        cache.fill(runs, jobs=arguments.jobs)
    page = "\n".join(table(cache)) + "\n"
    (RESULTS / "priors.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
