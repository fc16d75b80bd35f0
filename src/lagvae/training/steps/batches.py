"""Which examples does a step see?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.streams import Streams


class Batches:
    """The batches of one part of the data, and the random numbers that go with them.

    A pass visits every example once, but for those that fill no batch at its end. Its order depends on
    the seed and the pass alone, so that a resumed run sees the same batches.

    Args:
        examples: On the device unless memory-mapped.
        streams: The random numbers of this part.
        size: Examples per batch; all of them where there are fewer.
        shuffle: Whether each pass has an order of its own; the examples' own order otherwise.
    """

    def __init__(self, examples: Examples, streams: Streams, *, size: int, shuffle: bool) -> None:
        self.examples, self.streams, self.shuffle = examples, streams, shuffle
        self.size = min(size, len(examples))
        self.per_pass = len(examples) // self.size
        self._order: tuple[int, Tensor] | None = None

    def at(self, step: int) -> Shaped[Tensor, "batch *event"]:
        """Returns the examples of a step (from 0) as they are stored, on the device."""
        return self.examples.gather(self.index(step)).to(self.streams.device, non_blocking=True)

    def index(self, step: int) -> Tensor:
        """Returns which examples these are."""
        current, position = divmod(step, self.per_pass)
        if self._order is None or self._order[0] != current:
            count = len(self.examples)
            order = self.streams.data_order(current, count) if self.shuffle else torch.arange(count)
            self._order = (current, self.examples.beside_values(order))
        return self._order[1][position * self.size : (position + 1) * self.size]


def gather_together(batches: Sequence[Batches], step: int) -> Shaped[Tensor, "models batch *event"]:
    """Returns the examples of a step of each, one below the other; of examples that all share in one visit."""
    first = batches[0].examples
    shared = all(own.examples.values is first.values and own.examples.rows is first.rows for own in batches)
    if not (shared and isinstance(first.values, Tensor)):
        return torch.stack([own.at(step) for own in batches])
    index = torch.stack([own.index(step) for own in batches])
    together = first.gather(index.flatten()).to(batches[0].streams.device, non_blocking=True)
    return together.unflatten(0, index.shape)
