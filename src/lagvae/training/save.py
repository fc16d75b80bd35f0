"""Writes a solution that no run of its own has found into a folder like a run's."""

from __future__ import annotations

from pathlib import Path

import torch

from lagvae.errors import CheckpointError, expected
from lagvae.storage.checkpoint import save_checkpoint
from lagvae.storage.folder import RunFolder
from lagvae.training.outcome.solution import Solution


def save_solution(solution: Solution, out: str | Path, *, overwrite: bool = False) -> None:
    """Writes configuration, weights, multipliers and estimates: what ``load``, ``evaluate`` and ``sample`` read.

    Args:
        solution: What to write; its folder becomes ``out``.
        out: A new or empty folder.
        overwrite: Whether a run in ``out`` may be replaced.

    Raises:
        CheckpointError: ``out`` holds something else, or cannot be written; or the solution knows nothing of what was
            asked for.
    """
    if solution.config is None:
        raise CheckpointError(expected("a solution that knows its settings", got="none", fix="one of fit or fit_front"))
    folder = RunFolder(out)
    folder.check_free(overwrite=overwrite)
    multipliers = torch.tensor([[solution.multipliers[name] for name in solution.problem.names]])
    tensors = {f"model/{name}": tensor for name, tensor in solution.model.state_dict().items()}
    with folder.locked():
        folder.create(solution.config)
        state = {"seconds": solution.seconds, "optimizer": None, "config": folder.identity}
        save_checkpoint(folder.checkpoints, solution.step, {**tensors, "dual/multipliers": multipliers}, state)
        folder.write_evaluation(solution.as_dict())
    solution.folder = folder.path
