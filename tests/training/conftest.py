from __future__ import annotations

import pytest

import lagvae as lv
from lagvae.terms import term as term_module


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, lv.Term]:
    """The registered terms; what a test adds is forgotten after it."""
    import lagvae.problem.text  # noqa: F401 (registers the built-in terms, which are not to be forgotten)

    own = dict(term_module._REGISTRY)
    monkeypatch.setattr(term_module, "_REGISTRY", own)
    return own
