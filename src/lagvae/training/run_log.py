"""Where a run's records and checkpoints go: its folder, if it has one, and nowhere else."""

from __future__ import annotations

import time
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from lagvae.training.checkpoint import load_checkpoint, save_checkpoint
from lagvae.training.folder import RunFolder
from lagvae.training.record import Record
from lagvae.training.session import Session


class RunLog:
    """The history of a run, in memory and in its folder.

    Args:
        folder: Where to write; None keeps the history in memory only.

    Attributes:
        history: Every record so far.
        seconds: Spent training in earlier sessions.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self.folder = folder
        self.history: list[Record] = []
        self.seconds = 0.0
        self._events: SummaryWriter | None = None
        self._saved_at = time.monotonic()

    def resume(self, session: Session) -> None:
        """Puts the session, and this log, back to the newest whole checkpoint."""
        assert self.folder is not None
        tensors, state = load_checkpoint(self.folder.checkpoints)
        session.load_state(tensors, state)
        self.seconds = float(state["seconds"])
        self.history = self.folder.keep_metrics_until(session.step)

    def add(self, record: Record) -> None:
        """Keeps a record, and writes it to ``metrics.jsonl`` and TensorBoard."""
        self.history.append(record)
        if self.folder is None:
            return
        self.folder.append_metrics(record)
        if self._events is None:
            self._events = SummaryWriter(str(self.folder.tensorboard), purge_step=record["step"])
        for name, value in _scalars(record).items():
            self._events.add_scalar(name, value, record["step"])

    def save(self, session: Session, seconds: float) -> None:
        """Writes a checkpoint."""
        if self.folder is not None:
            tensors, state = session.state()
            save_checkpoint(self.folder.checkpoints, session.step, tensors, {**state, "seconds": seconds})
        self._saved_at = time.monotonic()

    def seconds_since_save(self) -> float:
        """Returns the age of the last checkpoint."""
        return time.monotonic() - self._saved_at

    def restore_weights(self, session: Session) -> None:
        """Puts the model, its multipliers and the rest back to the last good checkpoint, if there is one."""
        if self.folder is not None:
            session.load_state(*load_checkpoint(self.folder.checkpoints))

    def close(self) -> None:
        """Flushes what is buffered."""
        if self._events is not None:
            self._events.close()


def _scalars(record: Record) -> dict[str, Any]:
    scalars = {f"terms/{name}": value for name, value in record["terms"].items()}
    for name, constraint in record["constraints"].items():
        scalars[f"violation/{name}"] = constraint["violation"]
        scalars[f"multiplier/{name}"] = constraint["multiplier"]
    scalars |= {f"weight/{name}": value for name, value in record["weights"].items()}
    return {**scalars, "learning_rate": record["learning_rate"], "steps_per_second": record["steps_per_second"]}
