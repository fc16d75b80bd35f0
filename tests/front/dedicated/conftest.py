from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lagvae as lv
from lagvae.front.dedicated import engine


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the points fail to begin whose problem holds a text."""
    fitting = engine.fitting

    def make(text: str) -> None:
        def fail(problem: lv.Problem, *args: Any, **options: Any) -> Any:
            if text in str(problem):
                raise lv.SolveError("expected luck, got none; try again")
            return fitting(problem, *args, **options)

        monkeypatch.setattr(engine, "fitting", fail)

    return make
