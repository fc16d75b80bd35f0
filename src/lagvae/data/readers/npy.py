"""What do .npy and .npz files hold?

Pickles are never loaded: a file of numbers has no business running code.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from lagvae.data.arrays import build_examples
from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected

MAP_ABOVE_BYTES = 2**30
"""A .npy file above this size is mapped and not loaded."""

_PARTS = (("train", "test"), ("x_train", "x_test"))
_LABELS = (("y_train", "y_test"), ("train_labels", "test_labels"))

# What numpy raises for a file that is cut off, damaged or no array: its header is Python source text, hence the
# syntax errors; a header that declares too much shows as too little memory.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


def read_npy(path: Path) -> Examples:
    """Returns the one array of a .npy file; above ``MAP_ABOVE_BYTES`` it stays in the file."""
    try:
        array = np.load(path, mmap_mode="r" if path.stat().st_size > MAP_ABOVE_BYTES else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of arrays; its name should end in .npz")
    except _DAMAGE as error:
        raise DataError(_unreadable(path, error)) from error
    return build_examples(array, where=str(path))


def read_npz(path: Path) -> tuple[Examples, Examples | None]:
    """Returns the train and test part of a .npz file, or its one array and None.

    The keys are (train, test) or (x_train, x_test), both with (y_train, y_test) or (train_labels, test_labels) or
    no labels; or x and y, a whole with its labels; or one key of any name.
    """
    try:
        # Opened here, since numpy leaves a damaged archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("a single array; its name should end in .npy")
            arrays = {key: archive[key] for key in archive.files}
    except _DAMAGE as error:
        raise DataError(_unreadable(path, error)) from error
    return _pick_parts(arrays, path)


def _pick_parts(arrays: dict[str, np.ndarray], path: Path) -> tuple[Examples, Examples | None]:
    keys = set(arrays)
    for train, test in _PARTS:
        for labels in (*_LABELS, ()):
            if keys == {train, test, *labels}:
                train_labels, test_labels = (arrays[key] for key in labels) if labels else (None, None)
                return (
                    build_examples(arrays[train], train_labels, where=f"{path}[{train}]"),
                    build_examples(arrays[test], test_labels, where=f"{path}[{test}]"),
                )
    if keys == {"x", "y"}:
        return build_examples(arrays["x"], arrays["y"], where=f"{path}[x]"), None
    if len(keys) == 1:
        ((key, array),) = arrays.items()
        return build_examples(array, where=f"{path}[{key}]"), None
    raise DataError(
        expected(
            f"the keys train, test or x_train, x_test (with y_train, y_test or train_labels, test_labels, or no "
            f"labels), or x, y, or a single key in {path}",
            got=", ".join(sorted(keys)) or "no key",
            fix="np.savez(path, train=..., test=...)",
        )
    )


def _unreadable(path: Path, error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if "pickle" in reason.lower():
        reason = "Python objects or no array at all"
    return expected(f"a whole file of numeric arrays {path}", got=reason, fix="saving it again by np.save or np.savez")
