"""Arrays that claim gigabytes and take none: files with a hole in place of their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def save_sparse(path: Path, shape: tuple[int, ...], dtype: type) -> Path:
    """Writes a .npy file of zeros that occupies a few blocks of the disk."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
    if path.stat().st_blocks * 512 > 2**20:
        path.unlink()
        pytest.skip("this file system writes out the zeros of a hole")
    return path
