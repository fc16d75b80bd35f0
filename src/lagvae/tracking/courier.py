"""Carries a run's numbers to a tracker, so that the run neither waits for it nor fails with it."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lagvae.errors import expected
from lagvae.tracking.scalars import scalars
from lagvae.tracking.tracker import Outcome, TrackedRun, Tracker

PATIENCE = 60.0
"""Seconds that the end of a run waits for a tracker."""


class Courier:
    """A tracker in a thread of its own, from its import to its end. What it raises becomes one warning.

    Args:
        name: What messages and the run's folder call the tracker.
        make: Returns it; called in the thread.
        run: What is tracked.
        patience: Seconds that :meth:`finish` waits.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], run: TrackedRun, *, patience: float = PATIENCE) -> None:
        self.name = name
        self._make, self._run, self._patience = make, run, patience
        self._waiting: queue.SimpleQueue[Mapping[str, Any] | Outcome] = queue.SimpleQueue()
        self._trouble: Exception | None = None
        self._is_known = False
        # A daemon: a tracker that hangs does not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=f"lagvae-{name}", daemon=True)

    def log(self, record: Mapping[str, Any]) -> None:
        """Hands over a record, and returns at once."""
        self._hand_over(record)

    def finish(self, outcome: Outcome) -> None:
        """Hands over how the run ended, and waits for the tracker to have taken everything, but not for ever."""
        self._hand_over(outcome)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._warn(f"silence for {self._patience:g} seconds")
        self._look()

    def _hand_over(self, item: Mapping[str, Any] | Outcome) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._look()
        if self._trouble is None:
            self._waiting.put(item)

    def _look(self) -> None:
        """Warns, in the run's own thread, of what happened in the tracker's."""
        if self._trouble is not None:
            text = " ".join(str(self._trouble).split())[:300]
            self._warn(f"{type(self._trouble).__name__}: {text}")

    def _warn(self, got: str) -> None:
        if not self._is_known:
            self._is_known = True
            fix = f"--resume with --track {self.name} once that is mended; the run itself goes on"
            warnings.warn(expected(f"{self.name} to track the run", got=got, fix=fix), RuntimeWarning, stacklevel=2)

    def _work(self) -> None:
        try:
            tracker = self._make()
            started = tracker.start(self._run)
            if started.id is not None and self._run.folder is not None:
                self._run.folder.write_tracked(self.name, {"id": started.id, "where": started.where})
            # What an earlier session did not deliver comes first; what it delivered, and this one repeats, never.
            for record in self._run.history:
                if record["step"] > started.last_step:
                    tracker.log(record["step"], scalars(record))
            while not isinstance(item := self._waiting.get(), Outcome):
                if item["step"] > started.last_step:
                    tracker.log(item["step"], scalars(item))
            tracker.finish(item)
        except Exception as error:  # whatever it is: a tracker is no reason for a run to end
            self._trouble = error
