"""The code blocks of a page: found, and run as they stand.

Python and shell blocks run from top to bottom in one folder, the Python ones in one namespace. Two comments that no
reader of the page sees say what is different for a test:

    <!-- first:                      <!-- not run: why -->
    python code
    -->

``first`` runs before the block that follows it: names that the page takes for granted. ``not run`` leaves the next
block out, and has to say why.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lagvae.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_PIECES = re.compile(
    r"^<!-- first:\n(?P<first>.*?)^-->|^<!-- not run:(?P<why>.*?)-->|^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """Code of a page, in ``python`` or ``sh``, and the line that it begins in."""

    language: str
    code: str
    line: int
    left_out: str | None = None


def read_blocks(text: str) -> list[Block]:
    """Returns the Python and shell code of a page in order, hidden code included."""
    blocks: list[Block] = []
    why: str | None = None
    for piece in _PIECES.finditer(text):
        line = text.count("\n", 0, piece.start()) + 2
        if piece["why"] is not None:
            why = piece["why"].strip()
        elif piece["first"] is not None:
            blocks.append(Block("python", piece["first"], line))
        elif piece["language"] in ("python", "sh"):
            blocks.append(Block(piece["language"], piece["code"], line, left_out=why))
            why = None
    return blocks


def run_blocks(blocks: list[Block], *, page: str, patch: pytest.MonkeyPatch) -> None:
    """Runs blocks in the current folder; what fails raises, with its page and line."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        if block.left_out is not None:
            continue
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), namespace)
        else:
            for command in block.code.replace("\\\n", " ").splitlines():
                _run_command(command, where=f"{page}, block at line {block.line}: {command}", patch=patch)


def _run_command(command: str, *, where: str, patch: pytest.MonkeyPatch) -> None:
    """Runs a line of shell. lagvae and Python scripts run in this process: what is small here is small there."""
    words = shlex.split(command, comments=True)
    if not words:
        return
    if words[0] == "export":
        for setting in words[1:]:
            patch.setenv(*setting.split("=", 1))
    elif words[0] == "lagvae" and not {"|", ">", "&&"} & set(words):
        try:
            status = main(words[1:])
        except SystemExit as end:  # help
            status = int(end.code or 0)
        assert status == 0, where
    elif words[0] == "python" and words[1].endswith(".py"):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", words[1:])
            patched.syspath_prepend(str(Path(words[1]).parent.absolute()))
            runpy.run_path(words[1], run_name="__main__")
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ended = subprocess.run(
            ["bash", "-ec", command], env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert ended.returncode == 0, f"{where}\n{ended.stderr}"
