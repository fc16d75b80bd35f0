"""probe(): what is within reach, before a bound is chosen."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lagvae.data.dataset import Data, Source, open_data
from lagvae.errors import ProblemError, SolveError, expected
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.presets import beta_vae
from lagvae.problem.problem import Minimize, Problem
from lagvae.settings import PROBE_EPOCHS, Settings, settings_or_preset
from lagvae.terms.algebra import Constraint
from lagvae.terms.elbo import Distortion, Rate, distortion, rate
from lagvae.terms.mmd import mmd
from lagvae.terms.term import Term
from lagvae.training.build import settle_likelihood
from lagvae.training.devices import Blueprint, train_on_devices
from lagvae.training.outcome.conclusion import conclude
from lagvae.training.outcome.solution import Solution, Status
from lagvae.training.outcome.suggest import suggest
from lagvae.training.progress import announce
from lagvae.training.run_log import RunLog
from lagvae.training.steps.hardware import keep_freed_memory

VAE_WEIGHT = 1.0
"""β of the ordinary VAE."""
ENDS = (0.1, 10.0)
"""β at the ends of the range: codes that say nearly all they can, and codes that say next to nothing."""

_REPORTED: dict[Term, str] = {
    distortion: "distortion",
    rate: "rate",
    mmd: "mmd_biased",
    mmd(estimator="unbiased"): "mmd_unbiased",
}
"""Terms that every evaluation measures, and under which name."""


@dataclass(frozen=True)
class Range:
    """What the runs of a probe reached.

    Attributes:
        lowest: The lowest estimate.
        highest: The highest.
        unit: ``nats per example``, or ``MMD²``.
    """

    lowest: float
    highest: float
    unit: str


@dataclass(frozen=True, repr=False)
class Probe:
    """An ordinary VAE and the two ends of the range, trained alike: what is within reach.

    Judged, as everywhere, are the held-out data where there are any, else the training data.

    Attributes:
        solutions: β → the solution of min distortion + β·rate; 1 is the VAE.
        settings: What each of them was trained with.
    """

    solutions: dict[float, Solution]
    settings: Settings

    @property
    def estimates(self) -> dict[float, dict[str, Estimate]]:
        """β → name → estimate on the judged data: distortion, rate, neg_elbo, mmd_biased, mmd_unbiased."""
        return {beta: _estimates(solution) for beta, solution in self.solutions.items()}

    @property
    def ranges(self) -> dict[str, Range]:
        """Name → lowest and highest estimate over the runs, on the judged data."""
        runs = list(self.estimates.values())
        return {
            name: Range(min(run[name].value for run in runs), max(run[name].value for run in runs), unit=estimate.unit)
            for name, estimate in runs[0].items()
        }

    @property
    def floor(self) -> float:
        """What a perfect model's biased mmd measures in batches of :attr:`measured_size`, in MMD²."""
        return mmd.floor(latent_dim=self.solutions[VAE_WEIGHT].model.latent_dim, batch_size=self.measured_size)

    @property
    def measured_size(self) -> int:
        """How many examples of the judged data an mmd is measured on at a time."""
        vae = self.solutions[VAE_WEIGHT]
        held_out = None if vae.data is None else vae.data.held_out
        return vae.batch_size if held_out is None else min(vae.batch_size, len(held_out))

    @property
    def suggestions(self) -> tuple[str, ...]:
        """A few problems, as text, with rounded bounds that these runs show to be reachable."""
        values = {beta: {name: found.value for name, found in run.items()} for beta, run in self.estimates.items()}
        return suggest(values.pop(VAE_WEIGHT), list(values.values()), floor=self.floor)

    def best(self, constraint: Constraint) -> float:
        """Returns the best value of a constraint's quantity over the runs, on the data that bounds are judged on.

        Of neg_elbo it is the VAE's, which minimises it: the same number whichever runs there are beside it.

        Args:
            constraint: Its quantity is any weighted sum of terms; its bound does not matter.

        Returns:
            The lowest value for ``<=``, the highest for ``>=``; nats per example, or MMD².

        Raises:
            ProblemError: The constraint is an equality, which has no better and worse.
        """
        if constraint.is_equality:
            fix = f"'{constraint.quantity} <= {constraint.bound_text}'"
            raise ProblemError(expected("a bound above or below", got=f"'{constraint}'", fix=fix))
        asked = (VAE_WEIGHT,) if _is_neg_elbo(constraint) else self.solutions
        values = [self._value(self.solutions[beta], constraint) for beta in asked]
        return max(values) if constraint.sense == ">=" else min(values)

    def resolve(self, problem: Problem) -> Problem:
        """Returns the problem with numbers for its bounds that are relative to best."""
        return problem.resolve({name: self.best(c) for name, c in problem.constraints.items() if c.is_relative})

    def as_dict(self) -> dict[str, Any]:
        """Returns everything in plain types."""
        vae = self.solutions[VAE_WEIGHT]
        return {
            "data": vae.data.name if vae.data else "",
            "settings": self.settings.as_sections(),
            "runs": {
                f"{beta:g}": {
                    "problem": str(solution.problem),
                    "seconds": solution.seconds,
                    "estimates": _evaluation(solution).as_dict()["estimates"],
                }
                for beta, solution in self.solutions.items()
            },
            "ranges": {name: asdict(found) for name, found in self.ranges.items()},
            "mmd_floor": self.floor,
            "suggestions": list(self.suggestions),
        }

    def __repr__(self) -> str:
        found = [f"{name} {reached.lowest:.4g} to {reached.highest:.4g}" for name, reached in self.ranges.items()]
        return f"Probe({', '.join(found)})"

    def _value(self, solution: Solution, constraint: Constraint) -> float:
        """Returns the value of the constraint's quantity, measured anew only if no evaluation holds it."""
        weights = constraint.quantity.surrogate()
        if weights and weights.keys() <= _REPORTED.keys():
            found = _estimates(solution)
            return sum(weight * found[_REPORTED[term]].value for term, weight in weights.items())
        assert solution.data is not None
        asked = Problem(Minimize(0), [Constraint(constraint.quantity, constraint.sense, 0.0)])
        evaluation = evaluate_model(
            solution.model,
            asked,
            solution.data,
            batch_size=solution.batch_size,
            seed=self.settings.execution.seed,
        )
        (violation,) = evaluation.violations().values()
        return constraint.sign * violation  # of a bound at 0


def probe(
    data: Source,
    *,
    model: VAE | None = None,
    optimizer: str | OptimizerFactory | None = None,
    epochs: int | None = None,
    settings: Settings | None = None,
    preset: str = "default",
    data_folder: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> Probe:
    """Trains min distortion + β·rate for β = 1 (the VAE), 0.1 and 10, and says what they reached.

    Longer runs reach a lower neg_elbo: bounds that were read off a short probe are easy ones. A
    bound relative to ``best`` in ``fit`` is probed at the run's own budget.

    Args:
        data: As for ``fit``.
        model: Any VAE, left as it is: every run trains a copy. Built from the settings if none is given.
        optimizer: As for ``fit``.
        epochs: Of each run; the settings' if those are given, else 5.
        settings: Every setting at once; a preset's if none are given. Of the dual's only ``held_out`` has a part in it.
        preset: As for ``fit``, but for its epochs.
        data_folder: Where named data sets live; ``DATA_PREFIX`` or the user's cache if none is given.
        progress: Whether to show the runs.
        **changes: Single settings by name.

    Returns:
        Estimates, ranges and suggestions.

    Raises:
        DataError: The data are missing, damaged or outside what the likelihood scores.
        ShapeError: The networks do not fit the data.
        SettingError: A setting is unknown or out of range.
        SolveError: A run diverged.
        KeyboardInterrupt: It was interrupted; a probe leaves nothing to go on with.
    """
    if isinstance(optimizer, str):
        changes["optimizer"] = optimizer
    if epochs is not None:
        changes["epochs"] = epochs
    usual = {} if settings else {"epochs": PROBE_EPOCHS}
    settings = settings_or_preset(settings, preset).replace(**usual | changes).settled()
    opened = open_data(data, folder=data_folder, progress=progress)
    opened = opened.hold_out(settings.dual.held_out, seed=settings.execution.seed)
    factory = None if isinstance(optimizer, str) else optimizer
    return _train_all((VAE_WEIGHT, *ENDS), opened, settings, model, factory, progress)


def resolve_bounds(
    problems: Sequence[Problem],
    data: Data,
    settings: Settings,
    *,
    model: VAE | None = None,
    optimizer: OptimizerFactory | None = None,
    progress: bool = True,
) -> list[Problem]:
    """Makes numbers of the bounds relative to best, by one probe at a run's own settings and budget.

    neg_elbo is what the VAE minimises: where nothing else is relative, the VAE alone is trained.

    Args:
        problems: What is asked for; at least one has such a bound.
        data: What the runs train on.
        settings: The run's own; ``probe_epochs`` replaces its epochs.
        model: Left as it is.
        optimizer: A function of the weights, in place of the settings' optimiser.
        progress: Whether to show the runs, and what best was.

    Raises:
        ProblemError: The bounds, now numbers, contradict each other.
        SolveError: A run of the probe diverged.
        KeyboardInterrupt: The probe was interrupted.
    """
    relative = [c for problem in problems for c in problem.subject_to if c.is_relative]
    betas = (VAE_WEIGHT,) if all(map(_is_neg_elbo, relative)) else (VAE_WEIGHT, *ENDS)
    settings = settings.replace(epochs=settings.dual.probe_epochs or settings.primal.epochs)
    found = _train_all(betas, data, settings, model, optimizer, progress)
    resolved = list(map(found.resolve, problems))
    if progress:
        pairs = [pair for one, other in zip(problems, resolved, strict=True) for pair in _bounds(one, other)]
        _say(f"best in {_epochs(settings)}: {', '.join(dict.fromkeys(pairs))}")
    return resolved


def _train_all(
    betas: Sequence[float],
    data: Data,
    settings: Settings,
    model: VAE | None,
    optimizer: OptimizerFactory | None,
    progress: bool,
) -> Probe:
    solutions: dict[float, Solution] = {}
    asked = settings  # what the data choose by themselves has no place in a command to copy
    settings, choice = (settings, None) if model is not None else settle_likelihood(settings, data)
    for beta in betas:
        problem = beta_vae(beta)
        plan = Blueprint(problem, data, settings, model=copy.deepcopy(model), optimizer=optimizer)
        session = plan.build()
        if not solutions:
            announce(data, session.device, session.dtype, choice=choice, steps=session.total_steps, show=progress)
            keep_freed_memory()
        if progress:
            _say(f"probe {len(solutions) + 1} of {len(betas)}: {problem}, {_epochs(settings)}")
        log = RunLog(None, measured_shape=session.measured_shape)
        status, message = train_on_devices(session, log, plan, progress=progress)
        if status is Status.STOPPED:
            raise KeyboardInterrupt
        ended = conclude(session, log, data, settings, status, message, progress=progress)
        if ended.status is Status.DIVERGED:
            got = f"'{problem}', in which {ended.message.split(';')[0]}"
            raise SolveError(expected("a probe that trains to its end", got=got, fix="a lower learning_rate"))
        solutions[beta] = ended
    return Probe(dict(sorted(solutions.items())), asked)


def _bounds(asked: Problem, resolved: Problem) -> list[str]:
    """Returns what each bound relative to best has become."""
    pairs = zip(asked.subject_to, resolved.subject_to, strict=True)
    return [f"'{one}' is '{other}'" for one, other in pairs if one.is_relative]


def _is_neg_elbo(constraint: Constraint) -> bool:
    """Whether the quantity is proportional to distortion + rate."""
    weights = constraint.quantity.surrogate()
    is_both = len(weights) == 2 and {type(term) for term in weights} == {Distortion, Rate}
    return is_both and len(set(weights.values())) == 1


def _estimates(solution: Solution) -> dict[str, Estimate]:
    evaluation = _evaluation(solution)
    return evaluation[evaluation.judged]


def _evaluation(solution: Solution) -> Evaluation:
    assert solution.evaluation is not None  # of every run that reached its end
    return solution.evaluation


def _epochs(settings: Settings) -> str:
    count = settings.primal.epochs
    return f"{count} epoch{'s' if count > 1 else ''}"


def _say(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)
