"""Probe, then ask for what is within reach, as it is typed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import lagvae as lv
from lagvae.cli.tables import print_probe
from lagvae.settings import setting_names
from lagvae.storage.folder import RunFolder

from .conftest import FEASIBLE_SETTINGS, TINY, Answer, Command, process

RELATIVE = "max mi s.t. neg_elbo <= best + 4, mmd <= 1"


@pytest.fixture(scope="session")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return process("probe", *FEASIBLE_SETTINGS, cwd=tmp_path_factory.mktemp("probed"), COLUMNS="80")


def commands(answer: Answer) -> list[list[str]]:
    """The words of the commands that a probe prints."""
    return [shlex.split(line) for line in answer.out.splitlines() if line.startswith("  lagvae train ")]


def test_a_table_of_what_is_within_reach(probed: Answer) -> None:
    assert probed.status == 0
    head = next(line for line in probed.out.splitlines() if "quantity" in line)
    assert [word for word in ("unit", "β = 0.1", "VAE", "β = 10") if word not in head] == []
    for name in ("distortion", "rate", "neg_elbo", "mmd, biased", "mmd, unbiased"):
        (row,) = [line for line in probed.out.splitlines() if line.startswith(f"│ {name} ")]
        assert row.count("±") == 3
        assert ("nats" in row) == ("mmd" not in name)
        assert len(row) <= 80
    assert "after 40 epochs of each" in probed.out
    assert "Longer runs reach a lower neg_elbo; --epochs 240 shows which." in probed.out
    assert "neg_elbo <= best + 4" in probed.out
    assert "too short to go by" not in probed.out
    for number, beta in enumerate(("rate", "0.1*rate", "10*rate"), start=1):
        assert f"probe {number} of 3: min distortion + {beta}, 40 epochs" in probed.err
    assert "Traceback" not in probed.err


def test_commands_to_copy(probed: Answer, lagvae: Command, tmp_path: Path) -> None:
    printed = commands(probed)
    assert len(printed) == 4
    for words in printed:
        assert not lv.Problem.parse(words[2]).is_relative
        assert {flag for flag in words if flag.startswith("--")} == {
            flag for flag in FEASIBLE_SETTINGS if flag.startswith("--")
        }
    assert lagvae(*printed[1][1:], "--out", "run", "--quiet").status == 0
    assert lv.load(tmp_path / "run").status is lv.Status.FEASIBLE


def test_a_bare_probe_is_short_and_leaves_the_epochs_to_the_run(lagvae: Command, tmp_path: Path) -> None:
    settings = ["--data", "digits", *TINY[4:-1], "--no-shuffle"]
    answer = lagvae("probe", *settings, "--quiet")
    assert (answer.status, answer.err) == (0, "")
    assert "after 5 epochs of each" in answer.out
    assert list(tmp_path.iterdir()) == []
    for words in commands(answer):
        assert sorted(words[3:]) == sorted(settings)


def test_runs_too_short_to_go_by(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"epochs": 10, "hidden": (16,), "latent_dim": 2, "learning_rate": 1e-2, "progress": False}
    found = lv.probe("digits", **settings)
    print_probe(found, data="digits")
    assert "too short to go by" not in capsys.readouterr().out
    informed, vae, collapsed = found.solutions.values()
    print_probe(lv.Probe({0.1: informed, 1.0: collapsed, 10.0: vae}, found.settings), data="digits")
    assert "The VAE has not the lowest neg_elbo yet: these runs are too short to go by." in capsys.readouterr().out


def test_the_same_in_json(lagvae: Command) -> None:
    answer = lagvae("probe", *TINY, "--json")
    assert (answer.status, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert set(found) == {"data", "settings", "runs", "ranges", "mmd_floor", "suggestions"}
    assert found["settings"]["primal"]["epochs"] == 1
    again = lv.probe("digits", epochs=1, hidden=(8,), latent_dim=2, device="cpu", precision="float32", progress=False)
    assert found["ranges"]["rate"]["lowest"] == again.ranges["rate"].lowest
    assert found["suggestions"] == list(again.suggestions)


def test_the_options_of_a_probe_are_those_that_it_uses(lagvae: Command) -> None:
    shown = lagvae("probe", "--help").out
    for name, section in setting_names().items():
        is_offered = re.search(rf"--{name.replace('_', '-')}\b", shown) is not None
        assert is_offered == (section in ("network", "primal", "execution")), name


def test_a_bound_relative_to_best_from_the_shell(lagvae: Command, tmp_path: Path) -> None:
    answer = lagvae("train", RELATIVE, *TINY[:-1], "--out", "run")
    assert answer.status == 0
    assert "probe 1 of 1: min distortion + rate, 1 epoch\n" in answer.err
    solution = lv.load(tmp_path / "run")
    assert f"best in 1 epoch: 'neg_elbo <= best + 4' is '{solution.problem.constraints['neg_elbo']}'\n" in answer.err
    assert str(solution.problem) in answer.out
    config = RunFolder(tmp_path / "run").read_config()
    assert config["asked"] == str(lv.Problem.parse(RELATIVE))
    for words in ([], [RELATIVE], [config["problem"]]):
        resumed = lagvae("train", *words, "--resume", "run")
        assert resumed.status == 0
        assert "probe" not in resumed.err
    refused = lagvae("train", RELATIVE.replace("4", "5"), "--resume", "run")
    assert refused.status == 2
    assert (
        "lagvae: expected to resume with the run's own problem (max mutual_information s.t. neg_elbo <= best + 4"
        in (refused.err)
    )
    repeated = lagvae("train", "--config", "run/config.yaml", "--out", "again", "--quiet")
    assert repeated.status == 0
    assert lv.load(tmp_path / "again").problem == solution.problem


def test_a_budget_of_its_own_for_the_probe(lagvae: Command) -> None:
    answer = lagvae("train", RELATIVE, *TINY[:-1], "--probe-epochs", "2", "--out", "run")
    assert "probe 1 of 1: min distortion + rate, 2 epochs\n" in answer.err
    assert "step 6/6 " in answer.err
