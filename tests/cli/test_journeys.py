"""A new user's three ways from a file to a model, its codes, samples and a report, as docs/files.md has them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_digits, load_wine

from .conftest import Command

TINY = ["--hidden", "8", "--latent-dim", "2", "--epochs", "2", "--batch-size", "50", "--quiet"]


def solve(lagvae: Command, data: str, *options: str) -> None:
    answer = lagvae("train", "max mi s.t. neg_elbo <= best + 4", "--data", data, *TINY, *options, "--out", "run")
    assert answer.status == 0, answer.err


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def report(lagvae: Command) -> None:
    assert lagvae("report", "run").out == "picture in run/report.png\n"
    with Image.open("run/report.png") as picture:
        assert min(picture.size) > 300


def test_a_csv_file(lagvae: Command) -> None:
    wine = load_wine()
    with Path("wine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*wine.feature_names, "target"])
        writer.writerows([*row, wine.target_names[label]] for row, label in zip(wine.data, wine.target, strict=True))
    solve(lagvae, "wine.csv")
    assert lagvae("encode", "run").out == "178 codes of 2 dimensions, with labels, in codes.csv\n"
    rows = rows_of("codes.csv")
    assert list(rows[0]) == ["z0", "z1", "label"]
    assert [int(row["label"]) for row in rows] == wine.target.tolist()
    assert lagvae("sample", "run", "--n", 300).out == "300 rows in samples.csv\n"
    made_up = rows_of("samples.csv")
    assert list(made_up[0]) == wine.feature_names
    for name, column in zip(wine.feature_names, wine.data.T, strict=True):
        values = np.array([float(row[name]) for row in made_up])
        assert abs(values.mean() - column.mean()) < column.std()
        assert 0.5 < values.std() / column.std() < 2  # rows, not conditional means: these spread less
    report(lagvae)


def test_columns_of_one_name_are_kept_apart(lagvae: Command) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt("twins.csv", rows, delimiter=",", header="a,b,a", comments="")
    solve(lagvae, "twins.csv")
    assert lagvae("sample", "run", "--n", 5).status == 0
    assert list(rows_of("samples.csv")[0]) == ["x0", "x1", "x2"]


def test_a_folder_of_images(lagvae: Command) -> None:
    digits = load_digits()
    for number in range(120):
        folder = Path("pictures") / f"digit {digits.target[number] % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(digits.images[number] * 15.9, np.ones((2, 2))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    solve(lagvae, "pictures", "--network", "convolutional", "--channels", "4", "8")
    assert lagvae("encode", "run", "--out", "codes.parquet").status == 0
    table = parquet.read_table("codes.parquet")
    assert (len(table), table.column_names) == (120, ["z0", "z1", "label"])
    assert table["label"].to_pylist() == sorted(table["label"].to_pylist())
    assert lagvae("sample", "run").out == "64 samples in samples.png\n"
    assert lagvae("sample", "run", "--kind", "reconstructions").status == 0
    for name in ("samples.png", "reconstructions.png"):
        with Image.open(name) as picture:
            assert np.asarray(picture).std() > 5
    report(lagvae)


def test_an_array(lagvae: Command) -> None:
    signals = np.sin(np.linspace(0, 6, 24) + np.random.default_rng(0).uniform(0, 6, (300, 1)))
    np.save("signals.npy", signals)
    solve(lagvae, "signals.npy")
    assert lagvae("encode", "run", "--out", "codes.npy").out == "300 codes of 2 dimensions in codes.npy\n"
    assert np.load("codes.npy").shape == (300, 2)
    assert lagvae("sample", "run", "--n", 7, "--out", "rows.npy").out == "7 rows in rows.npy\n"
    assert np.load("rows.npy").shape == (7, 24)
    report(lagvae)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "run", "--out", "codes.txt"], "a file ending in .csv, .tsv, .parquet, .npy, .npz, got codes.txt"),
        (["encode", "run", "--part", "held_out"], "a part of the data: train, test, got held_out; try --part all"),
        (["encode", "nowhere"], "got no config.yaml there"),
        (["sample", "run", "--out", "rows.png"], "samples of a table also as FILE.csv"),
    ],
)
def test_what_cannot_be_written_is_one_line(words: list[str], said: str, lagvae: Command) -> None:
    np.savetxt("rows.csv", np.random.default_rng(0).normal(size=(60, 3)), delimiter=",")
    solve(lagvae, "rows.csv")
    answer = lagvae(*words)
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert said in answer.err
