"""How is an array read that is larger than memory? From its file, with no more of it in memory than is being read."""

from __future__ import annotations

import mmap
import weakref
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from lagvae.errors import DataError, expected

RELEASED_EVERY = 2**26
"""Bytes that are read from a file before its pages are let go of."""

_read: weakref.WeakKeyDictionary[mmap.mmap, int] = weakref.WeakKeyDictionary()
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True)
class Place:
    """Where a memory map lies: what another process opens it by.

    Attributes:
        path: Of the file.
        offset: Bytes before the first value.
        dtype: Of the values.
        shape: Of the array.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @staticmethod
    def of(values: np.memmap) -> Place:
        """Returns the place of a memory map, or of a slice of one.

        Raises:
            DataError: Its examples do not lie one after the other.
        """
        if not values.flags.c_contiguous:
            fix = "np.save(path, np.ascontiguousarray(x))"
            raise DataError(expected(f"examples one after the other in {values.filename}", got="columns", fix=fix))
        inside = values.ctypes.data - np.frombuffer(_mapping(values), dtype=np.uint8).ctypes.data
        start = values.offset - values.offset % mmap.ALLOCATIONGRANULARITY + inside  # a slice has the whole's offset
        return Place(str(values.filename), start, values.dtype.str, tuple(values.shape))

    def open(self) -> np.memmap:
        """Returns the read-only memory map."""
        return open_map(np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.shape))


def open_map(values: np.memmap) -> np.memmap:
    """Returns a read-only view, of which the system reads no more than is asked for.

    Without this advice every example that a shuffled pass touches brings its neighbours along, and takes hundreds of
    times as long.
    """
    _advise(values, "MADV_RANDOM")
    view: np.memmap = values.view()
    view.flags.writeable = False
    return view


def read_rows(values: np.memmap, index: np.ndarray) -> np.ndarray:
    """Returns a copy of the rows at ``index``."""
    rows = np.asarray(values[index])
    _let_go(values, rows.nbytes + 2 * _PAGE * len(rows))
    return rows


def read_slice(values: np.memmap, start: int, stop: int) -> np.ndarray:
    """Returns a copy of neighbouring rows, which are read ahead."""
    _advise(values, "MADV_SEQUENTIAL")
    rows = np.array(values[start:stop])
    _advise(values, "MADV_RANDOM")
    _let_go(values, rows.nbytes)
    return rows


def _let_go(values: np.memmap, touched: int) -> None:
    """Unmaps what was read, once it is much: it stays in the system's cache, and is no memory of this process."""
    mapping = _mapping(values)
    total = _read.get(mapping, 0) + touched
    if total >= RELEASED_EVERY:
        _advise(values, "MADV_DONTNEED")
        total = 0
    _read[mapping] = total


def _advise(values: np.memmap, advice: str) -> None:
    if hasattr(mmap, advice):  # elsewhere than on Linux some are missing
        _mapping(values).madvise(getattr(mmap, advice))


def is_mapped(values: object) -> TypeGuard[np.memmap]:
    """Whether an array lies in a file: what numpy computes from a memory map has its type, and is in memory."""
    return isinstance(values, np.memmap) and isinstance(_base(values), mmap.mmap)


def _mapping(values: np.ndarray) -> mmap.mmap:
    """Returns the mapping that a memory map, or a view of one, lies in."""
    base = _base(values)
    assert isinstance(base, mmap.mmap)
    return base


def _base(values: np.ndarray) -> object:
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    return base
