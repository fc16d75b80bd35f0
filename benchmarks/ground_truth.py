"""The tests' closed forms, under a name that does not collide with this folder's own ``truth``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SOURCE = Path(__file__).parents[1] / "tests" / "truth.py"
_spec = importlib.util.spec_from_file_location("tests_truth", _SOURCE)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module  # dataclasses look their module up
_spec.loader.exec_module(_module)

LinearGaussian = _module.LinearGaussian
