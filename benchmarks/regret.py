"""The judge of the dual rules: one run each, against the best of a whole grid of fixed weights.

    python benchmarks/regret.py                      what is cached, as a table; nothing is trained
    python benchmarks/regret.py --train --jobs 2     trains what is missing, two runs at a time; resumes

MNIST, the original's networks, 30 epochs of 220 steps for every run. The grid is 9 values of β, without mmd and with
10,000 mmd, each with constant weights and with weights that grow from 0 over the first third of the run. Its *oracle*
for a problem is the best objective at the problem's bound on the line through the grid's non-dominated runs, all
measured on the training data. Regret is our objective minus the oracle's, in nats: positive is worse, and less than
nothing means that one run beat the grid. Where a problem maximises information, the objective is the distortion; where
it minimises it, the rate. Over the VAE is by how much the objective is better than that of the plain VAE of the same
seed, where that keeps the bounds. Regrets and violations are of the runs that did not diverge. Results:
``benchmarks/results/regret.md``, runs in ``regret_runs.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fixed_weights import grid_runs, weighted_problem
from runs import Cache, Record, Run

import lagvae as lv
from lagvae.terms.algebra import WeightedSum

RESULTS = Path(__file__).parent / "results"
PROBLEMS = (
    *(
        f"{direction} mi s.t. neg_elbo <= {bound}, mmd <= 0.0005"
        for bound in (99, 102, 106)
        for direction in ("min", "max")
    ),
    "min rate s.t. distortion <= 80",
    "min neg_elbo s.t. rate >= 30",
    "min distortion s.t. rate == 15",
)
DEFAULT, OTHERS = "forecast", ("gradient", "geco", "nupi", "augmented_lagrangian", "adam", "zhao2018")
SEEDS = (0, 1, 2)
STEPS = ("first met", "stays met", "oscillation")
REGRETS = ("median regret", "worst regret", "median, kept runs")


def wanted(rules: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Returns every run of the judge: the grid, the plain VAE of every seed, then rule by rule."""
    runs = [Run(problem, rule, seed=seed) for rule in rules for seed in seeds for problem in PROBLEMS]
    return [*grid_runs(), *map(plain_vae, seeds), *runs]


def plain_vae(seed: int) -> Run:
    """Returns the plain VAE of a seed; that of the grid's seed is one of the grid."""
    return Run(weighted_problem(1.0, 0.0), "fixed", seed=seed)


def measured(record: Record, quantity: WeightedSum, part: str = "train") -> float:
    """Returns a weighted sum of terms from a run's final estimates."""
    values = {name.replace("_biased", ""): value for name, (value, _) in record["values"][part].items()}
    return sum(weight * values[term.name] for term, weight in quantity.items)


@dataclass(frozen=True)
class Judge:
    """What the grid achieves on one problem.

    Attributes:
        problem: Its first constraint is the one in nats; any other has to hold for a grid run to count.
        grid: The grid's results.
    """

    problem: lv.Problem
    grid: tuple[Record, ...]

    def point(self, record: Record) -> tuple[float, float]:
        """Returns (violation of the first bound, objective): less is better in both."""
        first, *_ = self.problem.subject_to
        objective = WeightedSum(self.problem.objective.surrogate())
        return first.violation(measured(record, WeightedSum(first.quantity.surrogate()))), measured(record, objective)

    def keeps(self, record: Record) -> bool:
        """Whether a run keeps every bound, within what is tolerated."""
        return all(
            c.is_met_by(measured(record, WeightedSum(c.quantity.surrogate())), slack=c.tolerance)
            for c in self.problem.subject_to
        )

    def front(self) -> list[tuple[float, float]]:
        """Returns the grid's non-dominated points that keep every other bound, by violation."""
        _, *others = self.problem.subject_to
        kept = [
            self.point(record)
            for record in self.grid
            if all(c.violation(measured(record, WeightedSum(c.quantity.surrogate()))) <= 0 for c in others)
        ]
        return sorted(p for p in kept if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in kept))

    def oracle(self, violation: float = 0.0) -> float:
        """Returns the grid's best objective at a violation of the first bound, between its runs on a straight line."""
        violations, objectives = zip(*self.front(), strict=True)
        if not violations[0] <= violation <= violations[-1]:
            return float("nan")
        return float(np.interp(violation, violations, objectives))


@dataclass(frozen=True)
class Verdict:
    """One run of one rule.

    Attributes:
        violations: Of every bound at the end, on the training data.
        regret: Objective minus the oracle's, in nats.
        corrected: Regret against the oracle at the value that the run reached instead of at the bound.
        first_met: The first step at whose log line every bound held; None if there was none.
        stays_met: The step from which on they hold in every log line (means over 50 steps).
        oscillation: Root mean square of the first violation around its trend, over the last fifth.
        over_vae: The plain VAE's objective minus the run's, in nats, where the VAE of its seed keeps the bounds.
    """

    violations: dict[str, float]
    regret: float
    corrected: float
    first_met: int | None
    stays_met: int | None
    oscillation: float
    over_vae: float | None

    @staticmethod
    def of(judge: Judge, record: Record, vae: Record | None) -> Verdict:
        """Judges a run, beside the plain VAE of its seed."""
        violation, objective = judge.point(record)
        trace = record["trace"]
        steps = np.array(trace["step"])
        # A log line averages 50 batches, which leaves a noise of about 0.3 nat.
        met = np.all(
            [
                (np.abs(trace[name]) if c.is_equality else np.array(trace[name])) <= (0.3 if c.in_nats else c.tolerance)
                for name, c in judge.problem.constraints.items()
            ],
            axis=0,
        )
        unmet = np.flatnonzero(~met)
        stays = 0 if len(unmet) == 0 else unmet[-1] + 1
        last = steps > 0.8 * steps[-1]
        first = np.array(trace[judge.problem.names[0]])[last]
        trend = np.polyval(np.polyfit(steps[last], first, 1), steps[last])
        return Verdict(
            violations=record["violations"],
            regret=objective - judge.oracle(),
            corrected=objective - judge.oracle(violation),
            first_met=int(steps[met][0]) if met.any() else None,
            stays_met=int(steps[stays]) if stays < len(steps) else None,
            oscillation=float(np.sqrt(np.mean((first - trend) ** 2))),
            over_vae=judge.point(vae)[1] - objective if vae is not None and judge.keeps(vae) else None,
        )


def is_kept(problem: lv.Problem, violations: dict[str, float]) -> bool:
    """Whether every bound is met within 0.15 nat, and mmd within 2 % of its bound."""
    return all(
        c.is_met_by(c.bound + c.sign * violations[name], slack=c.tolerance) for name, c in problem.constraints.items()
    )


def table(cache: Cache, rules: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Yields the page: the grid, a row per run, a summary per rule, the verdict on the plain VAE."""
    grid = tuple(result for run in grid_runs() if (result := cache.get(run)))
    yield f"# Regret against a grid of fixed weights\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield f"Grid: {len(grid)} of {len(grid_runs())} runs, seed 0.\n"
    summaries = []
    yield from head("problem", "rule", "seed", "violation", "regret", "at its own value", "over the VAE", *STEPS)
    for rule in rules:
        found: list[tuple[lv.Problem, Verdict]] = []
        diverged = 0
        for text in PROBLEMS:
            judge = Judge(lv.Problem.parse(text), grid)
            for seed in seeds:
                record = cache.get(Run(text, rule, seed=seed))
                if record is None:
                    continue
                if record["status"] == "diverged":
                    diverged += 1
                    yield f"| {text} | {rule} | {seed} | diverged |" + " |" * (3 + len(STEPS))
                    continue
                verdict = Verdict.of(judge, record, cache.get(plain_vae(seed)))
                found.append((judge.problem, verdict))
                violations = ", ".join(
                    f"{value:+.2f}" if judge.problem.constraints[name].in_nats else f"{value:+.1e}"
                    for name, value in verdict.violations.items()
                )
                first, stays = (
                    "never" if step is None else f"{step}" for step in (verdict.first_met, verdict.stays_met)
                )
                over_vae = "" if verdict.over_vae is None else f"{verdict.over_vae:+.2f}"
                yield (
                    f"| {text} | {rule} | {seed} | {violations} | {verdict.regret:+.2f} | {verdict.corrected:+.2f} |"
                    f" {over_vae} | {first} | {stays} | {verdict.oscillation:.2f} |"
                )
        if found or diverged:
            summaries.append(summary(rule, found, diverged))
    yield ""
    yield from head("rule", "runs", "diverged", "bounds kept", "worst violation", *REGRETS, "worse than the VAE")
    yield from summaries


def head(*names: str) -> Iterator[str]:
    """Yields a table's first two lines."""
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join('---' for _ in names)} |"


def summary(rule: str, found: Sequence[tuple[lv.Problem, Verdict]], diverged: int) -> str:
    """Returns a rule's row; runs that diverged keep no bound and have no regret."""
    if not found:
        return f"| {rule} | {diverged} | {diverged} | 0 |" + " |" * (2 + len(REGRETS))
    kept = [verdict for problem, verdict in found if is_kept(problem, verdict.violations)]
    worst = max(
        problem.constraints[name].excess(v)
        for problem, verdict in found
        for name, v in verdict.violations.items()
        if problem.constraints[name].in_nats
    )
    regrets = [verdict.regret for _, verdict in found]
    median = f"{statistics.median(v.regret for v in kept):+.2f}" if kept else ""
    beside = [verdict.over_vae for _, verdict in found if verdict.over_vae is not None]
    return (
        f"| {rule} | {len(found) + diverged} | {diverged} | {len(kept)} | {worst:+.2f} nat |"
        f" {statistics.median(regrets):+.2f} | {max(regrets):+.2f} | {median} |"
        f" {sum(gain < 0 for gain in beside)} of {len(beside)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    parser.add_argument("--device", default="cpu", help="cuda: as stacks on a graphics processor")
    parser.add_argument("--rules", nargs="*", default=[DEFAULT, *OTHERS])
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    arguments = parser.parse_args()
    cache = Cache(RESULTS / "regret_runs.jsonl")
    if arguments.train:
        cache.fill(wanted(arguments.rules, arguments.seeds), jobs=arguments.jobs, device=arguments.device)
    page = "\n".join(table(cache, arguments.rules, arguments.seeds)) + "\n"
    (RESULTS / "regret.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
