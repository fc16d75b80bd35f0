"""Files that are whole or not there at all, and that tell when they are no longer what was written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lagvae.errors import CheckpointError, expected

CHECKSUM = "checksum"
"""The last key of every JSON document that is written here: of all the others."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, syncs it, and renames it.

    Raises:
        CheckpointError: The folder is read-only or the disk is full; an earlier file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # made anew: a link that somebody left there is not written through
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON with one key per line and its checksum, whole or not at all; NaN becomes null."""
    plain = to_plain(content)
    sealed = {**plain, CHECKSUM: checksum(plain)}
    write_whole(path, (json.dumps(sealed, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, *, fix: str = "an earlier copy") -> dict[str, Any]:
    """Reads what :func:`write_json` wrote.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return unseal(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(expected(f"a whole JSON file at {path}", got=_reason(error), fix=fix)) from error


def unseal(content: Any, *, before: str = "") -> dict[str, Any]:
    """Returns a document without its checksum.

    Args:
        content: As JSON was read.
        before: What the checksum was told of besides.

    Raises:
        ValueError: The document is another one than was written.
    """
    if not isinstance(content, dict) or CHECKSUM not in content:
        raise ValueError("no checksum")
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    if checksum(plain, before=before) != content[CHECKSUM]:
        raise ValueError("other content than was written")
    return plain


def checksum(content: dict[str, Any], *, before: str = "") -> str:
    """Returns 16 hexadecimal digits that hang on ``before`` and on every name and value, but not on spaces."""
    return hashlib.sha256((before + json.dumps(content)).encode()).hexdigest()[:16]


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
    fix = "a folder with space and write permission (--out)"
    if error.errno in _FULL:
        fix = "freeing space and going on with --resume, or a folder with space (--out); the last checkpoint is kept"
    return CheckpointError(expected(f"to write {path}", got=_reason(error), fix=fix))


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def to_plain(value: Any) -> Any:
    """Returns nested content as JSON can hold it: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
