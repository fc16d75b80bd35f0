"""Files made to do harm: none runs code, writes or deletes outside its folder, or gets a word into a page as code."""

from __future__ import annotations

import html.parser
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import lagvae as lv
from lagvae.cli.main import main
from lagvae.data.named import download
from lagvae.report.front_page import write_front_page
from lagvae.storage.files import CHECKSUM, checksum, write_json, write_whole
from lagvae.training.portable import CONFIG, WEIGHTS, pack, unpack
from small_fronts import SMALL
from tiny_runs import content, run

STRUCK: list[str] = []


def strike(word: str) -> None:
    STRUCK.append(word)


class Bomb:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return strike, ("pickle",)


@pytest.fixture(autouse=True)
def _unharmed(tmp_path: Path) -> Any:
    """Nothing ran, and what lies beside the folders of a test is as it was."""
    STRUCK.clear()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    yield
    assert STRUCK == []
    assert content(precious) == {"thesis.tex": b"years"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder, hidden=(4,), epochs=1, checkpoint_seconds=0.0)
    return folder


def test_the_bomb_would_go_off() -> None:
    pickle.loads(pickle.dumps(Bomb()))
    assert STRUCK == ["pickle"]
    STRUCK.clear()


def pickled_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_arrays_that_are_pickles(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(pickled_npy())
    np.savez(tmp_path / "x.npz", train=np.zeros((3, 3)), test=np.array([Bomb()], dtype=object))
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Bomb()))
    torch.save({"x": Bomb()}, tmp_path / "torch.npz")
    for name in ("x.npy", "x.npz", "bare.npy", "torch.npz"):
        with pytest.raises(lv.DataError, match=r"expected (a whole file of numeric arrays|the keys train, test)"):
            lv.open_data(tmp_path / name)


def test_a_header_of_an_array_is_no_program(tmp_path: Path) -> None:
    header = b"{'descr': __import__('os').system('touch struck'), 'fortran_order': False, 'shape': (3, 3)}\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(lv.DataError, match="expected a whole file of numeric arrays"):
        lv.open_data(tmp_path / "x.npy")
    assert not Path("struck").exists()


EVIL_YAML = (
    "!!python/object/apply:os.system ['touch struck']",
    "!!python/name:os.system",
    "!!python/object/new:type {args: ['x', !!python/tuple [], {}]}",
)


@pytest.mark.parametrize("evil", EVIL_YAML)
def test_configurations_that_are_programs(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], evil: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "run")
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(f"{text}\nprior: {evil}\n")
    with pytest.raises(lv.CheckpointError, match="expected a YAML file"):
        lv.load("run")
    assert main(["train", "--config", "run/config.yaml", "--out", "other"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(lv.CheckpointError, match="expected the files of a saved model"):
        unpack({**pack(lv.load(finished)), CONFIG: evil.encode()})
    assert not (tmp_path / "struck").exists()


def test_a_configuration_that_explodes_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nested a thousandfold; and names for names for names (a billion laughs)."""
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 5_000)
    laughs = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
    (tmp_path / "laughs.yaml").write_text(f"l0: &l0 [lol]\n{laughs}\n")
    for name in ("deep.yaml", "laughs.yaml"):
        assert main(["train", "--config", str(tmp_path / name), "--out", str(tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert len(line) < 400


def test_weights_that_are_pickles(finished: Path, tmp_path: Path) -> None:
    evil = io.BytesIO()
    torch.save({"model/weight": Bomb()}, evil)
    with pytest.raises(lv.CheckpointError, match="expected the files of a saved model"):
        unpack({**pack(lv.load(finished)), WEIGHTS: evil.getvalue()})
    shutil.copytree(finished, tmp_path / "run")
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        (checkpoint / "tensors.safetensors").write_bytes(evil.getvalue())
        reseal(checkpoint / "state.json", sha256=checksum_of(evil.getvalue()))
    with pytest.raises(lv.CheckpointError, match="expected a whole checkpoint"):
        lv.load(tmp_path / "run")


def checksum_of(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()


def reseal(path: Path, **changes: Any) -> None:
    """Changes a document and gives it the checksum that goes with it: who means harm can count."""
    found = {**json.loads(path.read_text()), **changes}
    plain = {name: value for name, value in found.items() if name != CHECKSUM}
    path.write_text(json.dumps({**plain, CHECKSUM: checksum(plain)}))


@pytest.mark.parametrize("name", ["../../precious/thesis.tex", "/tmp/struck", "..\\struck", "a/../../struck"])
def test_names_in_archives_lead_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    array = io.BytesIO()
    np.save(array, np.zeros((4, 3), dtype=np.float32))
    with zipfile.ZipFile(tmp_path / "data" / "x.npz", "w") as archive:
        archive.writestr(f"{name}.npy", array.getvalue())
    before = sorted(tmp_path.rglob("*"))
    assert len(lv.open_data(tmp_path / "data" / "x.npz").train) == 3
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/struck.npy").exists()


@pytest.mark.parametrize("kind", ["parent", "absolute", "symbolic link", "hard link", "device"])
def test_packages_from_a_registry_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    wanted = "package/data/images"

    def pack_evil(npm: str, package: str, folder: str) -> None:
        with tarfile.open(Path(folder) / "evil.tgz", "w:gz") as archive:
            for name in {"parent": "../../precious/thesis.tex", "absolute": "/tmp/struck"}.get(kind, wanted), wanted:
                info = tarfile.TarInfo(name)
                info.size = 4
                if kind == "symbolic link":
                    info.type, info.linkname, info.size = tarfile.SYMTYPE, str(tmp_path / "precious/thesis.tex"), 0
                elif kind == "hard link":
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, "../../precious/thesis.tex", 0
                elif kind == "device":
                    info.type, info.size = tarfile.CHRTYPE, 0
                archive.addfile(info, io.BytesIO(b"evil"[: info.size]))

    monkeypatch.setattr(download, "_run_npm", pack_evil)
    monkeypatch.setattr(download.shutil, "which", lambda name: "npm")
    before = sorted(tmp_path.rglob("*"))
    if kind in ("parent", "absolute"):
        assert download.read_npm_package("x@1", [wanted], progress=False) == {wanted: b"evil"}
    else:
        with pytest.raises(download.UnavailableError, match=r"is no regular file|holds no"):
            download.read_npm_package("x@1", [wanted], progress=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/struck").exists()


def test_a_front_whose_points_lie_elsewhere(tmp_path: Path, finished: Path) -> None:
    front = lv.fit_front(
        "digits", "min rate s.t. neg_elbo <= 60", method="dedicated", out=tmp_path / "front", epochs=1, **SMALL
    )
    shutil.copytree(finished, tmp_path / "elsewhere")
    for escape in ("../elsewhere", str(tmp_path / "elsewhere"), "points/../../elsewhere"):
        points = [{**point.as_dict(), "folder": escape} for point in front.points]
        reseal(tmp_path / "front" / "front.json", points=points)
        with pytest.raises(lv.CheckpointError, match=r"expected a folder of the front, got '.*elsewhere'; try"):
            lv.load_front(tmp_path / "front").solution_at(0)


@pytest.mark.parametrize("changes", [{"status": "splendid"}, {"points": 3}, {"points": [{}]}])
def test_a_front_of_another_kind(tmp_path: Path, finished: Path, changes: dict[str, Any]) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "front": {}}))
    content = {"points": [], "status": "feasible", "message": "", "data": "", "seconds": 0.0, "steps": 0}
    (tmp_path / "front.json").write_text("{}")
    reseal(tmp_path / "front.json", **{**content, "method": "dedicated", **changes})
    with pytest.raises(lv.CheckpointError, match=r"expected all of a front in .*front.json, got .*; try lagvae front"):
        lv.load_front(tmp_path)


def test_links_in_a_runs_folder_are_not_followed_to_what_they_point_at(finished: Path, tmp_path: Path) -> None:
    for name in ("checkpoints", "tensorboard"):
        folder = tmp_path / name / "run"
        shutil.copytree(finished, folder)
        shutil.rmtree(folder / name)
        (folder / name).symlink_to(tmp_path / "precious")
        run(folder, overwrite=True, epochs=1)
        assert not (folder / name).is_symlink()
        assert lv.load(folder).step == 6
    folder = tmp_path / "files"
    shutil.copytree(finished, folder)
    for name in (
        "metrics.jsonl",
        "evaluation.json",
        ".metrics.jsonl.part",
        ".evaluation.json.part",
        ".config.yaml.part",
    ):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "precious" / "thesis.tex")
    run(folder, overwrite=True, epochs=1)
    assert not [path for path in folder.iterdir() if path.is_symlink() and path.name == "metrics.jsonl"]


def test_a_checkpoint_of_an_earlier_run_does_not_outlive_it(finished: Path, tmp_path: Path) -> None:
    """Overwriting a run that cannot be removed is an error, not a run that resumes from another's weights."""
    shutil.copytree(finished, tmp_path / "run")

    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(lv.CheckpointError, match=r"expected to write .*, got Permission denied"):
            run(tmp_path / "run", overwrite=True, seed=1)


def test_write_whole_replaces_a_link_and_not_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "precious" / "thesis.tex")
    write_whole(tmp_path / "file", b"new")
    write_json(tmp_path / "file", {"a": 1})
    assert not (tmp_path / "file").is_symlink()


def test_problems_are_no_paths(tmp_path: Path) -> None:
    """A point's folder is named after its problem; nothing in a problem's text leaves the front's folder."""
    front = lv.fit_front(
        "digits",
        ["min rate s.t. neg_elbo <= 60", "min   rate/../../x s.t. neg_elbo <= 60".replace("/../../x", "")],
        method="dedicated",
        out=tmp_path / "front",
        epochs=1,
        **SMALL,
    )
    for point in front.points:
        assert point.folder is not None
        assert (tmp_path / "front" / point.folder).resolve().is_relative_to((tmp_path / "front" / "points").resolve())


class Elements(html.parser.HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += [name for name, _ in attrs]


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--<script>"


def test_text_of_a_run_is_text_in_its_page(tmp_path: Path) -> None:
    front = lv.fit_front("digits", epochs=1, divergence="none", **SMALL)
    write_front_page(front, tmp_path / "plain.html")
    front.data_name = EVIL
    front.message = EVIL
    front.points = tuple(
        type(point)(**{**vars(point), "problem": EVIL, "message": EVIL, "folder": EVIL}) for point in front.points
    )
    write_front_page(front, tmp_path / "evil.html")
    pages = []
    for name in ("plain.html", "evil.html"):
        page = Elements()
        page.feed((tmp_path / name).read_text())
        pages.append((page.found, page.attributes))
    assert pages[0] == pages[1]
    assert pages[0][0].count("script") == 2
    assert "Content-Security-Policy" in (tmp_path / "evil.html").read_text()


def test_a_runs_text_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    config = {"problem": "min \x1b]0;owned\x07 rate\x1b[2J", "data": "digits", "event_shape": [1], "custom": []}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "--config", str(tmp_path / "run" / "config.yaml"), "--out", str(tmp_path / "x")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable(), line


@pytest.mark.parametrize("name", ["[/red]", "[bold]", "a[/]b", "[link=x]"])
def test_a_folders_name_is_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = ["train", "min rate s.t. neg_elbo <= 500", "--data", "digits", "--epochs", "1", "--hidden", "4"]
    assert main([*words, "--latent-dim", "2", "--device", "cpu", "--quiet", "--out", str(tmp_path / name)]) == 0
    shown = capsys.readouterr()
    assert name in shown.out.replace("\n", "")
    assert shown.err == ""
