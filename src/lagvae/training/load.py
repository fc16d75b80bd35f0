"""Reads a run back from its folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.data.dataset import Data, Source, open_data
from lagvae.data.examples import Examples, fit_names
from lagvae.data.names import Names
from lagvae.data.readers.cells import split_query
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.residuals import Residuals
from lagvae.errors import CheckpointError, DamageWarning, DataError, ShapeError, expected
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.model.build import build_vae
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.storage.folder import Config, RunFolder, settings_of
from lagvae.training.outcome.diagnosis import Diagnosis
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.record import Record, logged_violations


def load(run: str | Path, *, model: VAE | None = None) -> Solution:
    """Returns the solution that a run's folder holds; its newest checkpoint's, if the run is not finished.

    Args:
        run: The folder.
        model: A model of the run's own making, where it was given to ``fit``; its weights are replaced.

    An older checkpoint that stands in for a damaged one, and a damaged log, are warned of.

    Raises:
        CheckpointError: The folder holds no run, or a damaged one, or ``config.yaml`` is another than the checkpoints
            were written with; or the run's model was the user's own and none is given here.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    if "front" in config:
        fix = f'lagvae solve {run} "min neg_elbo" --out ANOTHER/FOLDER, or lv.load_front'
        raise CheckpointError(expected(f"a run at {run}", got="a front", fix=fix))
    tensors, state = load_checkpoint(folder.checkpoints)
    folder.check_written_with(config, state)
    step = int(state["step"])
    history = _read_log(folder, step, state)
    content = folder.read_evaluation()
    if content is not None and content["step"] != step:  # the checkpoint that it is of is damaged
        content = None
    multipliers = tensors["dual/multipliers"]
    content = content or _unfinished(config, step, multipliers)
    content |= {"step": step, "seconds": float(state["seconds"])}
    weights = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    try:
        solution = build_solution(
            config, weights, multipliers[0].tolist(), content, model=model, history=history, where=str(run)
        )
    except (KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        fix = f"lagvae train --resume {run}, which evaluates it again"
        raise CheckpointError(expected(f"all of an evaluation in {folder.path}", got=reason, fix=fix)) from error
    solution.folder = folder.path
    return solution


def build_solution(
    config: Config,
    weights: dict[str, Tensor],
    multipliers: Sequence[float],
    content: dict[str, Any],
    *,
    model: VAE | None = None,
    history: list[Record] | None = None,
    where: str = "the run",
) -> Solution:
    """Puts a solution together again from what a run leaves behind.

    Args:
        config: The content of ``config.yaml``.
        weights: The model's.
        multipliers: In the order of the problem's constraints.
        content: Of ``evaluation.json``, with ``step`` and ``seconds``.
        model: Whose weights are replaced, where the run had one of its own making.
        history: The run's log.
        where: What messages call the run.

    Raises:
        CheckpointError: The weights are of other networks, or a model is missing.
    """
    if model is None:
        model = rebuild_model(config, where=where, fix="lv.load(run, model=my_vae)")
    load_weights(model, weights)
    problem, history = Problem.parse(config["problem"]), history or []
    evaluation = _read_evaluation(problem, content)
    return Solution(
        status=Status(content["status"]),
        message=content["message"],
        problem=problem,
        model=model.eval(),
        multipliers=dict(zip(problem.names, multipliers, strict=True)),
        violations=evaluation.violations() if evaluation else logged_violations(problem.names, history),
        weights=content["weights"],
        evaluation=evaluation,
        residuals=Residuals(**_floats(content["residuals"])) if content.get("residuals") else None,
        step=content["step"],
        seconds=content["seconds"],
        history=history,
        folder=None,
        data=None,
        batch_size=int(content["batch_size"]),
        diagnosis=tuple(map(Diagnosis.from_dict, content.get("diagnosis", []))),
        config=config,
    )


def load_weights(model: nn.Module, weights: dict[str, Tensor], *, fix: str = "those") -> None:
    """Replaces a model's weights.

    Raises:
        CheckpointError: They are of other networks.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        got = " ".join(str(error).split())[:200]
        raise CheckpointError(expected("the networks that the run was trained with", got=got, fix=fix)) from error


def rebuild_model(config: Config, *, where: str, fix: str) -> VAE:
    """Returns the model that a configuration describes, its weights still to be loaded.

    Args:
        config: The content of ``config.yaml``.
        where: What messages call the run.
        fix: What to try where the model was the user's own.

    Raises:
        CheckpointError: The model was the user's own.
    """
    if "model" in config.get("custom", []):
        raise CheckpointError(expected(f"the model that {where} was trained with", got="none", fix=fix))
    settings = settings_of(config)
    if settings.network.likelihood == "auto":  # a run names its own; one from before there was a choice has this
        settings = settings.replace(likelihood="bernoulli")
    # A generator of its own: the weights are replaced, and torch's global random state is not ours to move.
    return build_vae(config["event_shape"], settings.network, generator=torch.Generator())


def reopen_data(solution: Solution, *, folder: str | Path | None = None, progress: bool = False) -> Data:
    """Returns what a solution was trained on, with the same examples held out: at hand, or opened again.

    Args:
        solution: What ``fit`` or ``load`` returned.
        folder: Where named data sets live.
        progress: Whether to show a download's progress.

    Raises:
        DataError: It was trained on arrays in memory, or the file holds other data by now.
    """
    if solution.data is not None:
        return solution.data
    config = RunFolder(solution.folder).read_config() if solution.folder is not None else {"data": ""}
    if not config["data"]:
        raise DataError(expected("data to evaluate on", got="none", fix="evaluate(solution, data)"))
    settings = settings_of(config)
    name = config["data"]
    if Path(name).is_absolute() and not split_query(name)[0].exists():
        fix = "naming where they are now (--data), or moving them back"
        raise DataError(expected(f"the run's data at {name}", got="nothing there", fix=fix))
    opened = open_data(name, folder=folder, progress=progress)
    opened = opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
    opened.check_fingerprint(config.get("data_fingerprint"))
    return opened


def fit_to(solution: Solution, parts: Sequence[Examples]) -> list[Examples]:
    """Returns examples with columns and classes in the order of those that a solution was trained on.

    Where that is not known, they are as they come.

    Raises:
        ShapeError: A column is missing, or the examples have another shape.
    """
    config = solution.config or {}
    fitted = fit_names(parts, Names.of(config))
    for part in fitted:
        own = tuple(config.get("event_shape", part.event_shape))
        if own != part.event_shape:
            fix = "data of the same columns: one called y, label, ... is part of x only if its numbers have fractions"
            if len(own) != 1:
                fix = "images of the same size and colours"
            wanted = f"examples of shape {own}, as those that the model was trained on"
            raise ShapeError(expected(wanted, got=f"{part.event_shape}", fix=fix))
    return fitted


def open_for(
    solution: Solution, data: Source | None, *, folder: str | Path | None = None, progress: bool = False
) -> Data:
    """Returns the data to use a solution on, as it takes them: its own, or others.

    Args:
        solution: What ``fit`` or ``load`` returned.
        data: As for :func:`~lagvae.data.dataset.open_data`; the solution's own if none are given.
        folder: Where named data sets live.
        progress: Whether to show a download's progress.

    Raises:
        DataError: There are none, or they are not what the likelihood scores.
        ShapeError: They have other columns or another shape than those that it was trained on.
    """
    if data is None:
        opened = reopen_data(solution, folder=folder, progress=progress)
    else:
        opened = open_data(data, folder=folder, progress=progress)
    opened = opened.map_parts(partial(fit_to, solution))
    solution.model.check_data(opened)
    return opened


def _read_log(folder: RunFolder, step: int, state: dict[str, Any]) -> list[Record]:
    """Returns the log up to a checkpoint's step; a damaged one is left out."""
    try:
        return folder.metrics.read_until(step, state.get("log"))
    except CheckpointError as error:
        warnings.warn(f"{str(error).partition('; try ')[0]}: the log is left out", DamageWarning, stacklevel=3)
        return []


def _unfinished(config: Config, step: int, multipliers: Float[Tensor, "1 constraints"]) -> dict[str, Any]:
    lagrangian = Lagrangian(Problem.parse(config["problem"]))
    weights = lagrangian.weights(multipliers.cpu())[0].tolist()
    return {
        "status": "stopped",
        "message": f"not finished: at step {step}",
        "weights": dict(zip(map(str, lagrangian.terms), weights, strict=True)),
        "batch_size": settings_of(config).primal.batch_size,
    }


def _read_evaluation(problem: Problem, content: dict[str, Any]) -> Evaluation | None:
    if "estimates" not in content:
        return None
    return Evaluation(
        problem,
        {
            part: {name: Estimate.from_dict(fields) for name, fields in found.items()}
            for part, found in content["estimates"].items()
        },
    )


def _floats(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields with JSON's null read back as NaN."""
    return {name: float("nan") if value is None else value for name, value in fields.items()}
