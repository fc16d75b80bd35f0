"""A disk that fills up: a line that says what to do, the last checkpoint kept, the same bits once there is room."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lagvae as lv
from lagvae.cli.main import main
from lagvae.storage.checkpoint import list_checkpoints, load_checkpoint
from small_fronts import SMALL
from tiny_runs import PROBLEM, assert_same_run, assert_same_tensors, run

SETTINGS: dict[str, Any] = {"log_every": 1, "checkpoint_seconds": 0.0}
MESSAGE = (
    r"expected to write .*, got (No space left on device|File too large); try freeing space .*--resume, or .*--out"
)


class SmallDisk:
    """A file system in memory with room for so many KiB."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(path))

    def grow(self) -> None:
        self._run("mount", "-o", "remount,size=64m", str(self.path))

    def remove(self) -> None:
        self._run("umount", "-l", str(self.path))

    @staticmethod
    def _run(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, text=True)


def can_mount(folder: Path) -> bool:
    try:
        disk = SmallDisk(folder / "probe", 64)
    except (OSError, subprocess.CalledProcessError):
        return False
    disk.remove()
    return True


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """While entered, no file of this process grows beyond ``size`` bytes: what is written is cut there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def full_after(writes: int) -> Iterator[None]:
    """While entered, the disk is full from so many writes on: half of what is written comes to be on it."""
    fsync, left = os.fsync, writes

    def fill_up(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            with contextlib.suppress(OSError):  # opened to be read
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder, **SETTINGS)
    return folder


@pytest.mark.parametrize("size", [30, 50, 100, 200])
def test_a_small_disk(tmp_path: Path, whole: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    if not can_mount(tmp_path):
        pytest.skip("mounts a file system, which takes root: the same is tried by limits and by injected errors")
    disk = SmallDisk(tmp_path / "disk", size)
    try:
        out = disk.path / "run"
        with pytest.raises(lv.CheckpointError, match=MESSAGE) as caught:
            run(out, **SETTINGS)
        assert len(str(caught.value).splitlines()) == 1
        if list_checkpoints(out / "checkpoints"):
            load_checkpoint(out / "checkpoints")
            lv.load(out)
            capsys.readouterr()
            assert main(["train", "--resume", str(out), "--quiet"]) == 2
            assert re.fullmatch(rf"(lagvae: warning: .*\n)*lagvae: {MESSAGE}.*\n", capsys.readouterr().err)
        disk.grow()
        run(out, resume=True, **SETTINGS)
        assert_same_run(out, whole)
    finally:
        disk.remove()


@pytest.mark.parametrize("size", [300, 2_000, 30_000])
def test_files_that_may_not_grow(tmp_path: Path, whole: Path, size: int) -> None:
    """A write that fails halfway, by the system's own limit: of the configuration, of the log, of the weights."""
    out = tmp_path / "run"
    with small_files(size), pytest.raises(lv.CheckpointError, match=MESSAGE):
        run(out, **SETTINGS)
    resume = (out / "config.yaml").exists()
    if resume:
        with small_files(size), pytest.raises(lv.CheckpointError, match=MESSAGE):
            run(out, resume=True, **SETTINGS)
    run(out, resume=resume, **SETTINGS)
    assert_same_run(out, whole)


@pytest.mark.parametrize("writes", [0, 2, 9, 23, 77])
def test_a_write_that_fails_halfway(tmp_path: Path, whole: Path, writes: int) -> None:
    out = tmp_path / "run"
    with full_after(writes), pytest.raises(lv.CheckpointError, match=MESSAGE):
        run(out, **SETTINGS)
    if list_checkpoints(out / "checkpoints"):
        load_checkpoint(out / "checkpoints")
    run(out, resume=(out / "config.yaml").exists(), **SETTINGS)
    assert_same_run(out, whole)


@pytest.mark.parametrize("method", ["amortised", "dedicated"])
def test_a_front_on_a_disk_that_is_full_for_a_while(tmp_path: Path, method: str) -> None:
    problems = {"amortised": (), "dedicated": (PROBLEM, PROBLEM.replace("45", "44"))}[method]
    settings = {**SMALL, "epochs": 1, "checkpoint_seconds": 0.0, "log_every": 3}
    settings |= {"divergence": "none"} if method == "amortised" else {}
    whole = lv.fit_front("digits", problems, method=method, out=tmp_path / "whole", **settings)
    for writes in (1, 18):
        out = tmp_path / str(writes)
        with full_after(writes), pytest.raises(lv.CheckpointError, match=MESSAGE):
            lv.fit_front("digits", problems, method=method, out=out, **settings)
        made = lv.fit_front(
            "digits", problems, method=method, out=out, resume=(out / "config.yaml").exists(), **settings
        )
        assert [point.status for point in made.points] == [point.status for point in whole.points]
        assert str([point.estimates for point in made.points]) == str([point.estimates for point in whole.points])
        if method == "amortised":
            assert_same_tensors(*(load_checkpoint(f / "checkpoints")[0] for f in (out, tmp_path / "whole")))


def test_a_picture_that_cannot_be_written(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "picture.png"
    with small_files(500):
        assert main(["sample", str(whole), "--out", str(out)]) == 2
        assert main(["report", str(whole), "--out", str(out)]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert re.fullmatch(r"lagvae: expected to write .*picture\.png, got .*File too large.*; try .*", line)
