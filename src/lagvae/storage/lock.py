"""One process at a time in a folder that is written to.

The lock is a file ``.lock`` that names its process. The process also holds it by flock, which the system ends with the
process, however that ends: a lock that is held by nobody is stale and is taken over. On a file system without
flock a process id decides. Another machine's lock is respected always: whether its process runs cannot be seen from
here, and flock does not reach across every network file system.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lagvae.errors import CheckpointError, DamageWarning, expected
from lagvae.storage.files import cannot_write

try:
    import fcntl
except ImportError:  # no such thing on Windows: a process id decides there
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        process: Its id.
        host: The machine's name.
        boot: What tells one start of one machine from every other, or "" where there is no such thing.
        since: When it was locked, for people.
    """

    process: int
    host: str
    boot: str
    since: str

    @staticmethod
    def here() -> Holder:
        """Returns this process."""
        boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
        return Holder(os.getpid(), platform.node(), boot, time.strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"

    def is_elsewhere(self) -> bool:
        """Whether it is of another machine; one with another name but the same start is a container of this one."""
        here = self.here()
        return self.host != here.host and (self.boot != here.boot or not self.boot)

    def is_alive(self) -> bool:
        """Whether a process of this machine has that id since the machine was started."""
        if self.boot != self.here().boot:
            return False
        if os.name != "posix":
            return True  # signal 0 is no question there
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):  # another user's
            return True
        return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder, which is made if it is missing, and removed again if nothing came to be in it.

    Raises:
        CheckpointError: Another process holds it, or it cannot be written.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _take(folder / LOCK)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        # Removed while it is held: who has opened this very file finds that it is not the one in the folder any more.
        if _is_at(handle, folder / LOCK):
            (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)
        with contextlib.suppress(OSError):
            for made in missing:
                made.rmdir()


def check_unlocked(folder: Path) -> None:
    """Raises CheckpointError if another process holds the folder: before anything that takes long."""
    with contextlib.suppress(OSError):  # what is wrong with the folder shows when it is locked
        os.close(_open(folder / LOCK, os.O_RDWR))


def discard_elsewhere(folder: Path) -> None:
    """Removes another machine's lock: for a caller who knows that its process has ended, which cannot be seen here."""
    with contextlib.suppress(OSError):
        handle = os.open(folder / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            holder = _read(handle)
            if holder is not None and holder.is_elsewhere():
                (folder / LOCK).unlink()
        finally:
            os.close(handle)


def _take(path: Path) -> int:
    """Returns a handle of the lock, which is held as long as that is open."""
    while True:
        handle = _open(path, os.O_RDWR | os.O_CREAT)
        if _is_at(handle, path):
            break
        os.close(handle)  # its holder has just removed it
    stale = _read(handle)
    if stale is not None:
        text = f"{path.parent} was locked by {stale}, which has ended without a word: going on in its place"
        warnings.warn(text, DamageWarning, stacklevel=4)
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(asdict(Holder.here())).encode())
    except BaseException:  # on a full disk: what cannot be signed is not held
        path.unlink(missing_ok=True)
        os.close(handle)
        raise
    return handle


def _open(path: Path, flags: int) -> int:
    """Returns a handle of the lock file, held by flock where there is such a thing.

    Raises:
        CheckpointError: Another process holds it.
    """
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        is_free = _flock(handle)
        holder = _read(handle)
        if holder is not None and holder.is_elsewhere():
            fix = f"another --out, or, if that process has ended, rm {path}"
            raise CheckpointError(expected(f"{path.parent} for this process alone", got=f"a lock of {holder}", fix=fix))
        if is_free is False or (is_free is None and holder is not None and holder.is_alive()):
            got = f"{holder or 'another process'}, which is writing there"
            fix = "waiting for it, another --out, or ending it"
            raise CheckpointError(expected(f"{path.parent} for this process alone", got=got, fix=fix))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is the one in the folder: nobody has removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _flock(handle: int) -> bool | None:
    """Holds the lock if nobody does; returns whether it is held now, None where the file system knows no such thing."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _read(handle: int) -> Holder | None:
    """Returns who is written down; None where nobody is, as right after a lock was made."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        return Holder(**json.loads(os.read(handle, 4096)))
    except (ValueError, TypeError, RecursionError):
        return None
