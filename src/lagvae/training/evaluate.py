"""evaluate(): measure a solution, or a run, on data."""

from __future__ import annotations

from pathlib import Path

from lagvae.data.dataset import Source
from lagvae.evaluation.assess import EXAMPLES, SAMPLES, assess
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.training.load import load, open_for
from lagvae.training.outcome.solution import Solution
from lagvae.training.progress import staged_progress


def evaluate(
    solution: Solution | str | Path,
    data: Source | None = None,
    *,
    quick: bool = False,
    samples: int = SAMPLES,
    examples: int = EXAMPLES,
    seed: int = 0,
    data_folder: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measures a solution, or the run in a folder, on every part of a data set.

    Args:
        solution: What ``fit`` or ``load`` returned, or a run's folder.
        data: As for ``fit``, taken as they are; the run's own, split as the run split them, if none are given.
        quick: Whether to measure no more than ``fit`` does at its end: distortion, rate, neg_elbo, mmd, constraints.
        samples: K, the draws per example of the log-likelihood.
        examples: How many examples of each part the log-likelihood is measured on, at most.
        seed: Of everything that is drawn.
        data_folder: Where named data sets live.
        progress: Whether to show a bar on a terminal.

    Returns:
        Estimates by part and name, each with a standard error; :func:`~lagvae.evaluation.assess.assess` lists them.

    Raises:
        DataError: No data are given and the run was trained on arrays in memory; or the likelihood
            cannot score the data.
        ShapeError: The networks do not fit the data.
        SettingError: ``samples`` or ``examples`` is no positive whole number.
    """
    if not isinstance(solution, Solution):
        solution = load(solution)
    opened = open_for(solution, data, folder=data_folder, progress=progress)
    model, problem, batch_size = solution.model, solution.problem, solution.batch_size
    with staged_progress(show=progress) as stage:
        if quick:
            advance = stage("evaluating", sum(map(len, opened.parts.values())))
            return evaluate_model(model, problem, opened, batch_size=batch_size, seed=seed, advance=advance)
        return assess(
            model, problem, opened, batch_size=batch_size, samples=samples, examples=examples, seed=seed, stage=stage
        )
