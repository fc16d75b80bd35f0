"""How many steps the original's recipe needs for a bound that the default rule keeps.

    python benchmarks/original_steps.py            what is cached, as a table; nothing is trained
    python benchmarks/original_steps.py --train    trains what is missing

MNIST, networks 784-256-256-64 so that the original's recipe can be run to its end: the preset ``zhao2018`` (RMSProp at
1e-4 on multipliers from 1, Adam at a constant 1e-4) for 66,000 steps against the default rule on the same problems: for
6,600 steps with the original's softplus at a learning rate of 1e-3, and for 2,200 with all of today's defaults (GELU,
2e-3). Violations are means over 330 steps. A bound is *kept* from the step after which its violation stays under 0.15
nat, and the problem is *settled* from where it stays within 0.15 nat on either side: the original's crawling
multipliers lead 6 nats inside a bound before they come back, at the expense of the objective. A short run that settles
does so just before its end: its whole length is what it takes. Results: ``benchmarks/results/original_steps.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from runs import Cache, Record, Run

RESULTS = Path(__file__).parent / "results"
PROBLEMS = ("min mi s.t. neg_elbo <= 112", "max mi s.t. neg_elbo <= 112")
WINDOW = 330
TOLERANCE = 0.15
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


def stays_from(record: Record, holds: Callable[[np.ndarray], np.ndarray]) -> int | None:
    """Returns the step from which something holds of the averaged violations to the end; None if it does not there."""
    steps, violations = np.array(record["trace"]["step"]), np.array(record["trace"]["neg_elbo"])
    lines = max(1, round(WINDOW / (steps[1] - steps[0])))
    means = np.convolve(violations, np.ones(lines) / lines, mode="valid")
    fails = np.flatnonzero(~holds(means))
    after = 0 if len(fails) == 0 else fails[-1] + 1
    return int(steps[lines - 1 :][after]) if after < len(means) else None


def table(cache: Cache) -> Iterator[str]:
    """Yields the page."""
    yield f"# Steps that the original needs\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield "| problem | rule | steps | final violation | multiplier | rate | deepest inside | kept from | settled from |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in RUNS:
        record = cache.get(run)
        if record is None:
            continue
        if "values" not in record:
            yield f"| {run.problem} | {run.dual} | {record['status']} | | | | | | |"
            continue
        found = (stays_from(record, lambda v: v <= TOLERANCE), stays_from(record, lambda v: np.abs(v) <= TOLERANCE))
        kept, settled = ("not at the end" if step is None else f"{step:,}" for step in found)
        yield (
            f"| {run.problem} | {run.dual} | {record['steps']:,} | {record['violations']['neg_elbo']:+.2f} |"
            f" {record['multipliers']['neg_elbo']:.2f} | {record['values']['train']['rate'][0]:.2f} |"
            f" {min(record['trace']['neg_elbo']):+.2f} | {kept} | {settled} |"
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
