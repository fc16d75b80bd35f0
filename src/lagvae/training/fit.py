"""fit(): solve a problem on data."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lagvae.data.dataset import Data, Source, open_data
from lagvae.duality.rules import DualRuleFactory, rule_from
from lagvae.errors import ProblemError, SettingError, expected
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings, settings_or_preset
from lagvae.storage.folder import RunFolder, claim_folder, held, make_config, settings_of
from lagvae.tracking.trackers import require_trackers
from lagvae.training.build import settle_likelihood
from lagvae.training.devices import Blueprint, train_on_devices
from lagvae.training.load import fit_to
from lagvae.training.loop import Company, training
from lagvae.training.outcome.conclusion import Draw, conclude
from lagvae.training.outcome.solution import Solution
from lagvae.training.probe import resolve_bounds
from lagvae.training.progress import announce
from lagvae.training.run_log import RunLog
from lagvae.training.steps.hardware import keep_freed_memory
from lagvae.training.together import Fitting, finish_alone


def fit(
    problem: Problem | str,
    data: Source,
    *,
    model: VAE | None = None,
    start: Solution | None = None,
    optimizer: str | OptimizerFactory | None = None,
    dual: str | DualRuleFactory | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: Settings | None = None,
    preset: str = "default",
    data_folder: str | Path | None = None,
    draw: Draw | None = None,
    progress: bool = True,
    **changes: Any,
) -> Solution:
    """Solves a problem on data: weights descend, multipliers ascend, on the same batches.

        min over θ, max over λ ≥ 0:   f(θ) + Σ λ_c (value_c(θ) - bound_c)

    With ``held_out=0.1`` the multipliers ascend on a tenth of the training data that the weights never see:
    bounds are then met there, and so on other unseen data, however much the weights overfit.

    Args:
        problem: A problem, or its text. A bound relative to ``best`` (``neg_elbo <= best + 4``) is made a number
            first, by a probe with the same settings: ``best`` is what an ordinary VAE reaches with this budget.
        data: A name, a path, an array, a tensor, a torch Dataset, or a pair (train, test) of these.
        model: Any VAE; built from the settings if none is given.
        start: A solution to go on from: its networks and weights, which are copied, and with the default rule its
            multipliers, where it has the same constraints. In place of a model, and of settings that describe one.
        optimizer: A name of torch.optim in lower case, or a function of the weights that returns an optimiser.
        dual: A rule's name, or a function of the problem that returns a rule.
        out: Folder for checkpoints, metrics and results; nothing is written without one.
        resume: Goes on with the run in ``out``, to the same bits as if it had never stopped.
        overwrite: Replaces the run in ``out``.
        settings: Every setting at once; a preset's if none are given.
        preset: ``default``, or ``zhao2018`` for the original's constants.
        data_folder: Where named data sets live; ``DATA_PREFIX`` or the user's cache if none is given.
        draw: Called with the solution of a run that reached its end, before its files go to trackers.
        progress: Whether to show a live table (a line now and then where there is no terminal).
        **changes: Single settings by name: ``epochs=60``, ``latent_dim=10``, ``seed=1``, ...

    Modules that draw random numbers of their own (dropout) take them from torch's global generator,
    which is no part of a run: resuming is exact without them.

    Returns:
        The model, its multipliers, and how it ended. An infeasible or diverged run is a
        status, not an exception.

    Raises:
        ProblemError: The problem is not one, or its bounds relative to ``best`` turn out contradictory.
        DataError: The data are missing, damaged, too few to hold some out, or outside what the likelihood scores.
        ShapeError: The networks do not fit the data.
        SettingError: A setting is unknown or out of range, or a tracker's package is missing.
        CheckpointError: ``out`` holds another run, cannot be written, or another process is writing there.
        SolveError: A probe that a bound relative to ``best`` needs diverged.
        KeyboardInterrupt: Such a probe was interrupted: there is no run yet to go on with.
    """
    if isinstance(problem, str):
        problem = Problem.parse(problem)
    if not isinstance(problem, Problem):
        raise ProblemError(expected("a Problem or its text", got=repr(problem), fix="'max mi s.t. neg_elbo <= 86'"))
    changes |= {k: v for k, v in {"optimizer": optimizer, "dual": dual}.items() if isinstance(v, str)}
    settings = settings_or_preset(settings, preset).replace(**changes).settled()
    require_trackers(settings.output.track)
    folder = claim_folder(out, resume=resume, overwrite=overwrite, what="run")

    opened = open_data(data, folder=data_folder, progress=progress)
    return finish_alone(
        fitting(
            problem,
            opened,
            settings,
            model=model,
            start=start,
            optimizer=optimizer,
            dual=dual,
            folder=folder,
            resume=resume,
            overwrite=overwrite,
            draw=draw,
            progress=progress,
        )
    )


def fitting(
    problem: Problem,
    opened: Data,
    settings: Settings,
    *,
    model: VAE | None = None,
    start: Solution | None = None,
    optimizer: str | OptimizerFactory | None = None,
    dual: str | DualRuleFactory | None = None,
    folder: RunFolder | None = None,
    resume: bool = False,
    overwrite: bool = False,
    draw: Draw | None = None,
    progress: bool = False,
    company: Company | None = None,
) -> Fitting:
    """Does what :func:`fit` does, but leaves the steps to whoever runs it: for each it yields the session.

    Args:
        problem: As for :func:`fit`.
        opened: The data, of which nothing is held out yet.
        settings: All of them.
        model: As for :func:`fit`.
        start: As for :func:`fit`.
        optimizer: As for :func:`fit`.
        dual: As for :func:`fit`.
        folder: Where to write, after a look at what it holds.
        resume: As for :func:`fit`.
        overwrite: As for :func:`fit`.
        draw: As for :func:`fit`.
        progress: As for :func:`fit`.
        company: Of a run that takes its steps together with others.
    """
    if model is not None and start is not None:
        raise SettingError(expected("a model or a start", got="both", fix="start alone: its model is trained on"))
    opened = opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
    own = model
    if start is not None:
        opened = opened.map_parts(partial(fit_to, start))
        model = copy.deepcopy(start.model)
        settings, own = _networks_of(start, settings)
    settings, choice = (settings, None) if model is not None else settle_likelihood(settings, opened)
    given = {"model": own is not None, "start": start is not None}
    given |= {"optimizer": callable(optimizer), "dual": callable(dual)}
    custom = [name for name, is_given in given.items() if is_given]
    make_optimizer = optimizer if callable(optimizer) else None
    make_dual = dual if callable(dual) else None
    if start is not None:
        go_on = partial(rule_from, multipliers=start.multipliers, latent_dim=start.model.latent_dim)
        make_dual = make_dual or partial(go_on, settings=settings.dual)
    asked = problem
    if asked.is_relative and folder is not None and resume:
        problem = Problem.parse(folder.resolved_problem(str(asked)))
    elif asked.is_relative:
        # Of an ordinary VAE, also where this run goes on from a start; that of a model of one's own is all there is.
        (problem,) = resolve_bounds([asked], opened, settings, model=own, optimizer=make_optimizer, progress=progress)
    plan = Blueprint(problem, opened, settings, model=model, optimizer=make_optimizer, dual=make_dual)
    session = plan.build()
    problem.warn_of_floors(latent_dim=session.model.latent_dim, batch_size=(session.held_out or session.batches).size)
    log = RunLog(folder, measured_shape=session.measured_shape)
    config = make_config(
        problem,
        opened.name,
        opened.fingerprint(),
        settings,
        event_shape=opened.train.event_shape,
        custom=custom,
        names=opened.names.as_dict(),
        asked=asked if asked.is_relative else None,
    )
    with held(folder):
        if folder is not None:
            if resume:
                folder.check_continues(config)
                log.resume(session)
            else:
                folder.check_free(overwrite=overwrite)
                folder.create(config)
                log.save(session, 0.0, log.unlogged)
        with log.tracked(settings.output.track, config):
            announce(opened, session.device, session.dtype, choice=choice, steps=session.total_steps, show=progress)
            keep_freed_memory()
            if settings.execution.devices > 1:
                status, message = train_on_devices(session, log, plan, progress=progress)
            else:
                status, message = yield from training(session, log, settings, progress=progress, company=company)
            return conclude(
                session, log, opened, settings, status, message, config=config, draw=draw, progress=progress
            )


def _networks_of(start: Solution, settings: Settings) -> tuple[Settings, VAE | None]:
    """Returns the settings with a start's networks in place of their own; and its model, if no settings describe it."""
    if start.config is None or "model" in start.config["custom"]:
        return settings, start.model
    return replace(settings, network=settings_of(start.config).network), None
