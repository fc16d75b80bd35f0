"""Every file of a run and of a front, its bytes flipped or cut: noticed, explained in a line, never a wrong result."""

from __future__ import annotations

import json
import random
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lagvae as lv
from damaging import damage
from lagvae.cli.main import main
from lagvae.errors import DamageWarning
from lagvae.training.portable import FILES, pack, unpack
from tiny_runs import assert_same_run, checkpoint_names, run, stopped_after

FREE = ("device", "devices", "log_every", "checkpoint_seconds", "track", "asked", "data")
"""What of config.yaml may be changed: it decides nothing about what was trained."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder, hidden=(4,), log_every=3, checkpoint_seconds=0.0, batch_size=500)
    return folder


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front") / "front"
    settings = {"hidden": (4,), "latent_dim": 2, "epochs": 1, "batch_size": 500, "checkpoint_seconds": 0.0}
    lv.fit_front("digits", out=folder, divergence="none", device="cpu", progress=False, **settings)
    return folder


def summary(solution: lv.Solution) -> str:
    """Everything that a solution says, its weights among it."""
    weights = {name: tensor.tolist() for name, tensor in solution.model.state_dict().items()}
    return json.dumps([solution.as_dict(), solution.history, weights, solution.config["problem"]])


def one_line(error: lv.LagvaeError) -> None:
    assert len(str(error).splitlines()) == 1
    assert re.search(r"expected .*, got .*; try .*", str(error)), error
    assert str(error).isprintable(), error


def hurt_and_open(
    source: Path, file: str, count: int, tmp_path: Path, open_it: Callable[[Path], object], seed: int = 0
) -> list[tuple[object, list[str]]]:
    """Returns what opening gave, or the error, and the warnings, for so many ways of damage."""
    chance = random.Random(f"{file} {seed}")
    folder = tmp_path / source.name
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("tensorboard"))
    path = folder / file
    content = path.read_bytes()
    outcomes: list[tuple[object, list[str]]] = []
    for _ in range(count):
        path.write_bytes(damage(content, chance))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = open_it(folder)
            except lv.LagvaeError as error:
                one_line(error)
                found = error
        outcomes.append((found, [str(w.message) for w in caught if w.category is DamageWarning]))
    return outcomes


def newest(folder: Path) -> str:
    return f"checkpoints/{checkpoint_names(folder)[-1]}"


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_with_a_warning(
    finished: Path, tmp_path: Path, file: str
) -> None:
    shutil.copytree(finished, tmp_path / "older" / "run")
    shutil.rmtree(tmp_path / "older" / "run" / newest(finished))
    older, whole = summary(lv.load(tmp_path / "older" / "run")), summary(lv.load(finished))
    assert older != whole
    outcomes = hurt_and_open(finished, f"{newest(finished)}/{file}", 150, tmp_path, lv.load)
    kinds: Counter[str] = Counter()
    for found, warned in outcomes:
        assert isinstance(found, lv.Solution)
        if warned:
            (text,) = warned
            assert re.search(r"expected .*step-00000009.*: the checkpoint of step 6 stands in for it", text)
            assert (found.status, summary(found)) == (lv.Status.STOPPED, older)
            kinds["older"] += 1
        else:
            assert summary(found) == whole  # spaces, say
            kinds["whole"] += 1
    assert kinds["older"] >= 130, kinds


def test_with_every_checkpoint_damaged_it_is_an_error(finished: Path, tmp_path: Path) -> None:
    only = tmp_path / "only" / "run"
    shutil.copytree(finished, only)
    shutil.rmtree(only / "checkpoints" / checkpoint_names(finished)[0])
    outcomes = hurt_and_open(only, f"{newest(only)}/tensors.safetensors", 40, tmp_path, lv.load)
    assert all(isinstance(found, lv.CheckpointError) for found, _ in outcomes)


def test_a_damaged_log_is_left_out_with_a_warning(finished: Path, tmp_path: Path) -> None:
    whole = lv.load(finished)
    outcomes = hurt_and_open(finished, "metrics.jsonl", 150, tmp_path, lv.load)
    left_out = 0
    for found, warned in outcomes:
        assert isinstance(found, lv.Solution)
        assert str(found.as_dict()) == str(whole.as_dict())
        if warned:
            assert re.search(r"expected .*metrics\.jsonl whole up to step 9, got .*: the log is left out", warned[0])
            assert found.history == []
            left_out += 1
        else:
            assert found.history == whole.history
    assert left_out >= 120


def test_a_damaged_evaluation_is_an_error(finished: Path, tmp_path: Path) -> None:
    whole = summary(lv.load(finished))
    outcomes = hurt_and_open(finished, "evaluation.json", 150, tmp_path, lv.load)
    refused = [found for found, _ in outcomes if isinstance(found, lv.CheckpointError)]
    assert len(refused) >= 100
    assert all("lagvae train --resume" in str(error) for error in refused)
    assert all(summary(found) == whole for found, _ in outcomes if isinstance(found, lv.Solution))


def test_a_damaged_configuration_is_refused_unless_it_means_the_same(finished: Path, tmp_path: Path) -> None:
    whole = lv.load(finished)
    outcomes = hurt_and_open(finished, "config.yaml", 200, tmp_path, lv.load)
    refused = 0
    for found, _ in outcomes:
        if isinstance(found, lv.LagvaeError):
            refused += 1
            continue
        assert isinstance(found, lv.Solution)
        assert flat(found.config) == flat(whole.config)
        assert str(found.as_dict()) == str(whole.as_dict())
    assert refused >= 100


def flat(config: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in (config or {}).items():
        found.update(value if isinstance(value, dict) else {name: value})
    return {name: value for name, value in found.items() if name not in FREE}


@pytest.mark.parametrize("file", ["front.json", "config.yaml", "tensors.safetensors", "state.json"])
def test_a_damaged_front(front: Path, tmp_path: Path, file: str) -> None:
    whole = lv.load_front(front)
    solved = summary_of_member(whole)
    path = file if (front / file).exists() else f"{newest(front)}/{file}"
    count, least = {"tensors.safetensors": (25, 24)}.get(file, (60, 25))
    outcomes = hurt_and_open(front, path, count, tmp_path, lv.load_front)
    refused = [found for found, _ in outcomes if isinstance(found, lv.LagvaeError)]
    assert len(refused) >= least
    for found, _ in outcomes:
        if not isinstance(found, lv.LagvaeError):
            assert str(found.as_dict()) == str(whole.as_dict())
            assert summary_of_member(found) == solved


def summary_of_member(front: Any) -> list[float]:
    weights = front.model_at(beta=1.0).state_dict().values()
    return torch.cat([tensor.flatten() for tensor in weights]).tolist()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_portable_model(finished: Path, name: str) -> None:
    packed = pack(lv.load(finished))
    whole = summary(unpack(packed))
    chance, refused = random.Random(name), 0
    for _ in range(60):
        try:
            found = unpack({**packed, name: damage(packed[name], chance)})
        except lv.LagvaeError as error:
            one_line(error)
            refused += 1
        else:
            assert summary(found) == whole
    assert refused >= 55


@pytest.mark.parametrize("what", ["newest", "log", "log before both checkpoints"])
def test_a_damaged_run_resumes_to_the_same_bits_or_is_refused(tmp_path: Path, what: str) -> None:
    settings: dict[str, Any] = {"log_every": 3, "checkpoint_seconds": 0.0}
    run(tmp_path / "whole", **settings)
    with stopped_after(12):
        run(tmp_path / "run", **settings)
    chance = random.Random(what)
    for number in range(6):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "run", folder)
        lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        if what == "newest":
            path = folder / newest(folder) / chance.choice(["tensors.safetensors", "state.json"])
            path.write_bytes(path.read_bytes()[:-9])
        elif what == "log":  # after the older checkpoint's last line
            (folder / "metrics.jsonl").write_bytes(b"".join(lines[:3]) + damage(lines[3][:-1], chance) + b"\n")
        else:
            (folder / "metrics.jsonl").write_bytes(damage(lines[0][:-1], chance) + b"".join(lines[1:]))
            with pytest.raises(lv.CheckpointError, match=r"metrics\.jsonl whole up to step 12, .*; try .*deleting it"):
                run(folder, resume=True, **settings)
            (folder / "metrics.jsonl").unlink()
            with pytest.warns(DamageWarning, match="is gone: going on without what was logged up to step 12"):
                run(folder, resume=True, **settings)
            assert lv.load(folder).step == 18
            continue
        with pytest.warns(DamageWarning, match="the checkpoint of step 9 stands in for it"):
            run(folder, resume=True, **settings)
        assert_same_run(folder, tmp_path / "whole")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("primal", "epochs", 4),
        ("network", "activation", "relu"),
        ("execution", "seed", 1),
        (None, "problem", "min rate"),
    ],
)
def test_a_run_whose_configuration_was_edited_is_neither_resumed_nor_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str | None, name: str, value: object
) -> None:
    with stopped_after(7):
        run(tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    (config if section is None else config[section])[name] = value
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        lv.CheckpointError, match=rf"config\.yaml as .* written with \({name}: .*\), got .*--config FILE"
    ):
        lv.load(tmp_path / "run")
    assert main(["train", "--resume", str(tmp_path / "run"), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"config.yaml as the checkpoints were written with ({name}: " in line


def test_the_older_checkpoint_is_offered_at_the_command_line(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / newest(finished) / "tensors.safetensors"
    path.write_bytes(damage(path.read_bytes(), random.Random(0)))
    out = str(tmp_path / "samples.npy")
    assert main(["sample", str(tmp_path / "run"), "--out", out]) == 0
    assert re.fullmatch(
        r"lagvae: warning: expected .*tensors\.safetensors as it was written, got other bytes: "
        r"the checkpoint of step 6 stands in for it\n",
        capsys.readouterr().err,
    )
    assert main(["train", "--resume", str(tmp_path / "run"), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["sample", str(tmp_path / "run"), "--out", out]) == 0
    assert capsys.readouterr().err == ""
    assert_same_run(tmp_path / "run", finished)
