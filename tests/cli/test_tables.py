"""The tables that end a command: what they say, and that they fit 80 columns."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from pathlib import Path

import pytest
from rich.console import Console

import lagvae as lv
from lagvae.cli.tables import bound_table, describe_weights, print_solution
from lagvae.evaluation.evaluate import Evaluation
from tiny_runs import run

from .conftest import TINY, Command

HARD = "max mi s.t. neg_elbo <= 15, mmd <= 2e-2"


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> lv.Solution:
    return run(tmp_path_factory.mktemp("hard") / "run", HARD)


def weighted(
    problem: str, multipliers: dict[str, float], weights: dict[str, float], hard: lv.Solution, *, at_bound: bool = True
) -> lv.Solution:
    violations = dict.fromkeys(multipliers, 0.0 if at_bound else -1e9)
    return dataclasses.replace(
        hard, problem=lv.Problem.parse(problem), multipliers=multipliers, violations=violations, weights=weights
    )


def shown(solution: lv.Solution, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    print_solution(solution)
    return capsys.readouterr().out.splitlines()


def test_a_missed_bound_is_answered(
    hard: lv.Solution, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = [d for d in hard.diagnosis if d.name == "neg_elbo"]
    lines = shown(hard, capsys, monkeypatch)
    start = next(number for number, line in enumerate(lines) if line.startswith("missed: neg_elbo <= 15"))
    value, multiplier, because, *_ = lines[start + 1 :]
    assert value.split()[:5] == ["value", f"{found.value:.2f}", "at", "the", "end,"]
    assert f"best {found.best:.2f} at epoch {found.best_epoch:.3g}" in value
    assert found.multiplier in multiplier
    assert found.why[:40] in because
    assert any(f"'neg_elbo <= {found.reachable:g}', which is within reach at this budget" in line for line in lines)


def test_the_suggestion_can_be_pasted_and_is_another_run(hard: lv.Solution, lagvae: Command, tmp_path: Path) -> None:
    assert lagvae("train", "max mi s.t. neg_elbo <= 5", *TINY, "--out", "a run").status == 0
    answer = lagvae("train", "--resume", "a run", "--quiet")
    printed = [shlex.split(line) for line in answer.out.splitlines() if line.startswith("  lagvae train ")]
    wider = next(words for words in printed if "a run-wider" in words)
    assert wider[2] == lv.load(tmp_path / "a run").suggestion
    assert lagvae(*wider[1:], "--quiet").status == 0
    assert str(lv.load(tmp_path / "a run-wider").problem) == wider[2]


def test_everything_but_commands_fits_80_columns(
    hard: lv.Solution, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hard.evaluation is not None
    parts = {**hard.evaluation.estimates, "held_out": hard.evaluation["test"]}
    three = dataclasses.replace(hard, evaluation=Evaluation(hard.problem, parts), folder=None)
    lines = shown(three, capsys, monkeypatch)
    # The status is one line for whoever reads the output by machine; the terminal wraps it.
    assert max(len(line) for line in lines if not line.startswith("INFEASIBLE")) <= 80
    (row,) = [line for line in lines if line.startswith("│ mmd, unbiased")]
    assert row.count("±") == 3
    assert [line.split("│")[1].strip() for line in lines if line.startswith("│ ")][5:] == [
        "violation, train", "violation, test", "violation, held-out", "multiplier", "price", "active",
    ]  # fmt: skip


def test_a_price_for_each_bound(hard: lv.Solution) -> None:
    assert hard.evaluation is not None
    solution = dataclasses.replace(hard, multipliers={"neg_elbo": 1.43, "mmd": 800.0})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(bound_table(solution, hard.evaluation))
    lines = capture.get().splitlines()
    (price,) = [line for line in lines if "price" in line]
    assert [cell.strip() for cell in price.split("│")[2:4]] == ["1.43 nats per nat", "0.08 nats per 1e-4"]
    (active,) = [line for line in lines if "active" in line]
    assert active.split("│")[2].strip() == "yes"


def test_a_bound_whose_multiplier_is_not_known_has_a_dash(hard: lv.Solution) -> None:
    assert hard.evaluation is not None
    solution = dataclasses.replace(hard, multipliers={"neg_elbo": 1.43, "mmd": math.nan})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(bound_table(solution, hard.evaluation))
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in capture.get().splitlines()]
    assert ["multiplier", "1.43", "–"] in rows
    assert ["price", "1.43 nats per nat", "–"] in rows
    assert ["active", "yes", "–"] in rows


@pytest.mark.parametrize(
    ("problem", "multipliers", "weights", "said"),
    [
        (
            "min mi s.t. neg_elbo <= 100", {"neg_elbo": 1.43}, {"distortion": 1.43, "rate": 2.43},
            "effective weights: distortion 1, rate 1.7 (β): this solution is the β-VAE with β = 1.7",
        ),
        ("min neg_elbo", {}, {"distortion": 1.0, "rate": 1.0}, "effective weights: distortion 1, rate 1 (β): the VAE"),
        (
            "max mi s.t. neg_elbo <= 100, mmd <= 5e-4", {"neg_elbo": 0.25, "mmd": 500.0},
            {"distortion": 1.25, "rate": 0.25, "mmd": 500.0},
            "effective weights: distortion 1, rate 0.2 (β), mmd 400 (γ):"
            " this solution is the InfoVAE with β = 0.2 and γ = 400",
        ),
        (
            "max mi s.t. neg_elbo <= 100, mmd <= 5e-4", {"neg_elbo": 0.25, "mmd": 100.0},  # inactive
            {"distortion": 1.25, "rate": 0.25, "mmd": 100.0},
            "effective weights: distortion 1, rate 0.2 (β), mmd 80 (γ): this solution is the β-VAE with β = 0.2",
        ),
        (
            "min distortion s.t. rate == 9", {"rate": -0.5}, {"distortion": 1.0, "rate": -0.5},
            "effective weights: distortion 1, rate -0.5 (β)",
        ),
        (
            "min rate s.t. rate <= 5", {"rate": 0.0}, {"distortion": 0.0, "rate": 1.0},
            "effective weights: distortion 0, rate 1. Nothing is asked of distortion: there is no β.",
        ),
    ],
)  # fmt: skip
def test_the_weights_in_words(
    problem: str, multipliers: dict[str, float], weights: dict[str, float], said: str, hard: lv.Solution
) -> None:
    assert describe_weights(weighted(problem, multipliers, weights, hard)) == said


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("max mi s.t. neg_elbo <= 60", "price: how much better 'max mutual_information' gets by loosening a bound"),
        ("min distortion s.t. rate == 2", "gets by loosening (of ==, raising) a bound by one unit"),
        ("min 0 s.t. neg_elbo <= 60", "(nothing is optimised: only their ratios matter)"),
    ],
)
def test_what_a_price_is(
    problem: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(run(problem=problem), capsys, monkeypatch)
    assert said in " ".join(" ".join(lines).split())


def test_json_in_place_of_tables(lagvae: Command, tmp_path: Path) -> None:
    answer = lagvae("train", "max mi s.t. neg_elbo <= 5", *TINY, "--out", "run", "--json")
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert len(kept.pop("checksum")) == 16
    assert found == kept
    assert found["diagnosis"][0]["name"] == "neg_elbo"
    assert found["suggestion"].startswith("max mutual_information s.t. neg_elbo <= ")
    assert found["prices"] == found["multipliers"]
    assert found["active"] == ["neg_elbo"]
    assert found["beta"] == pytest.approx(found["weights"]["rate"] / found["weights"]["distortion"])
