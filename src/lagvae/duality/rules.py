"""The dual rules by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lagvae.duality.augmented_lagrangian import AugmentedLagrangian
from lagvae.duality.forecast import Forecast
from lagvae.duality.geco import Geco
from lagvae.duality.gradient import GradientAscent
from lagvae.duality.nupi import NuPI
from lagvae.duality.optimizer import OptimizerAscent
from lagvae.duality.rule import DualRule
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


def build_rule(problem: Problem, settings: DualSettings) -> DualRule:
    """Builds the rule that the settings name, with its own starting point.

    Raises:
        SettingError: There is no such rule, or it has no learning rate to set.
    """
    name, learning_rate = settings.dual, settings.dual_learning_rate
    optimizers = named_optimizers()
    if name == "forecast":
        if learning_rate is not None:
            raise SettingError(expected("no dual_learning_rate for forecast", got=learning_rate, fix="--dual gradient"))
        return Forecast(problem)
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
