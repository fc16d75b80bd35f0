"""What is a data set, and how is one opened from whatever holds it?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lagvae.data.arrays import build_examples
from lagvae.data.examples import Examples, fit_names
from lagvae.data.named.read import read_named
from lagvae.data.named.registry import DIGITS, IDX_SETS, is_named
from lagvae.data.names import Names
from lagvae.data.readers.cells import CellOptions, is_cells, name_cells, read_cells
from lagvae.data.readers.images import read_image_folder
from lagvae.data.readers.npy import read_npy, read_npz
from lagvae.data.readers.tables import read_table
from lagvae.data.readers.torch_dataset import stack_dataset
from lagvae.data.sparse import SparseRows
from lagvae.errors import DataError, expected, nearest
from lagvae.streams import permutation

if TYPE_CHECKING:
    from anndata import AnnData

TEST_EVERY = 10
"""Of data without a test part, one example in this many becomes the test part."""

_SAMPLED_BYTES = 2**19
_SAMPLED_EXAMPLES = 16
_HASHED_EXAMPLES = 4096

_KINDS = (
    "a .npy, .npz, .csv, .tsv, .parquet or .h5ad file, a folder of images, an array, a tensor, an AnnData,"
    " a torch Dataset or a (train, test) pair"
)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: two or three parts of the same event shape and dtype.

    Attributes:
        name: What :func:`open_data` opens it again by: a set's name or an absolute path. "" if it is in memory only.
        train: What the weights learn from.
        test: What nothing learns from.
        note: What the reader did beyond reading, in one sentence, or "".
        held_out: What the multipliers learn from, where it is not the training part.
        split: The share and the seed that ``hold_out`` split it off by, if that did.
        order: int64 [N], where each example of the parts, one after another, stood in the source: of one that has both
            parts itself, in train, then test. None if nothing is known of it.
    """

    name: str
    train: Examples
    test: Examples
    note: str = ""
    held_out: Examples | None = None
    split: tuple[float, int] | None = None
    order: Tensor | None = None

    @property
    def parts(self) -> dict[str, Examples]:
        """Name → part: train, held_out where there is one, test."""
        held_out = {} if self.held_out is None else {"held_out": self.held_out}
        return {"train": self.train, **held_out, "test": self.test}

    def hold_out(self, share: float, *, seed: int) -> Data:
        """Returns the data with a random share of the training part held out; the same examples for the same seed.

        Both halves keep the order of the examples and share their storage: nothing is copied.

        Args:
            share: Of the training part, in [0, 1); 0 returns the data as they are.
            seed: A run's.

        Raises:
            DataError: Either half would have fewer than two examples, or the data are split already in another way.
        """
        if share == 0 or self.split == (share, seed):
            return self
        if self.held_out is not None:
            raise DataError(
                expected("data to hold out from", got="data with a held-out part of their own", fix="held_out=0")
            )
        size = len(self.train)
        count = round(share * size)
        if min(count, size - count) < 2:
            got = f"{count} held out of {size} (held_out={share:g})"
            fix = "more data" if size < 4 else "a smaller share" if count > 1 else "a larger share"
            raise DataError(expected("two training examples or more on either side of the split", got=got, fix=fix))
        is_held_out = torch.zeros(size, dtype=torch.bool)
        is_held_out[permutation(size, seed, "held_out")[:count]] = True
        chosen = [half.nonzero()[:, 0] for half in (~is_held_out, is_held_out)]
        rest, held_out = map(self.train.pick, chosen)
        order = self.order
        if order is not None:
            order = torch.cat([order[chosen[0]], order[chosen[1]], order[size:]])
        return replace(self, train=rest, held_out=held_out, split=(share, seed), order=order)

    @property
    def names(self) -> Names:
        """What its columns and the classes of its labels are called."""
        return self.train.names

    def map_parts(self, fit: Callable[[Sequence[Examples]], Sequence[Examples]]) -> Data:
        """Returns the data with what a function makes of all parts together."""
        made: dict[str, Any] = dict(zip(self.parts, fit(list(self.parts.values())), strict=True))
        return replace(self, **made)

    def fingerprint(self) -> str:
        """Returns a short hash of the shapes, the dtype, the labels and the bytes of every part.

        A run that is resumed or measured with other data is noticed by it. Of a memory map a sample is read, about 1 MB
        however large it is.
        """
        digest = hashlib.sha256()
        for part in self.parts.values():
            kind = "uint8" if part.is_uint8 else "float32"
            digest.update(f"{[len(part), *part.event_shape]} {kind};".encode())
            if isinstance(part.values, np.memmap):
                digest.update(_sample_bytes(part))
            else:
                for start in range(0, len(part), _HASHED_EXAMPLES):
                    index = torch.arange(start, min(len(part), start + _HASHED_EXAMPLES))
                    digest.update(part.gather(index).cpu().contiguous().numpy().data)
            if part.labels is not None:
                digest.update(part.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def check_fingerprint(self, fingerprint: str | None) -> None:
        """Raises DataError unless these are the data that a run was trained on; None where it knows of none."""
        if fingerprint and fingerprint != self.fingerprint():
            raise DataError(
                expected(
                    f"the data in {self.name} as they were trained on",
                    got="other values, labels or sizes",
                    fix="the earlier file, or naming the data (--data) to measure on others",
                )
            )


Part: TypeAlias = "str | Path | np.ndarray | Tensor | Dataset[object] | Examples | AnnData"
Source: TypeAlias = "Part | Data | tuple[Part, Part]"


def open_data(
    source: Source,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    layer: str | None = None,
    labels: str | None = None,
    split: str | None = None,
) -> Data:
    """Opens a data set.

    Args:
        source: One of

            * a name: "mnist", "fashion-mnist" or "digits";
            * a path of a .npy, .npz, .csv, .tsv, .parquet or .h5ad file, or of a folder of images;
            * an array, a tensor, a torch ``Dataset`` with a length, an AnnData, or an ``Examples``;
            * a (train, test) pair of any of these; of a member that has both parts itself, that part is taken; where
              both name their columns, the test part is brought into the order of the training part;
            * a ``Data``, which is returned unchanged.

            Of a source without a test part one example in ten is held out, and ``note`` says so.
        folder: Where named sets live. By default $DATA_PREFIX, else the user's cache; both are read now.
        progress: Whether to show a download's progress on stderr.
        layer: Of an AnnData: a layer's name, or X. By default X, or the layer "counts" where X holds no counts.
        labels: Of an AnnData: the column of obs that holds labels. By default one called cell_type, label, class, ...
        split: Of an AnnData: the column of obs that says train, test or validation; the validation part is
            ``held_out``. By default one called split. Each may also stand behind a file's name:
            "cells.h5ad?layer=counts&labels=cell_type&split=fold".

    Raises:
        DataError: if there is no such data, it is damaged, or its values have no meaning here. NaN and infinity are
            refused always; whether floats lie in [0, 1] is for the likelihood to ask, by ``check_unit_interval``.
        ShapeError: The test table of a pair lacks a column of the training table.
    """
    options = CellOptions(layer, labels, split)
    if is_cells(source):
        return _open_cells(source, options)
    if options != CellOptions():
        got = f"{options.query[1:]} for {type(source).__name__}"
        raise DataError(expected("layer, labels and split for an AnnData only", got=got, fix="without them"))
    if isinstance(source, Data):
        return source
    if isinstance(source, tuple):
        return _open_pair(source, folder, progress)
    train, test, note = _read_parts(source, folder, progress, where="the data")
    if test is None:
        train, test, order, split = _split_off_test(train)
        note = "; ".join(filter(None, (note, split)))
    else:
        order = torch.arange(len(train) + len(test))
    _check_agreement(train, test)
    return Data(_name(source), train, test, note, order=order)


def read_whole(source: Part, *, folder: str | Path | None = None, progress: bool = True) -> list[Examples]:
    """Returns every example of a source in its own order: one part, or train and test where it has both itself.

    Nothing is split off, so that what is computed for each example stands beside the rows of the file.

    Args:
        source: As for :func:`open_data`, but for a ``Data`` or a pair.
        folder: Where named sets live.
        progress: Whether to show a download's progress on stderr.

    Raises:
        DataError: As for :func:`open_data`.
    """
    first, test, _ = _read_parts(source, folder, progress, where="the data")
    return [first] if test is None else [first, test]


def _open_cells(source: Part, options: CellOptions) -> Data:
    cells, name = read_cells(source, options), name_cells(source, options)
    if not cells.parts:
        train, test, order, note = _split_off_test(cells.examples)
        return Data(name, train, test, f"{cells.note}; {note}", order=order)
    parts = {part: cells.examples.pick(rows) for part, rows in cells.parts.items()}
    note, order = f"{cells.note}; {cells.split}", torch.cat(list(cells.parts.values()))
    return Data(name, parts["train"], parts["test"], note, parts.get("held_out"), order=order)


def _open_pair(pair: tuple[Part, ...], folder: str | Path | None, progress: bool) -> Data:
    if len(pair) != 2:
        raise DataError(expected("a pair (train, test)", got=f"a tuple of {len(pair)}", fix="open_data((train, test))"))
    train, _, note = _read_parts(pair[0], folder, progress, where="train")
    other_train, test, _ = _read_parts(pair[1], folder, progress, where="test")
    test = other_train if test is None else test
    every_class = tuple(sorted({*train.names.classes, *test.names.classes}))
    names = Names(train.names.columns, every_class)
    train, test = fit_names([train, test], names, whose="the training table")
    _check_agreement(train, test)
    return Data("", train, test, note, order=torch.arange(len(train) + len(test)))


def _read_parts(
    source: Part, folder: str | Path | None, progress: bool, *, where: str
) -> tuple[Examples, Examples | None, str]:
    """Returns the train and test part of a source, or all of it and None, and a note on how it was read.

    ``where`` is what messages call it.
    """
    if isinstance(source, str) and is_named(source):
        return *read_named(source, folder=folder, progress=progress), ""
    if is_cells(source):
        cells = read_cells(source, CellOptions())
        return cells.examples, None, cells.note
    if isinstance(source, str | Path):
        return _read_path(source)
    if isinstance(source, Examples):
        if source.rows is not None or isinstance(source.values, SparseRows):
            return source, None, ""  # of what was opened before
        return replace(build_examples(source.values, source.labels, where=where), names=source.names), None, ""
    if isinstance(source, np.ndarray | Tensor):
        return build_examples(source, where=where), None, ""
    if isinstance(source, Dataset):
        return stack_dataset(source, where=where), None, ""
    raise DataError(
        expected(f"the name of a data set ({', '.join(_names())}), {_KINDS}", got=type(source).__name__, fix="an array")
    )


def _read_path(source: str | Path) -> tuple[Examples, Examples | None, str]:
    path = Path(source).expanduser().absolute()
    if not path.exists() or source == "":
        if Path(source).suffix or len(Path(source).parts) > 1:
            raise DataError(expected("a file or folder", got=f"{path}, which does not exist", fix="mending the path"))
        raise DataError(
            expected(
                f"the name of a data set ({', '.join(_names())}), {_KINDS}",
                got=f"'{source}', which is no name and no path that exists",
                fix=nearest(str(source).lower(), _names()),
            )
        )
    if path.is_dir():
        return read_image_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path), None, ""
    if suffix == ".npz":
        return *read_npz(path), ""
    if suffix in (".csv", ".tsv", ".parquet"):
        rows, note = read_table(path)
        return rows, None, note
    raise DataError(
        expected(
            "a .npy, .npz, .csv, .tsv, .parquet or .h5ad file or a folder of images",
            got=path,
            fix="np.save(path, array)",
        )
    )


def _names() -> list[str]:
    return [*IDX_SETS, DIGITS]


def _name(source: Part) -> str:
    """Returns what opens ``source`` again, or "" for what is in memory only."""
    if isinstance(source, str) and is_named(source):
        return source
    return str(Path(source).expanduser().absolute()) if isinstance(source, str | Path) else ""


def _split_off_test(whole: Examples) -> tuple[Examples, Examples, Tensor, str]:
    """Splits off a test part, by position only, so that the same data is split the same way ever after.

    Returns:
        The training and the test part, the places of their examples, and what was done, in words.
    """
    count = len(whole)
    if count < 2:
        raise DataError(
            expected("two examples or more, one of them to hold out", got=count, fix="a (train, test) pair")
        )
    if isinstance(whole.values, np.memmap):
        # Only neighbours of a memory map can be had without loading them.
        start = count - max(1, count // TEST_EVERY)
        note = f"no test part in the file: the last tenth, {count - start} examples, held out"
        return whole.subset(0, start), whole.subset(start, count), torch.arange(count), note
    position = torch.arange(count)
    is_test = position % TEST_EVERY == TEST_EVERY - 1
    if count < TEST_EVERY:
        is_test = position == count - 1
    chosen = [half.nonzero()[:, 0] for half in (~is_test, is_test)]
    train, test = (_pick(whole, index) for index in chosen)
    return train, test, torch.cat(chosen), "no test part in the data: 1 example in 10 held out"


def _pick(whole: Examples, index: Tensor) -> Examples:
    picked = whole.pick(index)
    if isinstance(whole.values, SparseRows):
        return picked
    return replace(picked, values=whole.gather(index), rows=None)


def _check_agreement(train: Examples, test: Examples) -> None:
    kinds = [f"{'uint8' if part.is_uint8 else 'float32'} {list(part.event_shape)}" for part in (train, test)]
    if kinds[0] != kinds[1]:
        raise DataError(
            expected(
                "train and test examples of one dtype and event shape",
                got=f"{kinds[0]} and {kinds[1]}",
                fix="converting both alike",
            )
        )


def _sample_bytes(part: Examples) -> bytes:
    """Returns bytes of examples that lie evenly over the part, so that of a large file only those are read."""
    example_bytes = math.prod(part.event_shape) * (1 if part.is_uint8 else 4)
    count = min(len(part), max(_SAMPLED_EXAMPLES, _SAMPLED_BYTES // example_bytes))
    index = torch.linspace(0, len(part) - 1, count, dtype=torch.float64).round().to(torch.int64)
    raw = part.gather(index).cpu().contiguous().numpy().reshape(-1).view(np.uint8)
    return raw[:: math.ceil(raw.size / _SAMPLED_BYTES)].tobytes()
