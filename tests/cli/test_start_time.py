"""How long does it take to begin? In processor time, which other work on the machine does not stretch much."""

from __future__ import annotations

import subprocess
import sys

HELP = 0.5
IMPORT = 0.2
"""Seconds: of a whole process that prints its help, and of ``import lagvae`` after ``import torch``."""


def processor_seconds(code: str, *, after: str = "") -> float:
    """Returns what ``code`` takes in an interpreter of its own that has run ``after`` before; all of it without one."""
    began = f"{after}\nimport time\nbegan = time.process_time()" if after else "import time\nbegan = 0.0"
    script = f"{began}\n{code}\nprint(time.process_time() - began)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return float(ended.stdout.splitlines()[-1])


def test_help_is_there_at_once() -> None:
    code = "from lagvae.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert min(processor_seconds(code) for _ in range(2)) < HELP


def test_importing_lagvae_adds_little_to_importing_torch() -> None:
    assert processor_seconds("import lagvae", after="import torch") < IMPORT


def test_what_is_slow_would_be_noticed() -> None:
    assert processor_seconds("while time.process_time() - began < 0.3: pass", after="pass") > IMPORT
    assert processor_seconds("while time.process_time() < 0.6: pass") > HELP
