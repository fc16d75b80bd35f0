"""What do tables in CSV and Parquet files hold?"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lagvae.data.arrays import build_examples
from lagvae.data.examples import Examples
from lagvae.data.names import Names, usable_names
from lagvae.errors import DataError, expected

LABELS = ("label", "labels", "target", "class", "y")
"""Names of a column that holds labels, in any case: it is carried along for probes, and no part of x."""

_DELIMITERS = {".csv": "\t;,", ".tsv": "\t"}
_QUOTED = re.compile(r'"[^"]*"')
_NO_VALUE = frozenset({"", "na", "n/a", "nan", "null", "?"})
"""What stands in a cell, in any case, where nothing was measured."""
_INDEX_NAMES = ("", "Unnamed: 0")
"""What pandas calls a column of row names that nobody named, in text."""
_INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")
"""The same in Parquet, where it stands last and is row names whatever it holds."""

UNNAMED = "column {}"
"""What a column is called in messages where there is no header."""

Column = tuple[str, Sequence[str] | np.ndarray]


def read_table(path: Path) -> tuple[Examples, str]:
    """Returns the rows of a .csv, .tsv or .parquet file, and what was done beyond reading; see :func:`build_table`.

    Raises:
        DataError: The file cannot be read, or holds what is no number.
    """
    columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    return build_table(columns, where=str(path))


def _read_csv(path: Path) -> list[Column]:
    """Returns the columns of a CSV file.

    The first row is a header if any of its cells is neither a number nor missing, or none is a number; also if it is
    0, 1, 2, ... as pandas writes it, or begins with nothing over row numbers. The delimiter is the first of tab,
    semicolon and comma that the first row and the second have outside quotes, else the first row alone.

    Raises:
        DataError: The file cannot be read, is empty, or has rows of several lengths.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first, second = (_QUOTED.sub("", file.readline()) for _ in range(2))
            known = _DELIMITERS[path.suffix.lower()]
            found = [one for one in known if one in first]
            delimiter = next((one for one in found if one in second), found[0] if found else known[-1])
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(expected(f"a table of text in {path}", got=reason, fix="saving it as UTF-8 CSV")) from error
    counting = [str(number) for number in range(len(rows[0]) if rows else 0)]
    has_header = bool(rows) and (
        rows[0] == counting != ["0"]
        or (rows[0][0] == "" and len(rows) > 1 and _counts_rows([row[0] for row in rows[1:]]))
        or not all(_is_number(cell) or _is_missing(cell) for cell in rows[0])
        or all(map(_is_missing, rows[0]))
    )
    names = [name.strip() for name in rows[0]] if has_header else [UNNAMED.format(number) for number in counting]
    body = rows[has_header:]
    if not body:
        raise DataError(expected(f"rows of numbers in {path}", got="none", fix="a file that is not empty"))
    for number, row in enumerate(body, start=1):
        if len(row) != len(names):
            got = f"{len(row)} in row {number}{' below the header' if has_header else ''}"
            raise DataError(expected(f"{len(names)} cells in every row of {path}", got=got, fix="mending that row"))
    return list(zip(names, zip(*body, strict=True), strict=True))


def _read_parquet(path: Path) -> list[Column]:
    """Returns the columns of a Parquet file.

    Raises:
        DataError: pyarrow is not installed, the file is damaged, empty, or has cells of several values.
    """
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError as error:
        fix = 'pip install "lagvae[tables]"'
        raise DataError(expected(f"pyarrow, to read {path}", got="no such package", fix=fix)) from error
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(expected(f"a whole Parquet file {path}", got=reason, fix="saving it again")) from error
    if not table.num_rows:
        raise DataError(expected(f"rows of numbers in {path}", got="none", fix="a file that is not empty"))
    columns: list[Column] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if types.is_nested(column.type):
            fix = "a column for each number, or np.save(path, array)"
            raise DataError(expected(f"one value in every cell of {path}", got=f"{column.type} in '{name}'", fix=fix))
        cells = ["" if cell is None else cell for cell in column.to_pylist()]
        values = np.asarray(cells)
        is_numeric = values.dtype.kind in "biuf"
        columns.append((name, values.astype(np.float64) if is_numeric else list(map(str, cells))))
    return columns


def build_table(columns: Sequence[Column], *, where: str) -> tuple[Examples, str]:
    """Returns columns as Examples [rows, columns] of float32, with labels where a column has a name for them.

    A column called label, labels, target, class or y holds labels, unless its numbers have fractions: those are
    measured. Whole numbers ≥ 0 are kept, words are numbered in sorted order; where one is missing there are none. A
    first column without a name that counts the rows is dropped. Every other cell has to be a number.

    Raises:
        DataError: A cell is missing or no number, or nothing but labels is left.
    """
    columns, labelled, notes = _sort_out(columns)
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if labelled is not None:
        labels, classes, note = number_labels(labelled[1], f"'{labelled[0]}'")
        notes.append(note)
    kept = [_read_numbers(name, cells, where) for name, cells in columns]
    if not kept:
        raise DataError(expected(f"a column of numbers in {where}", got="labels alone", fix="a table with values"))
    examples = build_examples(np.stack(kept, axis=1), labels, where=where)
    headings = [name for name, _ in columns]
    named = Names(usable_names([] if headings[0] == UNNAMED.format(0) else headings), classes)
    return replace(examples, names=named), "; ".join(notes)


def _sort_out(columns: Sequence[Column]) -> tuple[list[Column], Column | None, list[str]]:
    """Returns the columns that are part of x, the one with labels if there is one, and what was left out."""
    kept, labelled, notes = list(columns), None, []
    indices = [c for c in kept if _INDEX_OF_PANDAS.fullmatch(c[0])]
    if len(kept) > 1 and kept[0][0] in _INDEX_NAMES and _counts_rows(kept[0][1]):
        indices.append(kept[0])
    if indices and len(indices) < len(kept):
        kept = [column for column in kept if not any(column is index for index in indices)]
        notes.append("a column of row numbers left out")
    if len(kept) > 1:
        named = [column for column in kept if column[0].lower() in LABELS and not _has_fractions(column[1])]
        labelled, others = (named[0], named[1:]) if named else (None, [])
        kept = [column for column in kept if not any(column is label for label in named)]
        notes += [f"column '{name}' left out, whose name is of labels too" for name, _ in others]
    return kept, labelled, notes


def number_labels(cells: Sequence[str] | np.ndarray, where: str) -> tuple[np.ndarray | None, tuple[str, ...], str]:
    """Returns labels, the names of their classes, and what was done, in words.

    Whole numbers ≥ 0 stay as they are, words are numbered in sorted order and name the classes; where a label is
    missing there are none.

    Args:
        cells: One for each example.
        where: What the note calls them.
    """
    texts = [str(cell).strip() for cell in cells]
    if missing := sum(map(_is_missing, texts)):
        return None, (), f"no labels from {where}: {missing} of {len(texts)} are missing"
    if all(map(_is_number, texts)):
        numbers = np.asarray(texts).astype(np.float64)
        if (numbers == np.floor(numbers)).all() and numbers.min() >= 0:
            return numbers.astype(np.int64), (), f"labels from {where}, {len(np.unique(numbers))} of them"
    names, codes = np.unique(texts, return_inverse=True)
    return codes.astype(np.int64), tuple(map(str, names)), f"labels from {where}, {len(names)} of them"


def _read_numbers(name: str, cells: Sequence[str] | np.ndarray, where: str) -> np.ndarray:
    """Returns a column of numbers."""
    words = [str(cell).strip().lower() for cell in cells]
    if set(words) <= {"true", "false"}:
        return np.array([float(word == "true") for word in words])
    try:
        found = np.asarray(cells).astype(np.float64)
    except ValueError as error:
        row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        cell = str(cells[row]).strip()
        if _is_missing(cell):
            raise DataError(_missing(name, row, where, got=f"'{cell}'" if cell else "none")) from error
        got = f"'{cell[:40]}' in row {row + 1} of column '{name}'"
        fix = f"leaving the column out, numbering its words, or calling it 'label': one of {', '.join(LABELS)}"
        if _is_number(cell.replace(",", ".", 1)):
            fix = f"decimal points, {cell.replace(',', '.', 1)}: in pandas, read_csv(..., decimal=',')"
        elif len(parts := cell.split()) > 1 and all(map(_is_number, parts)):
            fix = "commas between the columns"
        raise DataError(expected(f"numbers in {where}", got=got, fix=fix)) from error
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise DataError(_missing(name, row, where, got=f"{found[row]}" if np.isinf(found[row]) else "none"))
    lost = np.abs(found - found.astype(np.float32)).max()
    if lost > 0.01 * found.std() > 0:
        got = f"column '{name}' of values about {found.mean():.6g} ± {found.std():.3g}"
        fix = "leaving the column out, or subtracting its mean"
        raise DataError(expected(f"numbers that float32 can tell apart in {where}", got=got, fix=fix))
    return found


def _missing(name: str, row: int, where: str, *, got: str = "none") -> str:
    fix = "leaving such rows out, or filling them in, e.g. by the column's mean"
    return expected(f"a number in every cell of {where}", got=f"{got} in row {row + 1} of column '{name}'", fix=fix)


def _counts_rows(cells: Sequence[str] | np.ndarray) -> bool:
    """Whether the cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    if not all(map(_is_number, cells)):
        return False
    steps = np.asarray(cells).astype(np.float64) - np.arange(len(cells))
    return bool((steps == steps[0]).all()) and steps[0] in (0, 1)


def _has_fractions(cells: Sequence[str] | np.ndarray) -> bool:
    """Whether any cell is a number with a fraction: one that is missing beside them is a missing measurement."""
    numbers = np.array([float(str(cell)) for cell in cells if _is_number(cell)])
    return bool((numbers % 1 > 0).any())


def _is_missing(cell: object) -> bool:
    return str(cell).strip().lower() in _NO_VALUE


def _is_number(cell: object) -> bool:
    try:
        return not math.isinf(float(str(cell)))
    except ValueError:
        return False
