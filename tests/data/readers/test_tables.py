from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.data.readers.tables import build_table, read_table
from lagvae.model.likelihoods.names import choose_likelihood


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2.5\n-3,4e2\n",
        "a;b\n1;2.5\n-3;4e2\n",
        "a\tb\r\n1\t2.5\r\n\r\n-3\t4e2",
        "1,2.5\n-3,4e2\n",
        "\ufeffa,b\n1, 2.5\n-3,400\n",
        ",a,b\n0,1,2.5\n1,-3,400\n",
        "Unnamed: 0,a,b\n1,1,2.5\n2,-3,400\n",
        '"a, with a comma",b\n"1",2.5\n-3,400\n',
        "a (C; mean),b\n1,2.5\n-3,400\n",
        ",2019,2020\n0,1,2.5\n1,-3,400\n",
        "0,1\n1,2.5\n-3,400\n",
    ],
)
def test_headers_delimiters_and_row_numbers_are_understood(text: str, tmp_path: Path) -> None:
    examples, _ = read_table(write(tmp_path / "x.csv", text))
    assert examples.values.tolist() == [[1.0, 2.5], [-3.0, 400.0]]
    assert examples.labels is None


def test_in_a_tsv_only_tabs_separate(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "x.tsv", "a,1\tb\n1\t2\n"))[0].values.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [(["cat", "dog", "ant"], [1, 2, 0]), (["3", "0", "3"], [3, 0, 3]), (["2", "-1", "2"], [1, 0, 1])],
)
@pytest.mark.parametrize("name", ["label", "Target", "y"])
def test_labels_are_carried_along(name: str, cells: list[str], labels: list[int], tmp_path: Path) -> None:
    rows = "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    examples, note = read_table(write(tmp_path / "x.csv", f"{name},a\n{rows}"))
    assert examples.labels is not None
    assert examples.labels.tolist() == labels
    assert examples.values.tolist() == [[0.0], [1.0], [2.0]]
    assert note == f"labels from '{name}', {len(set(cells))} of them"


@pytest.mark.parametrize("name", ["target", "y"])
def test_a_measured_column_is_part_of_the_example_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"x,{name},z\n1,0.5,3\n4,-5,6\n")
    examples, note = read_table(path)
    assert examples.labels is None
    assert examples.values.tolist() == [[1.0, 0.5, 3.0], [4.0, -5.0, 6.0]]
    assert list(read_table(path)[0].names.columns) == ["x", name, "z"]
    assert not note


def test_a_missing_measurement_is_no_class(tmp_path: Path) -> None:
    rows = "".join(f"{number},{cell}\n" for number, cell in enumerate(["0.5", "", "2.25"]))
    with pytest.raises(lv.DataError, match=r"a number in every cell of .*got none in row 2 of column 'y'"):
        read_table(write(tmp_path / "x.csv", f"a,y\n{rows}"))


def test_a_second_column_of_labels_is_left_out_with_a_word(tmp_path: Path) -> None:
    examples, note = read_table(write(tmp_path / "x.csv", "class,label,a\n0,dog,1\n1,cat,2\n"))
    assert examples.values.tolist() == [[1.0], [2.0]]
    assert examples.labels is not None
    assert examples.labels.tolist() == [0, 1]
    assert note == "column 'label' left out, whose name is of labels too; labels from 'class', 2 of them"


def test_true_and_false_are_numbers(tmp_path: Path) -> None:
    examples, _ = read_table(write(tmp_path / "x.csv", "on,a\nTrue,1\nfalse,2\n"))
    assert examples.values.tolist() == [[1.0, 1.0], [0.0, 2.0]]


def test_the_row_names_of_pandas_are_no_measurement(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "__index_level_0__": [17, 3]}), path)
    examples, note = read_table(path)
    assert examples.values.tolist() == [[1.0], [2.0]]
    assert note == "a column of row numbers left out"


def test_a_table_opens_by_its_path_and_its_values_choose_the_likelihood(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(40, 3))
    path = write(
        tmp_path / "x.csv", "a,b,label,c\n" + "".join(f"{a},{b},{i % 2},{c}\n" for i, (a, b, c) in enumerate(table))
    )
    data = lv.open_data(path)
    assert (len(data.train), len(data.test), data.train.event_shape) == (36, 4, (3,))
    assert data.name == str(path)
    assert data.note == "labels from 'label', 2 of them; no test part in the data: 1 example in 10 held out"
    assert choose_likelihood(data.train).name == "optimal_gaussian"
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [1, 1, 1, 1]
    counts = write(tmp_path / "counts.csv", "g1,g2\n0,7\n12,3\n")
    assert choose_likelihood(lv.open_data((counts, counts)).train).name == "negative_binomial"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected rows of numbers in .*got none"),
        ("a,b\n", "expected rows of numbers in .*got none"),
        ("a,b\n1,2\n3\n", "expected 2 cells in every row of .*, got 1 in row 2 below the header"),
        ("a,b\n1,2\n3,red\n", "expected numbers in .*, got 'red' in row 2 of column 'b'; try leaving the column out"),
        ("a,b\n1,2\n3,\n", "expected a number in every cell of .*, got none in row 2 of column 'b'; try leaving such"),
        ("a,b\n1,2\n3,nan\n", "got none in row 2 of column 'b'"),
        ("label,y\n", "expected rows"),
        ("label\ncat\n", "expected numbers"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(lv.DataError, match=message):
        read_table(write(tmp_path / "x.csv", text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(lv.DataError, match=r"expected a table of text in .*; try saving it as UTF-8 CSV"):
        read_table(tmp_path / "x.csv")


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra tables")
    from pyarrow import parquet

    columns: dict[str, Any] = {"a": [1, -3], "b": [2.5, 400.0], "on": [True, False], "label": ["dog", "cat"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    examples, note = read_table(tmp_path / "x.parquet")
    assert examples.values.tolist() == [[1.0, 2.5, 1.0], [-3.0, 400.0, 0.0]]
    assert examples.labels is not None
    assert examples.labels.tolist() == [1, 0]
    assert note == "labels from 'label', 2 of them"
    pair = lv.open_data((tmp_path / "x.parquet", tmp_path / "x.parquet"))
    assert isinstance(pair.test.values, torch.Tensor)
    assert pair.note == note
    parquet.write_table(pyarrow.table({"a": [1, None]}), tmp_path / "x.parquet")
    with pytest.raises(lv.DataError, match="got none in row 2 of column 'a'"):
        read_table(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(lv.DataError, match="expected a whole Parquet file"):
        read_table(tmp_path / "x.parquet")


def test_without_pyarrow_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        lv.DataError, match=r'expected pyarrow, .* got no such package; try pip install "lagvae\[tables\]"'
    ):
        read_table(tmp_path / "x.parquet")


def test_nothing_but_row_numbers_is_a_column_like_any_other() -> None:
    assert build_table([("", ["0", "1"])], where="x")[0].values.tolist() == [[0.0], [1.0]]
    assert build_table([("", ["0", "5"]), ("a", ["1", "1"])], where="x")[0].values.tolist() == [[0.0, 1.0], [5.0, 1.0]]


def test_values_that_float32_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    """Seconds since 1970: 128 of them are one number in float32."""
    (tmp_path / "x.csv").write_text("a,time\n" + "\n".join(f"{i},{1_700_000_000 + 7 * i}" for i in range(50)))
    with pytest.raises(lv.DataError, match=r"float32 can tell apart .*, got column 'time' of values about 1\.7e\+09"):
        read_table(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("a,big\n" + "\n".join(f"{i},{1_700_000_000 * (i + 1)}" for i in range(50)))
    read_table(tmp_path / "x.csv")  # what is lost is nothing beside how they differ
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,inf\n")
    with pytest.raises(lv.DataError, match="got inf in row 2 of column 'b'"):
        read_table(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0,,3.0\n4,5,6\n", "got none in row 1 of column 'column 1'"),
        ("1.0,NA,3.0\n4,5,6\n", "got 'NA' in row 1 of column 'column 1'; try leaving such rows out"),
        ("a,b\n1,?\n", r"got '\?' in row 1 of column 'b'; try leaving such rows out"),
        ("a;b\n1,5;2,5\n", r"got '1,5' in row 1 of column 'a'; try decimal points, 1\.5"),
        ("1,5;2,5\n3,5;4,5\n", r"try decimal points, 3\.5"),
        ("a b\n1 2\n", "try commas between the columns"),
    ],
)
def test_what_spreadsheets_write_is_answered(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(lv.DataError, match=message):
        read_table(write(tmp_path / "x.csv", text))


def test_a_delimiter_within_quotes_is_none(tmp_path: Path) -> None:
    examples, _ = read_table(write(tmp_path / "x.csv", '"a,b,c";"d,e,f"\n1;2\n'))
    assert (examples.names.columns, examples.values.tolist()) == (("a,b,c", "d,e,f"), [[1.0, 2.0]])


def test_row_names_beside_numbered_columns_are_no_missing_cell(tmp_path: Path) -> None:
    examples, note = read_table(write(tmp_path / "x.csv", ",0,1\n0,5,6\n1,7,8\n"))
    assert examples.values.tolist() == [[5.0, 6.0], [7.0, 8.0]]
    assert note == "a column of row numbers left out"


@pytest.mark.parametrize("cells", [["0", "1", "", "10"], ["cat", "nan", "dog", "ant"]])
def test_where_a_label_is_missing_there_are_none(cells: list[str], tmp_path: Path) -> None:
    rows = "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    examples, note = read_table(write(tmp_path / "x.csv", f"label,a\n{rows}"))
    assert (examples.labels, note) == (None, "no labels from 'label': 1 of 4 are missing")
    assert examples.values.tolist() == [[0.0], [1.0], [2.0], [3.0]]


def test_columns_of_lists_and_empty_files_are_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "e": [[1.0, 2.0], [3.0]]}), path)
    with pytest.raises(lv.DataError, match=r"one value in every cell of .*, got list<\S+ double> in 'e'; try a column"):
        read_table(path)
    parquet.write_table(pyarrow.table({"label": pyarrow.array([], "int64"), "a": pyarrow.array([], "double")}), path)
    with pytest.raises(lv.DataError, match=r"expected rows of numbers in .*, got none; try a file that is not empty"):
        read_table(path)
    parquet.write_table(pyarrow.table({"label": ["x", None], "a": [1.0, 2.0]}), path)
    assert read_table(path)[1] == "no labels from 'label': 1 of 2 are missing"
    parquet.write_table(pyarrow.table({"a": [1.0, None]}), path)
    with pytest.raises(lv.DataError, match="got none in row 2 of column 'a'"):
        read_table(path)


def test_sodium_is_a_column(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "x.csv", "Na\n1\n2\n"))[0].names.columns == ("Na",)
