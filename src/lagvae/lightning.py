"""Problems inside a PyTorch Lightning project: ``pip install "lagvae[lightning]"``.

>>> from lightning import Trainer
>>> from lagvae.lightning import ProblemModule
>>> module = ProblemModule("max mi s.t. neg_elbo <= 86", model)
>>> Trainer(max_epochs=30).fit(module, loader)

Or in a LightningModule of one's own: ``self.lagrangian = LagrangianLoss(problem)``, ``return self.lagrangian(draw)``
from ``training_step``, and the callback :class:`AscendMultipliers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError('expected lightning, got no such package; try pip install "lagvae[lightning]"') from error

from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lagvae.duality.loss import LagrangianLoss
from lagvae.duality.rules import DualRuleFactory
from lagvae.errors import DataError, SettingError, expected
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.streams import Streams, derive_seed
from lagvae.terms.mmd import MMD
from lagvae.training.steps.optimization import build_optimizer, rate_factor

__all__ = ["AscendMultipliers", "LagrangianLoss", "ProblemModule"]


OWN = (
    "learning_rate",
    "optimizer",
    "beta1",
    "beta2",
    "weight_decay",
    "schedule",
    "warmup_steps",
    "balance",
    "dual_learning_rate",
    "seed",
)
"""Settings that have a part in a step which a trainer takes."""


class AscendMultipliers(Callback):
    """Moves the multipliers of every :class:`LagrangianLoss` of a module after each step of its optimisers, and logs.

    A run's progress, by which the default rule goes, is the share of the trainer's steps that were taken.
    """

    def __init__(self) -> None:
        self._global_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes where the run is; one that begins after another goes on from its multipliers."""
        self._global_step = trainer.global_step
        steps_of(trainer)
        if trainer.global_step == 0:
            for loss in pl_module.modules():
                if isinstance(loss, LagrangianLoss) and loss.steps:
                    loss.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ascends where the weights have descended: batches whose gradients are added up count as one."""
        if trainer.global_step == self._global_step:
            return
        self._global_step = trainer.global_step
        losses = {name: loss for name, loss in pl_module.named_modules() if isinstance(loss, LagrangianLoss)}
        for name, loss in losses.items():
            loss.ascend(progress=min(1.0, (loss.steps + 1) / steps_of(trainer)))
            prefix = "" if len(losses) == 1 else f"{name}/"
            pl_module.log_dict({f"{prefix}{key}": value for key, value in loss.scalars().items()})


class ProblemModule(LightningModule):
    """A VAE and a problem, trained as ``fit`` trains them: the same step, schedule, rule and random numbers.

    Batches are raw examples as data sets hold them (bytes, floats), or tuples that begin with them; what the likelihood
    does with them, it does here.

    Args:
        problem: A problem or its text, every bound a number.
        model: Trained in place.
        dual: A rule's name, or a function of the problem that returns one.
        **changes: Settings by name: ``learning_rate``, ``optimizer``, ``beta1``, ``beta2``, ``weight_decay``,
            ``schedule``, ``warmup_steps``, ``balance``, ``dual_learning_rate``, ``seed``. Epochs, batches, devices,
            precision and logging are the trainer's affair, networks the model's.

    Raises:
        ProblemError: The text is no problem, or a bound is relative to ``best``.
        SettingError: A setting is unknown, out of range, or none of these.
    """

    def __init__(
        self, problem: Problem | str, model: VAE, *, dual: str | DualRuleFactory = "forecast", **changes: Any
    ) -> None:
        super().__init__()
        named = {"dual": dual} if isinstance(dual, str) else {}
        self.settings = Settings().replace(**changes, **named).settled()
        if others := [name for name in changes if name not in OWN]:
            fix = "the Trainer, the DataLoader or the model"
            raise SettingError(expected(f"one of {', '.join(OWN)}", got=others[0], fix=fix))
        self.model = model
        self.loss = LagrangianLoss(
            problem,
            dual=self.settings.dual if isinstance(dual, str) else dual,
            balance=self.settings.primal.balance,
            latent_dim=model.latent_dim,
        )
        self._streams: dict[str, Streams] = {}
        self._resumed: dict[str, Any] = {}
        self._resumed_at = 0
        self.save_hyperparameters({"problem": str(self.loss.problem), **named, **changes})

    @property
    def multipliers(self) -> dict[str, float]:
        """Constraint's name → λ."""
        return self.loss.multipliers

    def forward(self, x: Tensor) -> Tensor:
        """Returns the code of each example, as :meth:`~lagvae.model.vae.VAE.encode` does: the mean of q(z|x)."""
        return self.model.encode(x)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the code of each example of a batch as it is stored."""
        return self(_examples(batch))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the Lagrangian on a batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs terms and violations on a validation batch."""
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs terms and violations on a test batch."""
        self._measure(batch, "test")

    def configure_optimizers(self) -> Any:
        """Returns the settings' optimiser, with warm-up and decay over the trainer's steps."""
        primal, steps = self.settings.primal, steps_of(self.trainer)
        optimizer = build_optimizer(self.model.parameters(), primal)
        schedule = LambdaLR(optimizer, lambda step: rate_factor(step, steps, primal))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_callbacks(self) -> list[Callback]:
        """Returns what moves the multipliers."""
        return [AscendMultipliers()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the random streams; the multipliers are in the module's state."""
        own = {name: streams.state_dict() for name, streams in self._streams.items()}
        checkpoint["lagvae_streams"] = {**self._resumed, **own}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes them back when they are next asked for."""
        self._streams, self._resumed = {}, dict(checkpoint.get("lagvae_streams", {}))
        self._resumed_at = int(checkpoint.get("global_step", 0))

    def _loss(self, batch: Any, part: str) -> Tensor:
        raw = _examples(batch)
        if len(raw) < 2 and any(isinstance(term, MMD) for term in self.loss.terms):
            fix = "DataLoader(..., drop_last=True)"
            raise DataError(expected("batches of two examples or more, to measure mmd", got="one", fix=fix))
        streams = self._streams_of(part)
        x = self.model.likelihood.prepare(raw, streams.binarisation)
        return self.loss(self.model.draw(x, streams))

    def _measure(self, batch: Any, part: str) -> None:
        self._loss(batch, part)
        found = {
            name: value for name, value in self.loss.scalars().items() if name.startswith(("terms/", "violation/"))
        }
        self.log_dict({f"{part}/{name}": value for name, value in found.items()}, batch_size=len(_examples(batch)))

    def _streams_of(self, part: str) -> Streams:
        """Returns a part's random numbers on this device: those of ``fit`` for train, others for other processes."""
        if part not in self._streams:
            seed, saved = self.settings.execution.seed, self._resumed.pop(part, None)
            path = ([] if part == "train" else [part]) + ([self.global_rank] if self.global_rank else [])
            streams = Streams(derive_seed(seed, *path) if path else seed, self.device)
            if saved is not None and self.global_rank == 0 and streams.fits(saved):
                streams.load_state_dict(saved)
            elif saved is not None:  # of the first process, or of another kind of device: here it draws on afresh
                streams = Streams(derive_seed(seed, *path, self._resumed_at), self.device)
            self._streams[part] = streams
        return self._streams[part]


def _examples(batch: Any) -> Tensor:
    """Returns the examples of a batch: all of it, or what it begins with."""
    raw = batch[0] if isinstance(batch, tuple | list) else batch
    if not isinstance(raw, Tensor):
        got = type(raw).__name__
        raise DataError(expected("batches of examples, or tuples that begin with them", got=got, fix="a DataLoader"))
    return raw


def steps_of(trainer: Trainer) -> int:
    """Returns the steps of a whole run.

    Raises:
        SettingError: It has no end: neither the schedule nor the default rule would know where it is.
    """
    steps = trainer.estimated_stepping_batches
    if not math.isfinite(steps) or steps < 1:
        raise SettingError(expected("a run with an end", got=f"{steps} steps", fix="Trainer(max_epochs=30)"))
    return int(steps)
