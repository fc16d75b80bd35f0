"""How a run ends: evaluated, judged, written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lagvae.data.dataset import Data
from lagvae.duality.residuals import kkt_residuals
from lagvae.evaluation.evaluate import evaluate_model
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.folder import Config
from lagvae.training.outcome.diagnosis import Diagnosis, diagnose, summarize
from lagvae.training.outcome.runaway import blind_distortion, find_runaway
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.progress import staged_progress
from lagvae.training.record import Record, logged_violations
from lagvae.training.run_log import RunLog
from lagvae.training.steps.session import Session

Draw = Callable[[Solution], None]
"""Makes pictures of a run that reached its end."""


def conclude(
    session: Session,
    log: RunLog,
    data: Data,
    settings: Settings,
    status: Status | None,
    message: str,
    *,
    config: Config | None = None,
    draw: Draw | None = None,
    progress: bool,
) -> Solution:
    """Evaluates a finished run, writes what came out, tells the trackers, and returns it."""
    problem, names = session.lagrangian.problem, session.lagrangian.names
    if status is Status.DIVERGED:
        log.restore(session)
    multipliers = dict(zip(names, session.rule.multipliers[0].tolist(), strict=True))
    seconds = max([log.seconds, *(record["seconds"] for record in log.history[-1:])])
    violations = logged_violations(names, log.history)
    evaluation, residuals = None, None
    diagnosis: tuple[Diagnosis, ...] = ()
    if status is None:
        with staged_progress(show=progress) as stage:
            evaluation = evaluate_model(
                session.model,
                problem,
                data,
                batch_size=session.batch_size,
                seed=settings.execution.seed,
                advance=stage("evaluating", sum(map(len, data.parts.values()))),
            )
        violations = evaluation.violations()
        status = Status.FEASIBLE if evaluation.is_feasible() else Status.INFEASIBLE
        diagnosis = diagnose(
            problem,
            evaluation.missed(),
            violations=violations,
            multipliers=multipliers,
            largest=dict(zip(names, session.rule.largest.expand_as(session.rule.multipliers)[0].tolist(), strict=True)),
            history=log.history,
            latent_dim=session.model.latent_dim,
            batch_size=(session.held_out or session.batches).size,
        )
        message = _sentence(problem, diagnosis, is_held_out=evaluation.judged == "held_out")
        seed, size = settings.execution.seed, session.batch_size
        blind = blind_distortion(session.model, data.train, seed=seed, batch_size=size)
        if trouble := find_runaway(problem, evaluation, blind=blind):
            status, message, diagnosis = Status.DIVERGED, f"{trouble}; try dual=forecast or a lower learning_rate", ()
        residuals = kkt_residuals(problem, multipliers, violations, _lagrangian_history(session, log.history))
    solution = Solution(
        status=status,
        message=message,
        problem=problem,
        model=session.model.eval(),
        multipliers=multipliers,
        violations=violations,
        weights=session.effective_weights(),
        evaluation=evaluation,
        residuals=residuals,
        step=session.step,
        seconds=seconds,
        history=log.history,
        folder=log.folder.path if log.folder else None,
        data=data,
        batch_size=session.batch_size,
        diagnosis=diagnosis,
        config=config,
    )
    if log.folder is not None and status is not Status.STOPPED:
        log.folder.write_evaluation(solution.as_dict())
    if draw is not None and evaluation is not None:
        draw(solution)
    log.finish(solution.as_dict())
    return solution


def _sentence(problem: Problem, diagnosis: Sequence[Diagnosis], *, is_held_out: bool) -> str:
    if not problem.subject_to:
        return "trained; the problem has no bounds to keep"
    if diagnosis:
        return summarize(problem, diagnosis, where=" on the held-out data" if is_held_out else "")
    return f"every bound holds on the {'held-out' if is_held_out else 'training'} data"


def _lagrangian_history(session: Session, history: list[Record]) -> list[float]:
    """Returns every record's Lagrangian at the final multipliers, so that only the weights' change shows."""
    lagrangian, multipliers = session.lagrangian, session.rule.multipliers[0]
    rows = [[record["terms"][str(term)] for term in lagrangian.terms] for record in history]
    values = multipliers.new_tensor(rows).reshape(len(rows), len(lagrangian.terms))
    return lagrangian.value(values, multipliers.expand(len(rows), -1)).tolist()
