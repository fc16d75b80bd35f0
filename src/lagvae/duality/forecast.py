"""The default rule: each multiplier steers where its violation will be when the run ends."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.rule import DualRule
from lagvae.duality.start import MANY, first_multipliers, largest_multipliers, start_multipliers
from lagvae.problem.problem import Problem


class Forecast(DualRule):
    """λ grows while the violation is on its way to end above 0, and shrinks while it is on its way below.

        v = violation / tolerated + margin,   fast = average(v),   slow = average(fast)
        slope  = d fast / d progress ≈ (fast - slow) / lag of slow behind fast
        ahead  = fast + slope · (delay + (1 - progress) / decay)
        asinh(λ / w) += gain · Δprogress · clip(ahead, ±largest)

    A model still improves while it trains, most of all while its learning rate decays. A rule that looks
    at today's violation therefore pushes against a bound that will be met anyway, and ends far inside
    it. What is left to come is slope · (1 - progress) where improvement is steady, a third of it under a
    decaying learning rate, and less where much of the slope is the answer to the last move, as it is early;
    ``delay`` makes up for the averages' own.

    What is tolerated is 1 nat, or 1 % of a bound if that is more; ``largest`` is 5 of these. Of a divergence it is half
    the bound, and ``largest`` 1: it starts many bounds away, falls by orders of magnitude at the least pressure, and
    what more pressure does to the codes on the way is not undone when it is released.

    In λ / w the asinh is linear below 1 and logarithmic above: a multiplier can reach 0, equalities
    cross it, and large ones move by factors. Multipliers warm up linearly from ``first`` to ``start`` and
    rest there until ``hold``: a bound is out of reach at first, an integrator would wind up, and early
    pressure on rate or mmd switches latent units off for good. Time is the share of the run, so that its
    length is not tuned.

    Args:
        problem: Whose constraints.
        start: Multipliers to rest at; those of the favourable side of the front if none are given.
        first: Multipliers to warm up from; ``start`` if that is given and these are not.
        gain: By how much asinh(λ / w) moves in a whole run with a forecast of 1.
        warm_up: Share of the run after which they rest.
        hold: Share of the run after which they move; 0.25 where they warm up, and 0.4 elsewhere: a run that begins with
            full pressure on the rate should not meet more of it soon.
        window: Share of the run over which violations are averaged; the slope takes twice as long.
        decay: How many times less the remaining run improves the model than it would at today's pace: at the
            run's beginning and at its end, linear in between.
        margin: How far inside an inequality to aim, in units of v: forecasts err by about as much.
        latent_dim: Dimensions of z, which decide from how far below multipliers warm up.
        models: How many models share the rule.
    """

    tensors = ("multipliers", "fast", "slow", "updates", "progress")

    def __init__(
        self,
        problem: Problem,
        start: Float[Tensor, " constraints"] | None = None,
        first: Float[Tensor, " constraints"] | None = None,
        *,
        gain: float = 8.0,
        warm_up: float = 0.2,
        hold: float | None = None,
        window: float = 0.015,
        decay: tuple[float, float] = (6.0, 3.5),
        margin: float = 0.1,
        latent_dim: int = MANY,
        models: int = 1,
    ) -> None:
        if start is None:
            start = start_multipliers(problem)
            first = first_multipliers(problem, latent_dim) if first is None else first
        self.start, self.first = start, start if first is None else first
        super().__init__(problem, self.first, models=models)
        self.hold = hold if hold is not None else 0.4 if torch.equal(self.first, self.start) else 0.25
        self.warm_up, self.gain, self.window, self.decay = warm_up, gain, window, decay
        scale = problem.objective.scale
        self.width = 0.1 * scale / self.units
        self.largest = scale * largest_multipliers(problem)
        self.smallest = torch.where(self.is_equality, -self.largest, 0.0)
        self.margin = torch.where(self.is_equality, 0.0, margin)
        in_nats = torch.tensor([constraint.in_nats for constraint in problem.subject_to], dtype=torch.bool)
        self.tolerated = torch.maximum(self.units, self.scales / torch.where(in_nats, 100, 2))
        self.largest_ahead = torch.where(in_nats, 5.0, 1.0)
        self.fast, self.slow = torch.zeros_like(self.multipliers), torch.zeros_like(self.multipliers)
        self.updates = torch.zeros(())
        self.progress = torch.zeros((), dtype=torch.float64)

    def update(self, violations: Float[Tensor, "models constraints"], *, progress: float) -> None:
        """Moves every multiplier towards where its violation would end at 0."""
        elapsed = (progress - self.progress).float()
        self.progress.fill_(progress)
        self.updates += 1
        relative = violations / self.tolerated + self.margin
        # Ten values at least; and a plain mean at first, which has no bias towards the start at 0.
        first = 1 / self.updates
        self.fast += torch.maximum(first, (elapsed / self.window).clamp(max=0.1)) * (relative - self.fast)
        share = torch.maximum(first, (elapsed / (2 * self.window)).clamp(max=0.1))
        self.slow += share * (self.fast - self.slow)
        if progress < self.hold:
            reached = min(1.0, progress / self.warm_up)
            self.multipliers.copy_(self.first + reached * (self.start - self.first))
            return
        slope = (self.fast - self.slow) * share / elapsed
        decay = (1 - progress) * self.decay[0] + progress * self.decay[1]
        ahead = self.fast + slope * (1.5 * self.window + (1 - progress) / decay)
        move = self.gain * elapsed * ahead.clamp(-self.largest_ahead, self.largest_ahead)
        moved = self.width * torch.sinh(torch.asinh(self.multipliers / self.width) + move)
        self.multipliers.copy_(moved.clamp(self.smallest, self.largest))
