"""Optimisers of torch.optim by name, for weights and for multipliers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import nn

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Builds an optimiser for the given parameters: ``functools.partial(torch.optim.SGD, lr=0.1)``, say."""


def named_optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Returns name in lower case → class of every optimiser that takes plain steps on any parameter."""
    known: dict[str, Callable[..., torch.optim.Optimizer]] = {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    for unfit in ("lbfgs", "sparseadam", "muon"):  # a closure, sparse gradients, matrices only
        known.pop(unfit, None)
    return known
