"""Which processes train a model together, and what do they tell each other?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

BACKENDS = "cpu:gloo,cuda:nccl"


@dataclass(frozen=True)
class Team:
    """This process among those that train one model.

    Every process holds all weights, multipliers and random streams, and a share of each batch. What is measured
    is measured of the whole batch, by every process alike: losses, violations and multipliers are the same numbers.

    Attributes:
        rank: Which of the processes this is; 0 is the one that writes and shows.
        size: How many there are.
        parent: The process that started them all; where it is gone, they stop.
    """

    rank: int
    size: int
    parent: int

    @staticmethod
    def join(rank: int, size: int, parent: int, meeting_point: str) -> Team:
        """Waits for the others at a file that does not exist yet, and returns the team."""
        backend = BACKENDS if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, init_method=f"file://{meeting_point}", rank=rank, world_size=size)
        return Team(rank, size, parent)

    def share(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Returns this process's part of something that every process holds, split evenly along ``dim``."""
        size = whole.shape[dim] // self.size
        return whole.narrow(dim, self.rank * size, size)

    def gather(self, part: Tensor, dim: int) -> Tensor:
        """Returns the parts of all processes one after the other, differentiable in all of them.

        Every process computes the same loss of what it gathers, so that a part's gradient is the mean of what
        the processes find: its own copy of the loss is one of ``size``.
        """
        gathered: Tensor = _Gather.apply(part, dim, self)  # type: ignore[no-untyped-call]
        return gathered

    @torch.no_grad()
    def average_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replaces the gradients by the mean over all processes: of a loss of the whole batch, its gradient."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, is_asked: bool) -> bool:
        """Whether any of the processes is asked to stop, or the one that started them is gone."""
        asked = torch.tensor([is_asked or os.getppid() != self.parent], dtype=torch.int32)
        dist.all_reduce(asked, op=dist.ReduceOp.MAX)
        return bool(asked.item())


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, dim: int, team: Team) -> Tensor:
        ctx.dim, ctx.team = dim, team
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(team.size)]
        dist.all_gather(parts, part)
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        team: Team = ctx.team
        # A copy, since the graph holds the gradient elsewhere too; bfloat16 is summed as float32.
        total = gradient.to(torch.promote_types(gradient.dtype, torch.float32), copy=True).contiguous()
        dist.all_reduce(total)
        return team.share(total, ctx.dim).to(gradient.dtype), None, None
