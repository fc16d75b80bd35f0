"""How does a team start and end? All of it, or none."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
import torch.multiprocessing

import lagvae.errors as errors
from lagvae.distributed.team import Team
from lagvae.errors import LagvaeError, SettingError, SolveError, expected

Member = Callable[..., None]
"""Called in each process with its team, a folder for what it hands back, and the arguments."""

PATIENCE = 10.0
"""Seconds that the others are given to end by themselves, once one process has failed."""


def run_team(member: Member, size: int, folder: Path, *arguments: Any) -> None:
    """Runs a function in ``size`` processes at once, and waits for them.

    Ctrl-C is passed on to every process, once; what it means there is up to the function. A second one ends them all.

    Args:
        member: A function of a module, so that another process finds it.
        size: How many processes.
        folder: An empty folder where they meet, and leave what they hand back.
        *arguments: What each is given; tensors on the processor are shared, not copied.

    Raises:
        SettingError: The arguments cannot be sent to another process.
        LagvaeError: As a process raised it.
        SolveError: A process ended in another way; the others are ended too.
    """
    context = torch.multiprocessing.get_context("spawn")
    common = (member, size, os.getpid(), str(folder), arguments)
    processes = [context.Process(target=_enter, args=(rank, *common), daemon=True) for rank in range(size)]
    is_main = threading.current_thread() is threading.main_thread()
    # Processes start with Ctrl-C ignored, as they inherit it: it is passed on to those that are ready for it.
    previous = (signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None) or signal.SIG_DFL
    try:
        _start(processes)
        if is_main:
            signal.signal(signal.SIGINT, _pass_on(processes, previous))
        _wait(processes, folder)
    finally:
        if is_main:
            signal.signal(signal.SIGINT, previous)
        for process in processes:
            _end(process)


def _start(processes: Sequence[BaseProcess]) -> None:
    try:
        for process in processes:
            process.start()
    except OSError:
        raise
    except Exception as error:  # whatever an object raises that is asked to be sent
        fix = "functions and classes of a module, e.g. functools.partial(torch.optim.AdamW, lr=1e-3)"
        raise SettingError(expected("what another process can be sent", got=str(error), fix=fix)) from error


def _pass_on(processes: Sequence[BaseProcess], previous: Any) -> Callable[..., None]:
    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)  # a second one insists
        for process in processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, number)

    return handle


def _wait(processes: Sequence[BaseProcess], folder: Path) -> None:
    """Returns once all have ended well; raises as soon as one has not."""
    left = {process.sentinel: process for process in processes}
    while left:
        for sentinel in wait(list(left)):
            process = left.pop(cast("int", sentinel))
            process.join()
            if process.exitcode == 0:
                continue
            # One that is gone takes the others along within moments: the first cause is the one to name.
            for other in left.values():
                other.join(PATIENCE)
            raise _error(processes, folder)


def _error(processes: Sequence[BaseProcess], folder: Path) -> LagvaeError:
    """Returns what ended a team: the signal that ended a process, or what one of them raised."""
    for rank, process in enumerate(processes):
        if process.exitcode is not None and process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            return _ended(len(processes), f"process {rank} ended by {name}")
    written = sorted(folder.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns)
    found = sorted((json.loads(path.read_text()) for path in written), key=lambda error: error["is_of_team"])
    if not found:  # it has said on stderr why
        fix = 'to call from under if __name__ == "__main__": in a script'
        return _ended(len(processes), "one that did not get as far", fix=fix)
    kind = getattr(errors, found[0]["kind"], None)
    if isinstance(kind, type) and issubclass(kind, LagvaeError):
        return kind(found[0]["message"])
    error = _ended(len(processes), f"{found[0]['kind']}: {found[0]['message']}"[:300])
    error.add_note(found[0]["trace"])
    return error


def _ended(size: int, got: str, *, fix: str = "to resume the run") -> SolveError:
    return SolveError(expected(f"{size} processes that train to the end", got=got, fix=fix))


def _end(process: BaseProcess) -> None:
    """Ends a process that is still there."""
    if process.pid is None:
        return
    for stop in (process.terminate, process.kill):
        if process.is_alive():
            stop()
            process.join(PATIENCE)


def _enter(rank: int, member: Member, size: int, parent: int, folder: str, arguments: tuple[Any, ...]) -> None:
    """Runs in each process."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: no network is asked
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // size))
        member(Team.join(rank, size, parent, f"{folder}/meeting"), Path(folder), *arguments)
        torch.distributed.destroy_process_group()
    except BaseException as error:
        content = {
            "kind": type(error).__name__,
            "message": " ".join(str(error).split()),
            "trace": traceback.format_exc(),
            # What a process says of a colleague that is gone comes after what that one said itself.
            "is_of_team": not isinstance(error, LagvaeError),
        }
        Path(folder, f"error-{rank}.json").write_text(json.dumps(content))
        _leave(1)
    _leave(0)


def _leave(status: int) -> NoReturn:
    """Ends this process at once.

    Leaving in good order would wait for the others where one has failed. Where all went well, a thread that carried
    messages may still hold a tensor of ours; to let go of it while the interpreter is taken down is SIGABRT.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def meeting_folder() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder where a team meets; removed when it is left."""
    return tempfile.TemporaryDirectory(prefix="lagvae-")
