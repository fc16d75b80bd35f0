"""One network that holds a whole front, and the dual solved on it afterwards."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lagvae.errors import DataError, ProblemError, SettingError, expected
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation
from lagvae.evaluation.questions import CONSTRAINT
from lagvae.front.family import Family
from lagvae.front.front import Front
from lagvae.front.modulation import Modulation
from lagvae.front.solve import Optimum, solve_on
from lagvae.front.surface import Surface, tabulated_as
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.storage.folder import RunFolder
from lagvae.terms.algebra import Constraint
from lagvae.training.diagnosis import Diagnosis, round_outward, summarize
from lagvae.training.fit import fit
from lagvae.training.save import save_solution
from lagvae.training.solution import Solution, Status

POLISH_RATE = 0.3
"""Learning rate of a polishing run, as a share of the front's."""


@dataclass
class AmortisedFront(Front):
    """A front that one modulated network holds.

    Attributes:
        network: The network.
        surface: What its members measure.
    """

    method = "amortised"

    network: Modulation | None = None
    surface: Surface | None = None

    @property
    def family(self) -> Family:
        """The weights that it covers."""
        return self._measured().family

    def model_at(self, *, beta: float, gamma: float = 0.0) -> VAE:
        """Returns the member that minimises D + β R + γ mmd: an ordinary model, folded.

        Raises:
            SettingError: The weights lie outside of what the front covers.
        """
        family, network = self.family, self._network()
        low, high = family.beta
        if not low <= beta <= high:
            raise SettingError(expected(f"β in [{low:g}, {high:g}]", got=f"{beta:g}", fix="a front over a wider range"))
        if not 0 <= gamma <= family.gamma[1]:
            raise SettingError(expected(f"γ in [0, {family.gamma[1]:g}]", got=f"{gamma:g}", fix="a wider front"))
        weights = torch.tensor([beta, max(gamma, family.gamma[0])], device=network.model.device)
        return network.fold(family.conditions(weights))

    def solve(
        self,
        problem: Problem | str,
        *,
        on: str | None = None,
        polish: int = 0,
        out: str | Path | None = None,
        overwrite: bool = False,
        progress: bool = False,
    ) -> Solution:
        """Solves a problem on what the front's members measure, and returns the member that solves it.

            min over (β, γ) of f(D, R, mmd)   subject to the problem's bounds

        Nothing is trained. The multipliers are those with which the problem's Lagrangian weighs D, R and mmd as
        the member's own loss did.

        Args:
            problem: Over distortion, rate, neg_elbo, mmd and mutual information; bounds may be relative to ``best``,
                which is what the front reaches.
            on: The data that bounds are to hold on; ``held_out`` where there are any, else ``train``.
            polish: Epochs for which to train the member further, with the dual rule starting from the multipliers.
            out: Folder for the solution, as of a run.
            overwrite: Replaces the run in ``out``.
            progress: Whether to show the polishing.

        Returns:
            A solution with an ordinary model: of the same class, shape and speed as one that was trained alone.
            Its estimates are interpolated between neighbours on the front.

        Raises:
            ProblemError: The problem asks for something that the front did not measure.
            DataError: There are no held-out data, or to polish, no data at hand.
        """
        surface = self._measured()
        if isinstance(problem, str):
            problem = Problem.parse(problem)
        part = on or ("held_out" if "held_out" in surface.parts else "train")
        if part not in surface.parts or part == "test":
            raise DataError(
                expected("train or held_out", got=f"'{part}'", fix="a front that was fitted with held_out=0.1")
            )
        began = time.monotonic()
        problem = self._resolve(problem, part)
        optimum = solve_on(surface, problem, part=part)
        solution = self._solution(problem, optimum, part, seconds=time.monotonic() - began)
        if polish:
            return self._polish(solution, polish, out, overwrite=overwrite, progress=progress)
        if out is not None:
            save_solution(solution, out, self.settings, custom=self._custom(), overwrite=overwrite)
        return solution

    def _polish(
        self, solution: Solution, epochs: int, out: str | Path | None, *, overwrite: bool, progress: bool
    ) -> Solution:
        if self.data is None:
            raise DataError(expected("the front's data to polish on", got="none", fix="load_front(folder, data=...)"))
        settings = self.settings.replace(
            epochs=epochs, learning_rate=POLISH_RATE * self.settings.primal.learning_rate, held_out=0.0
        )
        return fit(
            solution.problem,
            self.data,
            start=solution,
            out=out,
            overwrite=overwrite,
            settings=settings,
            progress=progress,
        )

    def _resolve(self, problem: Problem, part: str) -> Problem:
        """Returns the problem with numbers for its bounds that are relative to best."""
        best = {}
        for name, constraint in problem.constraints.items():
            if constraint.is_relative:
                values = sum(
                    weight * np.array([point.value(tabulated_as(term), part) for point in self.points])
                    for term, weight in constraint.quantity.surrogate().items()
                )
                best[name] = float(np.max(values) if constraint.sense == ">=" else np.min(values))
        return problem.resolve(best) if best else problem

    def _solution(self, problem: Problem, optimum: Optimum, part: str, *, seconds: float) -> Solution:
        surface, settings = self._measured(), self.settings
        gamma = 0.0 if optimum.gamma <= 1.001 * surface.gammas[0] else optimum.gamma
        evaluation = Evaluation(problem, self._estimates(problem, optimum, first=part))
        diagnosis = () if optimum.is_feasible else self._diagnose(problem, optimum)
        where = {"train": "training", "held_out": "held-out"}[part]
        message = f"every bound holds on the {where} data, at β = {optimum.beta:.3g}"
        if gamma:
            message += f" and γ = {gamma:.3g}"
        if diagnosis:
            message = summarize(problem, diagnosis, where=f" on the {where} data, wherever on the front")
        elif not problem.subject_to:
            message = f"the best of the front, at β = {optimum.beta:.3g}"
        weights = {"distortion": 1.0, "rate": optimum.beta}
        if len(surface.gammas) > 1:
            weights["mmd"] = gamma
        return Solution(
            status=Status.FEASIBLE if optimum.is_feasible else Status.INFEASIBLE,
            message=message,
            problem=problem,
            model=self.model_at(beta=optimum.beta, gamma=gamma),
            multipliers=optimum.multipliers,
            violations=optimum.violations,
            weights=weights,
            evaluation=evaluation,
            residuals=None,
            step=self.steps,
            seconds=seconds,
            history=[],
            folder=None,
            data=self.data,
            batch_size=settings.primal.batch_size,
            diagnosis=diagnosis,
        )

    def _estimates(self, problem: Problem, optimum: Optimum, *, first: str) -> dict[str, dict[str, Estimate]]:
        """Returns what is known of the optimum: what was tabulated, and every constrained quantity."""
        surface = self._measured()
        found = {}
        for part in surface.parts:
            measured = surface.estimates(part, beta=optimum.beta, gamma=optimum.gamma)
            bounded = {
                f"{CONSTRAINT}{name}": _combine(measured, constraint)
                for name, constraint in problem.constraints.items()
            }
            found[part] = {**measured, **bounded}
        return found

    def _diagnose(self, problem: Problem, optimum: Optimum) -> tuple[Diagnosis, ...]:
        found = []
        for name, constraint in problem.constraints.items():
            violation = optimum.violations[name]
            if (abs(violation) if constraint.is_equality else violation) <= 0.01 * constraint.tolerance:
                continue
            value = constraint.bound + constraint.sign * violation
            found.append(
                Diagnosis(
                    name=name,
                    value=value,
                    violation=violation,
                    best=value,
                    best_epoch=float(self.settings.primal.epochs),
                    multiplier=f"solved on the front: β = {optimum.beta:.3g}, γ = {optimum.gamma:.3g}",
                    cause="front",
                    why="no member of the front comes nearer",
                    reachable=round_outward(value, constraint) if math.isfinite(value) else None,
                    epochs=2 * self.settings.primal.epochs,
                )
            )
        return tuple(found)

    def _custom(self) -> list[str]:
        config = RunFolder(self.folder).read_config() if self.folder is not None else {"custom": ["model"]}
        return ["front", *config["custom"]]

    def _network(self) -> Modulation:
        if self.network is None:
            raise ProblemError(
                expected("a front with its network", got="none", fix="lv.load_front(folder, model=my_vae)")
            )
        return self.network

    def _measured(self) -> Surface:
        if self.surface is None:
            raise ProblemError(expected("a front that was trained to its end", got=self.message, fix="resume=True"))
        return self.surface


def _combine(measured: dict[str, Estimate], constraint: Constraint) -> Estimate:
    """Returns the estimate of a sum; its error is the errors' sum, as if they all went the same way."""
    parts = [(measured[tabulated_as(term)], weight) for term, weight in constraint.quantity.surrogate().items()]
    if {tabulated_as(term) for term in constraint.quantity.surrogate()} == {"distortion", "rate"} and len(
        {weight for _, weight in parts}
    ) == 1:
        (_, weight), *_ = parts
        parts = [(measured["neg_elbo"], weight)]
    first = parts[0][0]
    return Estimate(
        value=sum(weight * found.value for found, weight in parts),
        standard_error=sum(abs(weight) * found.standard_error for found, weight in parts),
        unit=first.unit,
        bias=first.bias,
        method=first.method,
        examples=first.examples,
    )
