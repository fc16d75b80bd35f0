"""What is one part of a data set, and how do its pixels become bits?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast
from weakref import WeakValueDictionary

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from lagvae.data.mapped import Place, read_rows
from lagvae.data.names import NAMELESS, Names
from lagvae.data.sparse import SparseRows
from lagvae.errors import ShapeError, expected


@dataclass(frozen=True, eq=False)
class Examples:
    """One part of a data set, as it is stored: nothing is scaled or drawn before it is asked for.

    Attributes:
        values: ``[rows, *event_shape]``. uint8, where 0..255 means 0..1, or float32; a tensor, a read-only memory map
            of a file that is too large to load, or the rows of a sparse table.
        labels: int64 ``[N]``, or None.
        rows: int64 ``[N]``, which of the values are the examples; None if all are. Two parts may so share one array.
        names: Of the columns, where the examples are rows of a table that names them, and of the labels' classes.
    """

    values: Tensor | np.memmap | SparseRows
    labels: Tensor | None = None
    rows: Tensor | None = None
    names: Names = NAMELESS
    _moved: WeakValueDictionary[torch.device, Examples] = field(
        default_factory=WeakValueDictionary, init=False, repr=False
    )

    def __len__(self) -> int:
        return int(self.values.shape[0]) if self.rows is None else len(self.rows)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.values.shape[1:])

    @property
    def is_uint8(self) -> bool:
        """Whether the values are bytes that mean 0..1, rather than float32 numbers that mean themselves."""
        return self.values.dtype in (torch.uint8, np.uint8)

    def to(self, device: torch.device | str) -> Examples:
        """Returns the examples with their tensors on ``device``; a memory map and a sparse table stay what they are.

        Of an array that is shared only the examples themselves go to another device. While they are in use there, they
        are not sent again: runs side by side share them.
        """
        device = torch.device(device)
        if device in self._moved:
            return self._moved[device]
        values, rows = self.values, self.rows
        if isinstance(values, Tensor) and rows is not None and values.device != device:
            values, rows = values.index_select(0, rows), None
        moved = self._moved[device] = Examples(
            values=values.to(device) if isinstance(values, Tensor) else values,
            labels=None if self.labels is None else self.labels.to(device),
            rows=rows,
            names=self.names,
        )
        return moved

    def beside_values(self, index: Int64[Tensor, " picked"]) -> Int64[Tensor, " picked"]:
        """Returns the index on the device of the values; where they are no tensor, as it is."""
        return index.to(self.values.device) if isinstance(self.values, Tensor) else index

    def gather(self, index: Int64[Tensor, " batch"]) -> Shaped[Tensor, "batch ..."]:
        """Returns the examples at ``index`` in their stored dtype, on the device of the values."""
        if self.rows is not None:
            index = self.rows[index.to(self.rows.device)]
        if isinstance(self.values, Tensor):
            return self.values.index_select(0, index.to(self.values.device))
        rows = index.cpu().numpy()
        return torch.from_numpy(
            self.values[rows] if isinstance(self.values, SparseRows) else read_rows(self.values, rows)
        )

    def subset(self, start: int, stop: int) -> Examples:
        """Returns the examples ``start`` up to, without, ``stop``: a view, nothing is copied."""
        labels = None if self.labels is None else self.labels[start:stop]
        if self.rows is not None:
            return replace(self, labels=labels, rows=self.rows[start:stop])
        if isinstance(self.values, SparseRows):
            return replace(self, labels=labels, rows=torch.arange(len(self))[start:stop])
        # numpy's types do not say that a slice of a memory map is one.
        return replace(self, values=cast("Tensor | np.memmap", self.values[start:stop]), labels=labels)

    def pick(self, index: Int64[Tensor, " picked"]) -> Examples:
        """Returns the examples at ``index``, which share these values: nothing is copied but labels."""
        labels = None if self.labels is None else self.labels[index.to(self.labels.device)]
        index = self.beside_values(index)
        return replace(self, labels=labels, rows=index if self.rows is None else self.rows[index.to(self.rows.device)])

    def __getstate__(self) -> dict[str, object]:
        """What another process is sent: of a memory map its place, not its content."""
        state = {name: value for name, value in vars(self).items() if name != "_moved"}
        return state | ({"values": Place.of(self.values)} if isinstance(self.values, np.memmap) else {})

    def __setstate__(self, state: dict[str, object]) -> None:
        values = state["values"]
        vars(self).update(
            {"_moved": WeakValueDictionary()} | state | ({"values": values.open()} if isinstance(values, Place) else {})
        )


def fit_names(parts: Sequence[Examples], names: Names, *, whose: str = "the model's data") -> list[Examples]:
    """Returns parts with their columns, and the classes of their labels, in the order of ``names``.

    Columns beyond those are left out; classes beyond those come after them. What has no names stays as it is.

    Args:
        parts: Those that share their values share them afterwards too.
        names: Of the data that a model was trained on, say.
        whose: Those names, in messages.

    Raises:
        ShapeError: A column is missing.
    """
    picked: dict[int, Tensor | SparseRows] = {}
    fitted = []
    for part in parts:
        values, columns = part.values, part.names.columns
        if names.columns and columns and columns != names.columns:
            if id(values) not in picked:
                picked[id(values)] = _pick_columns(values, columns, names.columns, whose)
            values, columns = picked[id(values)], names.columns
        labels, classes = part.labels, part.names.classes
        if labels is not None and names.classes:
            labels, classes = _number_classes(labels, classes, names.classes)
        is_same = (columns, classes) == (part.names.columns, part.names.classes)
        fitted.append(part if is_same else replace(part, values=values, labels=labels, names=Names(columns, classes)))
    return fitted


def _pick_columns(
    values: Tensor | np.memmap | SparseRows, columns: Sequence[str], wanted: Sequence[str], whose: str
) -> Tensor | SparseRows:
    place = {name: number for number, name in enumerate(columns)}
    if missing := [name for name in wanted if name not in place]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        got = f"none called '{missing[0]}'{more}, but {', '.join(columns[:8])}{', ...' * (len(columns) > 8)}"
        raise ShapeError(expected(f"the {len(wanted)} columns of {whose}", got=got, fix="the same columns' names"))
    index = np.array([place[name] for name in wanted])
    if isinstance(values, SparseRows):
        return values.columns(index)
    return torch.as_tensor(values)[:, index]  # a memory map has no columns with names


def _number_classes(labels: Tensor, own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Returns labels numbered by the wanted classes, and by those of their own after them.

    Labels that are numbers are words among words; where none of them is a wanted one, they are left alone.
    """
    if not own:
        numbers, labels = labels.unique(return_inverse=True)
        own = tuple(map(str, numbers.tolist()))
        if not set(own) & set(wanted):
            return numbers[labels], ()
    classes = (*wanted, *sorted(set(own) - set(wanted)))
    place = {name: number for number, name in enumerate(classes)}
    return torch.tensor([place[name] for name in own], device=labels.device)[labels], classes


def binarise(raw: Shaped[Tensor, "..."], generator: torch.Generator) -> Float32[Tensor, "..."]:
    """Draws every pixel as 0 or 1, being 1 with the probability that is its intensity: value/255 for bytes.

    The draw is ``intensity > u`` with u uniform on [0, 1). Bytes are compared as 32-bit integers, which is faster than
    through floats and finer: P(1) = value/255 · (1 - 2^-32), and a pixel of 0 is never on.

    Args:
        raw: Values as :meth:`Examples.gather` returns them.
        generator: The source of u. The result lies on its device.
    """
    raw = raw.to(generator.device)
    if raw.dtype != torch.uint8:
        return (raw > torch.rand(raw.shape, generator=generator, device=generator.device)).to(torch.float32)
    pairs = torch.empty((raw.numel() + 1) // 2, dtype=torch.int64, device=generator.device)
    bits = pairs.random_(-(2**63), None, generator=generator).view(torch.int32)[: raw.numel()].view(raw.shape)
    # value · (2^32 - 1)/255, less 2^31: the value's share of all 32-bit integers, counted from the lowest.
    limit = raw.to(torch.int32).mul_(0x01010101).bitwise_xor_(-(2**31))
    return (bits < limit).view(torch.uint8).to(torch.float32)
