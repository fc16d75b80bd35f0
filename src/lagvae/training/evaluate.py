"""evaluate(): measure a solution, or a run, on data."""

from __future__ import annotations

from pathlib import Path

from lagvae.data.dataset import Data, Source, open_data
from lagvae.errors import DataError, expected
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.storage.folder import RunFolder, settings_of
from lagvae.training.load import load
from lagvae.training.progress import evaluation_progress
from lagvae.training.solution import Solution


def evaluate(
    solution: Solution | str | Path,
    data: Source | None = None,
    *,
    seed: int = 0,
    data_folder: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measures a solution, or the run in a folder, on every part of a data set.

    Args:
        solution: What ``fit`` or ``load`` returned, or a run's folder.
        data: As for ``fit``, taken as they are; the run's own, split as the run split them, if none are given.
        seed: Of binarisation, posterior noise and prior samples.
        data_folder: Where named data sets live.
        progress: Whether to show a bar on a terminal.

    Returns:
        Estimates by part and name: distortion, rate, neg_elbo, mmd biased and unbiased, and
        every constrained quantity, each with a standard error.

    Raises:
        DataError: No data are given and the run was trained on arrays in memory; or the likelihood
            cannot score the data.
        ShapeError: The networks do not fit the data.
    """
    if not isinstance(solution, Solution):
        solution = load(solution)
    if data is not None:
        opened = open_data(data, folder=data_folder, progress=progress)
    else:
        opened = solution.data or _reopen(solution, data_folder, progress)
    solution.model.check_data(opened)
    with evaluation_progress(opened, show=progress) as advance:
        return evaluate_model(
            solution.model, solution.problem, opened, batch_size=solution.batch_size, seed=seed, advance=advance
        )


def _reopen(solution: Solution, data_folder: str | Path | None, progress: bool) -> Data:
    """Opens what a run was trained on, with the same examples held out."""
    config = RunFolder(solution.folder).read_config() if solution.folder is not None else {"data": ""}
    if not config["data"]:
        raise DataError(expected("data to evaluate on", got="none", fix="evaluate(solution, data)"))
    settings = settings_of(config)
    opened = open_data(config["data"], folder=data_folder, progress=progress)
    return opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
