from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import lagvae as lv

SCRIPT = Path(__file__).parents[2] / "examples" / "own_network.py"


def test_a_network_of_ones_own_trains(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("own_network", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["own_network.py", "--epochs", "2"])
    solution = module.main()
    assert solution.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)
    assert str(solution.status) in capsys.readouterr().out
