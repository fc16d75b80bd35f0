"""metrics.jsonl: a line per record, each with a checksum of itself and of every line before it.

A line that was changed, cut or left out breaks the chain there. A checkpoint remembers the checksum of the last line
before it, so that a log that was cut short is noticed too; what was logged after the checkpoint may end anywhere, since
a run that is killed while writing leaves half a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lagvae.errors import CheckpointError, expected
from lagvae.storage.files import CHECKSUM, cannot_write, checksum, unseal, write_whole

Record = dict[str, Any]


class MetricsLog:
    """The log of one run.

    Args:
        path: Of the file, which need not be there yet.

    Attributes:
        tail: The checksum of the last line; empty before the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail = ""

    def append(self, record: Record) -> None:
        """Adds a line.

        Raises:
            CheckpointError: It cannot be written.
        """
        line, tail = _line(record, self.tail)
        try:
            with self.path.open("a") as file:
                file.write(line)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.tail = tail

    def sync(self) -> None:
        """Makes what was appended last beyond a power cut: a checkpoint must not know more of the log than the disk.

        Raises:
            CheckpointError: It cannot be written.
        """
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def read(self) -> list[Record]:
        """Returns the records up to the first line that is not as it was written."""
        return [record for record, _ in self._read()]

    def read_until(self, step: int, tail: str | None = None) -> list[Record]:
        """Returns the records up to ``step``.

        Args:
            step: A checkpoint's.
            tail: The checksum of the last line before that checkpoint; None where it is not known.

        Raises:
            CheckpointError: A line before the checkpoint is missing or damaged.
        """
        found = [(record, own) for record, own in self._read() if record["step"] <= step]
        if tail is not None and tail != (found[-1][1] if found else ""):
            got = f"{len(found)} whole lines" if self.path.exists() else "no such file"
            fix = "a copy of it, or deleting it to go on without the log up to here"
            raise CheckpointError(expected(f"{self.path} whole up to step {step}", got=got, fix=fix))
        return [record for record, _ in found]

    def rewrite(self, records: list[Record]) -> None:
        """Replaces what there is."""
        lines, self.tail = [], ""
        for record in records:
            line, self.tail = _line(record, self.tail)
            lines.append(line)
        write_whole(self.path, "".join(lines).encode())

    def _read(self) -> list[tuple[Record, str]]:
        """Returns the whole lines, each with its checksum."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = error.strerror or str(error)
            raise CheckpointError(expected(f"a readable {self.path}", got=reason, fix="mending it")) from error
        found: list[tuple[Record, str]] = []
        tail = ""
        for line in lines:
            try:
                content = json.loads(line)
                record = unseal(content, before=tail)
            except (ValueError, RecursionError):
                break
            tail = content[CHECKSUM]
            found.append((record, tail))
        return found


def _line(record: Record, before: str) -> tuple[str, str]:
    """Returns a record as a line, and its checksum."""
    own = checksum(record, before=before)
    return json.dumps({**record, CHECKSUM: own}) + "\n", own
