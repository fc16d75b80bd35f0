"""Everything that a training step changes, and the step itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rule import DualRule
from lagvae.errors import CheckpointError, expected
from lagvae.model.vae import VAE
from lagvae.settings import PrimalSettings
from lagvae.storage.checkpoint import flatten_optimizer, restore_optimizer
from lagvae.streams import Streams
from lagvae.training.hardware import networks_in
from lagvae.training.optimization import rate_factor


@dataclass
class Session:
    """A run in memory. ``state`` and ``load_state`` carry all of it, to the bit.

    Attributes:
        model: The weights, on the run's device.
        lagrangian: What is minimised in the weights and maximised in the multipliers.
        rule: The multipliers.
        optimizer: Over the weights.
        examples: The training data, on the device unless memory-mapped.
        streams: The random numbers.
        settings: How the weights descend.
        dtype: What the networks compute in.
        step: Steps taken.
    """

    model: VAE
    lagrangian: Lagrangian
    rule: DualRule
    optimizer: torch.optim.Optimizer
    examples: Examples
    streams: Streams
    settings: PrimalSettings
    dtype: torch.dtype
    step: int = 0
    _order: tuple[int, Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.batch_size = min(self.settings.batch_size, len(self.examples))
        self.steps_per_epoch = len(self.examples) // self.batch_size
        self.total_steps = self.settings.epochs * self.steps_per_epoch
        self._units = torch.tensor([term.unit for term in self.lagrangian.terms], device=self.streams.device)

    def take_step(self) -> Float[Tensor, " terms"]:
        """Descends in the weights and ascends in the multipliers on one batch; returns the terms' values."""
        raw = self.examples.gather(self._next_batch()).to(self.streams.device, non_blocking=True)
        x = self.model.likelihood.prepare(raw, self.streams.binarisation)
        with networks_in(self.dtype, self.streams.device):
            draw = self.model.draw(x, self.streams)
        values = self.lagrangian.measure(draw)
        measured = values.detach()
        violations = self.lagrangian.violations(measured).unsqueeze(0)
        weights = self.lagrangian.weights(self.rule.primal_multipliers(violations))[0]
        loss = values @ weights
        if self.settings.balance:
            loss = loss / (weights.abs() @ self._units).clamp_min(1e-12)  # all weights may be 0: min 0 s.t. ...

        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        factor = rate_factor(self.step, self.total_steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]
        self.optimizer.step()

        self.step += 1
        self.rule.update(violations, progress=self.step / self.total_steps)
        return measured

    def learning_rate(self) -> float:
        """Returns the learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def has_finite_weights(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(torch.isfinite(weight).all()) for weight in self.model.parameters())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns the session's tensors by name, and the rest in JSON's types."""
        optimizer, plain = flatten_optimizer(self.optimizer, "optimizer")
        tensors = {
            **{f"model/{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"dual/{name}": tensor for name, tensor in self.rule.state_dict().items()},
            **{f"streams/{name}": tensor for name, tensor in self.streams.state_dict().items()},
            **optimizer,
        }
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
        self.streams.load_state_dict(part("streams/"))
        restore_optimizer(self.optimizer, "optimizer", tensors, state["optimizer"])
        self.step = int(state["step"])

    def _next_batch(self) -> Tensor:
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            size = len(self.examples)
            order = self.streams.data_order(epoch, size) if self.settings.shuffle else torch.arange(size)
            self._order = (epoch, order.to(self.examples.values.device) if self._on_device else order)
        return self._order[1][position * self.batch_size : (position + 1) * self.batch_size]

    @property
    def _on_device(self) -> bool:
        return isinstance(self.examples.values, Tensor)
