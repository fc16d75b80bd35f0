"""Where a run's records and checkpoints go: its folder, if it has one, and nowhere else."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lagvae.errors import DamageWarning
from lagvae.storage.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from lagvae.storage.folder import RunFolder
from lagvae.training.record import Record
from lagvae.training.session import Session


class RunLog:
    """The history of a run, in memory and in its folder.

    Args:
        folder: Where to write; None keeps the history in memory only.
        measured_shape: Parts and terms that a step measures.

    Attributes:
        history: Every record so far.
        seconds: Spent training in earlier sessions.
        unlogged: What was measured between the last record and the checkpoint that was resumed.
    """

    def __init__(self, folder: RunFolder | None, *, measured_shape: tuple[int, int]) -> None:
        self.folder = folder
        self.history: list[Record] = []
        self.seconds = 0.0
        self.unlogged: Float[Tensor, "steps parts terms"] = torch.empty(0, *measured_shape)
        self._events: SummaryWriter | None = None
        self._saved_at = time.monotonic()

    def resume(self, session: Session) -> None:
        """Puts the session, and this log, back to the newest whole checkpoint.

        A run that was killed before its first checkpoint starts at its beginning.
        """
        assert self.folder is not None
        folder = self.folder
        if not list_checkpoints(folder.checkpoints) and not folder.read_metrics():
            self.save(session, 0.0, self.unlogged)
        has_log = folder.metrics_file.exists()  # who deleted a damaged one goes on without

        def log_is_whole(state: dict[str, Any]) -> None:
            folder.metrics.read_until(int(state["step"]), state.get("log") if has_log else None)

        tensors, state = load_checkpoint(folder.checkpoints, accept=log_is_whole)
        folder.check_written_with(folder.read_config(), state)
        if state.get("log") and not has_log:
            text = f"{folder.metrics_file} is gone: going on without what was logged up to step {state['step']}"
            warnings.warn(text, DamageWarning, stacklevel=2)
        session.load_state(tensors, state)
        self.seconds = float(state["seconds"])
        self.unlogged = tensors.get("log/unlogged", self.unlogged)
        self.history = folder.keep_metrics_until(session.step)
        if session.step < session.total_steps:
            folder.evaluation_file.unlink(missing_ok=True)

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

    def save(self, session: Session, seconds: float, unlogged: Float[Tensor, "steps parts terms"]) -> None:
        """Writes a checkpoint, with what was measured since the last record."""
        if self.folder is not None:
            tensors, state = session.state()
            tensors["log/unlogged"] = unlogged
            self.folder.metrics.sync()
            state |= {"seconds": seconds, "log": self.folder.metrics.tail, "config": self.folder.identity}
            save_checkpoint(self.folder.checkpoints, session.step, tensors, state)
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
    scalars |= {f"held_out/{name}": value for name, value in record.get("held_out", {}).items()}
    for name, constraint in record["constraints"].items():
        scalars[f"violation/{name}"] = constraint["violation"]
        scalars[f"multiplier/{name}"] = constraint["multiplier"]
        scalars[f"price/{name}"] = constraint["price"]
    scalars |= {name: record[name] for name in ("beta", "gamma") if record[name] is not None}
    scalars |= {f"weight/{name}": value for name, value in record["weights"].items()}
    return {**scalars, "learning_rate": record["learning_rate"], "steps_per_second": record["steps_per_second"]}
