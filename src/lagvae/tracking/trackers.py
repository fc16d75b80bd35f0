"""The trackers by name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from lagvae.errors import SettingError, expected
from lagvae.settings import TrackerName
from lagvae.tracking.courier import Courier
from lagvae.tracking.tracker import TrackedRun, Tracker


@dataclass(frozen=True)
class _Home:
    """Where a tracker is declared, and the package that it needs: nothing is imported before it is used."""

    package: str
    module: str
    kind: str

    def make(self) -> Tracker:
        tracker: Tracker = getattr(importlib.import_module(self.module), self.kind)()
        return tracker


_HOMES = {
    "tensorboard": _Home("tensorboard", "lagvae.tracking.tensorboard", "TensorBoard"),
    "mlflow": _Home("mlflow", "lagvae.tracking.mlflow", "MLflow"),
    "wandb": _Home("wandb", "lagvae.tracking.wandb", "WeightsAndBiases"),
}


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Checks that what trackers need is installed.

    Raises:
        SettingError: A package is missing.
    """
    for name in names:
        if importlib.util.find_spec(_HOMES[name].package) is None:
            fix = 'pip install "lagvae[track]"'
            raise SettingError(expected(f"{_HOMES[name].package}, to track by {name}", got="no such package", fix=fix))


def start_trackers(names: Sequence[TrackerName], run: TrackedRun) -> list[Courier]:
    """Returns a courier for each tracker that is named, and for TensorBoard where the run has a folder."""
    always = () if run.folder is None else ("tensorboard",)
    return [Courier(name, _HOMES[name].make, run) for name in dict.fromkeys((*always, *names))]
