"""The same seed gives the same bits, twice, for fit and every way to a front; another seed gives others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch

import lagvae as lv
from lagvae.front.amortised.front import AmortisedFront
from small_fronts import SMALL
from tiny_runs import run

PROBLEMS = ("min rate s.t. neg_elbo <= 60", "min rate s.t. neg_elbo <= 50")
Bits = tuple[str, list[bytes]]
"""What was measured, and every weight."""


def weights(model: torch.nn.Module) -> list[bytes]:
    return [tensor.cpu().numpy().tobytes() for tensor in model.state_dict().values()]


def bits_of_a_run(seed: int) -> Bits:
    found = run(seed=seed, epochs=1)
    assert found.evaluation is not None
    return json.dumps([found.evaluation.as_dict(), found.multipliers]), weights(found.model)


def bits_of_a_front(method: str) -> Callable[[int], Bits]:
    def bits(seed: int) -> Bits:
        problems = () if method == "amortised" else PROBLEMS
        front = lv.fit_front("digits", problems, method=method, seed=seed, **{**SMALL, "epochs": 1, "hidden": (8,)})
        points = [{**dataclasses.asdict(point), "seconds": 0.0} for point in front.points]
        if isinstance(front, AmortisedFront):
            return json.dumps(points), weights(front.network)
        return json.dumps(points), [w for index in range(2) for w in weights(front.solution_at(index).model)]

    return bits


WAYS: dict[str, Callable[[int], Bits]] = {
    "fit": bits_of_a_run,
    **{method: bits_of_a_front(method) for method in ("amortised", "dedicated", "path")},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_seed_decides_every_bit(way: str) -> None:
    torch.manual_seed(1)  # nothing hangs on torch's own generator
    first = WAYS[way](0)
    torch.manual_seed(2)
    again = WAYS[way](0)
    assert first == again
    other = WAYS[way](1)
    assert other[0] != first[0]
    assert other[1] != first[1]
