"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from lagvae.tracking.tracker import Outcome, Started, TrackedRun


class TensorBoard:
    """Writes events; what an interrupted session wrote after its checkpoint is purged."""

    def __init__(self) -> None:
        self._folder = ""
        self._events: SummaryWriter | None = None

    def start(self, run: TrackedRun) -> Started:
        """Notes the folder; a session without records leaves no file."""
        assert run.folder is not None
        self._folder = str(run.folder.tensorboard)
        return Started(None, self._folder, run.last_step)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes an event for each number."""
        if self._events is None:
            self._events = SummaryWriter(self._folder, purge_step=step)
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def finish(self, outcome: Outcome) -> None:
        """Closes the file."""
        if self._events is not None:
            self._events.close()
