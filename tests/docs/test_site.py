"""The documentation's site builds without a warning, which is where broken links and anchors would show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lagvae

from .blocks import ROOT


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds a site; not --quiet, under which mkdocs counts no warning, and --strict means nothing."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(folder),
    ]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    ended = build(ROOT / "mkdocs.yml", folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.mark.parametrize(
    ("text", "said"), [("[here](nowhere.md)", "target is not found"), ("[here](#nowhere)", "no such anchor")]
)
def test_a_broken_link_fails(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{text}\n")
    validation = "validation:" + (ROOT / "mkdocs.yml").read_text().partition("\nvalidation:")[2]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: broken\nplugins: []\n{validation}")
    ended = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert ended.returncode == 1
    assert said in ended.stderr


def test_every_public_name_is_on_a_page(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    assert [name for name in lagvae.__all__ if f'id="{lagvae._HOMES[name]}.{name}"' not in text] == []


def test_docstrings_cross_references_became_links(site: Path) -> None:
    pages = {page.name: page.read_text() for page in (site / "api").glob("*.html")}
    assert [name for name, text in pages.items() if re.search(r":(class|func|meth|mod):", text)] == []
    assert 'href="solving.html#lagvae.training.outcome.solution.Solution' in pages["elsewhere.html"]


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*src=\"?(?:https?:)?//[^\s\">]+|<link[^>]*rel=\"?stylesheet[^>]*//[^\s\">]+"
    )
    assert {page.name: found for page in site.rglob("*.html") if (found := loaded.findall(page.read_text()))} == {}


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
