"""A front of runs: each point was trained on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lagvae.errors import CheckpointError, SolveError, expected
from lagvae.evaluation.evaluate import Evaluation
from lagvae.front.bounds import bounded_estimates, objective_value, resolve_on
from lagvae.front.front import Front
from lagvae.front.point import FrontPoint
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
    """

    method: str = "dedicated"
    solutions: tuple[Solution | None, ...] = ()

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
        return load(folder)

    def solve(self, problem: Problem | str, *, on: str | None = None, out: str | Path | None = None) -> Solution:
        """Returns the run that solves a problem best among those that keep its bounds.

        Args:
            problem: Over what runs measure: distortion, rate, neg_elbo, mmd and mutual information.
            on: The data that bounds are to hold on; ``held_out`` where there are any, else ``train``.
            out: Folder for the solution, as of a run.

        Returns:
            The run's model, judged by the problem that was asked. Multipliers are its own, where it had the same bound.
            Where no run keeps the bounds it is the one that misses them least, and INFEASIBLE.

        Raises:
            SolveError: No run reached its end.
            ProblemError: The problem asks for something that was not measured.
        """
        if isinstance(problem, str):
            problem = Problem.parse(problem)
        part = self.judged(on)
        problem = resolve_on(problem, [point.estimates[part] for point in self.points if point.estimates])
        judged = {index: _judge(problem, point, part) for index, point in enumerate(self.points) if point.estimates}
        if not judged:
            raise SolveError(expected("a front with a finished run", got="none", fix="resume=True"))
        index = min(judged, key=lambda i: judged[i])
        excess, _ = judged[index]
        return self._as_asked(self.solution_at(index), self.points[index], problem, part, excess == 0, out)

    def _as_asked(
        self,
        solution: Solution,
        point: FrontPoint,
        problem: Problem,
        part: str,
        is_feasible: bool,
        out: str | Path | None,
    ) -> Solution:
        estimates = {name: bounded_estimates(found, problem) for name, found in point.estimates.items()}
        evaluation = Evaluation(problem, estimates)
        found = replace(
            solution,
            status=Status.FEASIBLE if is_feasible else Status.INFEASIBLE,
            message=f"the point '{point.problem}' of the front"
            + ("" if is_feasible else f", which comes nearest; it misses {', '.join(evaluation.missed(part))}"),
            problem=problem,
            evaluation=evaluation,
            violations=evaluation.violations(part),
            multipliers={name: point.multipliers.get(name, float("nan")) for name in problem.names},
            residuals=None,
            data=solution.data or self.data,
            diagnosis=(),
        )
        if out is not None:
            save_solution(found, out, self.settings, custom=["front"])
        return found


def _judge(problem: Problem, point: FrontPoint, part: str) -> tuple[float, float]:
    """Returns (by how much bounds are missed beyond their tolerance, in natural units; the objective)."""
    found = bounded_estimates(point.estimates[part], problem)
    evaluation = Evaluation(problem, {part: found})
    missed = evaluation.missed(part)
    violations = evaluation.violations(part)
    excess = sum(abs(violations[name]) / problem.constraints[name].unit for name in missed)
    return excess, objective_value(found, problem)
