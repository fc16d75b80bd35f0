"""The primal side: an optimiser of torch's by name, and the learning rate at each step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lagvae.errors import SettingError, expected, nearest
from lagvae.optimizers import OptimizerFactory, named_optimizers
from lagvae.settings import PrimalSettings


def build_optimizer(
    weights: Iterable[nn.Parameter], settings: PrimalSettings, factory: OptimizerFactory | None = None
) -> torch.optim.Optimizer:
    """Builds the optimiser that the settings name, fused where it can be; or calls the user's factory.

    Raises:
        SettingError: torch.optim has no such optimiser, or it cannot be used with a plain step.
    """
    if factory is not None:
        return factory(weights)
    settings, known = settings.settled(), named_optimizers()
    name = str(settings.optimizer)
    if name not in known:
        raise SettingError(expected("an optimiser of torch.optim", got=f"'{name}'", fix=nearest(name, known)))
    kind = known[name]
    accepted = inspect.signature(kind).parameters
    options: dict[str, Any] = {"lr": settings.learning_rate}
    if "betas" in accepted:
        options["betas"] = (settings.beta1, settings.beta2)
    if settings.weight_decay is not None:
        if "weight_decay" not in accepted:
            got = f"weight_decay={settings.weight_decay:g} of {name}"
            raise SettingError(expected("an optimiser that decays weights", got=got, fix="adamw"))
        options["weight_decay"] = settings.weight_decay
    if "fused" in accepted:
        options["fused"] = True
    return kind(weights, **options)


def remember_rates(optimizer: torch.optim.Optimizer) -> None:
    """Keeps each group's learning rate as its highest, which :func:`scale_rates` multiplies."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets each group's learning rate to a share of its highest."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):  # a captured step reads it where it lies
            group["lr"].fill_(factor * group["initial_lr"])
        else:
            group["lr"] = factor * group["initial_lr"]


def rate_factor(step: int, total_steps: int, settings: PrimalSettings) -> float:
    """Returns the share of the highest learning rate at ``step`` (from 0): warm-up, then the schedule."""
    warmup = min(settings.warmup_steps, total_steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, total_steps - warmup)
    if settings.schedule == "trapezoidal":
        return min(1.0, 2.0 * (1.0 - done))
    return 0.5 * (1.0 + math.cos(math.pi * done))
