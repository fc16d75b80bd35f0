"""The default dual rule, untouched, on other data and networks.

    python benchmarks/elsewhere.py                      what is cached, as a table; nothing is trained
    python benchmarks/elsewhere.py --train --jobs 2     trains what is missing, two runs at a time; resumes

For every case the plain VAE of the same budget comes first; information is then minimised and maximised within 4 nats
of it (``neg_elbo <= best + 4`` without a second probe), once with a bound on mmd that binds. A run passes if its bounds
hold on the training data within 0.15 nat (2 % of an mmd bound) and its objective is at least as good as the VAE's,
which is feasible. Results: ``benchmarks/results/elsewhere.md``, runs in ``elsewhere_runs.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runs import Cache, Run

import lagvae as lv

RESULTS = Path(__file__).parent / "results"
VAE = "min neg_elbo"
SMALL: dict[str, Any] = {"hidden": (256, 256), "activation": "gelu"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "digits, latent 10": ("digits", {**SMALL, "latent_dim": 10, "epochs": 200, "batch_size": 100}),
    "mnist, latent 2": ("mnist", {**SMALL, "latent_dim": 2, "epochs": 15}),
    "mnist, latent 10": ("mnist", {**SMALL, "latent_dim": 10, "epochs": 15}),
    "mnist, latent 64": ("mnist", {**SMALL, "latent_dim": 64, "epochs": 15}),
    "mnist, convolutional": ("mnist", {"network": "convolutional", "latent_dim": 16, "epochs": 10}),
    "fashion-mnist": ("fashion-mnist", {**SMALL, "epochs": 15}),
}
WITH_MMD = "mnist, latent 10", "max", "mmd(estimator=unbiased) <= 0.0005"


def case_runs(cache: Cache, case: str) -> list[Run]:
    """Returns the case's runs that can be named now: those with bounds wait for the VAE."""
    data, settings = CASES[case]
    options = tuple(sorted(settings.items()))
    vae = Run(VAE, "forecast", data, settings=options)
    found = cache.get(vae)
    if found is None or "values" not in found:
        return [vae]
    bound = round(found["values"]["train"]["neg_elbo"][0] + 4, 1)
    problems = [f"{direction} mi s.t. neg_elbo <= {bound:g}" for direction in ("min", "max")]
    if case == WITH_MMD[0]:
        problems.append(f"{WITH_MMD[1]} mi s.t. neg_elbo <= {bound:g}, {WITH_MMD[2]}")
    return [vae, *(Run(problem, "forecast", data, settings=options) for problem in problems)]


def table(cache: Cache) -> Iterator[str]:
    """Yields the page."""
    yield f"# The default rule elsewhere\n\n{__doc__.split(chr(10), 1)[1].strip()}\n"
    yield "| case | problem | violation | multiplier | distortion | rate | neg_elbo | passes |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for case in CASES:
        vae: dict[str, float] = {}
        for run in case_runs(cache, case):
            record = cache.get(run)
            if record is None:
                continue
            if "values" not in record:
                yield f"| {case} | {run.problem} | {record['status']} | | | | | no |"
                continue
            values = {name: value for name, (value, _) in record["values"]["train"].items()}
            vae = vae or values
            problem = lv.Problem.parse(run.problem)
            kept = all(
                c.is_met_by(c.bound + c.sign * record["violations"][name], slack=c.tolerance)
                for name, c in problem.constraints.items()
            )
            objective = "distortion" if run.problem.startswith("max") else "rate"
            is_better = not problem.subject_to or "mmd" in run.problem or values[objective] <= vae[objective]
            violations = ", ".join(f"{value:+.2g}" for value in record["violations"].values())
            multipliers = ", ".join(f"{value:.3g}" for value in record["multipliers"].values())
            numbers = " | ".join(f"{values[name]:.2f}" for name in ("distortion", "rate", "neg_elbo"))
            yield (
                f"| {case} | {run.problem} | {violations} | {multipliers} | {numbers} |"
                f" {'yes' if kept and is_better else 'no'} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    arguments = parser.parse_args()
    cache = Cache(RESULTS / "elsewhere_runs.jsonl")
    if arguments.train:
        for _ in range(2):  # the plain VAEs, then what their neg_elbo bounds
            cache.fill([run for case in arguments.cases for run in case_runs(cache, case)], jobs=arguments.jobs)
    page = "\n".join(table(cache)) + "\n"
    (RESULTS / "elsewhere.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
