"""Every estimator against its exact value, in one table: benchmarks/results/truth.md.

    python benchmarks/truth.py                     what is missing; everything, the first time
    python benchmarks/truth.py --only information  one half of it, measured again

A row is kept in benchmarks/results/truth_rows.jsonl as soon as it is measured, and the table is written after each.
What was interrupted goes on with the row that it was at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import truth_evidence
import truth_information
from rich.console import Console
from rich.table import Table
from truth_cases import Case, Row

from lagvae.storage.files import write_whole

HALVES: dict[str, Callable[[], Iterator[Case]]] = {
    "evidence": truth_evidence.cases,
    "information": truth_information.cases,
}
TITLES = {
    "evidence": "The log-likelihood: linear-Gaussian models, whose log p(x) is known",
    "information": "Information and divergence: codes whose law is known",
}
COLUMNS = ("estimator", "case", "truth", "mean", "bias ± error", "coverage", "flag", "repeats")
RESULTS = Path(__file__).parent / "results"
WIDTH = 120
"""Of the table in a terminal."""


def main(results: Path = RESULTS) -> None:
    """Measures what is missing, prints and keeps the rows as they come, and ends with the whole table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(HALVES), help="measure this half again")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    measured = read(results)
    if only:
        measured[only] = []
    for half in [only] if only else HALVES:
        for case in HALVES[half]():
            if not missing(case, measured[half]):
                continue
            measured[half] = [
                row for row in measured[half] if row["case"] != case.name or row["estimator"] not in case.estimators
            ]
            for row in map(to_plain, case.measure()):
                measured[half].append(row)
                print(" · ".join(cells(row)), flush=True)
            write(results, measured)
    for half, rows in measured.items():
        Console(width=WIDTH).print(table(half, rows))


def read(results: Path) -> dict[str, list[Row]]:
    """Returns half → rows that were measured before."""
    path = results / "truth_rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {half: [row["row"] for row in rows if row["half"] == half] for half in HALVES}


def missing(case: Case, rows: list[Row]) -> set[str]:
    """Returns the estimators of a case that were not measured yet."""
    return set(case.estimators) - {row["estimator"] for row in rows if row["case"] == case.name}


def write(results: Path, measured: dict[str, list[Row]]) -> None:
    """Writes the rows, and the table that people read."""
    lines = [json.dumps({"half": half, "row": row}) for half, rows in measured.items() for row in rows]
    write_whole(results / "truth_rows.jsonl", "".join(f"{line}\n" for line in lines).encode())
    write_whole(results / "truth.md", markdown(measured).encode())


def markdown(measured: dict[str, list[Row]]) -> str:
    """Returns the page."""
    lines = [
        "# Every estimator against its exact value",
        "",
        "`python benchmarks/truth.py`. Truth and mean over repeats in the estimator's unit (nats; MMD²); the bias of",
        "that mean with its standard error; coverage: the share of 95 % intervals that hold the truth, low for a bound",
        "that is off by more than its error; flag: the share of estimates that called themselves saturated; repeats:",
        "on how many draws of the data each was measured.",
    ]
    for half, rows in measured.items():
        lines += ["", f"## {TITLES[half]}", ""]
        if any(missing(case, rows) for case in HALVES[half]()):
            lines += ["Not complete.", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
        lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def table(half: str, rows: list[Row]) -> Table:
    """Returns the rows as a terminal shows them."""
    shown = Table(title=TITLES[half])
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
    for row in rows:
        shown.add_row(*cells(row))
    return shown


def cells(row: Row) -> list[str]:
    """Returns a row as text."""
    return [
        row["estimator"],
        row["case"],
        f"{row['truth']:.4g}",
        f"{row['mean']:.4g}",
        f"{row['bias']:+.2g} ± {row['standard_error_of_bias']:.1g}",
        f"{row['coverage']:.0%}",
        f"{row['flag']:.0%}",
        f"{row['repeats']:.0f}",
    ]


def to_plain(row: Row) -> Row:
    """Returns a row of Python's own strings and numbers."""
    return {name: value if isinstance(value, str) else float(value) for name, value in row.items()}


if __name__ == "__main__":
    main()
