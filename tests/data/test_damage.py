"""Data files of every kind, their bytes flipped or cut: noticed at once, or by the fingerprint of the run on them."""

from __future__ import annotations

import gzip
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lagvae as lv
from damaging import damage
from lagvae.data.named.fetch import fetch

from .conftest import TinySet, make_idx

CASES = 80
CHANCE = np.random.default_rng(0)
PIXELS = CHANCE.integers(0, 256, (12, 1, 5, 5), dtype=np.uint8)
TABLE = CHANCE.normal(size=(15, 4)).round(3)


def write_npy(folder: Path) -> Path:
    np.save(folder / "x.npy", PIXELS.astype(np.float32) / 255)
    return folder / "x.npy"


def write_npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=PIXELS, y=np.arange(12))
    return folder / "x.npz"


def write_packed_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "x.npz", train=TABLE, test=TABLE[:5])
    return folder / "x.npz"


def write_csv(folder: Path) -> Path:
    rows = [",".join(map(str, row)) for row in TABLE]
    (folder / "x.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")
    return folder / "x.csv"


def write_tsv(folder: Path) -> Path:
    (folder / "x.tsv").write_text("\n".join("\t".join(map(str, row)) for row in TABLE) + "\n")
    return folder / "x.tsv"


def write_parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: TABLE[:, index] for index, name in enumerate("abc")}
    parquet.write_table(pyarrow.table({**columns, "label": ["one", "two", "three"] * 5}), folder / "x.parquet")
    return folder / "x.parquet"


def write_images(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "images").mkdir()
        for number, pixels in enumerate(PIXELS[:4, 0]):
            Image.fromarray(pixels).save(folder / "images" / f"{number}{suffix}")
        return folder / "images" / f"2{suffix}"

    return write


WRITERS = {
    "npy": write_npy,
    "npz": write_npz,
    "packed npz": write_packed_npz,
    "csv": write_csv,
    "tsv": write_tsv,
    "parquet": write_parquet,
    **{kind: write_images(f".{kind}") for kind in ("png", "jpg", "bmp", "gif", "tif", "webp")},
}


def checked(open_it: Callable[[], lv.Data]) -> lv.Data | lv.LagvaeError:
    """What opening gives: data, or an error in one line. Anything else fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return open_it()
        except lv.LagvaeError as error:
            found = error
    assert len(str(found).splitlines()) == 1
    assert re.search(r"expected .*, got .*; try .*", str(found)), found
    return found


def same(ours: lv.Data, theirs: lv.Data) -> bool:
    return all(
        one.event_shape == other.event_shape and len(one) == len(other) and bool((one.values == other.values).all())
        for one, other in zip(ours.parts.values(), theirs.parts.values(), strict=True)
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_is_an_error_or_another_fingerprint(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path)
    source = path.parent if path.parent.name == "images" else path
    whole = lv.open_data(str(source), progress=False)
    content, chance = path.read_bytes(), random.Random(kind)
    outcomes: Counter[str] = Counter()
    for _ in range(CASES):
        path.write_bytes(damage(content, chance))
        found = checked(lambda: lv.open_data(str(source), progress=False))
        if isinstance(found, lv.LagvaeError):
            outcomes["error"] += 1
        elif found.fingerprint() != whole.fingerprint():
            outcomes["fingerprint"] += 1
            with pytest.raises(lv.DataError, match=r"expected the data in .* as they were trained on"):
                found.check_fingerprint(whole.fingerprint())
        else:
            assert same(found, whole)  # a comment, say
            outcomes["same"] += 1
    assert sum(outcomes.values()) == CASES
    if kind == "png":  # a checksum in every chunk
        assert outcomes["fingerprint"] <= 0.1 * CASES, outcomes


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_damaged_file_of_a_named_set_is_always_an_error(tmp_path: Path, tiny_mnist: TinySet, gzipped: bool) -> None:
    folder = tiny_mnist.write(tmp_path / "mnist", gzipped=gzipped)
    whole = lv.open_data("mnist", folder=tmp_path, progress=False)
    path = sorted(folder.iterdir())[2]
    content, chance = path.read_bytes(), random.Random(0)
    errors = 0
    for _ in range(CASES):
        path.write_bytes(damage(content, chance))
        found = checked(lambda: lv.open_data("mnist", folder=tmp_path, progress=False))
        if isinstance(found, lv.LagvaeError):
            errors += 1
        else:  # a name or a time in gzip's header
            assert same(found, whole)
    assert errors >= (0.7 if gzipped else 1) * CASES


def test_an_archive_that_grows_beyond_measure_is_refused(tmp_path: Path, tiny_mnist: TinySet) -> None:
    """A small file that unpacks to far more than the set has, as gzip can."""
    folder = tiny_mnist.write(tmp_path / "mnist")
    path = sorted(folder.iterdir())[0]
    path.write_bytes(gzip.compress(make_idx(np.zeros((3, 4, 4))) + bytes(2**20)))
    found = checked(lambda: lv.open_data("mnist", folder=tmp_path, progress=False))
    assert isinstance(found, lv.DataError)


@pytest.mark.usefixtures("tiny_mnist")
def test_a_run_whose_data_changed_is_neither_resumed_nor_measured(tmp_path: Path) -> None:
    path = write_npy(tmp_path)
    settings = {"hidden": (4,), "latent_dim": 2, "epochs": 1, "batch_size": 5, "device": "cpu", "progress": False}
    lv.fit("min rate s.t. neg_elbo <= 50", str(path), out=tmp_path / "run", **settings)
    lv.evaluate(tmp_path / "run", quick=True)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(lv.DataError, match=r"expected the data in .*x\.npy as they were trained on, got other values"):
        lv.evaluate(tmp_path / "run", quick=True)
    with pytest.raises(lv.CheckpointError, match="own data_fingerprint"):
        lv.fit("min rate s.t. neg_elbo <= 50", str(path), out=tmp_path / "run", resume=True, **settings)
    assert lv.evaluate(tmp_path / "run", str(path), quick=True)["train"]["distortion"].examples == 11


def test_fetching_says_the_same(tmp_path: Path, tiny_mnist: TinySet) -> None:
    folder = tiny_mnist.write(tmp_path / "mnist")
    path = sorted(folder.iterdir())[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(lv.DataError, match=r"expected \d+ bytes in .*, whose header declares"):
        fetch("mnist", folder=tmp_path, progress=False)
