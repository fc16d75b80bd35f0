"""How is a run trained on several devices? By a team of processes, each with a share of every batch."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from lagvae.data.dataset import Data
from lagvae.distributed.draw import WholeDraw
from lagvae.distributed.launch import meeting_folder, run_team
from lagvae.distributed.streams import TeamStreams
from lagvae.distributed.team import Team
from lagvae.duality.rules import DualRuleFactory
from lagvae.errors import SettingError, expected
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.storage.checkpoint import load_checkpoint, save_checkpoint
from lagvae.storage.folder import RunFolder
from lagvae.training.build import build_session
from lagvae.training.loop import train
from lagvae.training.outcome.solution import Status
from lagvae.training.run_log import RunLog
from lagvae.training.steps.batches import Batches
from lagvae.training.steps.capture import Compute
from lagvae.training.steps.hardware import keep_freed_memory, networks_in
from lagvae.training.steps.session import Session

START, END = "start", "end"
"""Folders in which a session goes to the team, and comes back."""


@dataclass(frozen=True)
class Blueprint:
    """What a session is built from, here or in another process; see :func:`~lagvae.training.build.build_session`."""

    problem: Problem
    data: Data
    settings: Settings
    model: VAE | None = None
    optimizer: OptimizerFactory | None = None
    dual: DualRuleFactory | None = None

    def build(self) -> Session:
        """Builds it."""
        return build_session(
            self.problem, self.data, self.settings, model=self.model, optimizer=self.optimizer, dual=self.dual
        )


@dataclass(kw_only=True)
class TeamSession(Session):
    """A session that descends on its share of each batch, by the gradient of the loss of the whole.

    Attributes:
        team: Who shares the batch.
    """

    team: Team

    @staticmethod
    def of(session: Session, team: Team) -> TeamSession:
        """Returns the session as a member of a team; it is of no further use by itself."""
        parts = {field.name: getattr(session, field.name) for field in dataclasses.fields(Session)}
        for batches in filter(None, (session.batches, session.held_out)):
            batches.streams = TeamStreams(batches.streams, team)
        joined = TeamSession(**parts, team=team)
        weights = list(session.model.parameters())
        session.optimizer.register_step_pre_hook(lambda *_: team.average_gradients(weights))
        return joined

    def agree(self, is_asked: bool) -> bool:
        """Whether any process is asked to stop."""
        return self.team.agree(is_asked)

    def _prepare(self) -> Compute:
        return self._compute_step  # what the processes tell each other is not recorded

    def _measure(self, raw: Tensor, batches: Batches) -> Float[Tensor, " terms"]:
        # All of it is prepared, since its noise is drawn as one; that is little beside the networks.
        x = self.model.likelihood.prepare(raw, batches.streams.binarisation)
        with networks_in(self.dtype, self.device):
            draw = self.model.draw(self.team.share(x), batches.streams)
        return self.lagrangian.measure(WholeDraw(draw, self.team))


def train_on_devices(session: Session, log: RunLog, plan: Blueprint, *, progress: bool) -> tuple[Status | None, str]:
    """Takes the steps that are left, as :func:`~lagvae.training.loop.train` does, on the devices that settings name.

    Where there are several, a process for each trains on from the session's state, and at the end the session and the
    log stand where a single process would have taken them: to rounding, since sums are taken in another order.

    Raises:
        SettingError: Batches or networks cannot be shared out, or there are fewer devices.
        SolveError: A process ended before its time.
    """
    size = plan.settings.execution.devices
    if size == 1:
        return train(session, log, plan.settings, progress=progress)
    check_sharing(session, size)
    if plan.model is not None:  # graphics memory is not sent
        plan = dataclasses.replace(plan, model=copy.deepcopy(plan.model).cpu())
    with meeting_folder() as path:
        _write(Path(path) / START, session, log)
        folder = None if log.folder is None else log.folder.path
        device = session.device.type
        known = len(log.history)
        run_team(_train_share, size, Path(path), plan, folder, device, progress)
        ended = _read(Path(path) / END, session, log)
        log.catch_up(known)
        return ended


def check_sharing(session: Session, size: int) -> None:
    """Raises SettingError unless ``size`` processes can share a session's batches and its networks."""
    for batches in filter(None, (session.batches, session.held_out)):
        if batches.size % size:
            got, fix = f"{batches.size} examples", f"--batch-size {max(1, round(batches.size / size)) * size}"
            raise SettingError(expected(f"batches that {size} devices can share evenly", got=got, fix=fix))
    for name, module in session.model.named_modules():
        if isinstance(module, _NormBase):
            got, fix = f"{type(module).__name__} at {name}, whose statistics are of a share", "LayerNorm or GroupNorm"
            raise SettingError(expected("networks that treat each example by itself", got=got, fix=fix))
    present = torch.cuda.device_count()
    if session.device.type == "cuda" and size > present:
        raise SettingError(expected(f"{size} graphics processors", got=present, fix=f"--devices {present}"))


def _train_share(team: Team, meeting: Path, plan: Blueprint, folder: Path | None, device: str, progress: bool) -> None:
    """What each process of the team does; only the first writes and shows anything."""
    is_first = team.rank == 0
    place = f"cuda:{team.rank}" if device == "cuda" else device
    settings = plan.settings.replace(device=place)
    # A model that was sent shares its memory with all processes: it is not ours to move.
    session = dataclasses.replace(plan, settings=settings, model=copy.deepcopy(plan.model)).build()
    shape = session.measured_shape
    log = RunLog(RunFolder(folder) if folder is not None and is_first else None, measured_shape=shape)
    _read(meeting / START, session, log)
    session = TeamSession.of(session, team)
    keep_freed_memory()
    # TensorBoard as it goes; what settings name gets all of it in the end, from one process.
    with log.tracked((), {}):
        status, message = train(session, log, settings, progress=progress and is_first)
        log.finish({})
    if is_first:
        _write(meeting / END, session, log, status, message)


def _write(path: Path, session: Session, log: RunLog, status: Status | None = None, message: str = "") -> None:
    """Hands a session and its log to another process."""
    tensors, plain = session.state()
    told: dict[str, Any] = {"status": status, "message": message, "seconds": log.seconds, "history": log.history}
    if log.folder is not None:
        told |= {"tail": log.folder.metrics.tail, "identity": log.folder.identity}
    save_checkpoint(path, session.step, {**tensors, "log/unlogged": log.unlogged}, {**plain, **told})


def _read(path: Path, session: Session, log: RunLog) -> tuple[Status | None, str]:
    """Takes over a session and its log; returns how it ended."""
    tensors, state = load_checkpoint(path)
    session.load_state(tensors, state)
    log.seconds, log.history, log.unlogged = state["seconds"], state["history"], tensors["log/unlogged"]
    if log.folder is not None:
        log.folder.metrics.tail, log.folder.identity = state["tail"], state["identity"]
    return (None if state["status"] is None else Status(state["status"])), state["message"]
