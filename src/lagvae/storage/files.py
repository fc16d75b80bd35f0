"""Files that are whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lagvae.errors import CheckpointError, expected


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, syncs it, and renames it.

    Raises:
        CheckpointError: The folder is read-only or the disk is full; an earlier file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Writes JSON with one key per line, whole or not at all; NaN becomes null."""
    write_whole(path, (json.dumps(to_plain(content), indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(expected(f"a JSON file at {path}", got=_reason(error), fix="an earlier copy")) from error


def sync_folder(folder: Path) -> None:
    """Makes renames in ``folder`` last beyond a power cut, where the system allows it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(path: Path) -> str:
    """Returns the file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_write(path: Path, error: OSError) -> CheckpointError:
    """Returns the error for a write that failed, with what to do."""
    return CheckpointError(
        expected(f"to write {path}", got=_reason(error), fix="a folder with space and write permission (--out)")
    )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__


def to_plain(value: Any) -> Any:
    """Returns nested content as JSON can hold it: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
