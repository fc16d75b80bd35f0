from __future__ import annotations

import pytest


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms that a test registers are forgotten after it."""
    # Imported here: the shape checker's hook has to be in place before lagvae is.
    from lagvae.terms import term

    monkeypatch.setattr(term, "_REGISTRY", term.registered_terms())
