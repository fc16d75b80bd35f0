from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lagvae.data.named.idx import decompress, parse_images, parse_labels, read_raw
from lagvae.errors import DataError

# Two images of 1 x 3 and two labels, written out by hand from the format's description.
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 10, 20, 30, 40, 50, 255])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])


def test_images_are_read_row_by_row() -> None:
    images = parse_images(IMAGES, where="x")
    assert images.dtype == np.uint8
    assert images.tolist() == [[[10, 20, 30]], [[40, 50, 255]]]


def test_labels_are_read() -> None:
    assert parse_labels(LABELS, where="x").tolist() == [7, 9]


def test_sizes_are_big_endian() -> None:
    raw = bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258)
    assert parse_labels(raw, where="x").shape == (258,)


def test_images_where_labels_are_expected_are_refused_and_the_reverse() -> None:
    with pytest.raises(DataError, match="magic number 0x801 in a-file, got 0x803"):
        parse_labels(IMAGES, where="a-file")
    with pytest.raises(DataError, match="magic number 0x803 in a-file, got 0x801"):
        parse_images(LABELS, where="a-file")


def test_too_few_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(DataError, match=r"22 bytes in a-file, whose header declares 2 x 1 x 3, got 21 bytes"):
        parse_images(IMAGES[:-1], where="a-file")
    with pytest.raises(DataError, match=r"10 bytes in a-file, .*, got 11 bytes"):
        parse_labels(LABELS + b"\0", where="a-file")


@pytest.mark.parametrize("length", [0, 3])
def test_what_ends_within_the_magic_number_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="magic number 0x803 in a-file"):
        parse_images(IMAGES[:length], where="a-file")


@pytest.mark.parametrize("length", [4, 7, 15])
def test_what_ends_within_the_sizes_is_refused(length: int) -> None:
    with pytest.raises(DataError, match=f"in a-file, .* got {length} bytes"):
        parse_images(IMAGES[:length], where="a-file")


@pytest.mark.parametrize("name", ["x", "x.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_told_by_its_bytes_and_not_by_the_name(name: str, pack: object, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(LABELS))  # type: ignore[operator]
    assert read_raw(tmp_path / name) == LABELS


def test_damaged_gzip_is_refused() -> None:
    packed = gzip.compress(bytes(range(256)) * 8, mtime=0)
    flipped = packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]
    broken = packed[:12] + b"\xff" * 20 + packed[32:]
    for damaged in (packed[:-9], packed[:5], flipped, broken):
        with pytest.raises(DataError, match=r"whole gzip data in a-file, got .*; try deleting it"):
            decompress(damaged, where="a-file")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"readable file .*absent, got No such file"):
        read_raw(tmp_path / "absent")
