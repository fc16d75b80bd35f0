"""Tiny named sets, so that no test needs the network or the true files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import socket
import struct
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from lagvae.data.named import registry
from lagvae.data.named.idx import IMAGES_MAGIC, LABELS_MAGIC

TRAIN_COUNT, TRAIN_KEPT, TEST_COUNT, SIDE = 7, 5, 3, 4


def make_idx(array: np.ndarray) -> bytes:
    """Writes IDX bytes independently of the reader: magic and sizes big-endian, then the bytes."""
    magic = IMAGES_MAGIC if array.ndim == 3 else LABELS_MAGIC
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


class TinySet:
    """The four files of a tiny set, and ways to lay them down."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.arrays = {
            registry.TRAIN_IMAGES: rng.integers(0, 256, (TRAIN_COUNT, SIDE, SIDE)),
            registry.TRAIN_LABELS: rng.integers(0, 10, TRAIN_COUNT),
            registry.TEST_IMAGES: rng.integers(0, 256, (TEST_COUNT, SIDE, SIDE)),
            registry.TEST_LABELS: rng.integers(0, 10, TEST_COUNT),
        }
        self.raw = {name: make_idx(array) for name, array in self.arrays.items()}
        self.sha256 = {name: hashlib.sha256(raw).hexdigest() for name, raw in self.raw.items()}

    def write(self, folder: Path, *, dotted: bool = False, gzipped: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in self.raw.items():
            spelling = name.replace("-idx", ".idx") if dotted else name
            (folder / (spelling + ".gz" * gzipped)).write_bytes(gzip.compress(raw) if gzipped else raw)
        return folder


@pytest.fixture(autouse=True)
def _nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No environment of this machine, and no name resolved but this machine's own."""
    monkeypatch.delenv("DATA_PREFIX", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    resolve = socket.getaddrinfo

    def refuse_others(host: object, *args: object, **kwargs: object) -> object:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(f"a test asked for {host!r}")
        return resolve(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", refuse_others)


def _shrink(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> TinySet:
    tiny = TinySet(seed)
    small = dataclasses.replace(
        registry.IDX_SETS[name],
        sha256=MappingProxyType(tiny.sha256),
        mirrors=(),
        system_folders=(),
        npm_package=None,
        train_count=TRAIN_KEPT,
    )
    monkeypatch.setitem(registry.IDX_SETS, name, small)
    return tiny


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> TinySet:
    """The registry's mnist replaced by a tiny set, which has no mirrors and no packages."""
    return _shrink("mnist", 0, monkeypatch)


@pytest.fixture
def tiny_fashion(monkeypatch: pytest.MonkeyPatch) -> TinySet:
    """The same for fashion-mnist, with other values."""
    return _shrink("fashion-mnist", 1, monkeypatch)
