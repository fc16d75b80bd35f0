"""Every estimator against its exact value, in one table: benchmarks/results/truth.md.

    python benchmarks/truth.py                     what is missing; everything, the first time
    python benchmarks/truth.py --only information  one half of it, measured again

A row is kept in benchmarks/results/truth_rows.jsonl as soon as it is measured, and the table is written after each.
A half that was interrupted is measured again, from its start; one that is complete stays as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import truth_evidence
import truth_information
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

HALVES: dict[str, Callable[[], Iterator[Row]]] = {
    "evidence": truth_evidence.rows,
    "information": truth_information.rows,
}
TITLES = {
    "evidence": "The log-likelihood: linear-Gaussian models, whose log p(x) is known",
    "information": "Information and divergence: codes whose law is known",
}
COLUMNS = ("estimator", "case", "truth", "mean", "bias ± error", "coverage", "flag")
RESULTS = Path(__file__).parent / "results"
END = "end"
"""The line that says that a half is complete."""
WIDTH = 120
"""Of the table in a terminal."""


def main(results: Path = RESULTS) -> None:
    """Measures what is missing, prints and keeps the rows as they come, and ends with the whole table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(HALVES), help="measure this half again")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    measured = read(results)
    for half in [only] if only else [half for half in HALVES if not is_complete(measured[half])]:
        measured[half] = []
        for row in HALVES[half]():
            measured[half].append(to_plain(row))
            write(results, measured)
            print(" · ".join(cells(measured[half][-1])), flush=True)
        measured[half].append({END: True})
        write(results, measured)
    for half, rows in measured.items():
        Console(width=WIDTH).print(table(half, rows))


def read(results: Path) -> dict[str, list[Row]]:
    """Returns half → rows that were measured before, the last of which says whether they are all."""
    path = results / "truth_rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {half: [row["row"] for row in rows if row["half"] == half] for half in HALVES}


def is_complete(rows: list[Row]) -> bool:
    """Whether a half was measured to its end."""
    return bool(rows) and END in rows[-1]


def write(results: Path, measured: dict[str, list[Row]]) -> None:
    """Writes the rows, and the table that people read."""
    lines = [json.dumps({"half": half, "row": row}) for half, rows in measured.items() for row in rows]
    (results / "truth_rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (results / "truth.md").write_text(markdown(measured))


def markdown(measured: dict[str, list[Row]]) -> str:
    """Returns the page."""
    lines = [
        "# Every estimator against its exact value",
        "",
        "`python benchmarks/truth.py`. Truth and mean over repeats in the estimator's unit (nats; MMD²); the bias of",
        "that mean with its standard error; coverage: the share of 95 % intervals that hold the truth, low for a bound",
        "that is off by more than its error; flag: the share of estimates that called themselves saturated.",
    ]
    for half, rows in measured.items():
        lines += ["", f"## {TITLES[half]}", ""]
        if not is_complete(rows):
            lines += ["Not complete.", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
        lines += [f"| {' | '.join(cells(row))} |" for row in rows if END not in row]
    return "\n".join(lines) + "\n"


def table(half: str, rows: list[Row]) -> Table:
    """Returns the rows as a terminal shows them."""
    shown = Table(title=TITLES[half])
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
    for row in (row for row in rows if END not in row):
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
    ]


def to_plain(row: Row) -> Row:
    """Returns a row of Python's own strings and numbers."""
    return {name: value if isinstance(value, str) else float(value) for name, value in row.items()}


if __name__ == "__main__":
    main()
