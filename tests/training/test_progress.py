"""What is shown while it runs fits a narrow terminal, and says what the multipliers mean."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

import lagvae as lv
from lagvae.training.progress import (
    LiveTable,
    PlainLines,
    constraint_table,
    format_price,
    short_exponent,
    staged_progress,
)
from tiny_runs import run


@pytest.fixture(scope="module")
def solution() -> lv.Solution:
    return run(problem="max mi s.t. neg_elbo <= 20, mmd <= 2e-2, rate >= 1")


def shown(content: Any, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(content)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_table_has_a_line_for_each_term_and_fits_80_columns(solution: lv.Solution) -> None:
    record = solution.history[-1]
    head, *rows = shown(constraint_table(record))
    assert head.split() == ["term", "value", "bound", "violation", "price", "active", "weight"]
    assert [row.split()[0] for row in rows[:-1]] == ["distortion", "rate", "mmd", "neg_elbo"]
    assert rows[0].split()[-1] == "1"
    assert rows[1].split()[-1] == f"{record['beta']:.3g}"
    assert "nats per 1e-4" in rows[2]
    assert rows[3].split()[-5:] == [f"{solution.prices['neg_elbo']:.3g}", "nats", "per", "nat", "yes"]
    assert rows[-1].strip() == "price: gain per unit of bound loosened; weight of distortion = 1"


def test_the_table_of_a_problem_that_asks_nothing_of_distortion(solution: lv.Solution) -> None:
    record = {**solution.history[-1], "beta": None}
    record["weights"] = {**record["weights"], "distortion": 0.0, "rate": 0.25}
    _, *rows = shown(constraint_table(record))
    assert [row.split()[-1] for row in rows[:2]] == ["0", "0.25"]
    assert "distortion = 1" not in rows[-1]


def test_a_live_display_redraws_it(solution: lv.Solution) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    with LiveTable(console, 18, 0, 3) as display:
        display.show(solution.history[-1])
    assert "nats per nat" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_plain_line(solution: lv.Solution) -> None:
    record = solution.history[-1]
    console = Console(file=io.StringIO(), width=80)
    with PlainLines(console, 18, 0, 3) as display:
        display.show(record)
    (line,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    loss = record["constraints"]["neg_elbo"]
    assert (
        f"[neg_elbo: violation {loss['violation']:+.2g}, multiplier {loss['multiplier']:.3g},"
        f" price {loss['multiplier']:.3g} nats per nat, active]"
    ) in line
    assert f"nats per 1e-4, {'active' if record['constraints']['mmd']['active'] else 'inactive'}]" in line
    assert f" beta {record['beta']:.3g} gamma {record['gamma']:.3g} left " in line
    bare = {**record, "beta": None, "gamma": None}
    with PlainLines(console, 18, 0, 3) as display:
        display.show(bare)
    assert "beta" not in console.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]


def test_a_long_run_says_something_every_minute(solution: lv.Solution, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=80)
    with PlainLines(console, 100_000, 0, 3) as display:
        for step in range(10, 400, 10):  # ten steps in four seconds: a twentieth of the run takes half an hour
            now += 4.0
            display.show({**solution.history[-1], "step": step})
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[1] for line in lines] == ["150/100000", "300/100000"]
    assert lines[0].endswith("left 11.1 h")


def test_a_long_measurement_says_something_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=80)
    with staged_progress(show=True, before="point 1 of 2: ", console=console) as stage:
        for what in ("codes", "log-likelihood"):
            advance = stage(what, 100)
            for _ in range(10):
                now += 8.0
                advance(10)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["point 1 of 2: codes 80%", "point 1 of 2: log-likelihood 60%"]


def test_a_short_measurement_says_nothing_in_a_log() -> None:
    console = Console(file=io.StringIO(), width=80)
    with staged_progress(show=True, console=console) as stage:
        stage("codes", 2)(2)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_front_shows_means_over_all_weights(solution: lv.Solution) -> None:
    record = {**solution.history[-1], "weights": {}, "constraints": {}, "beta": None, "gamma": None}
    console = Console(file=io.StringIO(), width=80)
    console.print(constraint_table(record))
    with PlainLines(console, 18, 0, 3) as display:
        display.show(record)
    *table, line = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    rate = f"{record['terms']['rate']:.2f}"
    assert table[0].split(maxsplit=1) == ["term", "mean over all weights"]
    assert ["rate", rate] in [row.split() for row in table]
    assert f"epoch 3.0/3 mean over all weights: distortion {record['terms']['distortion']:.2f} rate {rate} " in line
    assert "beta" not in line


@pytest.mark.parametrize(
    ("long", "short"), [("2.5e-04", "2.5e-4"), ("1e+06", "1e6"), ("3e-12", "3e-12"), ("2e+12", "2e12"), ("10", "10")]
)
def test_exponents_without_padding(long: str, short: str) -> None:
    assert short_exponent(long) == short


def test_a_price_with_its_unit() -> None:
    assert format_price(0.0801, "nats per 1e-4") == "0.0801 nats per 1e-4"
    assert format_price(3.456e-6, "nats per nat") == "3.46e-6 nats per nat"
