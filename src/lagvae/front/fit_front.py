"""fit_front(): many problems at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from lagvae.data.dataset import Source, open_data
from lagvae.data.examples import fit_names
from lagvae.data.names import Names
from lagvae.errors import CheckpointError, LagvaeError, SettingError, expected, nearest
from lagvae.front.amortised.fit import fit_amortised, read_amortised
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.dedicated.fit import fit_dedicated, read_dedicated
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.front.dedicated.ranges import expand_ranges
from lagvae.front.dedicated.ray_engine import RayEngine
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import RUN_RECIPE, FrontSettings, Settings, front_recipe, settings_or_preset
from lagvae.storage.files import read_json
from lagvae.storage.folder import FRONT, RunFolder, claim_folder, held, settings_of
from lagvae.tracking.trackers import require_trackers
from lagvae.training.build import settle_likelihood

METHODS = ("amortised", "dedicated", "path")
ENGINES = ("local", "ray")


@overload
def fit_front(
    data: Source, problems: tuple[()] = (), *, method: Literal["amortised"] = "amortised", **options: Any
) -> AmortisedFront: ...
@overload
def fit_front(
    data: Source,
    problems: str | Problem | Sequence[str | Problem],
    *,
    method: Literal["dedicated", "path"],
    **options: Any,
) -> DedicatedFront: ...
@overload
def fit_front(
    data: Source, problems: str | Problem | Sequence[str | Problem] = (), *, method: str, **options: Any
) -> AmortisedFront | DedicatedFront: ...


def fit_front(
    data: Source,
    problems: str | Problem | Sequence[str | Problem] = (),
    *,
    method: str = "amortised",
    engine: str = "local",
    model: VAE | None = None,
    optimizer: str | OptimizerFactory | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stack: int | Literal["auto"] | None = None,
    front: FrontSettings | None = None,
    settings: Settings | None = None,
    preset: str = "default",
    data_folder: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> AmortisedFront | DedicatedFront:
    """Finds the solutions of many problems: with one network that holds them all, or with a run for each.

    ``amortised`` trains one modulated network for every weight of rate and divergence,

        min over θ of E_(β, γ) [ (D + β R + γ mmd) / max(1, γ · chance) ],

    (*chance*: the mean of a biased mmd of a perfect q(z) among the few codes of a step) in little more time than one
    ordinary run; problems are solved on it afterwards, by
    :meth:`~lagvae.front.amortised.front.AmortisedFront.solve`, without training. ``dedicated`` trains a run for each
    problem, several as one where that pays; ``path`` lets each go on from the one before it.

    Args:
        data: As for ``fit``.
        problems: For ``dedicated`` and ``path``: problems, or texts with ranges such as ``neg_elbo <= 86:95:1``.
        method: One of the three.
        engine: What trains the points of ``dedicated``: this process (``local``), or those of a cluster (``ray``).
        model: Any VAE; built from the settings if none is given. For ``amortised``, of linear and convolutional layers.
        optimizer: As for ``fit``.
        out: Folder for everything that is written; nothing is without one.
        resume: Goes on with the front in ``out``, to the same bits as if it had never stopped.
        overwrite: Replaces the front in ``out``.
        stack: For ``dedicated``: how many runs are trained as one, each as it would be alone, to rounding. As many as
            pay by a few timed steps if ``auto``, which is the clock's decision and so not the same bits every time;
            one, or what a front that is gone on with was begun with, if none is given.
        front: What an amortised front covers.
        settings: Every other setting at once; a preset's if none are given. Of the dual rule's, ``held_out`` counts
            for an amortised front too: what is held out is measured, and problems are solved on it.
        preset: As for ``fit``.
        data_folder: Where named data sets live.
        progress: Whether to show a live table.
        **changes: Single settings by name, of both kinds: ``epochs=60``, ``beta_high=20``, ...

    Returns:
        The front. Runs that end infeasible or fail are points of it, marked as such.

    Raises:
        ProblemError: A text is no problem, or bounds relative to ``best`` turn out contradictory.
        DataError: The data are missing, damaged or outside what the likelihood scores.
        ShapeError: The networks do not fit the data, or have nothing to modulate.
        SettingError: A setting is unknown or out of range, a tracker's package is missing, or there are no problems for
            ``dedicated``, or some for ``amortised``.
        SolveError: A probe that bounds relative to ``best`` need diverged.
        CheckpointError: ``out`` holds something else, cannot be written, or another process is writing there.
    """
    if method not in METHODS:
        raise SettingError(expected("a method", got=f"'{method}'", fix=nearest(str(method), METHODS)))
    if engine not in ENGINES:
        raise SettingError(expected("an engine", got=f"'{engine}'", fix=nearest(str(engine), ENGINES)))
    if engine != "local" and method != "dedicated":
        raise SettingError(expected("points that do not wait for each other", got=method, fix="--method dedicated"))
    if stack not in (None, "auto") and (not isinstance(stack, int) or stack < 1):
        raise SettingError(expected("auto or a whole number ≥ 1 as stack", got=repr(stack), fix="stack='auto'"))
    if stack not in (None, 1) and method != "dedicated":
        raise SettingError(expected("no stack", got=f"{stack!r} for {method}", fix="method='dedicated'"))
    front, settings = _settings(front, settings_or_preset(settings, preset), changes, optimizer)
    settings = settings.settled(front_recipe(front.divergence) if method == "amortised" else RUN_RECIPE)
    if method != "amortised" and front != FrontSettings():
        unusual = dataclasses.asdict(front).items() - dataclasses.asdict(FrontSettings()).items()
        got = ", ".join(f"{name}={value}" for name, value in sorted(unusual))
        raise SettingError(expected(f"no settings of an amortised front for {method}", got=got, fix="leaving them out"))
    texts = [problems] if isinstance(problems, str | Problem) else list(problems)
    asked = [one for text in texts for one in expand_ranges(str(text))]
    if (method == "amortised") == bool(asked):
        if not asked:
            fix = "'max mi s.t. neg_elbo <= 99:106:1', a run for each bound"
            raise SettingError(expected(f"problems for method='{method}'", got="none", fix=fix))
        fix = "method='dedicated', or front.solve(problem) afterwards"
        raise SettingError(expected("no problem for an amortised front", got=str(asked[0]), fix=fix))
    require_trackers(settings.output.track)
    folder = claim_folder(out, resume=resume, overwrite=overwrite, what="front")
    opened = open_data(data, folder=data_folder, progress=progress)
    make_optimizer = optimizer if callable(optimizer) else None
    common: dict[str, Any] = {
        "settings": settings,
        "model": model,
        "optimizer": make_optimizer,
        "folder": folder,
        "resume": resume,
        "progress": progress,
    }
    with held(folder):
        if folder is not None and not resume:
            folder.check_free(overwrite=overwrite)
        if method == "amortised":
            opened = opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
            if model is None:
                common["settings"], common["choice"] = settle_likelihood(settings, opened)
            return fit_amortised(opened, front=front, **common)
        chosen = RayEngine() if engine == "ray" else None
        return fit_dedicated(asked, opened, method=method, stack=stack, engine=chosen, **common)


def load_front(
    folder: str | Path,
    *,
    model: VAE | None = None,
    data: Source | None = None,
    data_folder: str | Path | None = None,
) -> AmortisedFront | DedicatedFront:
    """Returns the front that a folder holds.

    Args:
        folder: Where ``fit_front`` wrote it.
        model: The user's own model, where it was trained with one; its weights, or those of copies of it, are replaced.
        data: What it was trained on, where they were arrays in memory; named data are opened again.
        data_folder: Where named data sets live.

    Raises:
        CheckpointError: The folder holds no front, or a damaged or unfinished one; or its model was the user's own
            and none is given.
    """
    run = RunFolder(folder)
    config = run.read_config()
    if "front" not in config:
        raise CheckpointError(expected(f"a front at {folder}", got="a run", fix="lv.load(folder)"))
    if not (run.path / FRONT).exists():
        fix = f"lagvae front --resume {folder}"
        raise CheckpointError(expected(f"a finished front at {folder}", got=f"no {FRONT}", fix=fix))
    again = f"lagvae front --resume {folder}, which measures it again"
    content, settings, opened = read_json(run.path / FRONT, fix=again), settings_of(config), None
    if data is not None or config["data"]:
        opened = open_data(config["data"] if data is None else data, folder=data_folder, progress=False)
        opened = opened.map_parts(partial(fit_names, names=Names.of(config)))
        whole, opened = opened, opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
        if data is None:  # an amortised front was told what is left, one of runs the whole
            told = opened if content.get("method") == "amortised" else whole
            told.check_fingerprint(config.get("data_fingerprint"))
    try:
        if content["method"] == "amortised":
            return read_amortised(run, content, model=model, data=opened)
        return read_dedicated(run, content, model=model, data=opened)
    except LagvaeError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError(expected(f"all of a front in {run.path / FRONT}", got=reason, fix=again)) from error


def _settings(
    front: FrontSettings | None, settings: Settings, changes: dict[str, Any], optimizer: str | OptimizerFactory | None
) -> tuple[FrontSettings, Settings]:
    """Returns both kinds of settings with their changes."""
    own = {field.name for field in dataclasses.fields(FrontSettings)}
    front = dataclasses.replace(front or FrontSettings(), **{k: v for k, v in changes.items() if k in own})
    others = {name: value for name, value in changes.items() if name not in own}
    if isinstance(optimizer, str):
        others["optimizer"] = optimizer
    return front, settings.replace(**others)
