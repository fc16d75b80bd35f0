"""State a problem, train, and read the answer, as it is typed."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lagvae as lv
from lagvae.data.dataset import open_data
from lagvae.storage.folder import RunFolder

from .conftest import EASY, TINY, Answer, Command, process

Finished = tuple[Path, Answer]
QUANTITIES = ("distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased")


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def test_training_reaches_its_bounds_and_says_so(finished: Finished) -> None:
    folder, answer = finished
    assert answer.status == 0
    assert "FEASIBLE: every bound holds on the training data" in answer.out
    for said in (
        "neg_elbo <= 28",
        "mmd <= 0.005",
        "±",
        "run/report.png",
        "tensorboard --logdir run",
        "lagvae evaluate run",
        "lagvae encode run",
        "lagvae sample run",
    ):
        assert said in answer.out
    assert "Traceback" not in answer.err
    assert answer.err.splitlines()[-1].startswith("step 600/600 epoch 40.0/40 ")
    assert {path.name for path in folder.iterdir()} - {"estimates.json"} == {
        "config.yaml", "metrics.jsonl", "checkpoints", "tensorboard", "evaluation.json", "report.png",
    }  # fmt: skip


def test_what_came_out(finished: Finished) -> None:
    found = read(finished[0])
    assert found["status"] == "feasible"
    assert found["step"] == 600
    assert set(found["multipliers"]) == {"neg_elbo", "mmd"}
    assert all(value >= 0 for value in found["multipliers"].values())
    for part in ("train", "test"):
        for name in QUANTITIES:
            assert math.isfinite(found["estimates"][part][name]["value"])
            assert found["estimates"][part][name]["standard_error"] > 0
        for name, bound in (("neg_elbo", 28), ("mmd", 5e-3)):
            value = found["estimates"][part][f"constraint {name}"]["value"]
            assert found["violations"][part][name] == pytest.approx(value - bound, abs=1e-9)
    assert found["feasible"]["train"] is True
    assert found["violations"]["train"]["neg_elbo"] < 0.15
    assert found["violations"]["train"]["mmd"] < 0.02 * 5e-3
    assert found["residuals"]["feasibility"] == pytest.approx(
        max(found["violations"]["train"]["neg_elbo"] / 28, found["violations"]["train"]["mmd"] / 5e-3)
    )


def test_the_log_has_a_line_for_every_fiftieth_step(finished: Finished) -> None:
    records = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(50, 601, 50))
    assert records[-1]["constraints"]["neg_elbo"]["multiplier"] == read(finished[0])["multipliers"]["neg_elbo"]


def test_evaluate_agrees(finished: Finished, lagvae: Command) -> None:
    folder, _ = finished
    own, before = read(folder), (folder / "evaluation.json").read_bytes()
    answer = lagvae("evaluate", folder, "--quick", "--json", "--seed", 7)
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["problem"] == own["problem"]
    for part in ("train", "test"):
        for name in QUANTITIES:
            ours, theirs = found["estimates"][part][name], own["estimates"][part][name]
            error = math.hypot(ours["standard_error"], theirs["standard_error"])
            # The two batches of the test part tell little about the error of an mmd.
            allowed = 5 * error if "mmd" not in name or part == "train" else 5e-3
            assert 0 < abs(ours["value"] - theirs["value"]) < allowed
        for name, bound in (("neg_elbo", 28), ("mmd", 5e-3)):
            value = found["estimates"][part][f"constraint {name}"]["value"]
            assert found["violations"][part][name] == pytest.approx(value - bound, abs=1e-9)
    assert (
        json.loads(lagvae("evaluate", folder, "--quick", "--json").out)["estimates"] == own["estimates"]
    )  # the same seed
    assert (folder / "evaluation.json").read_bytes() == before


def test_evaluate_prints_a_table(finished: Finished, lagvae: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run, ignore=shutil.ignore_patterns("estimates.json"))
    answer = lagvae("evaluate", run, "--quick")
    assert answer.status == 0
    for said in (
        "Is it feasible?",
        "neg_elbo <= 28",
        *QUANTITIES[:3],
        "mmd, biased",
        "train: every bound holds",
        "nats",
    ):
        assert said in answer.out
    assert "log-likelihood" not in answer.out
    assert not (run / "estimates.json").exists()


def test_evaluate_answers_every_question_in_80_columns(
    finished: Finished, lagvae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("lagvae.evaluation.density.autoregressive.STEPS", 100)
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    answer = lagvae("evaluate", run, "--samples", 30, "--examples", 100)
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines if "?" in line] == [
        "Is it feasible?", "How good is the model?", "How much information does the code carry?",
        "Is the latent space used?",
    ]  # fmt: skip
    assert "log-likelihood: K = 30 draws, on 100 train, 100 test" in lines
    for row in ("log-likelihood", "mixture of codes", "fitted density", "total correlation", "linear probe"):
        (line,) = [line for line in lines if line.startswith(row) and "±" in line]
        assert line.count("±") == 2
    found = json.loads((run / "estimates.json").read_text())
    assert list(found) == [
        "step", "seed", "data", "problem", "questions", "estimates", "violations", "feasible", "checksum",
    ]  # fmt: skip
    assert (found["step"], found["seed"], found["data"]) == (600, 0, "digits")
    assert found["estimates"]["test"]["log_likelihood"]["samples"] == 30
    assert found["estimates"]["train"]["rate"] == read(run)["estimates"]["train"]["rate"]
    assert lv.load(run).evaluation is not None


def test_evaluate_on_other_data(finished: Finished, lagvae: Command, tmp_path: Path) -> None:
    digits = open_data("digits")
    np.save(tmp_path / "inverted.npy", 255 - np.asarray(digits.train.values))
    answer = lagvae("evaluate", finished[0], "--quick", "--data", "inverted.npy", "--json")
    assert answer.status == 0
    found = json.loads(answer.out)
    assert found["feasible"]["train"] is False
    assert found["violations"]["train"]["neg_elbo"] > 5
    assert found["estimates"]["train"]["rate"]["examples"] == 1350
    np.save(tmp_path / "wide.npy", np.zeros((300, 1, 9, 9), dtype=np.uint8))
    refused = lagvae("evaluate", finished[0], "--data", "wide.npy")
    assert refused.status == 2
    assert (
        "lagvae: expected examples of shape (1, 8, 8), as those that the model was trained on, got (1, 9, 9)"
        in refused.err
    )


def test_sample_writes_a_picture(finished: Finished, lagvae: Command, tmp_path: Path) -> None:
    answer = lagvae("sample", finished[0], "--n", 12, "--out", "twelve.png")
    assert (answer.status, answer.out) == (0, "12 samples in twelve.png\n")
    with Image.open(tmp_path / "twelve.png") as picture:
        scale = 800 // (4 * 9 + 1)
        assert picture.size == ((4 * 9 + 1) * scale, (3 * 9 + 1) * scale)
        assert 0 < np.asarray(picture).mean() < 255
    assert lagvae("sample", finished[0]).out == "64 samples in samples.png\n"


def test_sample_writes_an_array(finished: Finished, lagvae: Command, tmp_path: Path) -> None:
    assert lagvae("sample", finished[0], "--n", 5, "--out", "five.npy", "--seed", 3).status == 0
    assert lagvae("sample", finished[0], "--n", 5, "--out", "again.npy", "--seed", 3).status == 0
    assert lagvae("sample", finished[0], "--n", 5, "--out", "other.npy").status == 0
    five, again, other = (np.load(tmp_path / f"{name}.npy") for name in ("five", "again", "other"))
    assert (five.shape, five.dtype) == ((5, 1, 8, 8), np.float32)
    assert ((five >= 0) & (five <= 1)).all()
    assert np.array_equal(five, again)
    assert not np.array_equal(five, other)


@pytest.mark.parametrize(
    ("kind", "rows", "columns"), [("reconstructions", 4, 8), ("interpolations", 2, 10), ("traversals", 2, 11)]
)
def test_sample_writes_other_kinds(
    kind: str, rows: int, columns: int, finished: Finished, lagvae: Command, tmp_path: Path
) -> None:
    answer = lagvae("sample", finished[0], "--kind", kind, "--n", 2)
    assert (answer.status, answer.out) == (0, f"{rows} rows of {kind} in {kind}.png\n")
    with Image.open(tmp_path / f"{kind}.png") as picture:
        scale = 800 // (columns * 9 + 1)
        assert picture.size == ((columns * 9 + 1) * scale, (rows * 9 + 1) * scale)
    assert lagvae("sample", finished[0], "--kind", kind, "--n", 2, "--out", "grid.npy").status == 0
    assert np.load(tmp_path / "grid.npy").shape == (rows, columns, 1, 8, 8)


def test_report_draws_the_run(finished: Finished, lagvae: Command, tmp_path: Path) -> None:
    answer = lagvae("report", finished[0], "--out", "run.png")
    assert (answer.status, answer.out) == (0, "picture in run.png\n")
    with Image.open(tmp_path / "run.png") as picture:
        assert min(picture.size) > 300
    assert lagvae("report", finished[0]).out == f"picture in {finished[0] / 'report.png'}\n"


def test_an_infeasible_bound_is_a_status_and_no_failure(lagvae: Command, tmp_path: Path) -> None:
    answer = lagvae("train", "min rate s.t. neg_elbo <= 5", *TINY, "--out", "run")
    assert answer.status == 0
    line = next(line for line in answer.out.splitlines() if line.startswith("INFEASIBLE"))
    assert line.startswith("INFEASIBLE: missed 'neg_elbo <= 5' by ")
    found = read(tmp_path / "run")
    assert "; try " in line
    assert line.endswith(f"'neg_elbo <= {found['diagnosis'][0]['reachable']:g}'")
    assert found["status"] == "infeasible"
    assert found["feasible"]["train"] is False
    assert found["violations"]["train"]["neg_elbo"] > 5
    assert not (tmp_path / "run" / "report.png").exists()  # quiet


def test_ctrl_c_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    words = ["train", EASY, *TINY, "--out", "run", "--epochs", "100000", "--log-every", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lagvae", *words]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 1
    assert "STOPPED: stopped at step " in out
    assert "lagvae train --resume run" in out
    assert "Traceback" not in err
    stopped = lv.load(tmp_path / "run")
    assert stopped.status is lv.Status.STOPPED
    running = subprocess.Popen([*command[:4], "--resume", "run", "--quiet"], cwd=tmp_path, env=environment)
    lines = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    while len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) < lines + 2:
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert lv.load(tmp_path / "run").step >= stopped.step


def test_a_config_file_and_flags_over_it(lagvae: Command, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        f"problem: {EASY}\ndata: digits\nout: here\npreset: zhao2018\nnetwork: {{hidden: [8], latent_dim: 2}}\n"
        "epochs: 3\nlearning_rate: 1e-3\ndevice: cpu\n"
    )
    assert lagvae("train", "--config", "run.yaml", "--epochs", 1, "--quiet").status == 0
    config = RunFolder(tmp_path / "here").read_config()
    assert config["primal"]["epochs"] == 1
    assert config["primal"]["learning_rate"] == 1e-3
    assert config["primal"]["beta1"] == 0.5
    assert config["dual"]["dual"] == "zhao2018"
    assert config["network"]["hidden"] == [8]
    assert lagvae("train", "--config", "run.yaml", "--epochs", 1, "--quiet").status == 2  # a run is there
    again = lagvae("train", "--resume", "here", "--quiet")
    assert again.status == 0
    assert "6 steps in" in again.out


def test_a_preset_and_a_flag_over_it(lagvae: Command, tmp_path: Path) -> None:
    assert lagvae("train", EASY, *TINY, "--preset", "zhao2018", "--beta1", "0.7", "--out", "run").status == 0
    config = RunFolder(tmp_path / "run").read_config()
    assert (config["primal"]["beta1"], config["primal"]["learning_rate"]) == (0.7, 1e-4)
    assert config["primal"]["epochs"] == 1


def test_without_a_folder_it_is_runs_latest(lagvae: Command, tmp_path: Path) -> None:
    assert lagvae("train", EASY, *TINY).status == 0
    assert (tmp_path / "runs" / "latest" / "evaluation.json").exists()
    assert lagvae("train", EASY, *TINY).status == 2
    assert lagvae("train", EASY, *TINY, "--overwrite").status == 0


def test_held_out_data_are_trained_judged_and_evaluated(lagvae: Command, tmp_path: Path) -> None:
    words = [word for word in TINY if word != "--quiet"]
    answer = lagvae("train", EASY, *words, "--held-out", 0.2, "--out", "run")
    assert answer.status == 0
    assert "digits: 1200 training, 300 held-out and 297 test examples of 1×8×8" in answer.err
    assert "FEASIBLE: every bound holds on the held-out data" in answer.out
    for column in ("train", "held-out", "test", "violation, held-out"):
        assert column in answer.out
    assert (tmp_path / "run" / "report.png").exists()
    assert RunFolder(tmp_path / "run").read_config()["dual"]["held_out"] == 0.2
    own = read(tmp_path / "run")
    assert list(own["feasible"]) == ["train", "held_out", "test"]
    assert [own["estimates"][part]["rate"]["examples"] for part in own["feasible"]] == [1200, 300, 297]
    assert json.loads(lagvae("evaluate", "run", "--quick", "--json").out)["estimates"] == own["estimates"]
    assert "held-out: every bound holds" in lagvae("evaluate", "run", "--quick").out
    assert lagvae("train", "--resume", "run", "--quiet").status == 0
    refused = lagvae("train", EASY, *TINY, "--held-out", 1.5, "--out", "other")
    assert (refused.status, len(refused.err.splitlines())) == (2, 1)
    assert "expected a number in [0, 1) as held_out, got 1.5" in refused.err


def test_data_fetch(lagvae: Command) -> None:
    answer = lagvae("data", "fetch", "digits")
    assert answer.status == 0
    assert answer.out.startswith("digits is complete in ")
    refused = lagvae("data", "fetch", "digit")
    assert (refused.status, refused.err) == (2, "lagvae: expected the name of a data set, got 'digit'; try 'digits'\n")


def test_bad_input_in_a_process_of_its_own(tmp_path: Path) -> None:
    answer = process("train", "max mi s.t. neg_elb <= 86", "--data", "digits", "--out", "run", cwd=tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("lagvae: expected ")
    assert "neg_elbo" in answer.err
    assert list(tmp_path.iterdir()) == []
    debugged = process("train", "max mi s.t. neg_elb <= 86", "--data", "digits", "--debug", cwd=tmp_path)
    assert debugged.status == 1
    assert "Traceback" in debugged.err
    assert "lagvae.errors.ProblemError: expected " in debugged.err
