"""One process at a time in a folder; a lock whose process is gone is taken over, another machine's is respected."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import re
import signal
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest

import lagvae as lv
from lagvae.cli.main import main
from lagvae.errors import DamageWarning
from lagvae.storage import lock as lock_module
from lagvae.storage.lock import LOCK, Holder, check_unlocked, discard_elsewhere, locked
from lagvae.training.steps.session import Session
from small_fronts import SMALL
from tiny_runs import PROBLEM, assert_same_run, content, run, stopped_after

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")

HERE = Holder.here()


def write_lock(folder: Path, holder: Holder) -> None:
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps(asdict(holder)))


def dead_process() -> int:
    """The id of a process that has just ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


class Other:
    """Another process, which holds a folder until it is told to end or is killed."""

    def __init__(self, folder: Path) -> None:
        ready, tell = os.pipe()
        self.wait, self.end = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            with locked(folder):
                os.write(tell, b".")
                os.close(self.end)
                os.read(self.wait, 1)
            os._exit(0)
        os.close(self.wait)
        assert os.read(ready, 1) == b"."

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.end)
        os.waitpid(self.process, 0)


def test_a_folder_is_held_and_let_go(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with locked(folder):
        found = json.loads((folder / LOCK).read_text())
        assert (found["process"], found["host"]) == (os.getpid(), HERE.host)
        with pytest.raises(lv.CheckpointError, match=rf"got process {os.getpid()} on .*; try waiting"), locked(folder):
            pass
        (folder / "file").write_text("kept")
    assert content(tmp_path) == {"a/run/file": b"kept"}
    with locked(folder):
        pass
    assert content(tmp_path) == {"a/run/file": b"kept"}


def test_a_lock_that_cannot_be_written_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(lock_module.os, "write", full)
        with pytest.raises((OSError, lv.CheckpointError), match="No space left"), locked(folder):
            pass
    with locked(folder):  # once there is room again
        assert (folder / LOCK).exists()


def test_nothing_is_left_of_a_folder_that_came_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(ZeroDivisionError, match="division"), locked(tmp_path / "own" / "a" / "run"):
        _ = 1 / 0
    with locked(tmp_path / "own"):
        pass
    assert list(tmp_path.rglob("*")) == [tmp_path / "own"]


def test_the_second_process_is_refused_with_the_first_ones_id_and_host(tmp_path: Path) -> None:
    with Other(tmp_path / "run") as other:
        message = (
            rf"expected .*run for this process alone, got process {other.process} on {re.escape(HERE.host)}, since"
        )
        for refused in (lambda: run(tmp_path / "run"), lambda: run(tmp_path / "run", overwrite=True)):
            with pytest.raises(lv.CheckpointError, match=message):
                refused()
        with pytest.raises(lv.CheckpointError, match=message):
            lv.fit_front("digits", out=tmp_path / "run", epochs=1, **SMALL)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    run(tmp_path / "run", epochs=1)


def test_two_processes_that_train_in_one_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The second resumes while the first is in the middle of its steps; what the first finds is not disturbed."""
    run(tmp_path / "whole")
    with stopped_after(4):
        run(tmp_path / "run")
    take_step, told = Session.take_step, []

    def watched(session: Session) -> object:
        values = take_step(session)
        if session.step == 9:
            child = os.fork()
            if child == 0:
                os._exit(main(["train", "--resume", str(tmp_path / "run"), "--quiet"]))
            told.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "take_step", watched)
        run(tmp_path / "run", resume=True)
    assert told == [2]
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(
        rf"^lagvae: expected .*, got process {os.getpid()} on .*, which is writing there; try waiting", line
    )
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_killed_processs_lock_is_taken_over_with_a_word(tmp_path: Path) -> None:
    other = Other(tmp_path / "run")
    os.kill(other.process, signal.SIGKILL)
    os.waitpid(other.process, 0)
    assert (tmp_path / "run" / LOCK).exists()
    check_unlocked(tmp_path / "run")
    word = rf"was locked by process {other.process} on .*, which has ended without a word: going on in its place"
    with pytest.warns(DamageWarning, match=word):
        run(tmp_path / "run", epochs=1)
    assert not (tmp_path / "run" / LOCK).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path / "run", epochs=1, resume=True)


@pytest.mark.parametrize(
    "stale",
    [
        Holder(dead_process(), HERE.host, HERE.boot, "then"),
        Holder(os.getpid(), HERE.host, "an earlier start", "then"),  # an id that another process has by now
        Holder(dead_process(), "a container of this machine", HERE.boot, "then"),
    ],
    ids=["dead", "rebooted", "container"],
)
@pytest.mark.parametrize("has_flock", [True, False])
def test_a_stale_lock_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: Holder, has_flock: bool
) -> None:
    if not has_flock:
        forget_flock(monkeypatch)
    write_lock(tmp_path, stale)
    word = f"was locked by process {stale.process} on {stale.host}, since then"
    with pytest.warns(DamageWarning, match=word), locked(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("has_flock", [True, False])
def test_another_machines_lock_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_flock: bool) -> None:
    if not has_flock:
        forget_flock(monkeypatch)
    write_lock(tmp_path / "run", Holder(dead_process(), "elsewhere", "another start", "then"))
    message = r"got a lock of process \d+ on elsewhere, since then; try another --out, or, .*, rm .*run/\.lock"
    for attempt in (lambda: locked(tmp_path / "run").__enter__(), lambda: run(tmp_path / "run", resume=True)):
        with pytest.raises(lv.CheckpointError, match=message):
            attempt()
    (tmp_path / "run" / LOCK).unlink()
    with locked(tmp_path / "run"):
        pass


def test_without_flock_a_living_process_keeps_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_flock(monkeypatch)
    write_lock(tmp_path, dataclasses.replace(HERE, process=os.getppid()))
    with pytest.raises(lv.CheckpointError, match=rf"got process {os.getppid()} on .*, which is writing there"):
        check_unlocked(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"process": 1}', "\0" * 99, "[" * 4000])
def test_a_lock_that_says_nothing_is_held_by_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()


def test_a_lock_that_was_replaced_is_left_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / LOCK).unlink()
        (tmp_path / LOCK).write_text("somebody else's")
    assert (tmp_path / LOCK).read_text() == "somebody else's"


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("years")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*run, got Too many levels of symbolic links"):
        run(tmp_path / "run", PROBLEM)
    assert (tmp_path / "precious").read_text() == "years"


def forget_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"):
        fcntl.flock(0, 0)


def test_only_another_machines_lock_is_discarded(tmp_path: Path) -> None:
    discard_elsewhere(tmp_path)
    for holder, is_left in ((Holder(1, "elsewhere", "another start", "then"), False), (HERE, True)):
        write_lock(tmp_path, holder)
        discard_elsewhere(tmp_path)
        assert (tmp_path / LOCK).exists() == is_left
