"""``lagvae report`` on the folder of a front, of either kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import lagvae as lv
from lagvae.cli.main import main
from lagvae.front.amortised import fit

TINY: dict[str, Any] = {
    "epochs": 1, "hidden": (8,), "latent_dim": 2, "device": "cpu", "precision": "float32", "progress": False,
}  # fmt: skip


def written(folder: Path, said: str) -> str:
    """The page, where all three files are there and said to be."""
    assert said == f"page in {folder / 'report.html'}\nfigure in {folder / 'front.png'} and {folder / 'front.pdf'}\n"
    assert (folder / "front.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(folder / "front.png") as picture:
        assert min(picture.size) > 500
    return (folder / "report.html").read_text("utf-8")


def test_a_front_of_one_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "BETAS", 3)
    monkeypatch.setattr(fit, "GAMMAS", 2)
    lv.fit_front("digits", out=tmp_path / "front", **TINY)
    capsys.readouterr()
    assert main(["report", str(tmp_path / "front")]) == 0
    page = written(tmp_path / "front", capsys.readouterr().out)
    assert page.count("data:image/png;base64,") == 1 + 6 + 40
    assert '"data":"digits"' in page


def test_a_front_of_runs_into_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = ["max mi s.t. neg_elbo <= 100", "min mi s.t. neg_elbo <= 5"]
    lv.fit_front("digits", problems, method="dedicated", out=tmp_path / "front", **TINY)
    capsys.readouterr()
    assert main(["report", str(tmp_path / "front"), "--out", str(tmp_path / "to" / "show")]) == 0
    page = written(tmp_path / "to" / "show", capsys.readouterr().out)
    assert page.count("data:image/png;base64,") == 1 + 2
    assert '"status":"infeasible"' in page
    (tmp_path / "taken").write_text("")
    assert main(["report", str(tmp_path / "front"), "--out", str(tmp_path / "taken")]) == 2
    assert "expected to write into" in capsys.readouterr().err
