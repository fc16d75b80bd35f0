"""The loop: a step, a line of the log, a checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from lagvae.settings import Settings
from lagvae.training.interrupt import Interrupt
from lagvae.training.outcome.runaway import Lookout
from lagvae.training.outcome.solution import Status
from lagvae.training.progress import make_display
from lagvae.training.record import make_record
from lagvae.training.run_log import RunLog
from lagvae.training.steps.session import Session
from lagvae.training.steps.trouble import find_trouble

Steps = Generator[Session, Tensor, tuple[Status | None, str]]
"""A loop between two steps: yields its session, is sent what the step measured, and returns how it ended."""


@dataclass
class Company:
    """What loops that take their steps together agree on before each step.

    Attributes:
        models: How many share the time.
        requested: Whether they are to stop.
        is_due: Whether they are to write a checkpoint.
    """

    models: int
    requested: bool = False
    is_due: bool = False


def train(session: Session, log: RunLog, settings: Settings, *, progress: bool) -> tuple[Status | None, str]:
    """Takes the steps that are left.

    Returns:
        DIVERGED or STOPPED with a sentence, or None where every step was taken.
    """
    steps = training(session, log, settings, progress=progress)
    try:
        next(steps)
        while True:
            steps.send(session.take_step())
    except StopIteration as end:
        status, message = end.value
        return status, message
    finally:  # a step that fails ends the loop at once, and not when its generator is collected
        steps.close()


def training(
    session: Session, log: RunLog, settings: Settings, *, progress: bool, company: Company | None = None
) -> Steps:
    """Logs, shows and saves the steps that are left, and says how they ended: the loop.

    The steps themselves are taken by whoever runs the loop, for this session or for several at once.
    """
    log_every = settings.output.log_every
    # Steps that an interrupted session took after its last record come first: the log does not see the break.
    filled = len(log.unlogged)
    rows = filled + min(log_every, session.total_steps - session.step)
    values = torch.empty(rows, *session.measured_shape, device=session.device)
    values[:filled] = log.unlogged
    multipliers = session.rule.multipliers[:1].repeat(rows, 1)
    lookout = Lookout(session.lagrangian.problem, log.history)
    models = 1 if company is None else company.models
    began = last = time.monotonic() / models
    last_step = session.step
    display = make_display(session.total_steps, session.step, settings.primal.epochs, show=progress)
    with contextlib.nullcontext(company) if company else Interrupt() as interrupt, display:
        while session.step < session.total_steps:
            values[filled] = yield session
            multipliers[filled] = session.rule.multipliers[0]
            filled += 1
            is_last = session.step == session.total_steps
            is_logged = session.step % log_every == 0 or is_last
            is_stopped = session.agree(interrupt.requested)
            if not (is_logged or is_stopped):
                continue

            # Values stay on the device until here: nothing waits for it in between.
            trouble = find_trouble(session, values[:filled], multipliers[:filled])
            if trouble is not None:
                return _diverged(trouble, log)
            now = time.monotonic() / models
            seconds = log.seconds + now - began
            if is_logged:
                speed = (session.step - last_step) / (now - last)
                record = make_record(session, values[:filled], seconds=seconds, speed=speed)
                log.add(record)
                display.show(record)
                last_steps = values[max(0, filled - 2) : filled, 0, :2].tolist()
                filled, last, last_step = 0, now, session.step
                if trouble := lookout.find_runaway(record, last_steps):
                    return _diverged(trouble, log)
            is_due = company.is_due if company else log.seconds_since_save() >= settings.output.checkpoint_seconds
            if is_last or is_stopped or is_due:
                log.save(session, seconds, values[:filled])
            if is_last or is_stopped:
                log.seconds = seconds
            if is_stopped and not is_last:
                return Status.STOPPED, f"stopped at step {session.step} of {session.total_steps}"
        if company:
            yield session  # all have saved their last step before the first of them is judged
    return None, ""


def _diverged(trouble: str, log: RunLog) -> tuple[Status, str]:
    kept = "no checkpoint was kept, for want of a folder" if log.folder is None else "the last good checkpoint is kept"
    way_out = "mending the data" if "the data" in trouble.partition("; ")[2] else "a lower learning_rate"
    return Status.DIVERGED, f"{trouble}; {kept}; try {way_out}"
