"""AnnData: counts stay sparse and in order, labels and splits come from obs, and the note says what was taken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import lagvae as lv
from lagvae.data import sparse as sparse_module
from lagvae.data.readers.cells import CellOptions, is_cells, split_query
from lagvae.data.sparse import SparseRows
from lagvae.evaluation.evaluate import Evaluation
from lagvae.training.encode import encode

CELLS, GENES = 120, 7
KINDS = np.array(["B", "NK", "T"])


def make_cells(table: Any = sparse.csr_matrix, **obs: Any) -> anndata.AnnData:
    """Three kinds of cells, each with marker genes of its own."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, CELLS)
    rate = 0.3 + 6.0 * (np.arange(GENES) % 3 == kind[:, None])
    counts = rng.poisson(rate).astype(np.float32)
    columns = {"cell_type": pd.Categorical(KINDS[kind]), **obs}
    return anndata.AnnData(table(counts), obs=pd.DataFrame(columns, index=[f"cell {i}" for i in range(CELLS)]))


def dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def everything(data: lv.Data, part: str = "train") -> torch.Tensor:
    examples = data.parts[part]
    return examples.gather(torch.arange(len(examples)))


@pytest.mark.parametrize("table", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asarray, np.uint8])
def test_counts_labels_and_split_in_memory_and_in_a_file(tmp_path: Path, table: Any) -> None:
    cells = make_cells(table)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    counts, is_test = dense(cells.X).astype(np.float32), np.arange(CELLS) % 10 == 9
    opened = [lv.open_data(source) for source in (cells, tmp_path / "cells.h5ad", str(tmp_path / "cells.h5ad"))]
    assert [data.name for data in opened] == ["", *[str(tmp_path / "cells.h5ad")] * 2]
    for data in opened:
        assert isinstance(data.train.values, SparseRows) == sparse.issparse(cells.X)
        np.testing.assert_array_equal(everything(data), counts[~is_test])
        np.testing.assert_array_equal(everything(data, "test"), counts[is_test])
        assert data.train.labels is not None
        names = KINDS[data.train.labels.numpy()]
        assert names.tolist() == cells.obs["cell_type"][~is_test].tolist()
        assert data.note == (
            "120 cells, 7 genes from X; labels from obs['cell_type'], 3 of them; "
            "no test part in the data: 1 example in 10 held out"
        )
        assert data.fingerprint() == opened[0].fingerprint()


def test_a_sparse_table_is_never_dense_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    get = SparseRows.__getitem__

    def watched(rows: SparseRows, index: Any) -> np.ndarray:
        found = get(rows, index)
        seen.append(len(found))
        return found

    monkeypatch.setattr(sparse_module.SparseRows, "__getitem__", watched)
    monkeypatch.setattr(lv.Data, "fingerprint", lambda _: "")  # reads 1 MB at most, which is all of these
    monkeypatch.setattr("lagvae.data.blocks.BLOCK_VALUES", 20 * GENES)
    settings = {"hidden": (8,), "latent_dim": 2, "epochs": 1, "batch_size": 20, "held_out": 0.2, "progress": False}
    solution = lv.fit("min distortion s.t. rate <= 3", make_cells(), **settings)
    assert solution.model.likelihood.name == "negative_binomial"
    assert seen
    assert max(seen) <= 24  # a batch, a block, or the test part of 12 beside them: never the 120


def test_a_layer_is_taken_by_name_and_counts_where_x_is_normalised(tmp_path: Path) -> None:
    cells = make_cells()
    cells.layers["counts"], cells.layers["twice"] = cells.X.copy(), 2 * cells.X
    cells.X = cells.X.log1p()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    for source in (cells, tmp_path / "cells.h5ad"):
        found, twice, normalised = (lv.open_data(source, layer=layer) for layer in (None, "twice", "X"))
        assert "7 genes from layer counts;" in found.note
        np.testing.assert_array_equal(2 * everything(found), everything(twice))
        np.testing.assert_allclose(everything(normalised), np.log1p(everything(found)), rtol=1e-6)
        with pytest.raises(lv.DataError, match=r"expected a layer of .*, got 'count'; try 'counts'"):
            lv.open_data(source, layer="count")


def test_a_column_of_obs_splits_the_cells() -> None:
    words = np.resize(["train", "train", "Validation", "test"], CELLS)
    cells = make_cells(fold=words, split="of other words")
    data = lv.open_data(cells, split="fold")
    assert data.note.endswith("; split by obs['fold']")
    assert data.held_out is not None
    for part, word in {"train": "train", "held_out": "Validation", "test": "test"}.items():
        np.testing.assert_array_equal(everything(data, part), dense(cells.X)[words == word])
        labels = data.parts[part].labels
        assert labels is not None
        assert KINDS[labels.numpy()].tolist() == cells.obs["cell_type"][words == word].tolist()
    assert "1 example in 10 held out" in lv.open_data(cells).note  # a column called split that says something else
    cells.obs["split"] = np.resize(["train", "test"], CELLS)
    assert len(lv.open_data(cells).test) == CELLS // 2
    with pytest.raises(lv.DataError, match=r"expected train, test or validation in obs\['cell_type'\] .*, got 'b'"):
        lv.open_data(cells, split="cell_type")
    cells.obs["split"] = "train"
    with pytest.raises(lv.DataError, match=r"expected cells for train and for test in .*, got no test; try both words"):
        lv.open_data(cells)
    with pytest.raises(lv.DataError, match=r"expected a column of obs in .*, got 'folds'; try 'fold'"):
        lv.open_data(cells, split="folds")


def test_a_files_name_carries_its_options_to_resuming_and_evaluation(tmp_path: Path) -> None:
    words = np.resize(["train", "val", "test", "train"], CELLS)
    cells = make_cells(fold=words, donor=np.arange(CELLS) % 2)
    cells.layers["raw"] = cells.X.copy()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    name = f"{tmp_path}/cells.h5ad?layer=raw&labels=donor&split=fold"
    assert lv.open_data(tmp_path / "cells.h5ad", split="fold", labels="donor", layer="raw").name == name
    tiny: dict[str, Any] = {"hidden": (8,), "latent_dim": 2, "batch_size": 20, "epochs": 2, "progress": False}
    solution = lv.fit("max mi s.t. neg_elbo <= 30", name, out=tmp_path / "run", **tiny)
    assert solution.evaluation is not None
    assert solution.evaluation.judged == "held_out"  # bounds hold on the validation cells
    again = lv.fit("max mi s.t. neg_elbo <= 30", name, out=tmp_path / "run", resume=True, **tiny)
    assert again.evaluation is not None
    assert again.evaluation.as_dict() == solution.evaluation.as_dict()
    found = lv.evaluate(lv.load(tmp_path / "run"), samples=25, examples=40)
    assert isinstance(found, Evaluation)
    assert found["test"]["neg_elbo"].examples == CELLS // 4


def test_codes_go_into_obsm_in_the_order_of_the_cells() -> None:
    cells = make_cells()
    tiny: dict[str, Any] = {"hidden": (16,), "latent_dim": 2, "batch_size": 20, "epochs": 40, "learning_rate": 1e-2}
    solution = lv.fit("min neg_elbo", cells, progress=False, **tiny)
    codes, labels = encode(solution, cells)
    cells.obsm["X_lagvae"] = codes
    whole = solution.model.encode(torch.from_numpy(dense(cells.X)))
    np.testing.assert_allclose(cells.obsm["X_lagvae"], whole, atol=1e-5)
    assert labels is not None
    assert KINDS[labels].tolist() == cells.obs["cell_type"].tolist()
    centres = np.stack([codes[labels == kind].mean(0) for kind in range(3)])
    nearest = np.linalg.norm(codes[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == labels).mean() > 0.8  # three kinds with markers of their own lie apart


def test_a_pair_of_cells_keeps_each_whole() -> None:
    train, test = make_cells(), make_cells()[:30]
    data = lv.open_data((train, test))
    assert (len(data.train), len(data.test)) == (CELLS, 30)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, r"expected finite values in the AnnData\[X\], got nan at index \[3, 2\]"), (2.0**25, "")],
)
def test_what_is_no_count(value: float, message: str) -> None:
    cells = make_cells(np.asarray)
    counts = dense(cells.X)
    counts[3, 2] = value
    if message:
        for table in (counts, sparse.csr_matrix(counts)):
            with pytest.raises(lv.DataError, match=message):
                lv.open_data(anndata.AnnData(table))
    else:
        with pytest.raises(lv.DataError, match=r"expected counts within 16777216 in the AnnData\[X\], got 33554432"):
            lv.open_data(anndata.AnnData(sparse.csr_matrix(counts.astype(np.int64))))


def test_bad_files_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells.h5ad"
    with pytest.raises(lv.DataError, match=r"expected a file, got .*cells\.h5ad, which does not exist"):
        lv.open_data(path)
    make_cells().write_h5ad(path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\0" * 3000):
        path.write_bytes(damaged)
        with pytest.raises(lv.DataError, match=r"expected a whole AnnData in .*; try adata\.write_h5ad\(path\)"):
            lv.open_data(path)
    path.write_bytes(whole)
    with pytest.raises(lv.DataError, match="expected layer, labels, split = a name, got 'layers=x'; try 'layer'"):
        lv.open_data(f"{path}?layers=x")
    with pytest.raises(
        lv.DataError, match="expected layer, labels and split for an AnnData only, got labels=y for str"
    ):
        lv.open_data("digits", labels="y")
    monkeypatch.setitem(sys.modules, "anndata.io", None)
    with pytest.raises(
        lv.DataError, match=r'expected anndata, .* got no such package; try pip install "lagvae\[anndat'
    ):
        lv.open_data(path)


def test_options_in_a_name() -> None:
    path, options = split_query("a/b.h5ad?layer=my%20layer&split=fold")
    assert (path, options) == (Path("a/b.h5ad"), CellOptions(layer="my layer", split="fold"))
    assert options.query == "?layer=my+layer&split=fold"
    assert split_query(f"b.h5ad{options.query}")[1] == options
    assert [is_cells(source) for source in ("a.h5ad", Path("a.H5AD"), "a.h5", np.zeros(2))] == [
        True,
        True,
        False,
        False,
    ]
