"""What a tracker is told of a run, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lagvae.storage.folder import Config, RunFolder


@dataclass(frozen=True)
class TrackedRun:
    """A run before its first step of this session.

    Attributes:
        config: What was asked for, as ``config.yaml`` holds it.
        folder: Where it is written, if it is.
        history: What was logged in earlier sessions, a record per line.
    """

    config: Config
    folder: RunFolder | None = None
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def name(self) -> str:
        """What people know it by: its folder, or its problem."""
        return str(self.config["problem"]) if self.folder is None else self.folder.path.absolute().name

    @property
    def last_step(self) -> int:
        """The step of the last record of earlier sessions; -1 if there is none."""
        return int(self.history[-1]["step"]) if self.history else -1

    def known_as(self, tracker: str) -> str | None:
        """Returns what a tracker called this run in an earlier session."""
        return None if self.folder is None else self.folder.read_tracked().get(tracker, {}).get("id")


@dataclass(frozen=True)
class Started:
    """A tracker's answer.

    Attributes:
        id: What it calls the run; None where a resumed run needs no name.
        where: Where people find it there.
        last_step: Up to which step it has the run's records.
    """

    id: str | None
    where: str
    last_step: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        content: What ``evaluation.json`` holds; empty where the run was broken off.
        files: The plain files that it left.
    """

    content: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Path] = ()

    @property
    def status(self) -> str:
        """A ``Status``, or failed where an error ended the run."""
        return str(self.content.get("status", "failed"))

    def values(self) -> dict[str, float]:
        """Returns ``evaluation/part/name`` → value of every estimate."""
        return {
            f"evaluation/{part}/{name}": estimate["value"]
            for part, found in self.content.get("estimates", {}).items()
            for name, estimate in found.items()
            if estimate["value"] is not None
        }


class Tracker(Protocol):
    """Takes a run's numbers. What it raises ends the tracking, never the run."""

    def start(self, run: TrackedRun) -> Started:
        """Begins, or goes on with what an earlier session began."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Takes the numbers of one record."""

    def finish(self, outcome: Outcome) -> None:
        """Takes what came out, and closes."""
