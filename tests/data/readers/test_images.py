from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lagvae as lv
from lagvae.data.readers.images import read_image_folder
from lagvae.errors import DataError


def _draw(path: Path, *, seed: int = 0, mode: str = "L", size: tuple[int, int] = (4, 3)) -> np.ndarray:
    """Writes an image of noise, ``size`` being (width, height), and returns its pixels [H, W] or [H, W, C]."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode=None).save(path)
    return pixels


def test_grey_images_keep_one_channel_and_come_sorted(tmp_path: Path) -> None:
    later, sooner = _draw(tmp_path / "b.png", seed=0), _draw(tmp_path / "a.bmp", seed=1)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image either")
    whole, test, _ = read_image_folder(tmp_path)
    assert test is None
    assert whole.labels is None
    assert whole.event_shape == (1, 3, 4)
    assert whole.values.tolist() == np.stack([sooner, later])[:, None].tolist()


def test_colour_images_have_their_channels_first(tmp_path: Path) -> None:
    pixels = _draw(tmp_path / "a.png", mode="RGB")
    whole, _, _ = read_image_folder(tmp_path)
    assert whole.event_shape == (3, 3, 4)
    assert whole.values[0].tolist() == pixels.transpose(2, 0, 1).tolist()


def test_one_colour_image_makes_all_of_them_colour(tmp_path: Path) -> None:
    grey = _draw(tmp_path / "a.png")
    _draw(tmp_path / "b.png", mode="RGB")
    whole, _, _ = read_image_folder(tmp_path)
    assert whole.event_shape == (3, 3, 4)
    assert whole.values[0].tolist() == np.stack([grey] * 3).tolist()


def test_transparency_is_dropped(tmp_path: Path) -> None:
    pixels = _draw(tmp_path / "a.png", mode="RGBA")
    whole, _, _ = read_image_folder(tmp_path)
    assert whole.values[0].tolist() == pixels[..., :3].transpose(2, 0, 1).tolist()


@pytest.mark.parametrize("suffix", ["png", "PNG", "jpg", "jpeg", "bmp", "gif", "tif", "webp"])
def test_every_suffix_is_read(suffix: str, tmp_path: Path) -> None:
    _draw(tmp_path / f"a.{suffix}", mode="RGB")
    whole, _, _ = read_image_folder(tmp_path)
    assert len(whole) == 1
    assert whole.event_shape[1:] == (3, 4)


def test_class_folders_label_by_sorted_name(tmp_path: Path) -> None:
    for seed, name in enumerate(("dog/a", "cat/b", "dog/c", "ant/d")):
        _draw(tmp_path / f"{name}.png", seed=seed)
    whole, test, note = read_image_folder(tmp_path)
    assert test is None
    assert note == "labels from 3 folders"
    assert whole.labels is not None
    assert whole.labels.dtype == torch.int64
    assert whole.labels.tolist() == [0, 1, 2, 2]


def test_train_and_test_folders_share_format_and_classes(tmp_path: Path) -> None:
    for name, mode in (("train/cat/a", "L"), ("train/dog/a", "L"), ("test/dog/a", "RGB")):
        _draw(tmp_path / f"{name}.png", mode=mode)
    train, test, _ = read_image_folder(tmp_path)
    assert test is not None
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1]
    assert train.event_shape == test.event_shape == (3, 3, 4)


def test_train_and_test_folders_without_classes(tmp_path: Path) -> None:
    first, second = _draw(tmp_path / "train" / "a.png"), _draw(tmp_path / "test" / "a.png", seed=1)
    train, test, _ = read_image_folder(tmp_path)
    assert test is not None
    assert train.labels is None
    assert train.values.tolist() == [[first.tolist()]]
    assert test.values.tolist() == [[second.tolist()]]


def test_sizes_that_differ_are_brought_to_the_most_common_one(tmp_path: Path) -> None:
    first, second = _draw(tmp_path / "a.png", size=(4, 3)), _draw(tmp_path / "b.png", size=(4, 3), seed=1)
    # 40 x 60 covers 4 x 3 when it is 4 x 6, of which the middle 3 rows stay: white above 15 and below 45 is cut off.
    tall = np.full((60, 40), 255, dtype=np.uint8)
    tall[15:45] = 100
    Image.fromarray(tall).save(tmp_path / "c.png")
    whole, _, note = read_image_folder(tmp_path)
    assert note == "images of 2 sizes: scaled and cropped to 4x3, the most common"
    assert whole.values[:2].tolist() == [[first.tolist()], [second.tolist()]]
    assert whole.values[2, 0, 1].tolist() == pytest.approx([100] * 4, abs=10)  # Lanczos overshoots a little


def test_of_equally_common_sizes_the_smallest_is_taken(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png", size=(8, 8))
    _draw(tmp_path / "b.png", size=(5, 6))
    whole, _, note = read_image_folder(tmp_path)
    assert whole.event_shape == (1, 6, 5)
    assert "2 sizes" in note
    assert lv.open_data(tmp_path).note.startswith(
        "images of 2 sizes: scaled and cropped to 5x6, the most common; no test"
    )


def test_images_of_one_size_need_no_note(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png")
    assert read_image_folder(tmp_path)[2] == ""


@pytest.mark.parametrize("kept", [0, 10, 50, 90])
def test_a_damaged_image_is_named(kept: int, tmp_path: Path) -> None:
    _draw(tmp_path / "a.png", size=(20, 20))
    victim = tmp_path / "b.png"
    _draw(victim, size=(20, 20))
    victim.write_bytes(victim.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"decoded in {victim}, got .*; try replacing"):
        read_image_folder(tmp_path)


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 4), dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"8 bits for a channel in .*a\.png, got mode I;16"):
        read_image_folder(tmp_path)


def test_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"got no image; try files ending in \.bmp"):
        read_image_folder(tmp_path)


def test_images_next_to_class_folders_are_refused(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png")
    _draw(tmp_path / "cat" / "a.png")
    with pytest.raises(DataError, match=r"images next to folders of images \(a\.png, cat/\)"):
        read_image_folder(tmp_path)


def test_train_without_test_is_refused(tmp_path: Path) -> None:
    _draw(tmp_path / "train" / "a.png")
    with pytest.raises(DataError, match="got train/ alone; try opening that folder"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("name", ["validation", "valid", "val"])
def test_a_validation_part_is_not_left_out_silently(tmp_path: Path, name: str) -> None:
    for part in ("train", "test", name):
        _draw(tmp_path / part / "a.png")
    with pytest.raises(
        DataError, match=rf"expected train/ and test/ alone in .*, got {name}/ as well; .*--held-out 0\.1"
    ):
        read_image_folder(tmp_path)
    (tmp_path / name).rename(tmp_path / "raw")
    _draw(tmp_path / "loose.png")
    _, test, note = read_image_folder(tmp_path)
    assert test is not None
    assert note == "raw and 1 more beside train/ and test/ left out"


def test_train_and_test_are_the_same_in_any_case(tmp_path: Path) -> None:
    for part in ("Train", "TEST"):
        _draw(tmp_path / part / "a.png")
    train, test, _ = read_image_folder(tmp_path)
    assert test is not None
    assert (len(train), len(test), train.labels) == (1, 1, None)
    (tmp_path / "TEST").rename(tmp_path / "bus")
    with pytest.raises(DataError, match="got train/ alone; try opening that folder, or another name for the class"):
        read_image_folder(tmp_path)


def test_classes_in_one_part_only_are_refused(tmp_path: Path) -> None:
    _draw(tmp_path / "train" / "cat" / "a.png")
    _draw(tmp_path / "test" / "a.png")
    with pytest.raises(DataError, match="class folders in one of them only"):
        read_image_folder(tmp_path)
