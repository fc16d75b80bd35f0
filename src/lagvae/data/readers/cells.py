"""Single cells: the counts of an AnnData, their labels, and which part of the data each cell is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import torch
from torch import Tensor

from lagvae.data.arrays import EXACT, build_examples
from lagvae.data.checks import check_finite
from lagvae.data.examples import Examples
from lagvae.data.names import Names, usable_names
from lagvae.data.readers.tables import LABELS, number_labels
from lagvae.data.sparse import SparseRows
from lagvae.errors import DataError, expected, nearest

SUFFIX = ".h5ad"
COUNTS = "counts"
"""What people call the layer that keeps the counts, once X is normalised."""
OWN_LABELS = ("cell_type", "celltype", *LABELS)
SPLIT = "split"
PARTS = {
    "train": "train",
    "test": "test",
    **dict.fromkeys(("validation", "valid", "val", "held_out"), "held_out"),
}
"""Words in a column that splits the cells → the part of ``Data``."""


@dataclass(frozen=True)
class CellOptions:
    """What to take of an AnnData; what is not named is looked for, and a note says what was found.

    Attributes:
        layer: A layer's name, or X; if None, X, or the layer ``counts`` where X holds no counts.
        labels: A column of obs, for probes; if None, one called cell_type, label, class, ...
        split: A column of obs that says train, test or validation; if None, one called split.
    """

    layer: str | None = None
    labels: str | None = None
    split: str | None = None

    @property
    def query(self) -> str:
        """The options as they stand behind a file's name: ``?layer=counts&labels=cell_type``."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return f"?{urlencode(given)}" if given else ""

    def __or__(self, other: CellOptions) -> CellOptions:
        """Returns these options, and the other's where these name nothing."""
        return CellOptions(**{name: value or getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Cells:
    """What was read.

    Attributes:
        examples: Every cell in its order.
        note: What was taken, in one sentence.
        parts: The part of ``Data`` → its cells; empty where nothing splits them.
        split: By what they are split, in one sentence.
    """

    examples: Examples
    note: str
    parts: Mapping[str, Tensor]
    split: str


def is_cells(source: object) -> bool:
    """Whether a source is an AnnData, or the name of a file of one."""
    if isinstance(source, str | Path):
        return split_query(source)[0].suffix.lower() == SUFFIX
    return type(source).__name__ == "AnnData" and type(source).__module__.split(".")[0] == "anndata"


def split_query(source: str | Path) -> tuple[Path, CellOptions]:
    """Returns the path and the options in ``cells.h5ad?layer=counts&labels=cell_type&split=fold``.

    Raises:
        DataError: There is no such option.
    """
    path, mark, query = str(source).partition(f"{SUFFIX}?")
    if not mark:
        return Path(source), CellOptions()
    given = dict(parse_qsl(query, keep_blank_values=True))
    known = list(vars(CellOptions()))
    for name, value in given.items():
        if name not in known or not value:
            raise DataError(expected(f"{', '.join(known)} = a name", got=f"'{query}'", fix=nearest(name, known)))
    return Path(path + SUFFIX), CellOptions(**given)


def name_cells(source: object, options: CellOptions) -> str:
    """Returns what opens the source again with the same options; "" for an AnnData in memory."""
    if not isinstance(source, str | Path):
        return ""
    path, own = split_query(source)
    return str(path.expanduser().absolute()) + (options | own).query


def read_cells(source: Any, options: CellOptions) -> Cells:
    """Reads X or a layer, sparse where it is sparse, and what obs says of each cell.

    Args:
        source: A path of a .h5ad file, or an AnnData.
        options: What to take; what a path's own query names, these override.

    Raises:
        DataError: anndata is not installed, the file is damaged, a name is unknown, or a value is no number.
    """
    if isinstance(source, str | Path):
        path, own = split_query(source)
        return _read_file(path, options | own)
    tables = {**({} if source.X is None else {"X": source.X}), **source.layers}
    return _take(tables.__getitem__, list(tables), source.obs, source.var, options, where="the AnnData")


def _read_file(path: Path, options: CellOptions) -> Cells:
    path = path.expanduser().absolute()
    if not path.exists():
        raise DataError(expected("a file", got=f"{path}, which does not exist", fix="mending the path"))
    try:
        import h5py
        from anndata.io import read_elem
    except ImportError as error:
        fix = 'pip install "lagvae[anndata]"'
        raise DataError(expected(f"anndata, to read {path}", got="no such package", fix=fix)) from error
    try:
        # Only what is used is read: no embeddings, no graphs, no other layer.
        with h5py.File(path, "r") as file:
            places = {name: f"layers/{name}" for name in file.get("layers", ())}
            places |= {"X": "X"} if "X" in file else {}

            def read(name: str) -> Any:
                return read_elem(file[places[name]])

            obs, var = read_elem(file["obs"]), read_elem(file["var"])
            return _take(read, list(places), obs, var, options, where=str(path))
    except DataError:
        raise
    except Exception as error:  # whatever h5py and anndata make of damage
        reason = " ".join(str(error).split())[:200]
        raise DataError(expected(f"a whole AnnData in {path}", got=reason, fix="adata.write_h5ad(path)")) from error


def _take(
    read: Callable[[str], Any], names: Sequence[str], obs: Any, var: Any, options: CellOptions, *, where: str
) -> Cells:
    """Takes a table by its name, X or a layer's, columns of obs, and the genes' names."""
    layer = options.layer or ("X" if "X" in names else COUNTS)
    if layer not in names:
        raise DataError(expected(f"a layer of {where}", got=f"'{layer}'", fix=nearest(layer, names)))
    examples = _examples(read(layer), where=f"{where}[{layer}]")
    if options.layer is None and layer == "X" and COUNTS in names and not _holds_counts(examples):
        layer, examples = COUNTS, _examples(read(COUNTS), where=f"{where}[{COUNTS}]")
    notes = [f"{len(examples)} cells, {examples.event_shape[0]} genes from {'X' if layer == 'X' else f'layer {layer}'}"]
    classes: tuple[str, ...] = ()
    column = _column(obs, options.labels, OWN_LABELS, where)
    if column is not None:
        numbers, classes, note = number_labels(obs[column].astype(str).to_numpy(), f"obs['{column}']")
        if numbers is None and options.labels is not None:
            fix = "filling them in, or labels of another column"
            raise DataError(expected(f"a label for every cell of {where}", got=note, fix=fix))
        examples = replace(examples, labels=None if numbers is None else torch.from_numpy(numbers))
        notes.append(note)
    examples = replace(examples, names=Names(usable_names(var.index), classes))
    column = _column(obs, options.split, (SPLIT,), where)
    words = [] if column is None else obs[column].astype(str).str.lower().tolist()
    if options.split is None and not set(words) <= set(PARTS):  # a column of that name that means something else
        words = []
    parts = _parts(words, where=f"obs['{column}'] of {where}") if words else {}
    return Cells(examples, "; ".join(notes), parts, f"split by obs['{column}']")


def _examples(table: Any, *, where: str) -> Examples:
    """Returns a table as it means itself: bytes are counts, not intensities."""
    from scipy import sparse

    if hasattr(table, "to_memory"):  # an AnnData that is backed by its file
        table = table.to_memory()
    if not sparse.issparse(table):
        table = np.asarray(table)
        return build_examples(table.astype(np.int64) if table.dtype.kind in "bu" else table, where=where)
    if table.dtype.kind not in "buif" or 0 in table.shape:
        got = f"{table.dtype} of shape {list(table.shape)}"
        raise DataError(expected(f"numbers, [cells, genes], in {where}", got=got, fix="a table that is not empty"))
    if table.dtype.kind in "ui" and table.nnz and int(np.abs(table.data).max()) > EXACT:
        got = f"{int(np.abs(table.data).max())}"
        raise DataError(expected(f"counts within {EXACT} in {where}", got=got, fix="smaller numbers"))
    examples = Examples(SparseRows(table))
    check_finite(examples, name=where)
    return examples


def _holds_counts(examples: Examples) -> bool:
    values = examples.values.stored if isinstance(examples.values, SparseRows) else np.asarray(examples.values)
    return bool(((values >= 0) & (values == np.floor(values))).all())


def _column(obs: Any, asked: str | None, usual: Iterable[str], where: str) -> str | None:
    """Returns the column that is asked for, or the first that has a usual name."""
    names = list(map(str, obs.columns))
    if asked is not None and asked not in names:
        raise DataError(expected(f"a column of obs in {where}", got=f"'{asked}'", fix=nearest(asked, names)))
    return asked or next((name for word in usual for name in names if name.lower() == word), None)


def _parts(words: Sequence[str], *, where: str) -> dict[str, Tensor]:
    unknown = sorted(set(words) - set(PARTS))
    if unknown:
        got = f"'{unknown[0][:40]}'"
        raise DataError(expected(f"train, test or validation in {where}", got=got, fix="a column of these words"))
    named = np.asarray([PARTS[word] for word in words])
    parts = {part: torch.from_numpy(np.flatnonzero(named == part)) for part in ("train", "held_out", "test")}
    if not len(parts["train"]) or not len(parts["test"]):
        missing = "train" if not len(parts["train"]) else "test"
        raise DataError(expected(f"cells for train and for test in {where}", got=f"no {missing}", fix="both words"))
    return {part: rows for part, rows in parts.items() if len(rows)}
