"""Numbers as a file that other programs open: codes, and rows that a model makes up."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from lagvae.data.names import Names
from lagvae.errors import DataError, SettingError, expected
from lagvae.storage.files import write_whole
from lagvae.streams import Streams, derive_seed
from lagvae.training.outcome.solution import Solution


def save_columns(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes columns of one length as .csv, .tsv or .parquet, whole or not at all.

    Raises:
        SettingError: The name ends otherwise.
        DataError: pyarrow, which Parquet needs, is not installed.
        CheckpointError: The file cannot be written.
    """
    check_suffix(path, tuple(_TABLES))
    write_whole(path, _TABLES[path.suffix.lower()](columns))


def save_codes(codes: np.ndarray, labels: np.ndarray | None, path: Path) -> None:
    """Writes codes ``[N, latent]``, with labels where there are any and the format has a place for them.

    Columns z0, z1, ... and label in .csv, .tsv and .parquet; the keys ``codes`` and ``labels`` in .npz; the codes
    alone in .npy.

    Raises:
        SettingError: The name ends otherwise.
        DataError: pyarrow, which Parquet needs, is not installed.
        CheckpointError: The file cannot be written.
    """
    check_suffix(path, SUFFIXES)
    file = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(file, codes)
    elif path.suffix.lower() == ".npz":
        np.savez(file, **({"codes": codes} if labels is None else {"codes": codes, "labels": labels}))  # type: ignore[arg-type]
    else:
        columns = {f"z{dimension}": column for dimension, column in enumerate(codes.T)}
        save_columns({**columns, **({} if labels is None else {"label": labels})}, path)
        return
    write_whole(path, file.getvalue())


def save_rows(solution: Solution, count: int, path: Path, *, seed: int = 0) -> None:
    """Writes rows x ~ p(x|z), z ~ p(z), that a model of tables makes up, in the columns of its table.

    Values are as the likelihood scores them: bytes that mean intensities lie in 0..1.

    Raises:
        SettingError: The name is of no table.
        DataError: pyarrow, which Parquet needs, is not installed.
        CheckpointError: The file cannot be written.
    """
    model, streams = solution.model, Streams(derive_seed(seed, "rows"), solution.model.device)
    z = torch.randn(count, model.latent_dim, generator=streams.prior, device=model.device)
    rows = model.simulate(model.prior.place(z), streams.posterior).cpu().numpy()
    names = [f"x{number}" for number in range(rows.shape[1])]
    names = list(Names.of(solution.config or {}).columns) or names
    save_columns(dict(zip(names, rows.T, strict=True)), path)


def check_suffix(path: Path, known: tuple[str, ...]) -> None:
    """Raises SettingError unless the name ends in one of the known suffixes: before anything long is computed."""
    if path.suffix.lower() not in known:
        fix = str(path.with_suffix(known[0]))
        raise SettingError(expected(f"a file ending in {', '.join(known)}", got=str(path), fix=fix))


def _as_text(columns: Mapping[str, np.ndarray], delimiter: str) -> bytes:
    """Returns a header and rows; nine digits hold a float32 exactly."""
    cells = [column if column.dtype.kind in "iu" else map("{:.9g}".format, column) for column in columns.values()]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue().encode()


def _as_parquet(columns: Mapping[str, np.ndarray]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        fix = 'pip install "lagvae[tables]", or a .csv file'
        raise DataError(expected("pyarrow, to write Parquet", got="no such package", fix=fix)) from error
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(columns)), file)
    return file.getvalue()


_TABLES: dict[str, Callable[[Mapping[str, np.ndarray]], bytes]] = {
    ".csv": lambda columns: _as_text(columns, ","),
    ".tsv": lambda columns: _as_text(columns, "\t"),
    ".parquet": _as_parquet,
}
TABLES = tuple(_TABLES)
"""Suffixes of tables."""
SUFFIXES = (*TABLES, ".npy", ".npz")
"""Suffixes of files that codes can be written to."""
