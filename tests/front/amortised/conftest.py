from __future__ import annotations

import pytest

import lagvae as lv
from lagvae.front.amortised.front import AmortisedFront
from small_fronts import SMALL


@pytest.fixture(scope="session")
def trained_front(tmp_path_factory: pytest.TempPathFactory) -> AmortisedFront:
    """A front of digits without a divergence that has learned something."""
    out = tmp_path_factory.mktemp("fronts") / "digits"
    front = lv.fit_front("digits", out=out, epochs=40, divergence="none", held_out=0.2, **SMALL)
    assert isinstance(front, AmortisedFront)
    return front
