"""A configuration whose bytes are flipped or cut, at the command line: done, or one line and exit status 2."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from damaging import damage

from .test_fuzz import CHEAP, silently

CASES = 50
COMMANDS = {
    "resume": ("run", ["train", "--resume", "run", "--quiet"]),
    "repeat": ("run", ["train", "--config", "run/config.yaml", "--out", "other", "--overwrite", *CHEAP]),
    "sample": ("run", ["sample", "run", "--out", "x.npy"]),
    "evaluate": ("run", ["evaluate", "run", "--quick"]),
    "front": ("front", ["front", "--resume", "front", "--quiet"]),
    "solve": ("front", ["solve", "front", "max mi s.t. neg_elbo <= 90"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path, before = tmp_path_factory.mktemp("damage"), Path.cwd()
    os.chdir(path)
    Path("table.csv").write_text("a,b,c\n" + "0,1,0\n1,0,1\n1,1,0\n" * 8)
    run = ["train", "min rate s.t. neg_elbo <= 50", "--data", "table.csv", *CHEAP, "--out", "run"]
    front = ["front", "--data", "table.csv", *CHEAP, "--group-size", "4", "--divergence", "none", "--out", "front"]
    assert [silently(line)[0] for line in (run, front)] == [0, 0]
    yield path
    os.chdir(before)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_configuration_is_done_or_one_line(folder: Path, command: str) -> None:
    where, line = COMMANDS[command]
    path = folder / where / "config.yaml"
    content, chance, refused = path.read_bytes(), random.Random(command), 0
    kept = folder / "kept"
    shutil.copytree(folder / where, kept)
    for _ in range(CASES):
        path.write_bytes(damage(content, chance))
        status, out, err = silently(line)
        complaints = [text for text in err.splitlines() if not text.startswith("lagvae: warning: ")]
        assert status in (0, 2) or (status == 1 and "DIVERGED" in out), (status, err)
        assert len(complaints) == (status == 2), err
        refused += status == 2
    shutil.rmtree(folder / where)
    kept.rename(folder / where)
    assert refused >= CASES / 5
