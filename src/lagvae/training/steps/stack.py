"""Several sessions as one: their models, multipliers and optimisers side by side, one step for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.stack import StackedLagrangian, StackedRule
from lagvae.errors import ShapeError, expected
from lagvae.model.stacked import StackedVAE, why_not_mapped, why_not_stacked
from lagvae.terms.term import FunctionTerm
from lagvae.training.steps.batches import Batches, gather_together
from lagvae.training.steps.capture import Recorder, recorded
from lagvae.training.steps.hardware import networks_in
from lagvae.training.steps.session import Session
from lagvae.training.steps.stacked_rows import stack_optimizers


class StackSession:
    """Sessions that take their steps together. Each ends where it would end alone, to rounding.

    A step is one pass over all models, each on its own batch, with its own random numbers, multipliers and learning
    rate. A model's gradient is of its own loss only, so that one that diverges leaves the others alone: a row whose
    session was released is computed on, and moves nothing else.

    Between steps the sessions lend their state to the stack: their weights are its rows, and ``hand_back`` brings
    the rest of each session to where its row is, before it is logged, saved or judged.

    Args:
        sessions: At the same step; :func:`why_no_stack` says which cannot be stacked.
        record: Records a step, so that it can be replayed; as the first of the sessions does if none is given.

    Attributes:
        sessions: In the order of all rows.
        step: Steps taken.
        rows: Which of them one optimiser moves.

    Raises:
        ShapeError: The sessions cannot be stacked.
    """

    def __init__(self, sessions: Sequence[Session], *, record: Recorder | None = None) -> None:
        reason = why_no_stack(sessions)
        if reason:
            raise ShapeError(expected("runs that can be stacked", got=reason, fix="a run for each"))
        self.sessions = list(sessions)
        first = self.sessions[0]
        self.device, self.dtype = first.device, first.dtype
        self.step, self.total_steps = first.step, first.total_steps
        self._live = set(range(len(self.sessions)))
        self.model = StackedVAE([session.model for session in sessions])
        self.lagrangian = StackedLagrangian([session.lagrangian for session in sessions])
        self.rule = StackedRule([session.rule for session in sessions])
        self._measured = first.lagrangian
        self._units = first.natural_units
        self._balance = torch.tensor([session.settings.balance for session in sessions], device=self.device)
        self._batches = [session.batches for session in sessions]
        self._held_out = [session.held_out for session in sessions if session.held_out is not None]
        self.rows = stack_optimizers(self.sessions, list(self.model.weights.values()))
        generators = [one for own in (*self._batches, *self._held_out) for one in own.streams.generators]
        optimizers = [rows.optimizer for rows in self.rows]
        self._compute = recorded(self._descend, optimizers, generators, record or first.record)

    def take_step(self) -> Float[Tensor, "models parts terms"]:
        """Descends in every model's weights and ascends in its multipliers; returns what each measured."""
        parts = [self._batches] if not self._held_out else [self._batches, self._held_out]
        raw = [gather_together(batches, self.step) for batches in parts]
        for rows in self.rows:
            rows.set_rate(self.step, self.total_steps)
        measured = self._compute(raw)
        self.step += 1
        for row in self._live:
            self.sessions[row].step = self.step
        violations = self.lagrangian.violations(measured[:, -1])
        self.rule.update(violations, progress=self.step / self.total_steps)
        return measured

    def _descend(self, raw: Sequence[Tensor]) -> Float[Tensor, "models parts terms"]:
        """Measures and descends on batches as they are stored: all of a step that works on the models."""
        values = self._measure(raw[0], self._batches)
        measured = values.detach().unsqueeze(1)
        if self._held_out:
            measured = torch.stack([values.detach(), self._measure_held_out(raw[1])], dim=1)
        violations = self.lagrangian.violations(measured[:, -1])
        weights = self.lagrangian.weights(self.rule.primal_multipliers(violations))
        scale = torch.where(self._balance, (weights.abs() @ self._units).clamp_min(1e-12), 1.0)
        for leaf in self.model.weights.values():
            leaf.grad = None
        ((values * weights).sum(-1) / scale).sum().backward()
        for rows in self.rows:
            rows.descend()
        return measured

    def hand_back(self) -> None:
        """Brings every session to where its row is."""
        self.rule.hand_back()
        for rows in self.rows:
            rows.hand_back()

    def release(self, index: int) -> None:
        """Parts a session from the stack, with weights of its own; its row is no one's from then on."""
        self._live.discard(index)
        self.model.release(index)
        own = self.sessions[index].optimizer
        self.rows = [rows for rows in self.rows if rows.optimizer is not own]

    @torch.no_grad()
    def _measure_held_out(self, raw: Tensor) -> Float[Tensor, "models terms"]:
        with self.model.scoring():
            return self._measure(raw, self._held_out)

    def _measure(self, raw: Tensor, batches: Sequence[Batches]) -> Float[Tensor, "models terms"]:
        prepare = self.model.likelihood.prepare
        prepared = [prepare(one, own.streams.binarisation) for one, own in zip(raw, batches, strict=True)]
        with networks_in(self.dtype, self.device):
            draw = self.model.draw(torch.stack(prepared), [own.streams for own in batches])
        return self._measured.measure(draw)


def why_no_stack(sessions: Sequence[Session]) -> str:
    """Returns why sessions cannot take their steps together, in words; empty where they can."""
    first = sessions[0]
    for session in sessions:
        if session.lagrangian.terms != first.lagrangian.terms or len(session.lagrangian.names) != len(
            first.lagrangian.names
        ):
            return "problems of different terms"
        if session.measured_shape != first.measured_shape:
            return "held-out data in some only"
        if (session.step, session.total_steps, session.batch_size) != (first.step, first.total_steps, first.batch_size):
            return "runs of different lengths, or at different steps"
        if (session.device, session.dtype) != (first.device, first.dtype):
            return "runs on different devices"
    own = [str(term) for term in first.lagrangian.terms if isinstance(term, FunctionTerm)]
    if own:
        return f"a term that is a function of one model's draw ({own[0]})"
    reason = why_not_stacked([session.model for session in sessions])
    return reason or why_not_mapped(first.model, first.batches.examples.event_shape)
