"""Any optimiser of torch's, over the multipliers."""

from __future__ import annotations

import json

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.duality.ascent import Ascent
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.storage.checkpoint import flatten_optimizer, restore_optimizer


class OptimizerAscent(Ascent):
    """μ ← max(0, μ + what the optimiser makes of v); equalities are not clipped.

    The optimiser minimises -L over μ = λ · unit and sees the gradient -v, v = violation / unit. It
    keeps its memory through the projection, and its weight decay, if any, pulls μ towards 0. Each
    model's multipliers are a parameter of their own.

    Args:
        problem: Whose constraints.
        start: First multipliers; 0 if none are given.
        optimizer: Builds an optimiser for the parameters: ``functools.partial(torch.optim.SGD, lr=0.01)``.
        models: How many models share the rule.

    Attributes:
        natural: μ, which the optimiser's parameters are the rows of.
        optimizer: Over the rows.
    """

    tensors = ("multipliers", "natural")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        *,
        optimizer: OptimizerFactory,
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, models=models)
        self.natural = self.multipliers * self.units
        self.factory = optimizer
        self._build()

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Lets the optimiser step on the negative violations, and projects."""
        for row, gradient in zip(self._rows, self.gradient(violations), strict=True):
            row.grad = -gradient
        if self.natural.numel():  # a problem may have no constraints, and Adafactor divides by their number
            self.optimizer.step()
        self.natural.clamp_(self.low, self.largest)
        self.multipliers.copy_(self.natural / self.units)

    def to(self, device: torch.device | str) -> None:
        """Moves every tensor of the rule to ``device``, the optimiser's included."""
        memory = self.optimizer.state_dict()
        super().to(device)
        self._build()
        self.optimizer.load_state_dict(memory)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that ``update`` changes; the optimiser's numbers as the bytes of JSON."""
        memory, plain = flatten_optimizer(self.optimizer, "optimizer")
        text = torch.tensor(list(json.dumps(plain).encode()), dtype=torch.uint8)
        return {**super().state_dict(), **{name: value.clone() for name, value in memory.items()}, "optimizer": text}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts the rule back to where ``state_dict`` found it."""
        super().load_state_dict(state)
        memory = {name: value.clone() for name, value in state.items()}
        restore_optimizer(self.optimizer, "optimizer", memory, json.loads(bytes(state["optimizer"].tolist())))

    def _build(self) -> None:
        """Makes the rows parameters, which share their memory, and an optimiser over them."""
        self._rows = [nn.Parameter(row) for row in self.natural]
        self.optimizer = self.factory(self._rows)
