"""Where a run's records and checkpoints go: its folder, if it has one, and the trackers that were asked for."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import DamageWarning
from lagvae.settings import TrackerName
from lagvae.storage.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from lagvae.storage.folder import Config, RunFolder
from lagvae.tracking.courier import Courier
from lagvae.tracking.tracker import Outcome, TrackedRun
from lagvae.tracking.trackers import start_trackers
from lagvae.training.record import Record
from lagvae.training.steps.session import Session


class RunLog:
    """The history of a run, in memory, in its folder and with its trackers.

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
        self._couriers: list[Courier] = []
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

    @contextlib.contextmanager
    def tracked(self, names: Sequence[TrackerName], config: Config) -> Iterator[None]:
        """Gives what is logged while entered to trackers as well: those named, and TensorBoard into the folder.

        What breaks the run off, during its steps or after them, ends it for them too.
        """
        self._couriers = start_trackers(names, TrackedRun(config, self.folder, tuple(self.history)))
        try:
            yield
        except BaseException:
            self.finish({})
            raise

    def add(self, record: Record) -> None:
        """Keeps a record, writes it to ``metrics.jsonl``, and hands it to the trackers."""
        self.history.append(record)
        if self.folder is not None:
            self.folder.append_metrics(record)
        for courier in self._couriers:
            courier.log(record)

    def catch_up(self, known: int) -> None:
        """Hands the trackers what another process logged after ``known`` records; TensorBoard has it from there."""
        for courier in self._couriers:
            for record in self.history[known:] if courier.name != "tensorboard" else ():
                courier.log(record)

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

    def restore(self, session: Session) -> None:
        """Puts the session, and what is known of it, back to the last good checkpoint, if there is one.

        What was logged after it stays in the file.
        """
        if self.folder is not None:
            tensors, state = load_checkpoint(self.folder.checkpoints)
            session.load_state(tensors, state)
            self.seconds = float(state["seconds"])
            self.history = [record for record in self.history if record["step"] <= session.step]

    def finish(self, content: dict[str, Any]) -> None:
        """Tells the trackers how the run ended: what ``evaluation.json`` holds, or nothing where it was broken off."""
        files = [] if self.folder is None else self.folder.plain_files()
        while self._couriers:
            self._couriers.pop().finish(Outcome(content, files))
