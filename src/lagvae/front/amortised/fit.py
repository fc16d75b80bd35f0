"""Trains one network for every weight, and measures it."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from lagvae.data.dataset import Data
from lagvae.errors import CheckpointError, SettingError, expected
from lagvae.evaluation.evaluate import divergence_of, evaluate_model
from lagvae.front.amortised.coherence import find_collapse, find_incoherence
from lagvae.front.amortised.family import Family
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.amortised.modulation import Modulation
from lagvae.front.amortised.session import FrontSession
from lagvae.front.amortised.surface import Surface
from lagvae.front.front import describe_front, read_fields
from lagvae.front.point import FrontPoint
from lagvae.model.likelihoods.likelihood import Scaled, sees_batch
from lagvae.model.likelihoods.names import Choice
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import GAMMA_LOW, FrontSettings, Settings, front_recipe
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.storage.files import read_json
from lagvae.storage.folder import FRONT, Config, RunFolder
from lagvae.terms.algebra import WeightedSum
from lagvae.terms.mmd import MMD, mmd
from lagvae.training.build import build_session
from lagvae.training.load import load_weights, rebuild_model
from lagvae.training.loop import train
from lagvae.training.outcome.runaway import blind_distortion
from lagvae.training.outcome.solution import Status
from lagvae.training.progress import announce, staged_progress
from lagvae.training.run_log import RunLog
from lagvae.training.steps.hardware import keep_freed_memory, networks_in, pick_dtype
from lagvae.training.steps.optimization import build_optimizer

BETAS, GAMMAS = 11, 4
"""Members that are measured along log β and log γ."""

GROUPS_PER_BLOCK = 5
"""Groups with neighbouring β that share γ."""


def fit_amortised(
    opened: Data,
    *,
    front: FrontSettings,
    settings: Settings,
    model: VAE | None,
    optimizer: OptimizerFactory | None,
    folder: RunFolder | None,
    resume: bool,
    progress: bool,
    choice: Choice | None = None,
) -> AmortisedFront:
    """Trains, or goes on training, the network that :func:`~lagvae.front.fit_front.fit_front` describes."""
    if settings.execution.devices > 1:
        fix = "devices=1, or --method dedicated"
        raise SettingError(expected("one device for an amortised front", got=settings.execution.devices, fix=fix))
    asked = _problem(front)
    session = _build_session(opened, front, settings, model, optimizer)
    likelihood = session.model.model.likelihood
    learns = sees_batch(likelihood) or (isinstance(likelihood, nn.Module) and [*likelihood.parameters()])
    if learns and not isinstance(likelihood, Scaled):
        text = f"what {likelihood.name} learns is one for every weight of the front: members of low β fit worse than"
        fix = "runs of their own (--method dedicated); what a Scaled likelihood calls log_scales is each member's own"
        warnings.warn(f"{text} {fix}", UserWarning, stacklevel=3)
    log = RunLog(folder, measured_shape=session.measured_shape)
    problem = session.lagrangian.problem
    config = describe_front(problem, opened, settings, model=model, optimizer=optimizer, front=asdict(front))
    if folder is not None:
        if resume:
            folder.check_continues(config)
            if (made := _read_finished(folder, session.total_steps, model=model, data=opened)) is not None:
                return made
            log.resume(session)
            if session.step < session.total_steps:  # what was measured is of weights that are gone
                (folder.path / FRONT).unlink(missing_ok=True)
        else:
            folder.create(config)
            log.save(session, 0.0, log.unlogged)
    with log.tracked(settings.output.track, config):
        announce(opened, session.device, session.dtype, choice=choice, steps=session.total_steps, show=progress)
        keep_freed_memory()
        return _train(session, log, opened, asked, settings, config, progress=progress)


def _train(
    session: FrontSession,
    log: RunLog,
    opened: Data,
    problem: Problem,
    settings: Settings,
    config: Config,
    *,
    progress: bool,
) -> AmortisedFront:
    """Takes the steps that are left, and measures what came of them."""
    status, message = train(session, log, settings, progress=progress)
    if status is Status.DIVERGED:
        log.restore(session)
    made = AmortisedFront(
        points=(),
        status=status or Status.FEASIBLE,
        message=message or "trained; solve problems on it",
        settings=settings,
        data_name=opened.name,
        seconds=log.history[-1]["seconds"] if log.history else 0.0,
        steps=session.step,
        folder=None if log.folder is None else log.folder.path,
        data=opened,
        config=config,
        network=session.model.eval(),
    )
    if status is None:
        made.points = _measure(session, problem, opened, settings, show=progress)
        blind = _measure_blind(session, opened, settings)
        if trouble := find_incoherence(made.points, blind):
            made.status, made.message = Status.DIVERGED, trouble
        else:
            made.message = find_collapse(made.points, blind) or made.message
            made.surface = surface_of(made.points, session.family, divergence_of(problem))
    if made.folder is not None and status is not Status.STOPPED:
        made.write()
    log.finish({"status": str(made.status), "message": made.message, "step": made.steps})
    return made


def read_amortised(
    folder: RunFolder, content: dict[str, Any], *, model: VAE | None, data: Data | None
) -> AmortisedFront:
    """Returns the front that a folder holds: the network of its newest checkpoint, and what was measured of it.

    Raises:
        CheckpointError: The checkpoint that was measured is damaged.
    """
    config = folder.read_config()
    again = f"lagvae front --resume {folder.path}"

    def is_measured(state: dict[str, Any]) -> None:
        if state["step"] != content["steps"]:
            wanted = f"the checkpoint of step {content['steps']}, which {FRONT} is of"
            raise CheckpointError(expected(wanted, got=f"step {state['step']}", fix=again))

    tensors, state = load_checkpoint(folder.checkpoints, accept=is_measured)
    folder.check_written_with(config, state)
    if model is None:
        model = rebuild_model(config, where=str(folder.path), fix="lv.load_front(folder, model=my_vae)")
    settings = FrontSettings.of(config["front"])
    network = Modulation(model, gain=settings.gain)
    weights = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    # Fronts of before are modulated otherwise; what their tables are called, or their size, tells.
    load_weights(network, weights, fix="those, or training it again")
    made = AmortisedFront(**read_fields(folder, content, data=data), network=network.eval())
    if made.points and made.status is not Status.DIVERGED:
        made.surface = surface_of(made.points, family_of(settings), divergence_of(_problem(settings)))
    return made


def _read_finished(folder: RunFolder, total_steps: int, *, model: VAE | None, data: Data) -> AmortisedFront | None:
    """Returns the front that a folder holds, if nothing is left to do; damaged, it is to be measured again."""
    if not (folder.path / FRONT).exists():
        return None
    try:
        made = read_amortised(folder, read_json(folder.path / FRONT, fix=""), model=model, data=data)
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None
    return made if made.steps == total_steps and made.surface is not None else None


def family_of(front: FrontSettings) -> Family:
    """Returns the weights that settings describe."""
    has_divergence = front.divergence != "none"
    return Family(
        beta=(front.beta_low, front.beta_high),
        gamma=(GAMMA_LOW, front.gamma_high),
        share=0.5 if has_divergence else 0.0,
    )


def surface_of(points: Sequence[FrontPoint], family: Family, divergence: MMD = mmd) -> Surface:
    """Returns the surface through measured members, which stand β by β, γ by γ within."""
    betas = tuple(dict.fromkeys(float(point.beta or 0) for point in points))
    gammas = tuple(dict.fromkeys(max(float(point.gamma or 0), family.gamma[0]) for point in points))
    return Surface(family, betas, gammas, tuple(point.estimates for point in points), divergence)


def _problem(front: FrontSettings) -> Problem:
    """Returns the family's problem: min distortion + rate + divergence."""
    if front.divergence == "none":
        return Problem.parse("min distortion + rate")
    problem = Problem.parse(f"min distortion + rate + {front.divergence}")
    kinds = [term for term, _ in problem.objective.quantity.items[2:]]
    if len(kinds) != 1 or not isinstance(kinds[0], MMD):
        raise SettingError(
            expected("one mmd as divergence", got=f"'{front.divergence}'", fix="mmd(kernel=imq), or none")
        )
    return problem


def _build_session(
    data: Data, front: FrontSettings, settings: Settings, model: VAE | None, optimizer: OptimizerFactory | None
) -> FrontSession:
    problem = _problem(front)
    # Whole blocks only: what is left of a batch would be one of its own size.
    size = min(settings.primal.batch_size, len(data.train))
    group_size = min(front.group_size, size)
    groups = size // group_size
    blocks = max(1, groups // GROUPS_PER_BLOCK)
    groups = groups // blocks * blocks
    settings = settings.settled(front_recipe(front.divergence)).replace(batch_size=groups * group_size)
    trained = _unbiased(problem)
    base = build_session(trained, data, settings, model=model)
    network = Modulation(base.model, gain=front.gain).to(base.device).train()
    network.check_folds(data.train.event_shape)
    return FrontSession(
        model=network,
        lagrangian=base.lagrangian,
        rule=base.rule,
        optimizer=build_optimizer(network.parameters(), settings.primal, optimizer),
        batches=base.batches,
        held_out=None,
        settings=settings.primal,
        dtype=base.dtype,
        record=base.record,
        family=family_of(front),
        groups=groups,
        blocks=blocks,
    )


def _unbiased(problem: Problem) -> Problem:
    """Returns the problem with its divergence as it is trained on: exact in the prior, unbiased in the codes.

    A V-statistic of ten codes would be all diagonal.
    """
    quantity = WeightedSum.of(
        (term(estimator="unbiased", prior="closed_form") if isinstance(term, MMD) else term, weight)
        for term, weight in problem.objective.quantity.items
    )
    return Problem(dataclasses.replace(problem.objective, quantity=quantity))


def _measure(
    session: FrontSession, problem: Problem, data: Data, settings: Settings, *, show: bool
) -> tuple[FrontPoint, ...]:
    """Measures members on a grid over the family, all on the same examples with the same random numbers."""
    family, network = session.family, session.model
    betas = np.geomspace(*family.beta, BETAS)
    gammas = np.geomspace(*family.gamma, GAMMAS) if family.share else np.array(family.gamma[:1])
    dtype = pick_dtype(settings.execution.precision, session.device)
    points = []
    with staged_progress(show=show) as stage:
        advance = stage("measuring the front", len(betas) * len(gammas) * sum(map(len, data.parts.values())))
        for beta in betas.tolist():
            for gamma in gammas.tolist():
                began = time.monotonic()
                member = network.fold(family.conditions(torch.tensor([beta, gamma], device=session.device)))
                with networks_in(dtype, session.device):
                    evaluation = evaluate_model(
                        member,
                        problem,
                        data,
                        batch_size=settings.primal.batch_size,
                        seed=settings.execution.seed,
                        advance=advance,
                    )
                has_gamma = gamma > family.gamma[0]
                divergence = f" + {gamma:.4g}*{divergence_of(problem)}" if has_gamma else ""
                points.append(
                    FrontPoint(
                        problem=f"min distortion + {beta:.4g}*rate{divergence}",
                        status=str(Status.FEASIBLE),
                        message="a member of one network",
                        beta=beta,
                        gamma=gamma if has_gamma else 0.0,
                        estimates=evaluation.estimates,
                        seconds=time.monotonic() - began,
                    )
                )
    return tuple(points)


def _measure_blind(session: FrontSession, data: Data, settings: Settings) -> list[float]:
    """Returns what each member without a divergence reaches without a code."""
    family, device = session.family, session.device
    weights = torch.tensor([[beta, family.gamma[0]] for beta in np.geomspace(*family.beta, BETAS)], device=device)
    return [
        blind_distortion(
            session.model.fold(condition), data.train, seed=settings.execution.seed, batch_size=session.batch_size
        )
        for condition in family.conditions(weights.float())
    ]
