"""Active units and the rate by dimension."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lagvae.evaluation.latent.information import rate_information
from lagvae.evaluation.latent.units import active_units, rate_per_dimension
from lagvae.model.flow import FlowPrior
from truth import LinearGaussian
from truth_codes import draw_codes


def test_dimensions_are_active_by_the_variance_of_their_means() -> None:
    """Means of variance 1, 0.02, 0.005 and 0; the width of the posterior does not matter."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 0.02**0.5, 0.005**0.5, 0.0])
    mean = 3 + torch.randn(2000, 4, generator=generator) * scale
    codes = draw_codes(mean, torch.tensor([-3.0, -1.0, 0.0, 0.0]).expand(2000, 4), generator)
    found = active_units(codes)
    assert found.value == 2
    assert found.standard_error < 1e-3
    assert active_units(codes, threshold=0.001).value == 3


def test_a_dimension_on_the_threshold_counts_half() -> None:
    """With variance 0.01 exactly, it is counted in about half of the repeats, and the error says ±½."""
    found = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        mean = 0.1 * torch.randn(400, 1, generator=generator)
        found.append(active_units(draw_codes(mean, torch.zeros_like(mean), generator)))
    values = np.array([e.value for e in found])
    assert abs(values.mean() - 0.5) < 0.15
    assert 0.3 < np.mean([e.standard_error for e in found]) < 0.5


def test_rates_by_dimension_sum_to_the_rate() -> None:
    truth = LinearGaussian.arbitrary(event=5, latent=3, seed=2)
    x = truth.sample_data(5000, seed=0).double().numpy()
    mean = torch.tensor(x @ truth.slope.T + truth.offset)
    log_std = torch.tensor(np.log(truth.std)).expand_as(mean)
    codes = draw_codes(mean, log_std, torch.Generator().manual_seed(0))
    found = rate_per_dimension(codes)
    assert sum(e.value for e in found) == pytest.approx(rate_information(codes).value, rel=1e-12)
    centre, covariance = truth.aggregate()
    for dimension, estimate in enumerate(found):
        second_moment = centre[dimension] ** 2 + covariance[dimension, dimension]
        exact = 0.5 * (second_moment - 1 - 2 * math.log(truth.std[dimension]))
        assert abs(estimate.value - exact) < 4 * estimate.standard_error


def test_a_learned_prior_has_no_rates_by_dimension() -> None:
    """It is no product over dimensions; those against N(0, I) would not sum to the rate."""
    generator = torch.Generator().manual_seed(0)
    codes = draw_codes(torch.randn(20, 4, generator=generator), torch.zeros(20, 4), generator)
    assert len(rate_per_dimension(codes)) == 4
    assert rate_per_dimension(replace(codes, prior=FlowPrior(4))) == ()
