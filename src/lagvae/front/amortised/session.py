"""A session that trains a whole front at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.front.amortised.family import Family
from lagvae.front.amortised.modulation import Modulation
from lagvae.model.draw import Draw
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.streams import derive_seed
from lagvae.terms.mmd import MMD
from lagvae.terms.term import PerExampleTerm
from lagvae.training.steps.clipping import Clipping
from lagvae.training.steps.hardware import networks_in
from lagvae.training.steps.session import Session

FIRST = (1e-5, 0.01)
"""Factors of β and of γ at the beginning."""
WARM_UP = ((0.5, 2600), (0.2, 500))
"""When β's factor is 1, at the lowest and at the highest trained β: a share of the run, or steps if those are fewer."""
TUNED = 6600
"""The length of the runs that those steps are for; in longer ones they grow with its square root."""
WARM_UP_GAMMA = 0.2
"""The share for γ, counted from when β's factor is 1."""
CHANCE = 1.0
"""Nats of a divergence's noise at which a member's loss begins to be divided by it."""


@dataclass(kw_only=True)
class FrontSession(Session):
    """A session whose weights minimise the mean of every member's loss.

        E_(β, γ) [ (D + β R + γ mmd) / max(1, γ · chance / nat) ],

    (β, γ) drawn afresh for each group of examples. Divided by the sum of its weights, as the loss of a run of its own
    is (setting ``balance``), members of high β would hardly move the decoder, and end worse than runs of their own.
    The divergence is estimated from few codes, and *chance* is what even a perfect q(z) would measure of it there by
    the biased estimate, 6.2e-4 among 50 codes in 64 dimensions and 4.3e-3 in 8, some 2 to 6 times the standard
    deviation of the unbiased one: where γ makes nats of it, a member's loss is noise, which undivided would tear the
    whole family apart.

    At first β is smaller than the condition says, by a factor that grows from 1e-5 to 1, sooner the higher β, and γ
    follows. Dimensions of z that nothing reads yet are the first that pressure switches off, and they hardly come back:
    what low β will need has to be learned before high β presses, which takes steps: more in a longer run, but a smaller
    share of it.

    Gradients far larger than usual are scaled down (:mod:`~lagvae.training.steps.clipping`). Units that hardly any
    example reaches drift for as long as a run goes on, until one does reach them: one example in 18 million undid a
    front in a single step.
    Its problem is the family's: min distortion + rate + mmd.

    Attributes:
        model: The modulated network.
        family: What β and γ are drawn from.
        groups: Parts of a batch that share one (β, γ).
        blocks: Parts of a batch with neighbouring β and one γ: mmd is measured among each block's codes.
    """

    model: Modulation  # type: ignore[assignment]
    family: Family
    groups: int
    blocks: int

    def __post_init__(self) -> None:
        super().__post_init__()
        seed = derive_seed(self.batches.streams.seed, "front", "weights")
        self._weights = torch.Generator(self.device).manual_seed(seed)
        self._clipping = Clipping(self.device)
        self._progress = torch.zeros((), device=self.device)
        self._chance = sum(
            term(estimator="biased").floor(
                latent_dim=self.model.model.latent_dim, batch_size=self.batch_size // self.blocks
            )
            for term in self.lagrangian.terms
            if isinstance(term, MMD)
        )

    def take_step(self) -> Float[Tensor, "parts terms"]:
        """Descends on a batch; returns the terms' means over the family."""
        self._progress.fill_(self.step / self.total_steps)
        return self._take([self.batches.at(self.step)])

    def effective_weights(self) -> dict[str, float]:
        """Returns nothing: every member has its own, and what a step measures is a mean over them."""
        return {}

    def _compute_step(self, raw: Sequence[Tensor]) -> Float[Tensor, "parts terms"]:
        x = self.model.model.likelihood.prepare(raw[0], self.batches.streams.binarisation)
        conditions = self.family.draw(self.blocks, self.groups // self.blocks, self._weights).flatten(0, 1)
        if not self.settings.shuffle:  # in the order of the batch, an example would learn one β alone
            order = torch.rand(self.blocks, generator=self._weights, device=self.device).argsort()
            conditions = conditions.unflatten(0, (self.blocks, -1))[order].flatten(0, 1)
        with self.model.at(conditions) as member:  # a learned prior is a network too, and is read when terms ask for it
            with networks_in(self.dtype, self.device):
                draw = member.draw(x, self.batches.streams)
            values = self._measure_groups(draw, conditions)
        factors = warm_up(self._progress, conditions, self.total_steps)
        beta, gamma = (factors * self.family.weights(conditions)).unbind(-1)
        weights = torch.stack([torch.ones_like(beta), beta, gamma][: len(self.lagrangian.terms)], dim=-1)
        scale = (gamma * self._chance / CHANCE).clamp_min(1.0)
        self._descend(((values * weights).sum(-1) / scale).mean())
        return values.detach().mean(0).unsqueeze(0)

    def _limit_gradients(self) -> None:
        # Whatever passes through a layer is in the tables' gradient: a norm of all is 5 % of a step, and says no more.
        norm = torch.linalg.vector_norm(self.model.entries.grad)
        self._clipping(self.model.parameters(), norm, look=self.record is None)

    def _generators(self) -> list[torch.Generator]:
        return [*super()._generators(), self._weights]

    def _measure_groups(self, draw: Draw, conditions: Float[Tensor, "groups 2"]) -> Float[Tensor, "groups terms"]:
        """Returns every term of each group; a block's divergence for each of its groups.

        Among ten codes an unbiased mmd is nearly all noise; those of neighbouring β are alike enough to share one.
        """
        by_group, by_block = in_groups(draw, self.groups), in_groups(draw, self.blocks)
        by_group.log_likelihood = self.model.log_likelihood(by_group.parameters, by_group.x, conditions)
        values = [
            term.measure(by_group)
            if isinstance(term, PerExampleTerm)
            else term.measure(by_block).repeat_interleave(self.groups // self.blocks)
            for term in self.lagrangian.terms
        ]
        return torch.stack(values, dim=-1)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns the session's tensors by name, and the rest in JSON's types."""
        tensors, plain = super().state()
        own = {"front/weights": self._weights.get_state(), "front/usual_gradient": self._clipping.usual}
        return {**tensors, **own}, plain

    def load_state(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Puts the session back to where ``state`` found it."""
        super().load_state(tensors, state)
        self._weights.set_state(tensors["front/weights"].cpu())
        self._clipping.usual.copy_(tensors.get("front/usual_gradient", torch.zeros(())))  # fronts of before had none


def warm_up(
    progress: float | Tensor, conditions: Float[Tensor, "groups 2"], total_steps: int
) -> Float[Tensor, "groups 2"]:
    """Returns the factors of each group's β and γ at a share of a run of so many steps."""
    low, high = (min(share, steps / (total_steps * min(total_steps, TUNED)) ** 0.5) for share, steps in WARM_UP)
    length = low + (high - low) * (conditions[:, 0] + 1) / 2
    beta = FIRST[0] ** (1 - progress / length).clamp_min(0.0)
    gamma = FIRST[1] ** (1 - (progress - length) / WARM_UP_GAMMA).clamp_min(0.0)
    return torch.stack([beta, torch.where(progress < length, 0.0, gamma)], dim=-1)


def in_groups(draw: Draw, groups: int) -> Draw:
    """Returns the draw as a stack of ``groups`` equal parts of the batch, in order."""

    def split(tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, (groups, -1))

    posterior = DiagonalGaussian(split(draw.posterior.mean), split(draw.posterior.log_std))
    parts = replace(draw, x=split(draw.x), posterior=posterior, z=split(draw.z), parameters=split(draw.parameters))
    # The layers of a modulated prior expect the batch as it is, in as many parts as there are conditions.
    parts.standard_z = split(draw.standard_z)
    return parts
