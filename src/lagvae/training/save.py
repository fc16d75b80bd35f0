"""Writes a solution that no run of its own has found into a folder like a run's."""

from __future__ import annotations

from pathlib import Path

import torch

from lagvae.settings import Settings
from lagvae.storage.checkpoint import save_checkpoint
from lagvae.storage.folder import RunFolder, make_config
from lagvae.training.outcome.solution import Solution


def save_solution(
    solution: Solution, out: str | Path, settings: Settings, *, custom: list[str], overwrite: bool = False
) -> None:
    """Writes configuration, weights, multipliers and estimates: what ``load``, ``evaluate`` and ``sample`` read.

    Args:
        solution: What to write; its folder becomes ``out``.
        out: A new or empty folder.
        settings: Of its networks and data.
        custom: What ``fit`` was not told by name; resuming such a run is refused.
        overwrite: Whether a run in ``out`` may be replaced.

    Raises:
        CheckpointError: ``out`` holds something else, or cannot be written.
    """
    folder = RunFolder(out)
    folder.check_free(overwrite=overwrite)
    data = solution.data
    config = make_config(
        solution.problem,
        "" if data is None else data.name,
        "" if data is None else data.fingerprint(),
        settings,
        event_shape=() if data is None else data.train.event_shape,
        custom=custom,
    )
    multipliers = torch.tensor([[solution.multipliers[name] for name in solution.problem.names]])
    tensors = {f"model/{name}": tensor for name, tensor in solution.model.state_dict().items()}
    with folder.locked():
        folder.create(config)
        state = {"seconds": solution.seconds, "optimizer": None, "config": folder.identity}
        save_checkpoint(folder.checkpoints, solution.step, {**tensors, "dual/multipliers": multipliers}, state)
        folder.write_evaluation(solution.as_dict())
    solution.folder = folder.path
