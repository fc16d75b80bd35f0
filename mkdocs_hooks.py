"""What the documentation site does beyond mkdocs.yml.

Links of pages that leave docs/ work on a forge; here the results of benchmarks become pages, and examples files, of the
site. Cross-references in docstrings are Sphinx's, and become links.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
OUTSIDE = (
    "benchmarks/results/*.md",
    "benchmarks/zhao2018/*.md",
    "benchmarks/zhao2018/*/*.png",
    "benchmarks/zhao2018/*/*.pdf",
    "examples/own/*.py",
)
"""What pages may link to outside of docs/."""

_ROLE = re.compile(r":(?:class|func|meth|mod|attr):<code>(~?)([\w.]+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what lies outside of docs/, at the place that it has beside docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            added = File.generated(config, name, abs_src_path=str(path), inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Drops the step out of docs/ from links to what was added."""
    depth = page.file.src_uri.count("/")
    return markdown.replace(f"]({'../' * (depth + 1)}", f"]({'../' * depth}")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links of a docstring's cross-references; mkdocs-autorefs fills in those that it knows."""

    def link(found: re.Match[str]) -> str:
        tilde, target = found.groups()
        shown = target.rpartition(".")[2] if tilde else target
        return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'

    return _ROLE.sub(link, html)
