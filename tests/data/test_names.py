"""Columns and classes are known by their names: another file may have them in another order, or more of them."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import lagvae as lv
from lagvae.cli.main import main
from lagvae.data.examples import Examples, fit_names
from lagvae.data.names import Names
from lagvae.storage.folder import RunFolder
from lagvae.training.encode import encode
from tiny_runs import run

ROWS = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 5.0, 20.0]
KINDS = np.array(["cat", "dog", "eel"])[np.arange(60) % 3]


def write(path: Path, columns: list[str], kinds: np.ndarray | None = KINDS) -> Path:
    table = pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(d=7.5, label=KINDS if kinds is None else kinds)
    table[columns].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table of three named columns with words for labels."""
    place = tmp_path_factory.mktemp("named")
    run(place / "run", "min neg_elbo", str(write(place / "own.csv", ["a", "b", "c", "label"])), epochs=1)
    return place / "run"


def test_a_run_remembers_its_columns_and_classes(folder: Path) -> None:
    assert Names.of(RunFolder(folder).read_config()) == Names(("a", "b", "c"), ("cat", "dog", "eel"))


@pytest.mark.parametrize("columns", [["c", "label", "a", "b"], ["d", "b", "a", "c"]])
def test_another_order_and_more_columns_are_the_same_data(folder: Path, tmp_path: Path, columns: list[str]) -> None:
    solution, path = lv.load(folder), write(tmp_path / "other.csv", columns)
    own, _ = encode(solution)
    assert encode(solution, str(path))[0] == pytest.approx(own, abs=1e-6)
    found = [lv.evaluate(solution, str(one), quick=True)["test"]["neg_elbo"] for one in (folder / "../own.csv", path)]
    assert found[1].value == pytest.approx(found[0].value, rel=1e-6)


def test_a_column_that_is_missing_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "less.csv", ["d", "c", "a"])
    with pytest.raises(lv.ShapeError, match="3 columns of the model's data, got none called 'b', but d, c, a; try"):
        encode(lv.load(folder), str(path))
    assert main(["evaluate", str(folder), "--quick", "--data", str(path)]) == 2
    assert "none called 'b'" in capsys.readouterr().err


def test_names_that_look_like_numbers_are_names(tmp_path: Path) -> None:
    table = pd.DataFrame(ROWS, columns=["1e5", "true", "null"]).assign(label=np.array(["1e3", "no"])[np.arange(60) % 2])
    table.to_csv(tmp_path / "x.csv", index=False)
    solution = run(tmp_path / "run", "min neg_elbo", str(tmp_path / "x.csv"), epochs=1)
    assert Names.of(RunFolder(tmp_path / "run").read_config()) == Names(("1e5", "true", "null"), ("1e3", "no"))
    assert encode(lv.load(tmp_path / "run"))[0] == pytest.approx(encode(solution)[0], abs=1e-6)


def test_what_goes_on_from_a_solution_takes_its_columns(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "other.csv", ["c", "a", "b"])
    again = run(tmp_path / "run", "min neg_elbo", str(path), start=lv.load(folder), epochs=1)
    assert Names.of(again.config or {}).columns == ("a", "b", "c")


def test_labels_that_are_numbers_are_classes_among_classes(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["a", "label"], np.array([-1, 0, 1])[np.arange(60) % 3])
    test = write(tmp_path / "test.csv", ["a", "label"], np.array([0, 1])[np.arange(60) % 2])
    data = lv.open_data((str(train), str(test)))
    assert data.names.classes == ("-1", "0", "1")
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert (data.train.labels[:3].tolist(), data.test.labels[:2].tolist()) == ([0, 1, 2], [1, 2])
    (words,) = fit_names([Examples(torch.ones(2, 1), torch.tensor([0, 1]))], Names(classes=("cat", "dog")))
    assert (words.labels is not None, words.names.classes) == (True, ())


def test_a_table_without_names_is_taken_by_place(folder: Path) -> None:
    codes, labels = encode(lv.load(folder), ROWS.astype(np.float32))
    assert labels is None
    assert codes == pytest.approx(encode(lv.load(folder))[0], abs=1e-6)


def test_classes_keep_their_numbers(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "some.csv", ["a", "b", "c", "label"], np.array(["eel", "yak", "dog"])[np.arange(60) % 3])
    _, labels = encode(lv.load(folder), str(path))
    assert labels is not None
    assert labels[:3].tolist() == [2, 3, 1]


def test_a_pair_is_one_table(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["a", "b", "c", "label"])
    test = write(tmp_path / "test.csv", ["label", "c", "b", "a"], np.array(["eel", "bee"])[np.arange(60) % 2])
    data = lv.open_data((str(train), str(test)))
    assert data.names == Names(("a", "b", "c"), ("bee", "cat", "dog", "eel"))
    assert data.test.gather(torch.arange(2)).numpy() == pytest.approx(ROWS[:2], rel=1e-6)
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert (data.train.labels[:3].tolist(), data.test.labels[:2].tolist()) == ([1, 2, 3], [3, 0])
    with pytest.raises(lv.ShapeError, match="3 columns of the training table, got none called 'b'"):
        lv.open_data((str(train), str(write(tmp_path / "less.csv", ["a", "d", "c"]))))


@pytest.mark.parametrize("table", [sparse.csr_matrix, np.asarray])
def test_genes_are_known_by_their_names(table: object, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(2.0, (60, 4)).astype(np.float32)
    genes = ["g1", "g2", "g3", "g4"]
    cells = anndata.AnnData(table(counts), var=pd.DataFrame(index=genes))  # type: ignore[operator]
    solution = run(tmp_path / "run", "min neg_elbo", cells, epochs=1)
    other = cells[:, ["g4", "g2", "g1", "g3"]].copy()
    assert encode(solution, other)[0] == pytest.approx(encode(solution, cells)[0], abs=1e-6)
    other.write_h5ad(tmp_path / "other.h5ad")
    assert encode(lv.load(tmp_path / "run"), str(tmp_path / "other.h5ad"))[0] == pytest.approx(
        encode(solution)[0], abs=1e-6
    )


def test_parts_that_share_their_values_go_on_sharing_them() -> None:
    whole = Examples(torch.arange(12.0).reshape(4, 3), names=Names(("a", "b", "c")))
    parts = [whole.pick(torch.tensor([0, 2])), whole.pick(torch.tensor([1, 3]))]
    fitted = fit_names(parts, Names(("c", "a")))
    assert fitted[0].values is fitted[1].values
    assert fitted[1].gather(torch.arange(2)).tolist() == [[5.0, 3.0], [11.0, 9.0]]
    assert fit_names(parts, Names(("a", "b", "c")))[0] is parts[0]


def test_rows_that_are_made_up_have_the_columns_names(folder: Path, tmp_path: Path) -> None:
    assert main(["sample", str(folder), "--n", "3", "--out", str(tmp_path / "x.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "x.csv").columns) == ["a", "b", "c"]
