"""The examples for what is one's own, each run as it is typed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "own"


def run(name: str, *options: str, cwd: Path) -> str:
    command = [sys.executable, str(FOLDER / name), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, env=environment).stdout


def test_a_network_of_ones_own_trains(tmp_path: Path) -> None:
    assert re.match(r"(in)?feasible \{'neg_elbo': [\d.]+\}", run("network.py", "--epochs", "2", cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_lightning_module_of_ones_own_trains(tmp_path: Path) -> None:
    lines = run("in_lightning.py", "--epochs", "2", cwd=tmp_path).splitlines()
    multipliers, logged = (ast.literal_eval(line) for line in lines[-2:])
    assert multipliers["neg_elbo"] > 0
    assert {"terms/neg_elbo", "violation/neg_elbo", "multiplier/neg_elbo"} <= set(logged)
    assert list(tmp_path.iterdir()) == []


def test_the_lagrangian_in_a_loop_of_ones_own_keeps_its_bound(tmp_path: Path) -> None:
    multipliers, terms = (ast.literal_eval(line) for line in run("loop.py", cwd=tmp_path).splitlines())
    assert multipliers["neg_elbo"] >= 0
    assert terms["distortion"] + terms["rate"] < 30.5  # a mean over about 20 batches of 100; the bound is 30


def test_the_loop_takes_under_25_lines() -> None:
    text = (FOLDER / "loop.py").read_text()
    module = ast.parse(text)
    lines = {line for node in module.body for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    imports = {node.lineno for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)}
    docstring = set(range(1, (module.body[0].end_lineno or 0) + 1))
    assert len(lines - imports - docstring) < 25
