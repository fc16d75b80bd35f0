"""Checkpoints are whole or not there, hold no pickle, and the one before stands in for a damaged one."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lagvae as lv
from lagvae.storage import checkpoint
from lagvae.storage.checkpoint import list_checkpoints, load_checkpoint, read_checkpoint, save_checkpoint
from lagvae.storage.files import read_json, write_json, write_whole
from tiny_runs import assert_same_run, assert_same_tensors, checkpoint_names, content, run, stopped_after

FULL = OSError(errno.ENOSPC, "No space left on device")


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"model/weight": torch.full((3, 2), float(step)), "optimizer/0/step": torch.tensor(float(step))}


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(folder, step, tensors(step), {"seconds": 1.0})


def flip_a_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a flipped bit": ("tensors.safetensors", flip_a_bit),
    "cut tensors": ("tensors.safetensors", cut),
    "no tensors": ("tensors.safetensors", Path.unlink),
    "a cut state": ("state.json", cut),
    "an empty state": ("state.json", empty),
    "no state": ("state.json", Path.unlink),
    "a state of another kind": ("state.json", lambda path: path.write_text("[1, 2]")),
    "a state without a hash": ("state.json", lambda path: path.write_text('{"step": 2}')),
}


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 7, tensors(7), {"seconds": 1.5})
    assert path.name == "step-00000007"
    found, state = read_checkpoint(path)
    assert_same_tensors(found, tensors(7))
    assert (state["step"], state["seconds"]) == (7, 1.5)


def test_tensors_may_share_memory_be_empty_and_need_not_be_contiguous(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    given = {"base": base, "same": base, "turned": base.T, "row": base[1], "empty": torch.empty(0, 3)}
    save_checkpoint(tmp_path, 1, given, {})
    assert_same_tensors(load_checkpoint(tmp_path)[0], given)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000001", "step-00000002"]
    save(tmp_path, 10, 100_000_000)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000010", "step-100000000"]
    assert load_checkpoint(tmp_path)[1]["step"] == 100_000_000


def test_a_run_keeps_two(tmp_path: Path) -> None:
    run(tmp_path / "run", log_every=2, checkpoint_seconds=0.0)
    assert checkpoint_names(tmp_path / "run") == ["step-00000016", "step-00000018"]
    run(tmp_path / "rare", log_every=2, checkpoint_seconds=1e6)
    assert checkpoint_names(tmp_path / "rare") == ["step-00000000", "step-00000018"]


def test_a_leftover_part_is_ignored_and_replaced(tmp_path: Path) -> None:
    save(tmp_path, 1)
    leftover = tmp_path / ".step-00000002.part"
    leftover.mkdir()
    (leftover / "tensors.safetensors").write_bytes(b"half of")
    (leftover / "stranger").write_text("left")
    assert load_checkpoint(tmp_path)[1]["step"] == 1
    save(tmp_path, 2)
    assert not leftover.exists()
    assert sorted(path.name for path in (tmp_path / "step-00000002").iterdir()) == ["state.json", "tensors.safetensors"]
    assert load_checkpoint(tmp_path)[1]["step"] == 2


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_one_before_stands_in_for_a_damaged_one(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1, 2)
    assert load_checkpoint(tmp_path)[1]["step"] == 2
    name, hurt = DAMAGE[damage]
    hurt(tmp_path / "step-00000002" / name)
    found, state = load_checkpoint(tmp_path)
    assert state["step"] == 1
    assert_same_tensors(found, tensors(1))
    hurt(tmp_path / "step-00000001" / name)
    with pytest.raises(lv.CheckpointError, match=r"expected .*step-00000002.*, got .*; try .*(before|earlier)"):
        load_checkpoint(tmp_path)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"expected a checkpoint in .*, got none; try .*--overwrite"):
        load_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_with_a_damaged_newest_checkpoint_ends_in_the_same_bits(tmp_path: Path, damage: str) -> None:
    run(tmp_path / "whole")
    with stopped_after(12):
        run(tmp_path / "run", checkpoint_seconds=0.0)
    assert checkpoint_names(tmp_path / "run") == ["step-00000010", "step-00000012"]
    name, hurt = DAMAGE[damage]
    hurt(tmp_path / "run" / "checkpoints" / "step-00000012" / name)
    assert lv.load(tmp_path / "run").step == 10
    run(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


class Death(BaseException):
    """The power goes: no handler of errors runs."""


def die_at(call: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Dies before the n-th of the calls that change a disk; returns how many there were."""
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise Death
            return function(*args, **kwargs)

        return wrapper

    patch.setattr(os, "fsync", counted(os.fsync))
    patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    patch.setattr(checkpoint, "save_file", counted(checkpoint.save_file))
    for method in ("mkdir", "rename", "replace"):
        patch.setattr(Path, method, counted(getattr(Path, method)))
    return lambda: calls


def test_death_at_any_call_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    for call in range(1, 100):
        folder = tmp_path / str(call)
        save(folder, 1, 2)
        with pytest.MonkeyPatch.context() as patch:
            count = die_at(call, patch)
            try:
                save(folder, 3)
            except Death:
                died = True
            else:
                died = False
        found, state = load_checkpoint(folder)
        assert state["step"] in ((2, 3) if died else (3,))
        assert_same_tensors(found, tensors(state["step"]))
        save(folder, 3, 4)  # and the next session can go on
        assert [path.name for path in folder.iterdir()] == unordered("step-00000003", "step-00000004")
        if not died:
            break
    assert call == count() + 1 >= 8


class unordered:  # noqa: N801 (reads as a value)
    def __init__(self, *items: str) -> None:
        self.items = sorted(items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and sorted(other) == self.items

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("call", ["fsync", "save_file", "mkdir", "rename", "replace"])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save(tmp_path, 1, 2)
    before = content(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise FULL

    place = {"fsync": os, "save_file": checkpoint}.get(call, Path)
    with monkeypatch.context() as patch:
        patch.setattr(place, call, refuse)
        with pytest.raises(lv.CheckpointError, match=r"^expected to write .*, got No space left on device; try .*$"):
            save(tmp_path, 3)
    assert content(tmp_path) == before
    save(tmp_path, 3)
    assert load_checkpoint(tmp_path)[1]["step"] == 3


def test_a_disk_that_fills_up_in_a_run_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    calls = 0
    fsync = os.fsync

    def fill_up(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise FULL
        fsync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(lv.CheckpointError, match=r"got No space left on device; try .*\(--out\)"):
            run(tmp_path / "run", checkpoint_seconds=0.0, log_every=2)
    assert not (tmp_path / "run" / "evaluation.json").exists()
    run(tmp_path / "run", resume=True, checkpoint_seconds=1e6)
    ours, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
    theirs, _ = load_checkpoint(tmp_path / "whole" / "checkpoints")
    assert_same_tensors(ours, theirs)


def test_a_read_only_folder_is_one_line_and_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*run, got Permission denied; try .*\(--out\)"):
        run(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled_and_every_file_is_of_a_known_kind(tmp_path: Path) -> None:
    run(tmp_path / "run", checkpoint_seconds=0.0)
    found = content(tmp_path / "run")
    kinds = {name: raw for name, raw in found.items() if not name.startswith("tensorboard/events.out.tfevents.")}
    assert {Path(name).name for name in kinds} == {
        "config.yaml", "metrics.jsonl", "evaluation.json", "state.json", "tensors.safetensors",
    }  # fmt: skip
    assert not [name for name, raw in found.items() if raw[:1] == b"\x80" or raw[:2] == b"PK"]
    for name, raw in kinds.items():
        if name.endswith((".json", ".jsonl")):
            for document in raw.splitlines() if name.endswith("l") else [raw]:
                json.loads(document)
        if name.endswith(".safetensors"):
            size = int.from_bytes(raw[:8], "little")
            header = json.loads(raw[8 : 8 + size])
            assert 8 + size + max(entry["data_offsets"][1] for entry in header.values()) == len(raw)


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(FULL))
        with pytest.raises(lv.CheckpointError, match="No space left on device"):
            write_whole(path, b"after")
    assert content(tmp_path) == {"file": b"before"}
    write_whole(path, b"after")
    assert content(tmp_path) == {"file": b"after"}


def test_json_is_standard_nan_is_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1.5, float("nan"), float("inf")], "b": (1, "x")})
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None, None], "b": [1, "x"]}
    with pytest.raises(lv.CheckpointError, match=r"expected a whole JSON file at .*b\.json, got No such file"):
        read_json(tmp_path / "b.json")


def test_an_optimiser_whose_options_are_objects_is_refused() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    plain, groups = checkpoint.flatten_optimizer(optimizer, "optimizer")
    assert plain == {}
    assert groups["groups"][0]["lr"] == 0.1
    optimizer.param_groups[0]["note"] = object()
    with pytest.raises(lv.CheckpointError, match="expected an optimiser whose options are numbers and strings"):
        checkpoint.flatten_optimizer(optimizer, "optimizer")


def test_an_optimiser_whose_state_is_lists_of_tensors_is_refused() -> None:
    weight = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer.state[weight] = {"history": [torch.zeros(2)]}
    with pytest.raises(lv.CheckpointError, match="expected an optimiser whose options are numbers and strings"):
        checkpoint.flatten_optimizer(optimizer, "optimizer")
