from __future__ import annotations

import math

import torch

from lagvae.front.amortised.family import BEYOND, TILT, Family

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


def quantile(share: torch.Tensor) -> torch.Tensor:
    """The integral of the density 1 + TILT (2 share - 1)."""
    return (1 - TILT) * share + TILT * share.square()


def test_high_beta_is_drawn_more_often() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([FAMILY.draw(5, 5, generator)[..., 0].flatten() for _ in range(400)])
    assert drawn.abs().max() <= 1
    # 10,000 stratified draws: the lowest fifth of log β has 0.152 of them, the highest 0.248, to 0.0015 (five errors).
    for low, high, expected in ((-1.0, -0.6, 0.152), (0.6, 1.0, 0.248)):
        assert abs(float(((drawn >= low) & (drawn < high)).float().mean()) - expected) < 0.0015


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
