from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lagvae.front.amortised.family import BEYOND, DENSITY, Family, place_quantiles

FAMILY = Family(beta=(0.1, 10.0), gamma=(10.0, 1e5), share=0.5)


def test_conditions_run_from_minus_one_to_one_over_the_logarithms() -> None:
    highest = BEYOND * 10.0
    weights = torch.tensor([[0.1, 10.0], [math.sqrt(0.1 * highest), 1e3], [highest, 1e5]])
    torch.testing.assert_close(FAMILY.conditions(weights), torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(FAMILY.weights(FAMILY.conditions(weights)), weights)


def test_every_stratum_of_beta_is_drawn_from_once_up_to_beyond_the_highest() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        drawn = FAMILY.draw(5, 5, generator).flatten(0, 1)
        strata = (quantile((drawn[:, 0] + 1) / 2) * 25).floor()
        torch.testing.assert_close(strata, torch.arange(25.0))
        assert FAMILY.weights(drawn)[-1, 0] > 10.0
    assert not torch.equal(FAMILY.draw(5, 5, generator).flatten(0, 1), drawn)


def quantile(places: torch.Tensor) -> torch.Tensor:
    """The integral of the density up to places in [0, 1], by the trapezoidal rule on a fine grid, its corners in it."""
    grid = np.union1d(np.linspace(0.0, 1.0, 2001), [place for place, _ in DENSITY])
    density = np.interp(grid, *zip(*DENSITY, strict=True))
    integral = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)])
    return torch.from_numpy(np.interp(places.double().numpy(), grid, integral / integral[-1])).float()


def test_places_invert_the_integral_of_the_density() -> None:
    quantiles = torch.linspace(0.0, 1.0, 101)
    places = place_quantiles(quantiles)
    torch.testing.assert_close(quantile(places), quantiles, atol=2e-6, rtol=0.0)
    assert (places[0], places[-1]) == (0.0, pytest.approx(1.0, abs=1e-6))


def test_the_high_end_is_drawn_more_often() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([FAMILY.draw(5, 5, generator)[..., 0].flatten() for _ in range(400)])
    assert drawn.abs().max() <= 1
    # 10,000 stratified draws of the lowest and the highest fifth of log β; 0.0015 is five errors.
    for low, high in ((-1.0, -0.6), (0.6, 1.0)):
        ends = quantile((torch.tensor([low, high]) + 1) / 2)
        assert abs(float(((drawn >= low) & (drawn < high)).float().mean()) - float(ends.diff())) < 0.0015
    assert (drawn > 0.6).sum() > 1.4 * (drawn < -0.6).sum()


def test_a_share_of_the_groups_weighs_the_divergence() -> None:
    drawn = torch.cat([FAMILY.draw(25, 1, torch.Generator().manual_seed(seed)).flatten(0, 1) for seed in range(400)])
    weighed = drawn[:, 1] > -1
    # 10,000 draws of probability 1/2: five standard errors are 0.025 (false alarm 6e-7).
    assert abs(float(weighed.float().mean()) - 0.5) < 0.025
    # Uniform on [-1, 1]: mean 0 ± 5 · 0.577 / √5000.
    assert abs(float(drawn[weighed, 1].mean())) < 0.042
    none = Family(share=0.0).draw(5, 5, torch.Generator().manual_seed(0))
    assert (none[..., 1] == -1).all()


def test_the_groups_of_a_block_share_their_divergences_weight() -> None:
    drawn = FAMILY.draw(5, 5, torch.Generator().manual_seed(3))
    assert (drawn[..., 1] == drawn[:, :1, 1]).all()
    assert len(drawn[:, 0, 1].unique()) > 1
