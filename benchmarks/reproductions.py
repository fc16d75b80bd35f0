"""Published figures and ours: benchmarks/results/reproductions.md, from which docs/reproductions.md is filled.

    python benchmarks/reproductions.py                   trains, measures and writes what is missing
    python benchmarks/reproductions.py --only-print      writes the page from what is there
    python benchmarks/reproductions.py --epochs 5000     the original's two commands at the published length

Three parts, each resumable. The README commands of [LagVAE]'s code, run as its users run them (examples/, with
``--epochs``). Fixed weights: the runs of ``benchmarks/regret.py``, read from its cache, beside the published points
that are best for the same weights. Log-likelihoods: ``benchmarks/reproductions_likelihood.py``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import reproductions_likelihood
from fixed_weights import weighted_problem
from runs import Cache, Run
from step_time import hardware

RESULTS = Path(__file__).parent / "results"
EXAMPLES = Path(__file__).parents[1] / "examples"

Point = tuple[float, float]
"""neg_elbo and information, in nats, on the training data."""

COMMANDS: dict[str, tuple[str, Point]] = {
    # Published: the figure of [LagVAE], read off to ± 0.1 and ± 0.3 nats. It has no labels: for fixed multipliers
    # (2 on the distortion, 1 on the rate) the point of InfoVAE that is best for them.
    "infovae.py --mi=1.0 --e1=1.0 --e2=1.0": ("infovae_mi=1.0_e1=1.0_e2=1.0_z=64", (87.49, 38.4)),
    "lagvae.py --mi=1.0 --e1=86.0 --e2=5.0": ("lagvae_mi=1.0_e1=86.0_e2=5.0_z=64", (85.91, 35.9)),
}
WEIGHTS: dict[float, tuple[Point, Point]] = {
    # β: the points of LagVAE and InfoVAE in that figure with the lowest D + βR = neg_elbo + (β - 1) R.
    0.6: ((85.91, 35.9), (84.95, 32.7)),
    1.0: ((82.78, 24.1), (83.60, 21.3)),
    1.7: ((85.21, 18.3), (84.23, 19.2)),
    3.0: ((92.20, 13.0), (95.52, 12.0)),
}


def run_commands(folder: Path, epochs: int) -> None:
    """Runs the two commands, or goes on with them, as a user would."""
    environment = {**os.environ, "EXP_LOG_PATH": str(folder)}
    for command, (name, _) in COMMANDS.items():
        if not (folder / name / "evaluation.json").exists():
            script, *flags = command.split()
            subprocess.run(
                [sys.executable, str(EXAMPLES / script), *flags, f"--epochs={epochs}"], env=environment, check=True
            )


def collect(folder: Path, epochs: int, kept: dict[str, Any]) -> dict[str, Any]:
    """Returns the commands' results by command and length: those kept, and those that lie in the folder."""
    for command, (name, _) in COMMANDS.items():
        path, key = folder / name / "evaluation.json", f"{command} --epochs={epochs}"
        if key in kept or not path.exists():
            continue
        found = json.loads(path.read_text())
        kept[key] = {
            "command": command,
            "epochs": epochs,
            "values": {
                part: {
                    quantity: [found["estimates"][part][quantity][field] for field in ("value", "standard_error")]
                    for quantity in ("neg_elbo", "distortion", "rate", "mmd_biased")
                }
                for part in ("train", "test")
            },
            "multipliers": found["multipliers"],
            "status": found["status"],
            "seconds": found["seconds"],
            "steps": found["step"],
            "hardware": hardware(),
            "date": datetime.date.today().isoformat(),
        }
    return kept


def page(commands: dict[str, Any], grid: Cache, likelihoods: str) -> str:
    """Returns the page."""
    lines = [
        "# Reproductions",
        "",
        "`python benchmarks/reproductions.py`. Nats per example; mmd biased, times 10,000. Published points are read",
        "off the figure of [LagVAE] (training data, 1.1 million steps; ± 0.1 in neg_elbo, ± 0.3 in information).",
        "",
        "## The original's two commands",
        "",
        "| command | epochs | part | neg_elbo | rate | mmd | published: neg_elbo, information | hardware | date |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for record in commands.values():
        _, published = COMMANDS[record["command"]]
        for part, values in record["values"].items():
            beside = f"{published[0]}, {published[1]}" if part == "train" else "-"
            lines.append(
                f"| {record['command']} | {record['epochs']} | {part} | {with_error(values['neg_elbo'])} |"
                f" {with_error(values['rate'])} | {1e4 * values['mmd_biased'][0]:.2f} | {beside} |"
                f" {record['hardware']} | {record['date']} |"
            )
    lines += [
        "",
        "## Fixed weights: min D + β R, 30 epochs of 220 steps",
        "",
        "Published: the points of LagVAE and of InfoVAE with the lowest D + βR; `excess` is ours above the lower one.",
        "",
        "| β | weights | neg_elbo, train | rate, train | neg_elbo, test | LagVAE | InfoVAE | excess |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for beta, points in WEIGHTS.items():
        for dual, words in (("fixed", "constant"), ("warmup", "risen over a third")):
            found = grid.get(Run(weighted_problem(beta, 0.0), dual))
            if found is None or "values" not in found:
                continue
            train, test = found["values"]["train"], found["values"]["test"]
            cost = train["distortion"][0] + beta * train["rate"][0]
            best = min(neg_elbo + (beta - 1) * rate for neg_elbo, rate in points)
            shown = " | ".join(f"{neg_elbo}, {rate}" for neg_elbo, rate in points)
            lines.append(
                f"| {beta:g} | {words} | {with_error(train['neg_elbo'])} | {with_error(train['rate'])} |"
                f" {with_error(test['neg_elbo'])} | {shown} | {cost - best:+.1f} |"
            )
    return "\n".join([*lines, "", "## Log-likelihood", "", likelihoods, ""])


def with_error(pair: list[float]) -> str:
    """Returns value ± standard error."""
    return f"{pair[0]:.2f} ± {pair[1]:.2f}"


def main() -> None:
    """Trains what is missing, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30, help="of the two commands")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only-print", action="store_true")
    options = parser.parse_args()
    results: Path = options.results
    folder = results / reproductions_likelihood.FOLDER / f"commands-{options.epochs}"
    likelihoods = Cache(results / reproductions_likelihood.CACHE)
    runs = reproductions_likelihood.plan()
    if not options.only_print:
        run_commands(folder, options.epochs)
    path = results / "reproductions_commands.json"
    commands = collect(folder, options.epochs, json.loads(path.read_text()) if path.exists() else {})
    path.write_text(json.dumps(commands, indent=2) + "\n")
    if not options.only_print:
        reproductions_likelihood.fill(likelihoods, runs, folder=results / reproductions_likelihood.FOLDER)
    text = page(commands, Cache(RESULTS / "regret_runs.jsonl"), reproductions_likelihood.table(likelihoods, runs))
    (results / "reproductions.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
