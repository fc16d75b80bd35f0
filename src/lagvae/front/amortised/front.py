"""One network that holds a whole front, and the dual solved on it afterwards."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lagvae.errors import DataError, ProblemError, SettingError, expected
from lagvae.evaluation.evaluate import Evaluation
from lagvae.front.amortised.family import Family
from lagvae.front.amortised.modulation import Modulation
from lagvae.front.amortised.solve import ROUNDING, Optimum, solve_on
from lagvae.front.amortised.surface import Surface
from lagvae.front.bounds import Measured, bounded_estimates, resolve_on
from lagvae.front.front import Front, member_config
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.training.fit import fit
from lagvae.training.outcome.diagnosis import Diagnosis, round_outward, summarize
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.save import save_solution

BEYOND = 1e-5
"""How far beyond an end a weight may lie that was solved for at that end, in float32 logarithms."""
POLISH_RATE = 0.1
"""Learning rate of a polishing run, as a share of the front's."""


@dataclass(repr=False)
class AmortisedFront(Front):
    """A front that one modulated network holds.

    Attributes:
        network: The network.
        surface: What its members measure.
    """

    method: str = "amortised"
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
        if not low * (1 - BEYOND) <= beta <= high * (1 + BEYOND):
            raise SettingError(expected(f"β in [{low:g}, {high:g}]", got=f"{beta:g}", fix="a front over a wider range"))
        if not 0 <= gamma <= family.gamma[1] * (1 + BEYOND):
            raise SettingError(expected(f"γ in [0, {family.gamma[1]:g}]", got=f"{gamma:g}", fix="a wider front"))
        weights = torch.tensor([beta, max(gamma, family.gamma[0])], device=network.model.device)
        return network.fold(family.conditions(weights))

    def model_of(self, index: int) -> VAE | None:
        """Returns the member that a point is; None without the network."""
        point = self.points[index]
        if self.network is None or self.surface is None or point.beta is None:
            return None
        return self.model_at(beta=point.beta, gamma=point.gamma or 0.0)

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
            polish: Epochs for which to train the member further, with the dual rule starting from the multipliers: a
                run of :func:`~lagvae.training.fit.fit`, whose bounds are to hold on held-out data where there are any.
            out: Folder for the solution, as of a run.
            overwrite: Replaces the run in ``out``.
            progress: Whether to show the polishing.

        Returns:
            A solution with an ordinary model: of the same class, shape and speed as one that was trained alone.
            Its estimates are interpolated between neighbours on the front.

        Raises:
            ProblemError: The problem asks for something that the front did not measure.
            SettingError: ``out`` is the front's own folder.
            DataError: There are no held-out data, or to polish, no data at hand.
        """
        self.check_out(out)
        surface = self._measured()
        if isinstance(problem, str):
            problem = Problem.parse(problem)
        part = self.judged(on)
        began = time.monotonic()
        problem = resolve_on(problem, [Measured(point.estimates[part], surface.divergence) for point in self.points])
        optimum = solve_on(surface, problem, part=part)
        solution = self._solution(problem, optimum, part, seconds=time.monotonic() - began)
        if polish:
            return self._polish(solution, polish, out, overwrite=overwrite, progress=progress)
        if out is not None:
            save_solution(solution, out, overwrite=overwrite)
        return solution

    def _polish(
        self, solution: Solution, epochs: int, out: str | Path | None, *, overwrite: bool, progress: bool
    ) -> Solution:
        if self.data is None:
            raise DataError(expected("the front's data to polish on", got="none", fix="load_front(folder, data=...)"))
        rate = POLISH_RATE * self.settings.primal.learning_rate
        settings = self.settings.replace(epochs=epochs, learning_rate=rate)
        return fit(
            solution.problem,
            self.data,
            start=solution,
            out=out,
            overwrite=overwrite,
            settings=settings,
            progress=progress,
        )

    def _solution(self, problem: Problem, optimum: Optimum, part: str, *, seconds: float) -> Solution:
        surface, settings = self._measured(), self.settings
        gamma = surface.weight_of_divergence(optimum.gamma)
        measured = {p: surface.estimates(p, beta=optimum.beta, gamma=optimum.gamma) for p in surface.parts}
        known = {p: Measured(found, surface.divergence) for p, found in measured.items()}
        evaluation = Evaluation(problem, {p: bounded_estimates(found, problem) for p, found in known.items()})
        diagnosis = () if optimum.is_feasible else self._diagnose(problem, optimum)
        where = {"train": "training", "held_out": "held-out"}[part]
        place = f"at β = {optimum.beta:.3g}" + (f" and γ = {gamma:.3g}" if gamma else "")
        message = f"every bound holds on the {where} data, {place}"
        if diagnosis:
            message = summarize(problem, diagnosis, where=f" on the {where} data, wherever on the front")
        elif not problem.subject_to:
            message = f"the best of the front, {place}"
        if optimum.is_feasible and not any(optimum.multipliers.values()) and (end := self._end_at(optimum.beta)):
            message += f"; the front ends there ({end}), and a wider one may do better"
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
            config=member_config(self.config, problem),
        )

    def _end_at(self, beta: float) -> str:
        """Returns the setting that a solution's β lies at, in words; empty where it lies between the ends."""
        ends = zip(("beta_low", "beta_high"), (self._measured().betas[0], self._measured().betas[-1]), strict=True)
        return next((f"{name} = {end:.3g}" for name, end in ends if math.isclose(beta, end, rel_tol=0.02)), "")

    def _diagnose(self, problem: Problem, optimum: Optimum) -> tuple[Diagnosis, ...]:
        found, gamma = [], self._measured().weight_of_divergence(optimum.gamma)
        weight = f", γ = {gamma:.3g}" if gamma else ""
        for name, constraint in problem.constraints.items():
            violation = optimum.violations[name]
            if constraint.excess(violation) <= ROUNDING * constraint.tolerance:
                continue
            value = constraint.bound + constraint.sign * violation
            found.append(
                Diagnosis(
                    name=name,
                    value=value,
                    violation=violation,
                    best=value,
                    best_epoch=float(self.settings.primal.epochs),
                    multiplier=f"solved on the front: β = {optimum.beta:.3g}{weight}",
                    cause="front",
                    why=f"no member of the front comes nearer{' to all bounds' if len(problem.names) > 1 else ''}",
                    reachable=round_outward(value, constraint) if math.isfinite(value) else None,
                    epochs=2 * self.settings.primal.epochs,
                )
            )
        return tuple(found)

    def set_point(self, index: int, point: FrontPoint) -> None:
        """Puts a point in the place of another, and through the surface."""
        super().set_point(index, point)
        self.surface = replace(self._measured(), measured=tuple(point.estimates for point in self.points))

    def _network(self) -> Modulation:
        if self.network is None:
            raise ProblemError(
                expected("a front with its network", got="none", fix="lv.load_front(folder, model=my_vae)")
            )
        return self.network

    def _measured(self) -> Surface:
        if self.surface is None:
            fix = "training it again so" if self.status is Status.DIVERGED else "resume=True"
            raise ProblemError(expected("a front that was trained to its end", got=self.message, fix=fix))
        return self.surface
