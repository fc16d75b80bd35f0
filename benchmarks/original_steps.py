"""How many steps the original's recipe needs for a bound that the default rule keeps.

    python benchmarks/original_steps.py            what is cached, as a table; nothing is trained
    python benchmarks/original_steps.py --train    trains what is missing

MNIST, networks 784-256-256-64 so that the original's recipe can be run to its end: the preset ``zhao2018`` (RMSProp at
1e-4 on multipliers from 1, Adam at a constant 1e-4) for 66,000 steps against the default rule on the same problems: for
6,600 steps with the original's softplus at a learning rate of 1e-3, and for 2,200 with all of today's defaults (GELU,
2e-3). A bound counts as kept from the step after which its violation, averaged over 1,100 steps (five passes,
or what is left of the short run), stays within 0.15 nat on either side while its multiplier is not 0: the original's
crawling multiplier ends up far inside a bound before it comes back. Results: ``benchmarks/results/original_steps.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from runs import Cache, Record, Run

RESULTS = Path(__file__).parent / "results"
PROBLEMS = ("min mi s.t. neg_elbo <= 112", "max mi s.t. neg_elbo <= 112")
OURS = tuple(sorted({"hidden": (256, 256), "log_every": 50}.items()))
SHORT = tuple(
    sorted({"hidden": (256, 256), "log_every": 50, "epochs": 10, "activation": "gelu", "learning_rate": 2e-3}.items())
)
ORIGINAL = tuple(sorted({"hidden": (256, 256), "preset": "zhao2018", "epochs": 300, "log_every": 220}.items()))
RUNS = [
    Run(problem, dual, settings=settings)
    for problem in PROBLEMS
    for dual, settings in (("forecast", SHORT), ("forecast", OURS), ("zhao2018", ORIGINAL))
]


def kept_from(record: Record, *, average: int) -> tuple[int | None, int | None]:
    """Returns the first step with an averaged violation within 0.15 nat, and from when it stays there."""
    steps, violations = np.array(record["trace"]["step"]), np.array(record["trace"]["neg_elbo"])
    lines = max(1, round(average / (steps[1] - steps[0])))
    means = np.convolve(violations, np.ones(lines) / lines, mode="valid")
    near = np.abs(means) <= 0.15
    steps = steps[lines - 1 :]
    outside = np.flatnonzero(~near)
    first = int(steps[near][0]) if near.any() else None
    after = 0 if len(outside) == 0 else outside[-1] + 1
    return first, int(steps[after]) if after < len(steps) else None


def table(cache: Cache) -> Iterator[str]:
    """Yields the page."""
    yield f"# Steps that the original needs\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield "| problem | rule | steps | violation at the end | multiplier | rate | within 0.15 first | and stays |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in RUNS:
        record = cache.get(run)
        if record is None:
            continue
        if "values" not in record:
            yield f"| {run.problem} | {run.dual} | {record['status']} | | | | | |"
            continue
        average = 1100 if run.dual == "zhao2018" else 330
        first, stays = ("never" if step is None else f"{step:,}" for step in kept_from(record, average=average))
        yield (
            f"| {run.problem} | {run.dual} | {record['steps']:,} | {record['violations']['neg_elbo']:+.2f} |"
            f" {record['multipliers']['neg_elbo']:.2f} | {record['values']['train']['rate'][0]:.2f} |"
            f" {first} | {stays} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    parser.add_argument("--device", default="cpu", help="cuda: as stacks on a graphics processor")
    arguments = parser.parse_args()
    cache = Cache(RESULTS / "original_steps_runs.jsonl")
    if arguments.train:
        cache.fill(RUNS, jobs=arguments.jobs, device=arguments.device)
    page = "\n".join(table(cache)) + "\n"
    (RESULTS / "original_steps.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
