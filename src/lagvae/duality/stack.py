"""The Lagrangians and dual rules of several models as one: what is linear algebra for one is so for all."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rule import DualRule, move
from lagvae.duality.rules import RULES


class StackedLagrangian:
    """L_i(θ_i, λ_i) of models that measure the same terms: objectives, weights and bounds are each one's own.

    Args:
        lagrangians: With the same terms, and as many constraints each.
    """

    def __init__(self, lagrangians: Sequence[Lagrangian]) -> None:
        self.objective = torch.stack([one.objective for one in lagrangians])
        self.matrix = torch.stack([one.matrix for one in lagrangians])
        self.bounds = torch.stack([one.bounds for one in lagrangians])
        self.signs = torch.stack([one.signs for one in lagrangians])

    def violations(self, values: Float[Tensor, "models terms"]) -> Float[Tensor, "models constraints"]:
        """Returns how far each constrained quantity lies beyond its bound (≤ 0 is feasible)."""
        return self.signs * ((self.matrix * values.unsqueeze(-2)).sum(-1) - self.bounds)

    def weights(self, multipliers: Float[Tensor, "models constraints"]) -> Float[Tensor, "models terms"]:
        """Returns the weight of every measured term in each model's Lagrangian."""
        return self.objective + ((multipliers * self.signs).unsqueeze(-1) * self.matrix).sum(-2)


class StackedRule:
    """The rules of several models: those of one kind move as one rule with a row for each.

    Of one kind are the library's own rules with the same constants; any other moves by itself.

    Args:
        rules: Of one model each, at the same step.
    """

    def __init__(self, rules: Sequence[DualRule]) -> None:
        self.rules = list(rules)
        kinds: dict[Hashable, list[int]] = {}
        for index, rule in enumerate(rules):
            kinds.setdefault(_kind(rule) or index, []).append(index)
        device = rules[0].multipliers.device
        self._moving = [
            (torch.tensor(places, device=device), _merge([rules[place] for place in places]))
            for places in kinds.values()
        ]
        for places, merged in self._moving:
            for row, place in enumerate(places.tolist()):  # rules move multipliers in place: each one's stay its own
                self.rules[place].multipliers = merged.multipliers[row : row + 1]

    def primal_multipliers(
        self, violations: Float[Tensor, "models constraints"]
    ) -> Float[Tensor, "models constraints"]:
        """Returns the multipliers that weigh this batch's losses."""
        if len(self._moving) == 1:
            return self._moving[0][1].primal_multipliers(violations)
        multipliers = torch.empty_like(violations)
        for places, rule in self._moving:
            multipliers.index_copy_(0, places, rule.primal_multipliers(violations.index_select(0, places)))
        return multipliers

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Moves every model's multipliers."""
        for places, rule in self._moving:
            own = violations if len(self._moving) == 1 else violations.index_select(0, places)
            move(rule, own, progress=progress)

    def hand_back(self) -> None:
        """Puts each model's own rule to where its row is."""
        for places, merged in self._moving:
            for row, place in enumerate(places.tolist()):
                rule = self.rules[place]
                if rule is not merged:
                    for name in rule.tensors:
                        value = getattr(merged, name)
                        getattr(rule, name).copy_(value[row : row + 1] if value.dim() else value)


def _kind(rule: DualRule) -> Hashable | None:
    """Returns what rules that can move as one have in common; None for a rule that moves by itself."""
    if type(rule) not in RULES.values():
        return None
    constants = {name: value for name, value in vars(rule).items() if not isinstance(value, Tensor)}
    shared = {
        name: value.tolist() for name, value in vars(rule).items() if isinstance(value, Tensor) and not value.dim()
    }
    return (type(rule), rule.multipliers.shape, repr(constants), repr(shared))


def _merge(rules: Sequence[DualRule]) -> DualRule:
    """Returns one rule with a row for each; what has no models' dimension (a unit, a bound) gets one."""
    if len(rules) == 1:
        return rules[0]
    merged = copy.copy(rules[0])
    for name, value in vars(rules[0]).items():
        if isinstance(value, Tensor):
            rows = [getattr(rule, name) for rule in rules]
            setattr(merged, name, value.clone() if not value.dim() else torch.cat([row.reshape(1, -1) for row in rows]))
    return merged
