"""The documentation's site builds without a warning, which is where broken links and anchors would show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lagvae

from .blocks import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout + ended.stderr
    return folder


def test_every_public_name_is_on_a_page(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    assert [name for name in lagvae.__all__ if f'id="{lagvae._HOMES[name]}.{name}"' not in text] == []


def test_docstrings_cross_references_became_links(site: Path) -> None:
    pages = {page.name: page.read_text() for page in (site / "api").glob("*.html")}
    assert [name for name, text in pages.items() if re.search(r":(class|func|meth|mod):", text)] == []
    assert 'href="solving.html#lagvae.training.solution.Solution' in pages["elsewhere.html"]


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*src=\"?(?:https?:)?//[^\s\">]+|<link[^>]*rel=\"?stylesheet[^>]*//[^\s\">]+"
    )
    assert {page.name: found for page in site.rglob("*.html") if (found := loaded.findall(page.read_text()))} == {}


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
