"""A front of runs: each point was trained on its own."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from lagvae.errors import CheckpointError, SolveError, expected
from lagvae.evaluation.evaluate import Evaluation
from lagvae.front.bounds import Measured, bounded_estimates, objective_value, resolve_on
from lagvae.front.front import Front, member_config
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.training.load import load
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.save import save_solution


@dataclass(repr=False)
class DedicatedFront(Front):
    """A front each of whose points is a run in a folder of its own.

    Attributes:
        method: ``dedicated``: every run from the beginning; ``path``: each goes on from its neighbour.
        solutions: The runs that were trained just now, by their point's place; the others are read when asked for.
        model: The user's own model, where runs are of one: runs that are read become copies of it.
    """

    method: str = "dedicated"
    solutions: tuple[Solution | None, ...] = ()
    model: VAE | None = field(default=None, repr=False)

    def solution_at(self, index: int) -> Solution:
        """Returns the run of a point.

        Raises:
            SolveError: It failed, or did not reach its end.
            CheckpointError: Its folder is damaged, or lies outside of the front's.
        """
        found = self.solutions[index] if index < len(self.solutions) else None
        if found is not None:
            return found
        point = self.points[index]
        if point.folder is None or self.folder is None or not point.estimates:
            raise SolveError(expected(f"a finished run for '{point.problem}'", got=point.message, fix="resume=True"))
        folder = self.folder / point.folder
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise CheckpointError(
                expected("a folder of the front", got=f"'{point.folder}'", fix="the front's own front.json")
            )
        return load(folder, model=copy.deepcopy(self.model))

    def model_of(self, index: int) -> VAE | None:
        """Returns the model of a point's run; None where it did not reach its end, or has a model of the user's own."""
        try:
            return self.solution_at(index).model
        except (CheckpointError, SolveError):
            return None

    def solve(
        self,
        problem: Problem | str,
        *,
        on: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
    ) -> Solution:
        """Returns the run that solves a problem best among those that keep its bounds.

        Args:
            problem: Over what runs measure: distortion, rate, neg_elbo, mmd and mutual information.
            on: The data that bounds are to hold on; ``held_out`` where there are any, else ``train``.
            out: Folder for the solution, as of a run.
            overwrite: Replaces the run in ``out``.

        Returns:
            The run's model, judged by the problem that was asked. Multipliers are its own where it had the same
            objective and bound, else NaN. Where no run keeps the bounds it is the one that misses them least, and
            INFEASIBLE. Runs that diverged are none.

        Raises:
            SettingError: ``out`` is the front's own folder.
            SolveError: No run reached its end.
            ProblemError: The problem asks for something that was not measured.
        """
        self.check_out(out)
        if isinstance(problem, str):
            problem = Problem.parse(problem)
        part = self.judged(on)
        finished = {index: point for index, point in enumerate(self.points) if point.is_solution}
        if not finished:
            raise SolveError(expected("a front with a finished run", got="none", fix="resume=True"))
        problem = resolve_on(problem, [_measured(point, part) for point in finished.values()])
        judged = {index: _judge(problem, point, part) for index, point in finished.items()}
        index = min(judged, key=lambda i: judged[i])
        excess, _ = judged[index]
        found = self._as_asked(self.solution_at(index), self.points[index], problem, part, is_feasible=excess == 0)
        if out is not None:
            save_solution(found, out, overwrite=overwrite)
        return found

    def _as_asked(
        self, solution: Solution, point: FrontPoint, problem: Problem, part: str, *, is_feasible: bool
    ) -> Solution:
        estimates = {name: bounded_estimates(_measured(point, name), problem) for name in point.estimates}
        evaluation = Evaluation(problem, estimates)
        own = Problem.parse(point.problem)
        kept = own.constraints if own.objective == problem.objective else {}
        same = {name for name, constraint in problem.constraints.items() if kept.get(name) == constraint}
        return replace(
            solution,
            status=Status.FEASIBLE if is_feasible else Status.INFEASIBLE,
            message=f"the point '{point.problem}' of the front"
            + ("" if is_feasible else f", which comes nearest; it misses {', '.join(evaluation.missed(part))}"),
            problem=problem,
            evaluation=evaluation,
            violations=evaluation.violations(part),
            multipliers={name: point.multipliers[name] if name in same else math.nan for name in problem.names},
            residuals=None,
            data=solution.data or self.data,
            diagnosis=(),
            config=member_config(solution.config, problem),
        )


def _judge(problem: Problem, point: FrontPoint, part: str) -> tuple[float, float]:
    """Returns (by how much the bounds that are missed are missed, in natural units; the objective)."""
    measured = _measured(point, part)
    found = bounded_estimates(measured, problem)
    evaluation = Evaluation(problem, {part: found})
    missed = evaluation.missed(part)
    violations = evaluation.violations(part)
    excess = sum(abs(violations[name]) / problem.constraints[name].unit for name in missed)
    return excess, objective_value(measured, problem)


def _measured(point: FrontPoint, part: str) -> Measured:
    return Measured(point.estimates[part], point.divergence)
