"""evaluate(): measure a solution, or a run, on data."""

from __future__ import annotations

from pathlib import Path

from lagvae.data.dataset import Source, open_data
from lagvae.errors import DataError, expected
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.storage.folder import RunFolder
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
    """Measures a solution, or the run in a folder, on both parts of a data set.

    Args:
        solution: What ``fit`` or ``load`` returned, or a run's folder.
        data: As for ``fit``; the run's own data if none are given.
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
    if data is None:
        data = solution.data
    if data is None and solution.folder is not None:
        data = RunFolder(solution.folder).read_config()["data"] or None
    if data is None:
        raise DataError(expected("data to evaluate on", got="none", fix="evaluate(solution, data)"))
    opened = open_data(data, folder=data_folder, progress=progress)
    solution.model.check_data(opened)
    with evaluation_progress(len(opened.train) + len(opened.test), show=progress) as advance:
        return evaluate_model(
            solution.model, solution.problem, opened, batch_size=solution.batch_size, seed=seed, advance=advance
        )
