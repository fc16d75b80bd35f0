"""The scale-aware rule: proportional-integral control of the logarithm of each multiplier."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.rule import DualRule
from lagvae.problem.problem import Problem


class LogPI(DualRule):
    """log λ follows the smoothed relative violation v̄ and its change.

        v̄ += (clip(violation / scale) - v̄) Δprogress / window,   log λ += gain v̄ Δprogress + (gain / 30) Δv̄

    Violations are relative to their bound and time is the share of the run, so that neither the
    units nor the length of a run are tuned. The multipliers rest while ``progress < hold``: a bound
    is out of reach at first, an integrator would wind up, and early pressure on rate or mmd
    switches latent units off for good. Equalities move in asinh instead of log, so that their
    multipliers can change sign.

    Args:
        problem: Whose constraints.
        start: First multipliers.
        gain: Integral gain. A violation of 1 % of a bound in nats that lasts a tenth of the run
            changes its multiplier by exp(0.1 · 0.01 · gain). Bounds of divergences, which move by
            their own size where losses move by percents, take a fifth of it.
        hold: Share of the run during which the multipliers rest.
        window: Share of the run over which violations are averaged.
        models: How many models share the rule.
    """

    tensors = ("multipliers", "average", "updates", "progress")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"],
        *,
        gain: float = 300.0,
        hold: float = 0.4,
        window: float = 0.015,
        models: int = 1,
    ) -> None:
        super().__init__(problem, start, models=models)
        in_nats = torch.tensor([c.in_nats for c in problem.subject_to], dtype=torch.bool)
        self.gain = torch.where(in_nats, gain, gain / 5)
        self.proportional = self.gain / 30
        self.largest_violation = torch.where(in_nats, 0.1, 1.0)
        # Where a loss weighs ten times the objective, or a hundredth of it, more or less changes nothing
        # but the time it takes to come back. The same where all that a divergence's bound allows weighs
        # less than a twentieth of a nat.
        objective = sum(abs(weight) for weight in problem.objective.surrogate().values()) or 1.0
        self.smallest = objective * torch.where(in_nats, 1e-2, 0.05 / self.scales)
        self.largest = objective * torch.where(in_nats, 10.0, 1e3 / self.scales)
        self.hold = hold
        self.window = window
        self.average = torch.zeros_like(self.multipliers)
        self.updates = torch.zeros(())
        self.progress = torch.zeros((), dtype=torch.float64)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Moves every multiplier by the controller's output."""
        relative = (violations / self.scales).clamp(-self.largest_violation, self.largest_violation)
        elapsed = (progress - self.progress).float()
        self.progress.fill_(progress)
        self.updates += 1
        # Ten values at least; and a plain mean at first, which has no bias towards the start at 0.
        share = torch.maximum(1 / self.updates, torch.clamp(elapsed / self.window, max=0.1))
        change = share * (relative - self.average)
        self.average += change
        if progress < self.hold:
            return
        move = self.gain * elapsed * self.average + self.proportional * change
        grown = (self.multipliers * move.exp()).clamp(self.smallest, self.largest)
        width = 0.1 / self.units
        shifted = width * torch.sinh(torch.asinh(self.multipliers / width) + move)
        shifted = shifted.clamp(-self.largest, self.largest)
        self.multipliers.copy_(torch.where(self.is_equality, shifted, grown))
