"""Checkpoints: safetensors and JSON, written whole, checked when read, the last two kept.

A checkpoint is the folder ``checkpoints/step-00001234`` with ``tensors.safetensors`` and
``state.json``; the latter holds the SHA-256 of the former. It appears by one rename.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lagvae.errors import CheckpointError, DamageWarning, expected
from lagvae.storage.files import cannot_write, read_json, sha256, sync_folder, write_json

KEPT = 2
_NAME = re.compile(r"step-(\d{8,})")


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Writes the checkpoint of ``step`` and forgets all but the last two.

    Args:
        folder: The run's ``checkpoints`` folder; made if missing.
        step: Steps taken so far.
        tensors: Name → tensor.
        state: Whatever else there is, in JSON's types.

    Raises:
        CheckpointError: The folder is read-only or the disk is full; earlier checkpoints stay.
    """
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        path = temporary / "tensors.safetensors"
        save_file(_separate(tensors), path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        write_json(temporary / "state.json", {"step": step, "sha256": sha256(path), **state})
        sync_folder(temporary)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        raise cannot_write(final, error if isinstance(error, OSError) else _as_os_error(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already if all went well
    for older in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(older, ignore_errors=True)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the finished checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def steps_of(folder: Path) -> set[int]:
    """Returns the steps that there are finished checkpoints of."""
    return {int(path.name.removeprefix("step-")) for path in list_checkpoints(folder)}


def forget_after(folder: Path, step: int) -> None:
    """Removes the checkpoints of later steps, which will be taken again."""
    for path in list_checkpoints(folder):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


def load_checkpoint(
    folder: Path, *, accept: Callable[[dict[str, Any]], object] = lambda state: None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the newest checkpoint that is whole; an older one that stands in for a damaged one is warned of.

    Args:
        folder: The run's ``checkpoints`` folder.
        accept: Raises CheckpointError for the state of a checkpoint that cannot be gone on with.

    Returns:
        Its tensors, and its state.

    Raises:
        CheckpointError: There is none, or every one is damaged.
    """
    damage = []
    for path in reversed(list_checkpoints(folder)):
        try:
            tensors, state = read_checkpoint(path)
            accept(state)
        except CheckpointError as error:
            damage.append(str(error))
            continue
        if damage:
            text = f"{damage[0].partition('; try ')[0]}: the checkpoint of step {state['step']} stands in for it"
            warnings.warn(text, DamageWarning, stacklevel=2)
        return tensors, state
    raise CheckpointError(
        damage[0]
        if damage
        else expected(f"a checkpoint in {folder}", got="none", fix="to train again with --overwrite")
    )


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads one checkpoint and checks it against its checksums.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    fix = "the checkpoint before it, or a copy"
    state = read_json(path / "state.json", fix=fix)
    tensors = path / "tensors.safetensors"
    try:
        if sha256(tensors) != state["sha256"]:
            raise CheckpointError(expected(f"{tensors} as it was written", got="other bytes", fix=fix))
        return load_file(tensors), state
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(expected(f"a whole checkpoint at {path}", got=reason, fix=fix)) from error


def flatten_optimizer(optimizer: Any, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Splits an optimiser's state into tensors and JSON, without pickle."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}/{index}/{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    rest = {"plain": plain, "groups": state["param_groups"]}
    return tensors, dict(json.loads(json.dumps(rest, default=_refuse)))


def restore_optimizer(optimizer: Any, prefix: str, tensors: dict[str, Tensor], saved: dict[str, Any]) -> None:
    """Puts an optimiser back to where ``flatten_optimizer`` found it."""
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in saved["plain"].items()}
    for key, tensor in tensors.items():
        if key.startswith(prefix + "/"):
            index, name = key.removeprefix(prefix + "/").split("/", 1)
            state.setdefault(int(index), {})[name] = tensor
    if len(saved["groups"]) != len(optimizer.param_groups):
        theirs, ours = len(saved["groups"]), len(optimizer.param_groups)
        wanted = f"an optimiser of {theirs} group{'s' if theirs > 1 else ''} of weights, as the checkpoint's"
        raise CheckpointError(expected(wanted, got=ours, fix="the same optimizer, or another --out"))
    # Whether a step can be recorded is the device's affair, and not that of the one it was saved on.
    groups = [
        {**group, "capturable": own["capturable"]} if "capturable" in own else group
        for group, own in zip(saved["groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors on the processor, each with memory of its own: safetensors takes no tied weights."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        separate[name] = own.clone() if storage in seen else own
        seen.add(storage)
    return separate


def _as_os_error(error: SafetensorError) -> OSError:
    """Returns the system's error that safetensors quotes: "... (os error 28)"."""
    quoted = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(quoted[1]), os.strerror(int(quoted[1]))) if quoted else OSError(str(error))


def _refuse(value: object) -> Any:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    raise CheckpointError(
        expected("an optimiser whose options are numbers and strings", got=type(value).__name__, fix="plain options")
    )
