from __future__ import annotations

import os

import pytest

# Two workers on two cores: a thread each, set before torch is loaded. Threads that wait for a core the
# other worker holds make the suite three times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms that a test registers are forgotten after it."""
    # Imported here: the shape checker's hook has to be in place before lagvae is.
    from lagvae.terms import term

    monkeypatch.setattr(term, "_REGISTRY", term.registered_terms())
