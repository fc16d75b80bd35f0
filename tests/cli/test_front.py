"""lagvae front and lagvae solve, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lagvae as lv
from lagvae.cli.main import main

NETWORK = ["--hidden", "16", "--latent-dim", "2", "--precision", "float32", "--device", "cpu"]
TINY = ["--data", "digits", "--batch-size", "500", *NETWORK]


def test_a_front_is_trained_shown_and_solved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lagvae.evaluation.density.autoregressive.STEPS", 20)
    front, run = str(tmp_path / "front"), str(tmp_path / "run")
    assert main(["front", *TINY, "--epochs", "4", "--divergence", "none", "--beta-high", "5", "--out", front]) == 0
    shown = capsys.readouterr().out
    assert "amortised front, 11 points: trained; solve problems on it" in shown
    assert f'next     lagvae solve {front} "max mi s.t. neg_elbo <= ' in shown
    assert shown.endswith(f"next     lagvae report {front}\n")
    last = next(line for line in reversed(shown.splitlines()) if line.startswith("│"))
    cells = [cell.strip() for cell in last.strip("│").split("│")]
    assert cells[0] == "5"  # the weight, and then one cell for each column and the mark
    assert len(cells) == 1 + 2 * 3 + 1
    assert cells[-1] in ("", "*")
    assert main(["solve", front, "min distortion + 2*rate", "--out", run]) == 0
    shown = capsys.readouterr().out
    assert "the best of the front, at β = " in shown
    assert "steps in" not in shown  # nothing was trained, so that there are no curves
    assert "tensorboard" not in shown
    assert main(["evaluate", run, "--quick"]) == 0
    capsys.readouterr()
    assert main(["solve", front, "min neg_elbo", "--out", front, "--overwrite"]) == 2
    assert "expected a folder beside the front's as --out" in capsys.readouterr().err
    assert main(["evaluate", front, "--samples", "7"]) == 2
    assert "expected --seed and --json alone for a front" in capsys.readouterr().err
    assert main(["evaluate", front]) == 0
    shown = capsys.readouterr().out
    last = next(line for line in reversed(shown.splitlines()) if line.startswith("│"))
    cells = [cell.strip() for cell in last.strip("│").split("│")]
    assert cells[0] == "5"
    assert [cell[:2] for cell in cells[1:]] == ["≥ ", "≤ ", "≤ "] * 2
    assert f"next     lagvae report {front}" in shown.replace("\n", "")
    assert main(["evaluate", front, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert all("mutual_information" in point["estimates"]["test"] for point in points)
    assert main(["train", "--resume", run]) == 2
    assert "expected a run to resume, got a solution of a front; try lagvae solve" in capsys.readouterr().err
    assert main(["train", "--resume", front]) == 2
    assert "expected a run to resume, got a front; try lagvae front --resume" in capsys.readouterr().err
    assert main(["solve", front, "max mi s.t. neg_elbo <= 1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "infeasible"
    assert main(["solve", front, "max mi s.t. neg_elbo <= 1"]) == 0
    shown = capsys.readouterr().out
    assert ", the front's nearest" in shown
    assert "nan" not in shown
    assert "price" not in shown  # nobody keeps the bound, so that loosening it has none
    assert main(["front", "--resume", front, "--beta-high", "20"]) == 2
    assert "expected the ranges of the front" in capsys.readouterr().err
    assert main(["train", "--config", f"{front}/config.yaml", "--out", run, "--overwrite"]) == 2
    assert "expected the configuration of a run, got a front's" in capsys.readouterr().err
    assert max(point.beta or 0 for point in lv.load_front(front).points) == pytest.approx(5.0)


def test_ranges_make_a_dedicated_front_that_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = str(tmp_path / "front")
    asked = ["front", "max mi s.t. neg_elbo <= 60:70:10", *TINY, "--epochs", "2", "--out", front]
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert "plan: 2 points, dedicated, 6 steps each" in shown.err
    assert "dedicated front, 2 points: " in shown.out
    assert main(asked) == 2
    assert "--resume to go on, --overwrite, or another --out" in capsys.readouterr().err
    for other, message in (
        (["min rate s.t. distortion <= 50"], "expected the problems of the front"),
        (["--method", "path"], "expected the method of the front"),
        (["--out", str(tmp_path / "other")], "expected the --out of the front"),
        (["--beta-high", "20"], "expected no settings of an amortised front for dedicated, got beta_high=20"),
    ):
        assert main(["front", *other, "--resume", front]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    out = ["solve", front, "max mi s.t. neg_elbo <= 70", "--out", str(tmp_path / "run")]
    assert (main(out), main(out), main([*out, "--overwrite"])) == (0, 2, 0)
    capsys.readouterr()
    assert main(["front", "max mi s.t. neg_elbo <= 60:70:10", "--resume", front, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [point["problem"][-2:] for point in again["points"]] == ["60", "70"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["front"], "expected data, got none; try --data mnist"),
        (["front", "--method", "dedicated", *TINY], "expected problems for method='dedicated', got none; try 'max mi"),
        (["front", "max mi s.t. neg_elbo <= 9:1:1", *TINY], "expected a range first:last:step, got '9:1:1'"),
        (["front", "--beta-hihg", "3"], "try '--beta-high'"),
        (["front", "--beta-low", "30", *TINY], "0 < beta_low < beta_high"),
        (["solve", "nowhere", "min neg_elbo"], "expected a run at nowhere"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert len(complaint.splitlines()) == 1
