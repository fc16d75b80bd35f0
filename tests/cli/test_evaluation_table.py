"""The table of an evaluation: what it says of constraints, and that three parts fit 80 columns."""

from __future__ import annotations

import pytest

import lagvae as lv
from lagvae.cli.evaluation_table import print_evaluation

LONG = "mmd(kernel=imq, estimator=unbiased) <= 0.0005"


def shown(
    problem: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    parsed = lv.Problem.parse(problem)
    estimate = lv.Estimate(-1234.56, 0.12, "nats per example", "lower", "by hand", 100, is_saturated=True, samples=1000)
    found = {f"constraint {name}": estimate for name in parsed.constraints} | {"log_likelihood": estimate}
    print_evaluation(lv.Evaluation(parsed, dict.fromkeys(parts, found)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "held_out", "test")])
def test_the_widest_cells_are_shown_in_80_columns(
    parts: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(f"max mi s.t. neg_elbo <= 86, {LONG}", parts, capsys, monkeypatch)
    assert max(len(line) for line in lines[1:]) <= 80
    (row,) = [line for line in lines if line.startswith("log-likelihood") and "±" in line]
    assert row.count("≥ -1234.56 ± 0.1*") == len(parts)


def test_a_long_constraint_goes_by_its_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(f"max mi s.t. neg_elbo <= 86, {LONG}", ("train", "held_out", "test"), capsys, monkeypatch)
    start = next(number for number, line in enumerate(lines) if line.startswith("neg_elbo <= 86"))
    assert [line.split("  ")[0] for line in lines[start : start + 4]] == ["neg_elbo <= 86", "", "constraint 2", ""]
    assert f"constraint 2: {LONG}" in lines


def test_a_constraint_that_fits_goes_by_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown("max mi s.t. distortion + 0.5*rate <= 90.25", ("train", "test"), capsys, monkeypatch)
    assert any(line.startswith("distortion + 0.5*rate <= 90.25  nats") for line in lines)
    assert not any(line.startswith("constraint") for line in lines)
