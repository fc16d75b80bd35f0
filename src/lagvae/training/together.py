"""Who takes the steps of a fit: the fit alone, or a stack of several that take them together."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence

from torch import Tensor

from lagvae.errors import LagvaeError
from lagvae.settings import OutputSettings
from lagvae.training.interrupt import Interrupt
from lagvae.training.loop import Company
from lagvae.training.outcome.solution import Solution
from lagvae.training.steps.session import Session
from lagvae.training.steps.stack import StackSession

Fitting = Generator[Session, Tensor, Solution]
"""A fit between two steps: yields its session, is sent what the step measured, and returns its solution."""


def finish_alone(fitting: Fitting) -> Solution:
    """Takes every step of a fit, and returns its solution."""
    try:
        session = next(fitting)
        while True:
            session = fitting.send(session.take_step())
    except StopIteration as end:
        solution: Solution = end.value
        return solution
    finally:  # what fails lets go of folder and log at once, and not when the generator is collected
        fitting.close()


def finish_together(
    fittings: Sequence[Fitting],
    company: Company,
    output: OutputSettings,
    *,
    observe: Callable[[int, float], None] = lambda place, share: None,
) -> Iterator[tuple[int, Solution | LagvaeError]]:
    """Takes the steps of several fits together, as one stack.

    A fit that fails or diverges leaves the others alone. Interrupted, all of them are STOPPED.

    Args:
        fittings: Begun in this company.
        company: What they agree on.
        output: How often they log and write checkpoints, the same for all.
        observe: Is told a fit's place and the share of its steps that are taken.

    Yields:
        A fit's place and what came of it, when it ends.

    Raises:
        ShapeError: They cannot be stacked.
    """
    try:
        yield from _take_steps(fittings, company, output, observe)
    finally:
        for fitting in fittings:
            fitting.close()


def _take_steps(
    fittings: Sequence[Fitting], company: Company, output: OutputSettings, observe: Callable[[int, float], None]
) -> Iterator[tuple[int, Solution | LagvaeError]]:
    sessions: dict[int, Session] = {}
    for place, fitting in enumerate(fittings):
        try:
            sessions[place] = next(fitting)
        except (StopIteration, LagvaeError) as end:
            yield place, _result(end)
    if not sessions:
        return
    stack = StackSession(list(sessions.values()))
    live = list(enumerate(sessions))
    saved = time.monotonic()
    with Interrupt() as interrupt:
        while live:
            measured = stack.take_step() if stack.step < stack.total_steps else None
            company.requested = interrupt.requested
            is_last = stack.step == stack.total_steps
            if is_last or company.requested or stack.step % output.log_every == 0:
                stack.hand_back()
                company.is_due = time.monotonic() - saved >= output.checkpoint_seconds
                saved = time.monotonic() if company.is_due else saved
                for _, place in live:
                    observe(place, stack.step / stack.total_steps)
            for row, place in list(live):
                try:
                    fittings[place].send(None if measured is None else measured[row])  # type: ignore[arg-type]
                except (StopIteration, LagvaeError) as end:
                    live.remove((row, place))
                    stack.release(row)
                    yield place, _result(end)
        if interrupt.requested and stack.step == stack.total_steps:
            raise KeyboardInterrupt  # while they were evaluated, which nobody else hears


def _result(end: StopIteration | LagvaeError) -> Solution | LagvaeError:
    return end.value if isinstance(end, StopIteration) else end
