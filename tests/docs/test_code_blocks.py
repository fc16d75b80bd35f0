"""Every Python and shell block of README.md and docs/ runs, at a small size; see blocks.py for how pages steer it."""

from __future__ import annotations

from pathlib import Path

import pytest

import lagvae.problem.text  # knows every term, before the registry is copied
import lagvae.terms.term

from .blocks import PAGES, ROOT, Block, read_blocks, run_blocks
from .small import shrink, stand_in_for_mnist

WITH_CODE = [page for page in PAGES if read_blocks(page.read_text())]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_pages_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    stand_in_for_mnist(monkeypatch, tmp_path / "data")
    monkeypatch.setattr(lagvae.terms.term, "_REGISTRY", dict(lagvae.terms.term._REGISTRY))
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(ROOT / "examples")
    run_blocks(read_blocks(page.read_text()), page=str(page), patch=monkeypatch)


def test_what_is_left_out_says_why() -> None:
    left_out = [block for page in PAGES for block in read_blocks(page.read_text()) if block.left_out is not None]
    assert 0 < len(left_out) < 10
    assert all(len(block.left_out or "") > 10 for block in left_out)


TEXT = """
<!-- first:
x = 1
-->
```python
y = x + 1
```
text
```
no code
```
<!-- not run: it needs a network -->
```sh
curl example.org
```
```sh
test 1 = 1
```
"""


def test_blocks_are_found_in_order() -> None:
    assert read_blocks(TEXT) == [
        Block("python", "x = 1\n", 3),
        Block("python", "y = x + 1\n", 6),
        Block("sh", "curl example.org\n", 14, left_out="it needs a network"),
        Block("sh", "test 1 = 1\n", 17),
    ]


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("```python\nx = 1\nraise ValueError('no')\n```", ValueError, "no"),
        ("```sh\ntest 1 = 2\n```", AssertionError, "page.md, block at line 2: test 1 = 2"),
        ("```sh\nlagvae sample nowhere # a run\n```", AssertionError, "page.md, block at line 2: lagvae sample"),
    ],
)
def test_what_fails_fails(text: str, error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(error, match=match):
        run_blocks(read_blocks(text), page="page.md", patch=monkeypatch)
    run_blocks(read_blocks(TEXT), page="page.md", patch=monkeypatch)
