"""The dual rules by name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lagvae.duality.augmented_lagrangian import AugmentedLagrangian
from lagvae.duality.forecast import Forecast
from lagvae.duality.geco import Geco
from lagvae.duality.gradient import GradientAscent
from lagvae.duality.nupi import NuPI
from lagvae.duality.optimizer import OptimizerAscent
from lagvae.duality.rule import DualRule
from lagvae.duality.start import MANY
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.errors import SettingError, expected, nearest
from lagvae.optimizers import named_optimizers
from lagvae.problem.problem import Problem
from lagvae.settings import DualSettings

DualRuleFactory = Callable[[Problem], DualRule]
"""Builds the rule for a problem: ``functools.partial(Zhao2018, learning_rate=1e-3)``, say."""

RULES: dict[str, type[DualRule]] = {
    "forecast": Forecast,
    "gradient": GradientAscent,
    "geco": Geco,
    "nupi": NuPI,
    "augmented_lagrangian": AugmentedLagrangian,
    "zhao2018": Zhao2018,
}
"""The rules with names of their own; torch.optim's names are those of :class:`OptimizerAscent`."""


go_on = functools.partial(Forecast, warm_up=0.05, hold=0.05, window=0.08, gain=3.0)
"""The default rule that goes on from a solution's multipliers: it moves them soon, but little and by what more steps
measured, for such runs are short and begin near where they are to end."""


def build_rule(problem: Problem, settings: DualSettings, *, latent_dim: int = MANY) -> DualRule:
    """Builds the rule that the settings name, with its own starting point.

    Args:
        problem: Whose constraints.
        settings: Of the rule.
        latent_dim: Dimensions of z, which the default rule's start depends on.

    Raises:
        SettingError: There is no such rule, or it has no learning rate to set.
    """
    name, learning_rate = settings.dual, settings.dual_learning_rate
    optimizers = named_optimizers()
    if name == "forecast":
        if learning_rate is not None:
            raise SettingError(expected("no dual_learning_rate for forecast", got=learning_rate, fix="--dual gradient"))
        return Forecast(problem, latent_dim=latent_dim)
    if name in RULES:
        options: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
        return RULES[name](problem, **options)
    if name in optimizers:
        options = {} if learning_rate is None else {"lr": learning_rate}
        return OptimizerAscent(problem, optimizer=functools.partial(optimizers[name], **options))
    known = sorted([*RULES, *optimizers])
    every = "one of " + ", ".join(known)
    close = nearest(name, known)
    fix = every if close == every else f"{close}, or {every}"
    raise SettingError(expected("a dual rule", got=f"'{name}'", fix=fix))


def rule_from(
    problem: Problem, settings: DualSettings, multipliers: Mapping[str, float], *, latent_dim: int = MANY
) -> DualRule:
    """Builds the rule that the settings name; the default rule starts from given multipliers, and moves soon.

    Args:
        problem: Whose constraints.
        settings: Of the rule.
        multipliers: Name → λ of a solution; those of unknown names, or not finite, have no say.
        latent_dim: Dimensions of z, for a start without any.

    Raises:
        SettingError: As for :func:`build_rule`.
    """
    given = [multipliers.get(name, math.nan) for name in problem.names]
    if settings.dual != "forecast" or not all(map(math.isfinite, given)):
        return build_rule(problem, settings, latent_dim=latent_dim)
    # What an equality's multiplier may be, an inequality's of the same name may not.
    allowed = [value if c.is_equality else max(0.0, value) for value, c in zip(given, problem.subject_to, strict=True)]
    return go_on(problem, torch.tensor(allowed))
