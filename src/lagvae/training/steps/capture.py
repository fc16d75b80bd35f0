"""A step as a graph of a graphics processor: launched as one, without Python in between."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

WARM = 3
"""Steps that are taken eagerly first: libraries and optimisers allocate what they keep."""

Compute = Callable[[Sequence[Tensor]], Tensor]
"""What a step computes, of batches whose memory stays the same; it never waits for the device."""
Recorder = Callable[[Callable[[], Tensor], Sequence[torch.Generator]], tuple[Callable[[], None], Tensor]]
"""Records a computation without carrying it out: what replays it, and the output that a replay overwrites."""


class CapturedStep:
    """Takes a few steps eagerly, records one, and replays that from then on; eagerly where it cannot be recorded.

    Args:
        compute: The step. What it draws and what it changes has to be the same memory every time.
        generators: Those that it draws from.
        record: Records it.
    """

    def __init__(self, compute: Compute, generators: Sequence[torch.Generator], record: Recorder) -> None:
        self.compute, self.generators, self.record = compute, generators, record
        self._inputs: list[Tensor] = []
        self._before: list[Tensor] = []
        self._taken = 0
        self._replay: Callable[[], None] | None = None
        self._output: Tensor | None = None

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """Takes a step on these batches, and returns what it measured."""
        if not self._inputs:
            self._inputs = [torch.empty_like(one) for one in inputs]
        for own, one in zip(self._inputs, inputs, strict=True):
            own.copy_(one, non_blocking=True)
        self._taken += 1
        if self._taken == WARM:
            self._before = [generator.get_state() for generator in self.generators]
        elif self._taken == WARM + 1:
            self._try_to_record()
        if self._replay is None or self._output is None:
            with _beside(self._inputs[0].device, is_warming=self._taken <= WARM):
                return self.compute(self._inputs)
        self._replay()
        return self._output.clone()

    def _try_to_record(self) -> None:
        states = zip(self.generators, self._before, strict=True)
        drawn_from = [one for one, before in states if not torch.equal(one.get_state(), before)]
        device = self._inputs[0].device
        try:
            # What is recorded belongs to the current device, which need not be the step's.
            with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
                self._replay, self._output = self.record(lambda: self.compute(self._inputs), drawn_from)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            warnings.warn(f"steps are taken one operation at a time: {reason}", RuntimeWarning, stacklevel=3)


def record_on_cuda(
    compute: Callable[[], Tensor], generators: Sequence[torch.Generator]
) -> tuple[Callable[[], None], Tensor]:
    """Records a computation as a CUDA graph, in which generators go on where they are.

    Raises:
        RuntimeError: It does what no graph can hold, such as waiting for the device.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    drawn_from = [*generators, torch.cuda.default_generators[torch.cuda.current_device()]]
    states = [generator.clone_state() for generator in drawn_from]
    torch.cuda.synchronize()
    try:
        with torch.cuda.graph(graph):
            output = compute()
    except RuntimeError:  # generators would go on believing that they are being recorded
        for generator, state in zip(drawn_from, states, strict=True):
            generator.graphsafe_set_state(state)
        raise
    return graph.replay, output


def recorded(
    compute: Compute,
    optimizers: Sequence[torch.optim.Optimizer],
    generators: Sequence[torch.Generator],
    record: Recorder | None,
) -> Compute:
    """Returns the step, recorded where it is to be and its optimisers can be. It does not hold the session it is of."""
    compute = _unheld(compute)
    if record is None or not make_capturable(optimizers):
        return compute
    return CapturedStep(compute, generators, record)


def _unheld(compute: Compute) -> Compute:
    """Returns a session's step without its session, which holds the step: the two would wait to be collected together.

    Meanwhile weights, optimiser and data of runs that have ended would fill the memory.
    """
    own = weakref.WeakMethod(compute)

    def take(raw: Sequence[Tensor]) -> Tensor:
        step = own()
        assert step is not None  # who takes a step has the session
        taken: Tensor = step(raw)
        return taken

    return take


def make_capturable(optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    """Lets optimisers read their learning rates from the device; returns whether all of them can be recorded."""
    if not all(isinstance(optimizer, torch.optim.Adam) for optimizer in optimizers):  # AdamW is one too
        return False
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)
    return True


@contextlib.contextmanager
def _beside(device: torch.device, *, is_warming: bool) -> Iterator[None]:
    """Runs on a stream of its own, as what is to be recorded has to be warmed up."""
    if device.type != "cuda" or not is_warming:
        yield
        return
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
