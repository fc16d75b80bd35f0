"""Weights & Biases: online after ``wandb login``, offline with ``WANDB_MODE=offline``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import wandb

from lagvae.errors import SettingError, expected
from lagvae.tracking.tracker import Outcome, Started, TrackedRun


class WeightsAndBiases:
    """Sends numbers as history, problem and settings as config, how it ended as summary, and the files.

    The project is ``WANDB_PROJECT``, or ``lagvae``. Its own files lie in the run's folder, if there is one and
    ``WANDB_DIR`` names no other place.
    """

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: TrackedRun) -> Started:
        """Begins a run, or goes on with the one of an earlier session under the same id."""
        settings = wandb.setup().settings
        is_online = settings.mode in (None, "online", "shared")
        if is_online and not wandb.api.api_key:  # wandb would ask for one, and a run is no place for a conversation
            raise SettingError(expected("a key of W&B", got="none", fix="wandb login, or WANDB_MODE=offline"))
        known = run.known_as("wandb")
        own = None if run.folder is None or "WANDB_DIR" in os.environ else str(run.folder.path)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lagvae"),
            name=run.name,
            id=known,
            resume="allow",
            config=run.config,
            dir=own,
            reinit="create_new",  # whoever has a run of their own in this process keeps it
            settings=wandb.Settings(console="off", silent=True),
        )
        last_step = -1
        if known is not None:  # offline nobody can be asked what is known
            last_step = self._run.starting_step - 1 if is_online else run.last_step
        where = self._run.url if is_online else f"wandb sync {self._run.settings.sync_dir}"
        return Started(self._run.id, where, last_step)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Sends one line of the history."""
        self._run.log(dict(scalars), step=step)

    def finish(self, outcome: Outcome) -> None:
        """Sends the summary and the files."""
        about = {name: outcome.content[name] for name in ("message", "step") if name in outcome.content}
        self._run.summary.update({"status": outcome.status, **about, **outcome.values()})
        for path in outcome.files:  # copies: W&B would link to ours, which may be gone when it is synced
            copy = shutil.copy2(path, self._run.dir)
            self._run.save(copy, base_path=self._run.dir, policy="now")
        self._run.finish(exit_code=0 if outcome.status in ("feasible", "infeasible") else 1)
