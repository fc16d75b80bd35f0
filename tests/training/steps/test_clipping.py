"""A gradient that is far larger than usual is scaled down; all others are left alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import get_total_norm

from lagvae.training.steps.clipping import LIMIT, MEMORY, Clipping


def weights_of(*gradients: list[float] | None) -> list[nn.Parameter]:
    weights = []
    for gradient in gradients:
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = None if gradient is None else torch.tensor(gradient)
        weights.append(weight)
    return weights


def clip(clipping: Clipping, weights: list[nn.Parameter], *, look: bool = True) -> None:
    clipping(weights, get_total_norm([weight.grad for weight in weights if weight.grad is not None]), look=look)


def gradients_of(weights: list[nn.Parameter]) -> list[list[float] | None]:
    return [None if weight.grad is None else weight.grad.tolist() for weight in weights]


@pytest.mark.parametrize("look", [True, False])
def test_the_first_step_says_what_is_usual_and_healthy_ones_are_left_alone(look: bool) -> None:
    clipping, usual = Clipping("cpu"), 5.0
    for scale in (1.0, 1.4, 0.3, 4.9):
        gradients = [[3.0 * scale, 0.0], None, [0.0, 4.0 * scale]]
        weights = weights_of(*gradients)
        clip(clipping, weights, look=look)
        assert gradients_of(weights) == [pytest.approx(g, rel=1e-7) if g else g for g in gradients]
        usual = 5.0 * scale if scale == 1.0 else MEMORY * usual + (1 - MEMORY) * 5.0 * scale
        assert float(clipping.usual) == pytest.approx(usual, rel=1e-6)


@pytest.mark.parametrize("look", [True, False])
def test_one_batch_does_not_count_for_more_than_a_few(look: bool) -> None:
    clipping = Clipping("cpu")
    clip(clipping, weights_of([3.0, 0.0], [0.0, 4.0]), look=look)
    weights = weights_of([3e6, 0.0], None, [0.0, 4e6])
    clip(clipping, weights, look=look)
    assert gradients_of(weights) == [pytest.approx([3 * LIMIT, 0.0]), None, pytest.approx([0.0, 4 * LIMIT])]
    assert float(clipping.usual) == pytest.approx(5 * (MEMORY + (1 - MEMORY) * LIMIT))


def test_what_stays_large_becomes_usual() -> None:
    clipping = Clipping("cpu")
    clip(clipping, weights_of([1.0, 0.0]))
    norms = []
    for _ in range(400):
        weights = weights_of([1000.0, 0.0])
        clip(clipping, weights)
        assert weights[0].grad is not None
        norms.append(float(weights[0].grad.norm()))
    assert norms[0] == pytest.approx(LIMIT)
    assert norms == sorted(norms)
    assert norms[-1] == 1000.0


@pytest.mark.parametrize("look", [True, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_hidden(bad: float, look: bool) -> None:
    clipping = Clipping("cpu")
    clip(clipping, weights_of([1.0, 0.0]), look=look)
    weights = weights_of([bad, 1.0])
    clip(clipping, weights, look=look)
    assert weights[0].grad is not None
    assert not torch.isfinite(weights[0].grad).all()


@pytest.mark.parametrize("look", [True, False])
def test_no_gradients_at_first_say_nothing(look: bool) -> None:
    clipping = Clipping("cpu")
    for gradient, left in (([0.0, 0.0], [0.0, 0.0]), ([1.0, 0.0], [1.0, 0.0]), ([0.0, 100.0], [0.0, LIMIT])):
        weights = weights_of(gradient)
        clip(clipping, weights, look=look)
        assert gradients_of(weights) == [pytest.approx(left)]
