"""What a dual rule is: a way to move multipliers by the violations that a step saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.problem.problem import Problem


class DualRule(ABC):
    """Ascent of L(θ, λ) in λ, one row of multipliers per model.

    A step asks for ``primal_multipliers``, moves the weights, and then calls ``update`` with the
    violations of the same batch. Rules work in place, on the device, and never wait for it.

    Args:
        problem: Whose constraints the multipliers belong to, in its order.
        start: First multipliers, in nats of objective per unit of the constraint.
        models: How many models share the rule; each has multipliers of its own.

    Attributes:
        multipliers: λ ≥ 0 for inequalities, any sign for equalities.
        is_equality: Which of the constraints are equalities.
        units: Size of one natural unit of each constraint (1 nat, 1e-4 of MMD²).
        scales: Size of each bound, and at least one natural unit: violations divided by it are relative.
        largest: The largest |λ| that the rule allows; infinite where it has no limit.
    """

    tensors: ClassVar[tuple[str, ...]] = ("multipliers",)
    """Names of the attributes that a checkpoint holds."""

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"],
        *,
        models: int = 1,
    ) -> None:
        constraints = problem.subject_to
        self.is_equality = torch.tensor([c.is_equality for c in constraints], dtype=torch.bool)
        self.units = torch.tensor([c.unit for c in constraints])
        self.scales = torch.tensor([max(abs(c.bound), c.unit) for c in constraints])
        self.largest = torch.full_like(self.units, torch.inf)
        self.multipliers = start.expand(models, -1).clone()

    def primal_multipliers(
        self, violations: Float[Tensor, "models constraints"]
    ) -> Float[Tensor, "models constraints"]:
        """Returns the multipliers that weigh this batch's loss: λ, unless a rule says otherwise.

        Args:
            violations: Of this step's batch, detached: the multipliers are constants of the descent.
        """
        return self.multipliers

    @abstractmethod
    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Moves the multipliers.

        Args:
            violations: Of this step's batch; their sign is kept.
            progress: Share of the run that is done, in [0, 1].
        """

    def to(self, device: torch.device | str) -> None:
        """Moves every tensor of the rule to ``device``."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that ``update`` changes."""
        return {name: getattr(self, name).clone() for name in self.tensors}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts the rule back to where ``state_dict`` found it."""
        for name in self.tensors:
            getattr(self, name).copy_(state[name])


def move(rule: DualRule, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
    """Updates a rule; whatever it does, its multipliers stay where they are in memory, for recorded steps to read."""
    kept = rule.multipliers
    rule.update(violations, progress=progress)
    if rule.multipliers is not kept:
        kept.copy_(rule.multipliers)
        rule.multipliers = kept
