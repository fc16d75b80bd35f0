"""The tail's shape, against samples whose tail is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lagvae.evaluation.likelihood.pareto import largest_reliable_shape, pareto_shape, tail_length


def largest(log_weights: Tensor) -> Tensor:
    return log_weights.topk(tail_length(len(log_weights)) + 1, dim=0).values


@pytest.mark.parametrize("shape", [-0.5, 0.2, 0.5, 0.8, 1.2])
def test_pareto_weights_have_their_shape(shape: float) -> None:
    """Inverse of the distribution function: w = (u^(-k) - 1) / k, and any scale."""
    u = torch.rand(100_000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = (u**-shape - 1) / shape + 3
    found = pareto_shape(largest(weights.log() + 700))
    assert float(found.mean()) == pytest.approx(shape, abs=0.05)
    assert float(found.std()) < 0.08


def test_a_proposal_of_half_the_width_has_a_shape_of_three_quarters() -> None:
    """Z ~ N(0, s²) for N(0, 1): P(w > t) falls like t^(-1/(1 - s²)), so k = 1 - s²."""
    u = torch.randn(200_000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for width, shape in ((0.5, 0.75), (0.2, 0.96)):
        found = pareto_shape(largest(0.5 * u.square() * (1 - width**2)))
        assert float(found.mean()) == pytest.approx(shape, abs=0.15)
    wider = pareto_shape(largest(0.5 * u.square() * (1 - 1.2**2)))
    assert float(wider.mean()) < 0.3


def test_equal_weights_have_no_tail_and_few_tell_nothing() -> None:
    assert pareto_shape(torch.full((30, 2), -90.0)).tolist() == [-math.inf] * 2
    rounding = 1e-5 * torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    assert pareto_shape(rounding.sort(dim=0, descending=True).values).tolist() == [-math.inf] * 2
    assert pareto_shape(torch.full((5, 2), -90.0)).isnan().all()
    partly = torch.tensor([3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unsqueeze(1)
    assert pareto_shape(partly).isfinite().all()


def test_sizes_and_limits() -> None:
    assert [tail_length(samples) for samples in (1, 25, 100, 1000, 10_000)] == [0, 5, 20, 94, 300]
    assert largest_reliable_shape(100) == pytest.approx(0.5)
    assert largest_reliable_shape(10**6) == 0.7
    assert largest_reliable_shape(1) == -math.inf
