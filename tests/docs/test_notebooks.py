"""The notebooks run from their first cell to their last, and what they show is stored and small."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from .blocks import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALL = f"""
import sys, pytest
sys.path.insert(0, {str(ROOT / "tests" / "docs")!r})
from small import shrink
shrink(pytest.MonkeyPatch())
"""


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Runs a notebook in a kernel of its own, at a small size."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALL))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    execute(nbformat.read(path, 4), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_that_raises_fails(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('no')")])
    with pytest.raises(CellExecutionError, match=r"ValueError.*no"):
        execute(notebook, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_whole_and_small(path: Path) -> None:
    assert path.stat().st_size < 500 * 1024
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    stored = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in stored) >= 4
    assert [output for output in stored if output.output_type == "error" or output.get("name") == "stderr"] == []


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["images", "table"]
