"""fit(): solve a problem on data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from lagvae.data.dataset import Data, Source, open_data
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.residuals import kkt_residuals
from lagvae.duality.rules import DualRuleFactory, build_rule
from lagvae.errors import ProblemError, SettingError, expected
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.model.vae import VAE, mlp_vae
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.settings import preset as read_preset
from lagvae.streams import Streams
from lagvae.training.folder import RunFolder, make_config
from lagvae.training.hardware import keep_freed_memory, pick_device, pick_dtype
from lagvae.training.interrupt import Interrupt
from lagvae.training.optimization import OptimizerFactory, build_optimizer
from lagvae.training.progress import announce, evaluation_progress, make_display
from lagvae.training.record import effective_weights, find_non_finite, make_record
from lagvae.training.run_log import RunLog
from lagvae.training.session import Session
from lagvae.training.solution import Solution, Status


def fit(
    problem: Problem | str,
    data: Source,
    *,
    model: VAE | None = None,
    optimizer: str | OptimizerFactory | None = None,
    dual: str | DualRuleFactory | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: Settings | None = None,
    preset: str = "default",
    data_folder: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> Solution:
    """Solves a problem on data: weights descend, multipliers ascend, on the same batches.

        min over θ, max over λ ≥ 0:   f(θ) + Σ λ_c (value_c(θ) - bound_c)

    Args:
        problem: A problem, or its text.
        data: A name, a path, an array, a tensor, a torch Dataset, or a pair (train, test) of these.
        model: Any VAE; built from the settings if none is given.
        optimizer: A name of torch.optim in lower case, or a function of the weights that returns an optimiser.
        dual: A rule's name, or a function of the problem that returns a rule.
        out: Folder for checkpoints, metrics and results; nothing is written without one.
        resume: Goes on with the run in ``out``, to the same bits as if it had never stopped.
        overwrite: Replaces the run in ``out``.
        settings: Every setting at once; a preset's if none are given.
        preset: ``default``, or ``zhao2018`` for the original's constants.
        data_folder: Where named data sets live; ``DATA_PREFIX`` or the user's cache if none is given.
        progress: Whether to show a live table (a line now and then where there is no terminal).
        **changes: Single settings by name: ``epochs=60``, ``latent_dim=10``, ``seed=1``, ...

    Returns:
        The model, its multipliers, and how it ended. An infeasible or diverged run is a
        status, not an exception.

    Raises:
        ProblemError: The problem is not one.
        DataError: The data are missing, damaged or outside what the likelihood scores.
        ShapeError: The networks do not fit the data.
        SettingError: A setting is unknown or out of range.
        CheckpointError: ``out`` holds another run, or cannot be written.
    """
    if isinstance(problem, str):
        problem = Problem.parse(problem)
    if not isinstance(problem, Problem):
        raise ProblemError(expected("a Problem or its text", got=repr(problem), fix="'max mi s.t. neg_elbo <= 86'"))
    changes |= {k: v for k, v in {"optimizer": optimizer, "dual": dual}.items() if isinstance(v, str)}
    settings = (settings or read_preset(preset)).replace(**changes)
    if resume and out is None:
        raise SettingError(expected("the folder of the run to resume", got="none", fix="out='runs/first'"))
    folder = None if out is None else RunFolder(out)
    if folder is not None and not resume:
        folder.check_free(overwrite=overwrite)

    opened = open_data(data, folder=data_folder, progress=progress)
    device = pick_device(settings.execution.device)
    streams = Streams(settings.execution.seed, device)
    session_model = model or _build_model(opened, settings, streams)
    session_model.check_shapes(opened.train.event_shape)
    for part, examples in (("train", opened.train), ("test", opened.test)):
        session_model.likelihood.check(examples, name=f"{opened.name or 'the data'} ({part})")
    batch_size = min(settings.primal.batch_size, len(opened.train))
    problem.warn_of_floors(latent_dim=session_model.latent_dim, batch_size=batch_size)

    session_model.to(device).train()
    make_optimizer = optimizer if callable(optimizer) else None
    session = Session(
        model=session_model,
        lagrangian=Lagrangian(problem, device),
        rule=dual(problem) if callable(dual) else build_rule(problem, settings.dual, device=device),
        optimizer=build_optimizer(session_model.parameters(), settings.primal, make_optimizer),
        examples=opened.train.to(device),
        streams=streams,
        settings=settings.primal,
        dtype=pick_dtype(settings.execution.precision, device),
    )
    log = RunLog(folder, terms=len(session.lagrangian.terms))
    if folder is not None:
        custom = [n for n, v in (("model", model), ("optimizer", make_optimizer), ("dual", callable(dual))) if v]
        config = make_config(
            problem, opened.name, opened.fingerprint(), settings, event_shape=opened.train.event_shape, custom=custom
        )
        if resume:
            folder.check_continues(config)
            log.resume(session)
        else:
            folder.create(config)
            log.save(session, 0.0, log.unlogged)

    announce(opened, device, session.dtype, show=progress)
    keep_freed_memory()
    status, message = train(session, log, settings, progress=progress)
    return _conclude(session, log, opened, settings, status, message, progress=progress)


def train(session: Session, log: RunLog, settings: Settings, *, progress: bool) -> tuple[Status | None, str]:
    """Takes the steps that are left: the loop.

    Returns:
        DIVERGED or STOPPED with a sentence, or None where every step was taken.
    """
    log_every = settings.output.log_every
    # Steps that an interrupted session took after its last record come first: the log does not see the break.
    filled = len(log.unlogged)
    rows = filled + min(log_every, session.total_steps - session.step)
    values = torch.empty(rows, len(session.lagrangian.terms), device=session.streams.device)
    values[:filled] = log.unlogged
    began = last = time.monotonic()
    last_step = session.step
    display = make_display(session.total_steps, session.step, settings.primal.epochs, show=progress)
    try:
        with Interrupt() as interrupt, display:
            while session.step < session.total_steps:
                values[filled] = session.take_step()
                filled += 1
                is_last = session.step == session.total_steps
                is_logged = session.step % log_every == 0 or is_last
                if not (is_logged or interrupt.requested):
                    continue

                # Values stay on the device until here: nothing waits for it in between.
                trouble = find_non_finite(session, values[:filled])
                if trouble is None and (is_last or interrupt.requested) and not session.has_finite_weights():
                    trouble = f"weights became non-finite at step {session.step}"
                if trouble is not None:
                    return Status.DIVERGED, trouble
                now = time.monotonic()
                seconds = log.seconds + now - began
                if is_logged:
                    speed = (session.step - last_step) / (now - last)
                    record = make_record(session, values[:filled], seconds=seconds, speed=speed)
                    log.add(record)
                    display.show(record)
                    filled, last, last_step = 0, now, session.step
                is_due = log.seconds_since_save() >= settings.output.checkpoint_seconds
                if is_last or interrupt.requested or (is_due and session.has_finite_weights()):
                    log.save(session, seconds, values[:filled])
                if interrupt.requested and not is_last:
                    return Status.STOPPED, f"stopped at step {session.step} of {session.total_steps}"
    finally:
        log.close()
    return None, ""


def _build_model(data: Data, settings: Settings, streams: Streams) -> VAE:
    network = settings.network
    return mlp_vae(
        data.train.event_shape,
        latent_dim=network.latent_dim,
        hidden=network.hidden,
        activation=network.activation,
        generator=streams.initial_weights,
    )


def _conclude(
    session: Session,
    log: RunLog,
    data: Data,
    settings: Settings,
    status: Status | None,
    message: str,
    *,
    progress: bool,
) -> Solution:
    """Evaluates a finished run, writes what came out, and returns it."""
    problem, names = session.lagrangian.problem, session.lagrangian.names
    if status is Status.DIVERGED:
        log.restore_weights(session)
    multipliers = dict(zip(names, session.rule.multipliers[0].tolist(), strict=True))
    seconds = log.history[-1]["seconds"] if log.history else 0.0
    last = log.history[-1]["constraints"] if log.history else {}
    violations = {name: last[name]["violation"] if last else float("nan") for name in names}
    evaluation, residuals = None, None
    if status is None:
        total = len(data.train) + len(data.test)
        with evaluation_progress(total, show=progress) as advance:
            evaluation = evaluate_model(
                session.model,
                problem,
                data,
                batch_size=session.batch_size,
                seed=settings.execution.seed,
                advance=advance,
            )
        violations = evaluation.violations("train")
        status = Status.FEASIBLE if evaluation.is_feasible("train") else Status.INFEASIBLE
        message = _sentence(problem, evaluation, status)
        history = [_lagrangian_at(record, problem, multipliers) for record in log.history]
        residuals = kkt_residuals(problem, multipliers, violations, history)
    solution = Solution(
        status=status,
        message=message,
        problem=problem,
        model=session.model.eval(),
        multipliers=multipliers,
        violations=violations,
        weights=effective_weights(session),
        evaluation=evaluation,
        residuals=residuals,
        step=session.step,
        seconds=seconds,
        history=log.history,
        folder=log.folder.path if log.folder else None,
        data=data,
        batch_size=session.batch_size,
    )
    if log.folder is not None and status is not Status.STOPPED:
        log.folder.write_evaluation(solution.as_dict())
    return solution


def _sentence(problem: Problem, evaluation: Evaluation, status: Status) -> str:
    if not problem.subject_to:
        return "trained; the problem has no bounds to keep"
    if status is Status.FEASIBLE:
        return "every bound holds on the training data"
    missed = []
    for name, constraint in zip(problem.names, problem.subject_to, strict=True):
        violation = evaluation.violations("train")[name]
        if not constraint.is_met_by(constraint.bound + constraint.sign * violation, slack=constraint.tolerance):
            missed.append(f"'{constraint}' by {abs(violation):.3g}")
    return f"missed {', '.join(missed)}; try more epochs or a wider bound"


def _lagrangian_at(record: dict[str, Any], problem: Problem, multipliers: dict[str, float]) -> float:
    """Returns a record's Lagrangian at the final multipliers, so that only the weights' change shows."""
    terms = record["terms"]
    objective = sum(weight * terms[str(term)] for term, weight in problem.objective.surrogate().items())
    penalties = sum(multipliers[name] * c["violation"] for name, c in record["constraints"].items())
    return float(objective + penalties)
