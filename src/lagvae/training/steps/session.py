"""Everything that a training step changes, and the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rule import DualRule, move
from lagvae.errors import CheckpointError, expected
from lagvae.model.vae import VAE
from lagvae.settings import PrimalSettings
from lagvae.storage.checkpoint import flatten_optimizer, restore_optimizer
from lagvae.training.steps.batches import Batches
from lagvae.training.steps.capture import Compute, Recorder, recorded
from lagvae.training.steps.hardware import networks_in
from lagvae.training.steps.optimization import rate_factor, remember_rates, scale_rates


@dataclass
class Session:
    """A run in memory. ``state`` and ``load_state`` carry all of it, to the bit.

    Attributes:
        model: The weights, on the run's device.
        lagrangian: What is minimised in the weights and maximised in the multipliers.
        rule: The multipliers.
        optimizer: Over the weights.
        batches: What the weights descend on.
        held_out: What the violations are measured on, if not on the same batches.
        settings: How the weights descend.
        dtype: What the networks compute in.
        step: Steps taken.
        record: Records a step, so that it can be replayed; steps are taken one operation at a time if none is given.
    """

    model: VAE
    lagrangian: Lagrangian
    rule: DualRule
    optimizer: torch.optim.Optimizer
    batches: Batches
    held_out: Batches | None
    settings: PrimalSettings
    dtype: torch.dtype
    step: int = 0
    record: Recorder | None = None

    def __post_init__(self) -> None:
        remember_rates(self.optimizer)
        self.device = self.batches.streams.device
        self.batch_size = self.batches.size
        self.steps_per_epoch = self.batches.per_pass
        self.total_steps = self.settings.epochs * self.steps_per_epoch
        self.natural_units = torch.tensor([term.unit for term in self.lagrangian.terms], device=self.device)
        self._compute: Compute | None = None

    def take_step(self) -> Float[Tensor, "parts terms"]:
        """Descends in the weights on a training batch, and ascends in the multipliers.

        Multipliers that learn from other examples than the weights: [Cotter2019].

        Returns:
            The terms' values on the training batch, and on the held-out batch where there is one: the
            violations are those of the last row.
        """
        raw = [own.at(self.step) for own in (self.batches, self.held_out) if own is not None]
        measured = self._take(raw)
        violations = self.lagrangian.violations(measured[-1]).unsqueeze(0)
        move(self.rule, violations, progress=self.step / self.total_steps)
        return measured

    def agree(self, is_asked: bool) -> bool:
        """Whether to stop after this step: as this process is asked, which is the only one."""
        return is_asked

    @property
    def measured_shape(self) -> tuple[int, int]:
        """Parts and terms: the shape of what a step measures."""
        return (1 if self.held_out is None else 2, len(self.lagrangian.terms))

    def effective_weights(self) -> dict[str, float]:
        """Returns term → its weight in the Lagrangian at the current multipliers."""
        weights = self.lagrangian.weights(self.rule.multipliers)[0].tolist()
        return {str(term): weight for term, weight in zip(self.lagrangian.terms, weights, strict=True)}

    def learning_rate(self) -> float:
        """Returns the learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns the session's tensors by name, and the rest in JSON's types."""
        optimizer, plain = flatten_optimizer(self.optimizer, "optimizer")
        tensors = {
            **{f"model/{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"dual/{name}": tensor for name, tensor in self.rule.state_dict().items()},
            **{f"streams/{name}": tensor for name, tensor in self.batches.streams.state_dict().items()},
            **optimizer,
        }
        if self.held_out is not None:
            streams = self.held_out.streams.state_dict()
            tensors |= {f"held_out_streams/{name}": tensor for name, tensor in streams.items()}
        return tensors, {"optimizer": plain}

    def load_state(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Puts the session back to where ``state`` found it.

        Raises:
            CheckpointError: The checkpoint is of other networks.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        saved = {name: tuple(tensor.shape) for name, tensor in part("model/").items()}
        own = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        if saved != own:
            name = next(n for n in [*saved, *own] if saved.get(n) != own.get(n))
            raise CheckpointError(
                expected(
                    f"the networks that the run was started with ({name} {saved.get(name, 'absent')})",
                    got=f"{name} {own.get(name, 'absent')}",
                    fix="the same networks, or another folder",
                )
            )
        self.model.load_state_dict(part("model/"))
        self.rule.load_state_dict(part("dual/"))
        self.batches.streams.go_on(part("streams/"), step=int(state["step"]))
        if self.held_out is not None:
            self.held_out.streams.go_on(part("held_out_streams/"), step=int(state["step"]))
        restore_optimizer(self.optimizer, "optimizer", tensors, state["optimizer"])
        self.step = int(state["step"])
        self._compute = None  # what was recorded is of the optimiser's memory as it was

    def _take(self, raw: Sequence[Tensor]) -> Tensor:
        """Takes one step at the schedule's learning rate, as it can be taken here, and counts it."""
        self._compute = self._compute or self._prepare()
        scale_rates(self.optimizer, rate_factor(self.step, self.total_steps, self.settings))
        measured = self._compute(raw)
        self.step += 1
        return measured

    def _prepare(self) -> Compute:
        """Returns the step, recorded where it can be."""
        return recorded(self._compute_step, [self.optimizer], self._generators(), self.record)

    def _generators(self) -> list[torch.Generator]:
        """Returns what a step draws from."""
        parts = [own for own in (self.batches, self.held_out) if own is not None]
        return [generator for own in parts for generator in own.streams.generators]

    def _compute_step(self, raw: Sequence[Tensor]) -> Float[Tensor, "parts terms"]:
        """Measures and descends on batches as they are stored: all of a step that works on the model."""
        values = self._measure(raw[0], self.batches)
        measured = values.detach().unsqueeze(0)
        if self.held_out is not None:
            measured = torch.stack([values.detach(), self._measure_held_out(raw[1], self.held_out)])
        violations = self.lagrangian.violations(measured[-1]).unsqueeze(0)
        weights = self.lagrangian.weights(self.rule.primal_multipliers(violations))[0]
        loss = values @ weights
        if self.settings.balance:
            loss = loss / (weights.abs() @ self.natural_units).clamp_min(1e-12)  # all weights may be 0: min 0 s.t. ...
        self._descend(loss)
        return measured

    def _descend(self, loss: Float[Tensor, ""]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._limit_gradients()
        self.optimizer.step()

    def _limit_gradients(self) -> None:
        """Has nothing to do in a run of its own."""

    def _measure(self, raw: Tensor, batches: Batches) -> Float[Tensor, " terms"]:
        x = self.model.likelihood.prepare(raw, batches.streams.binarisation)
        with networks_in(self.dtype, self.device):
            draw = self.model.draw(x, batches.streams)
        return self.lagrangian.measure(draw)

    @torch.no_grad()
    def _measure_held_out(self, raw: Tensor, held_out: Batches) -> Float[Tensor, " terms"]:
        self.model.eval()  # running statistics, if there are any, are not for what the weights never see
        try:
            return self._measure(raw, held_out)
        finally:
            self.model.train()
