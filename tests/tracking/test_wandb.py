"""Offline runs of Weights & Biases, read back by its own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

import lagvae as lv
from lagvae.storage.folder import RunFolder
from tiny_runs import run, stopped_after

BLOCK = 2**15


def read_offline(folder: Path) -> Iterator[Any]:
    """Yields the messages of an offline run; how they lie in the file is LevelDB's log format."""
    (path,) = folder.glob("run-*.wandb")
    raw, position, message = path.read_bytes(), 7, b""
    while position + 7 <= len(raw):
        if BLOCK - position % BLOCK < 7:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", raw[position : position + 7])
        message += raw[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or a last part
            yield Record.FromString(message)
            message = b""


def items(entries: Any) -> dict[str, Any]:
    return {entry.key or "/".join(entry.nested_key): json.loads(entry.value_json) for entry in entries}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    yield
    wandb.teardown()  # it reads its environment once in a process


def test_an_offline_run_is_read_back_and_resumed_under_its_id(tmp_path: Path) -> None:
    with stopped_after(12):
        run(tmp_path / "run", track="wandb")
    tracked = RunFolder(tmp_path / "run").read_tracked()["wandb"]
    (first,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*-{tracked['id']}")
    assert tracked["where"] == f"wandb sync {first}"
    solution = run(tmp_path / "run", track="wandb", resume=True)
    assert RunFolder(tmp_path / "run").read_tracked()["wandb"]["id"] == tracked["id"]
    (second,) = set((tmp_path / "run" / "wandb").glob(f"offline-run-*-{tracked['id']}")) - {first}

    sessions = [list(read_offline(folder)) for folder in (first, second)]
    steps = []
    for messages in sessions:
        (about,) = [message.run for message in messages if message.WhichOneof("record_type") == "run"]
        assert (about.run_id, about.project, about.display_name) == (tracked["id"], "lagvae", "run")
        config = items(about.config.update)
        assert config["problem"] == str(solution.problem)
        assert config["network"]["hidden"] == [32]
        lines = [items(m.history.item) for m in messages if m.WhichOneof("record_type") == "history"]
        steps.append([line["_step"] for line in lines])
    assert steps == [[5, 10], [15, 18]]
    assert lines[-1]["terms/rate"] == solution.history[-1]["terms"]["rate"]
    assert lines[-1]["multiplier/mmd"] == solution.multipliers["mmd"]
    summary: dict[str, Any] = {}
    for message in sessions[1]:
        summary |= items(message.summary.update)
    assert (summary["status"], summary["message"]) == (str(solution.status), solution.message)
    assert solution.evaluation is not None
    assert summary["evaluation/test/rate"] == solution.evaluation["test"]["rate"].value
    files = {name: (second / "files" / name) for name in ("config.yaml", "evaluation.json", "metrics.jsonl")}
    assert all(path.is_file() and not path.is_symlink() for path in files.values())
    assert files["evaluation.json"].read_text() == (tmp_path / "run" / "evaluation.json").read_text()
    sent = {f.path for m in sessions[1] for f in m.files.files}
    assert set(files) <= sent

    run(tmp_path / "run", overwrite=True)  # what another run's tracker left goes with it
    assert not (tmp_path / "run" / "wandb").exists()
    assert RunFolder(tmp_path / "run").read_tracked() == {}


def test_online_without_a_key_is_one_warning_and_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.warns(
        RuntimeWarning, match="expected wandb to track the run, got SettingError: expected a key"
    ) as seen:
        solution = run(tmp_path / "run", track="wandb")
    assert len(seen) == 1
    assert solution.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)
