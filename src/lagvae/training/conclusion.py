"""How a run ends: evaluated, judged, written down."""

from __future__ import annotations

from typing import Any

from lagvae.data.dataset import Data
from lagvae.duality.residuals import kkt_residuals
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.training.progress import evaluation_progress
from lagvae.training.record import effective_weights
from lagvae.training.run_log import RunLog
from lagvae.training.session import Session
from lagvae.training.solution import Solution, Status


def conclude(
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
    violations = evaluation.violations("train")
    missed = [f"'{problem.constraints[name]}' by {abs(violations[name]):.3g}" for name in evaluation.missed("train")]
    return f"missed {', '.join(missed)}; try more epochs or a wider bound"


def _lagrangian_at(record: dict[str, Any], problem: Problem, multipliers: dict[str, float]) -> float:
    """Returns a record's Lagrangian at the final multipliers, so that only the weights' change shows."""
    terms = record["terms"]
    objective = sum(weight * terms[str(term)] for term, weight in problem.objective.surrogate().items())
    penalties = sum(multipliers[name] * c["violation"] for name, c in record["constraints"].items())
    return float(objective + penalties)
