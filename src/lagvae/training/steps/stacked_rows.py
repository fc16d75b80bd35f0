"""The optimisers of a stack: neighbours that descend alike are moved as one."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from lagvae.training.steps.optimization import rate_factor, remember_rates, scale_rates
from lagvae.training.steps.session import Session

ELEMENTWISE = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
"""Optimisers of torch.optim that move every number of a parameter by itself: a stack's rows as each alone."""


class Rows:
    """Neighbouring rows of a stack, and the optimiser that moves them.

    Rows with the same optimiser and schedule are moved as one, by an optimiser over slices of the stack. One that does
    not work number by number, has groups, or moves some weights only, is the session's own and moves its row as it
    would alone.

    Args:
        sessions: Whose weights are the rows.
        leaves: The stacked weights, in the order of a model's parameters.
        first: The place of the first row.

    Attributes:
        optimizer: Over all rows.
    """

    def __init__(self, sessions: Sequence[Session], leaves: Sequence[Tensor], first: int) -> None:
        self.sessions, self.leaves = list(sessions), leaves
        self.is_own = not _moves_by_number(sessions[0])
        self.place: int | slice = first if self.is_own else slice(first, first + len(sessions))
        own = [list(session.model.parameters()) for session in sessions]
        if self.is_own:
            self.parameters, self.optimizer = own[0], sessions[0].optimizer
            return
        self.parameters = [nn.Parameter(leaf.detach()[self.place], leaf.requires_grad) for leaf in leaves]
        self.optimizer = _like(sessions[0].optimizer, self.parameters)
        remember_rates(self.optimizer)
        for parameter, *members in zip(self.parameters, *own, strict=True):
            states = [session.optimizer.state.get(one, {}) for session, one in zip(sessions, members, strict=True)]
            if states[0]:
                shape = members[0].shape
                self.optimizer.state[parameter] = {name: _join([s[name] for s in states], shape) for name in states[0]}

    def set_rate(self, step: int, total_steps: int) -> None:
        """Sets the schedule's learning rate."""
        scale_rates(self.optimizer, rate_factor(step, total_steps, self.sessions[0].settings))

    def descend(self) -> None:
        """Takes one step along the stack's gradients."""
        for leaf, parameter in zip(self.leaves, self.parameters, strict=True):
            parameter.grad = None if leaf.grad is None else leaf.grad[self.place]
        self.optimizer.step()

    def hand_back(self) -> None:
        """Gives each session's own optimiser its row of the state, and the learning rate of the last step."""
        if self.is_own:
            return
        for row, session in enumerate(self.sessions):
            for own, stacked in zip(session.model.parameters(), self.parameters, strict=True):
                state = self.optimizer.state.get(stacked, {})
                session.optimizer.state[own] = {name: _pick(value, row, stacked.shape) for name, value in state.items()}
            session.optimizer.param_groups[0]["lr"] = float(self.optimizer.param_groups[0]["lr"])


def stack_optimizers(sessions: Sequence[Session], leaves: Sequence[Tensor]) -> list[Rows]:
    """Returns the rows of a stack, as many together as descend alike."""
    found, first = [], 0
    for _, neighbours in groupby(sessions, key=_descent):
        members = list(neighbours)
        found.append(Rows(members, leaves, first))
        first += len(members)
    return found


def _descent(session: Session) -> Hashable:
    """Returns what sessions that descend alike have in common; of no two where an optimiser works otherwise."""
    optimizer, settings = session.optimizer, session.settings
    if not _moves_by_number(session):
        return id(session)
    options = {name: value for name, value in optimizer.param_groups[0].items() if name not in ("params", "lr")}
    return (type(optimizer), repr(options), settings.warmup_steps, settings.schedule)


def _moves_by_number(session: Session) -> bool:
    """Whether the optimiser moves every number of all of the model's weights by itself, and as the others of its kind.

    What it remembers of a single number cannot be told from its count of steps.
    """
    optimizer, weights = session.optimizer, list(session.model.parameters())
    if type(optimizer).__name__ not in ELEMENTWISE or len(optimizer.param_groups) > 1:
        return False
    moved = optimizer.param_groups[0]["params"]
    return list(map(id, moved)) == list(map(id, weights)) and all(weight.dim() for weight in weights)


def _like(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Returns an optimiser of the same kind and options over other parameters."""
    known = inspect.signature(type(optimizer)).parameters
    highest = optimizer.param_groups[0]["initial_lr"]
    options = {name: value for name, value in optimizer.param_groups[0].items() if name in known and name != "params"}
    return type(optimizer)(parameters, **{**options, "lr": highest})


def _join(values: Sequence[object], shape: torch.Size) -> object:
    """Stacks what optimisers remember of one parameter; a count of steps is the same for all."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        return values[0]
    return torch.stack(tensors) if tensors[0].shape == shape else tensors[0].clone()


def _pick(value: object, row: int, shape: torch.Size) -> object:
    """Returns a row of what an optimiser remembers of stacked parameters."""
    if not isinstance(value, Tensor):
        return value
    return value[row] if value.shape == shape else value.clone()
