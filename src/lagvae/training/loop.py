"""The loop: a step, a line of the log, a checkpoint."""

from __future__ import annotations

import time

import torch

from lagvae.settings import Settings
from lagvae.training.interrupt import Interrupt
from lagvae.training.progress import make_display
from lagvae.training.record import make_record
from lagvae.training.run_log import RunLog
from lagvae.training.session import Session
from lagvae.training.solution import Status
from lagvae.training.trouble import find_trouble


def train(session: Session, log: RunLog, settings: Settings, *, progress: bool) -> tuple[Status | None, str]:
    """Takes the steps that are left: the loop.

    Returns:
        DIVERGED or STOPPED with a sentence, or None where every step was taken.
    """
    log_every = settings.output.log_every
    # Steps that an interrupted session took after its last record come first: the log does not see the break.
    filled = len(log.unlogged)
    rows = filled + min(log_every, session.total_steps - session.step)
    values = torch.empty(rows, *session.measured_shape, device=session.device)
    values[:filled] = log.unlogged
    multipliers = session.rule.multipliers[:1].repeat(rows, 1)
    began = last = time.monotonic()
    last_step = session.step
    display = make_display(session.total_steps, session.step, settings.primal.epochs, show=progress)
    try:
        with Interrupt() as interrupt, display:
            while session.step < session.total_steps:
                values[filled] = session.take_step()
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
                    return Status.DIVERGED, f"{trouble}; the last good checkpoint is kept; try {_way_out(trouble)}"
                now = time.monotonic()
                seconds = log.seconds + now - began
                if is_logged:
                    speed = (session.step - last_step) / (now - last)
                    record = make_record(session, values[:filled], seconds=seconds, speed=speed)
                    log.add(record)
                    display.show(record)
                    filled, last, last_step = 0, now, session.step
                is_due = log.seconds_since_save() >= settings.output.checkpoint_seconds
                if is_last or is_stopped or is_due:
                    log.save(session, seconds, values[:filled])
                if is_stopped and not is_last:
                    return Status.STOPPED, f"stopped at step {session.step} of {session.total_steps}"
    except BaseException:
        log.finish({})
        raise
    return None, ""


def _way_out(trouble: str) -> str:
    return "mending the data" if "the data" in trouble.partition("; ")[2] else "a lower learning_rate"
