"""Any words at the command line: done, or one line and exit status 2; never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lagvae.cli.main import main
from lagvae.settings import FrontSettings, setting_names

CASES = 500

COMMANDS = [
    "train",
    "front",
    "solve",
    "probe",
    "evaluate",
    "sample",
    "report",
    "data",
    "trian",
    "--version",
    "--help",
    "",
]
FLAGS = [f"--{name.replace('_', '-')}" for name in (*setting_names(), *vars(FrontSettings()))]
FLAGS += ["--data", "--out", "--resume", "--config", "--preset", "--method", "--overwrite", "--json", "--quiet", "--n"]
FLAGS += [
    "--kind",
    "--on",
    "--polish",
    "--samples",
    "--examples",
    "--no-shuffle",
    "--epoch",
    "-h",
    "--",
    "-x",
    "--=",
    "---",
]
VALUES = [
    "x.npy",
    "table.csv",
    "run",
    "front",
    "a.yaml",
    "absent",
    "other",
    "other/run",
    "",
    ".",
    "..",
    "[/x]",
    "x.png",
]
VALUES += ["0", "1", "2", "-1", "0.5", "1e-3", "1e999", "nan", "inf", "true", "None", "auto", "cpu", "cuda", "zhao2018"]
VALUES += [
    "default",
    "amortised",
    "dedicated",
    "path",
    "gelu",
    "mlp",
    "flow",
    "poisson",
    "gaussian",
    "sgd",
    "adam",
    "geco",
]
PROBLEMS = [
    "min rate s.t. neg_elbo <= 500",
    "max mi s.t. neg_elbo <= 1:3:1",
    "max mi",
    "min rate s.t. rate <= best",
    "fetch",
]
CHEAP = ["--epochs", "1", "--hidden", "4", "--latent-dim", "2", "--batch-size", "8", "--quiet"]
TAKE_SETTINGS = ("train", "front", "probe")

strange = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=8)
words = st.lists(st.sampled_from(FLAGS) | st.sampled_from(VALUES) | st.sampled_from(PROBLEMS) | strange, max_size=4)
"""A lone word may be a path, so that none leads out of the folder."""
settled = st.builds(
    lambda flag, value: [flag, value], st.sampled_from(FLAGS), st.sampled_from(VALUES) | strange
)  # a flag and its value
sensible = st.sampled_from(
    [
        ["train", PROBLEMS[0], "--data", "x.npy", "--out", "other", "--overwrite"],
        ["train", "--resume", "run"],
        ["train", "--config", "a.yaml", "--out", "other", "--overwrite"],
        ["front", "--data", "x.npy", "--out", "other-front", "--overwrite", "--divergence", "none"],
        ["solve", "front", "max mi s.t. neg_elbo <= 90"],
        ["evaluate", "run", "--quick"],
        ["sample", "run", "--out", "x.png"],
        ["report", "run", "--out", "y.png"],
        ["probe", "--data", "x.npy"],
    ]
)
lines = st.builds(lambda first, rest: [first, *rest], st.sampled_from(COMMANDS), words) | st.builds(
    lambda base, more: [*base, *more], sensible, settled | words
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data, a configuration, a run and a front."""
    path = tmp_path_factory.mktemp("fuzz")
    before = Path.cwd()
    os.chdir(path)
    np.save("x.npy", np.random.default_rng(0).random((20, 1, 4, 4), dtype=np.float32))
    Path("table.csv").write_text("a,b\n" + "1,2\n3,5\n" * 9)
    train = ["train", PROBLEMS[0], "--data", "x.npy", *CHEAP, "--out", "run"]
    assert silently(train)[0] == 0
    front = ["front", "--data", "x.npy", *CHEAP, "--group-size", "4", "--divergence", "none", "--out", "front"]
    assert silently(front)[0] == 0
    shutil.copy("run/config.yaml", "a.yaml")
    yield path
    os.chdir(before)


def silently(line: list[str]) -> tuple[int, str, str]:
    """Runs a command; returns its exit status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            status = main(line)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


SEEN: Counter[int] = Counter()


@settings(max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(line=lines)
def test_any_words_are_done_or_one_line(folder: Path, line: list[str]) -> None:
    if line[0] in TAKE_SETTINGS:
        line = [*line, *CHEAP]
    line = [word for word in line if word != "--debug"]
    status, out, err = silently(line)
    SEEN[status] += 1
    complaints = [text for text in err.splitlines() if not text.startswith("lagvae: warning: ")]
    if status == 2:
        assert len(complaints) == 1, (line, err)
        assert complaints[0].startswith("lagvae: ")
        assert "Traceback" not in err
    elif status == 1:
        assert "DIVERGED" in out or "diverged" in out or "failed" in out, (line, out)
    else:
        assert status == 0


def test_some_of_them_were_done() -> None:
    """Of the words above, when they were tried in this process."""
    if SEEN:
        assert SEEN[0] >= CASES / 50
        assert SEEN[2] >= CASES / 2
