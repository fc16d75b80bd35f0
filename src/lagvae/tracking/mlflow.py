"""MLflow: a run in the store that ``MLFLOW_TRACKING_URI`` names, or in MLflow's own default, a file beside you."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.tracking import MlflowClient

from lagvae.tracking.scalars import parameters
from lagvae.tracking.tracker import Outcome, Started, TrackedRun

LONGEST_VALUE = 6000
"""Characters of a parameter or a tag that MLflow takes."""

PROBE = "learning_rate"
"""A number of every record: the last step that has it is the last that MLflow knows."""

_ENDS = {"feasible": "FINISHED", "infeasible": "FINISHED", "stopped": "KILLED"}


class MLflow:
    """Sends numbers as metrics, problem and settings as parameters, files as artifacts.

    The experiment is ``MLFLOW_EXPERIMENT_NAME``, or ``lagvae``.
    """

    def __init__(self) -> None:
        self._client = MlflowClient()
        self._id = ""

    def start(self, run: TrackedRun) -> Started:
        """Creates a run, or reopens the one of an earlier session."""
        known, last_step = run.known_as("mlflow"), -1
        if known is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lagvae")
            experiment = self._client.get_experiment_by_name(name)
            experiment_id = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
            self._id = self._client.create_run(experiment_id, run_name=run.name).info.run_id
            params = [Param(key, value[:LONGEST_VALUE]) for key, value in parameters(run.config).items()]
            self._client.log_batch(self._id, params=params)
        else:
            self._id = known
            self._client.set_terminated(known, RunStatus.to_string(RunStatus.RUNNING))
            last_step = max((seen.step for seen in self._client.get_metric_history(known, PROBE)), default=-1)
        return Started(self._id, f"MLflow run {self._id} in {self._client.tracking_uri}", last_step)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Sends one batch of metrics."""
        now = time.time_ns() // 1_000_000
        self._client.log_batch(self._id, [Metric(_name(key), value, now, step) for key, value in scalars.items()])

    def finish(self, outcome: Outcome) -> None:
        """Sends the evaluation as metrics, how it ended as tags, the files as artifacts."""
        now, step = time.time_ns() // 1_000_000, int(outcome.content.get("step", 0))
        tags = [RunTag("status", outcome.status)]
        tags += [RunTag("message", str(outcome.content["message"])[:LONGEST_VALUE])] if outcome.content else []
        metrics = [Metric(_name(key), value, now, step) for key, value in outcome.values().items()]
        self._client.log_batch(self._id, metrics, tags=tags)
        for path in outcome.files:
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, _ENDS.get(outcome.status, "FAILED"))


def _name(key: str) -> str:
    """Returns a name of the characters that MLflow takes: ``mmd(kernel=imq)`` is ``mmd_kernel_imq``."""
    return re.sub(r"[^\w\-. :/]+", "_", key).strip("_")
