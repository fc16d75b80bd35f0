"""A table that is mostly zeros, kept as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse


class SparseRows:
    """A sparse table [N, columns] of float32, of which rows are made dense when they are asked for.

    To ``Examples`` it is what a memory map is: never whole in memory as a dense array.

    Args:
        table: Any of scipy's sparse formats.
    """

    def __init__(self, table: sparse.sparray | sparse.spmatrix) -> None:
        from scipy import sparse

        self._rows = sparse.csr_array(table, dtype=np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(map(int, self._rows.shape))

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return self._rows.dtype

    @property
    def nbytes(self) -> int:
        """Bytes in memory, indices included."""
        return int(self._rows.data.nbytes + self._rows.indices.nbytes + self._rows.indptr.nbytes)

    @property
    def stored(self) -> np.ndarray:
        """The values that are kept; all others are 0."""
        return self._rows.data

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns some rows as a dense array."""
        return self._rows[rows].toarray()

    def columns(self, index: np.ndarray) -> SparseRows:
        """Returns the table of the columns at ``index``, in that order."""
        return SparseRows(self._rows[:, index])
