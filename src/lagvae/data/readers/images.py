"""What does a folder of images hold?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lagvae.data.examples import Examples
from lagvae.data.names import Names
from lagvae.errors import DataError, expected

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_GREY_MODES = frozenset({"1", "L", "LA"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_VALIDATION = frozenset({"validation", "valid", "val"})
_LAYOUTS = "images, or one folder of images for each class, or both ways under train/ and test/"


@dataclass(frozen=True)
class _Listing:
    """The image files of one part, sorted, each with the name of its class, or with "" where there are none."""

    files: list[Path]
    classes: list[str]


@dataclass(frozen=True)
class _Format:
    """What all images of a set are brought to, and how many sizes they had."""

    width: int
    height: int
    is_grey: bool
    sizes: int

    @property
    def event_shape(self) -> tuple[int, int, int]:
        return (1 if self.is_grey else 3, self.height, self.width)


def read_image_folder(folder: Path) -> tuple[Examples, Examples | None, str]:
    """Returns the train and test part of a folder of images, or all of it and None, and a note on labels and sizes.

    The folder holds images, or one folder of images for each class (the labels count the sorted class names), or
    does so under train/ and test/. The files are taken in sorted order, as uint8 ``[N, C, H, W]``: one channel if
    all of them are grey, else three. Transparency is dropped, and of an animation the first frame is taken.

    Images of several sizes are brought to the most common one (of equally common ones, the smallest): scaled until
    they cover it, and cropped about their centre. The note says so.

    Raises:
        DataError: if there are no images, one is damaged, or the layout is ambiguous.
    """
    try:
        inside = {path.name.lower(): path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
        named = inside.keys() & {"train", "test"}
        if len(named) == 1:
            fix = f"opening that folder, or another name for the class {min(named)}"
            raise DataError(expected(f"both train/ and test/ in {folder}", got=f"{min(named)}/ alone", fix=fix))
        beside = [path.name for path in (*inside.values(), *_image_files(folder)) if path.name.lower() not in named]
        if named and (others := [name for name in beside if name.lower() in _VALIDATION]):
            fix = "moving it away; --held-out 0.1 makes a validation part of the training images"
            raise DataError(expected(f"train/ and test/ alone in {folder}", got=f"{others[0]}/ as well", fix=fix))
        listings = [_list_images(inside[part]) for part in ("train", "test")] if named else [_list_images(folder)]
    except OSError as error:
        raise DataError(
            expected(f"a readable folder {folder}", got=error.strerror or error, fix="mending its permissions")
        ) from error
    # The format and the classes are those of both parts together, so that the two agree.
    common = _find_format([file for listing in listings for file in listing.files])
    classes = sorted({name for listing in listings for name in listing.classes})
    if len(classes) > 1 and "" in classes:
        raise DataError(
            expected(
                f"one layout under train/ and test/ in {folder}",
                got="class folders in one of them only",
                fix="class folders in both, or in neither",
            )
        )
    parts = [_decode(listing, common, classes) for listing in listings]
    notes = [f"labels from {len(classes)} folders"] if len(classes) > 1 else []
    if named and beside:
        more = f" and {len(beside) - 1} more" if len(beside) > 1 else ""
        notes.append(f"{beside[0]}{more} beside train/ and test/ left out")
    if common.sizes > 1:
        size = f"{common.width}x{common.height}"
        notes.append(f"images of {common.sizes} sizes: scaled and cropped to {size}, the most common")
    return parts[0], parts[1] if named else None, "; ".join(notes)


def _list_images(folder: Path) -> _Listing:
    """Lists the images of one part, in the folder itself or in its class folders."""
    direct = _image_files(folder)
    in_classes = {
        entry.name: files
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".") and (files := _image_files(entry))
    }
    if direct and in_classes:
        raise DataError(
            expected(
                f"{_LAYOUTS} in {folder}",
                got=f"images next to folders of images ({direct[0].name}, {min(in_classes)}/)",
                fix="moving one of them away",
            )
        )
    if not direct and not in_classes:
        raise DataError(
            expected(f"{_LAYOUTS} in {folder}", got="no image", fix=f"files ending in {', '.join(sorted(SUFFIXES))}")
        )
    if direct:
        return _Listing(direct, [""] * len(direct))
    return _Listing(
        files=[file for files in in_classes.values() for file in files],
        classes=[name for name, files in in_classes.items() for _ in files],
    )


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _find_format(files: list[Path]) -> _Format:
    """Returns the most common size, and whether all images are grey; only headers are read."""
    sizes: Counter[tuple[int, int]] = Counter()
    is_grey = True
    for file in files:
        with _open(file) as image:
            size, mode = image.size, image.mode
        if mode in _DEEP_MODES:
            raise DataError(
                expected(f"8 bits for a channel in {file}", got=f"mode {mode}", fix="an array of float32 in [0, 1]")
            )
        sizes[size] += 1
        is_grey = is_grey and mode in _GREY_MODES
    width, height = min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size))
    return _Format(width, height, is_grey=is_grey, sizes=len(sizes))


def _decode(listing: _Listing, common: _Format, classes: list[str]) -> Examples:
    """Returns the images of one part in their common format, labelled unless there are no classes."""
    pixels = np.empty((len(listing.files), *common.event_shape), dtype=np.uint8)
    for row, file in zip(pixels, listing.files, strict=True):
        try:
            with _open(file) as image:
                converted = image.convert("L" if common.is_grey else "RGB")
                decoded = np.asarray(_fit(converted, (common.width, common.height)))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(_damaged(file, error)) from error
        row[...] = decoded.reshape(common.height, common.width, -1).transpose(2, 0, 1)
    if classes == [""]:
        return Examples(torch.from_numpy(pixels))
    numbers = {name: number for number, name in enumerate(classes)}
    labels = torch.tensor([numbers[name] for name in listing.classes], dtype=torch.int64)
    return Examples(torch.from_numpy(pixels), labels, names=Names(classes=tuple(classes)))


def _fit(image: Image, size: tuple[int, int]) -> Image:
    """Scales an image until it covers ``size``, and crops it about its centre; one of that size stays as it is."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    return image if image.size == size else ImageOps.fit(image, size, method=Resampling.LANCZOS)


def _open(file: Path) -> Image:
    """Opens an image file, of which only the header is read for now."""
    from PIL import Image  # slow to import, and only needed here

    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(_damaged(file, error)) from error


def _damaged(file: Path, error: Exception) -> str:
    return expected(
        f"an image that can be decoded in {file}", got=" ".join(str(error).split()), fix="replacing or removing it"
    )
