"""The dual rules by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lagvae.duality.gradient import GradientAscent
from lagvae.duality.log_pi import LogPI
from lagvae.duality.rule import DualRule
from lagvae.duality.start import start_multipliers
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.errors import SettingError, expected, nearest
from lagvae.problem.problem import Problem
from lagvae.settings import DualSettings

DualRuleFactory = Callable[[Problem], DualRule]
"""Builds the rule for a problem: ``functools.partial(Zhao2018, learning_rate=1e-3)``, say."""

RULES: dict[str, type[DualRule]] = {"log_pi": LogPI, "gradient": GradientAscent, "zhao2018": Zhao2018}


def build_rule(problem: Problem, settings: DualSettings) -> DualRule:
    """Builds the rule that the settings name, with its own starting point.

    Raises:
        SettingError: There is no such rule, or it has no learning rate to set.
    """
    if settings.dual not in RULES:
        raise SettingError(expected("a dual rule", got=f"'{settings.dual}'", fix=nearest(settings.dual, RULES)))
    if settings.dual == "log_pi":
        if settings.dual_learning_rate is not None:
            raise SettingError(
                expected("no dual_learning_rate for log_pi", got=settings.dual_learning_rate, fix="--dual gradient")
            )
        return LogPI(problem, start_multipliers(problem))
    options: dict[str, Any] = {}
    if settings.dual_learning_rate is not None:
        options["learning_rate"] = settings.dual_learning_rate
    return RULES[settings.dual](problem, **options)
