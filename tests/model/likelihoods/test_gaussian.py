from __future__ import annotations

import math

import pytest
import torch

from lagvae.data.examples import Examples
from lagvae.errors import DataError, SettingError
from lagvae.model.likelihoods.gaussian import DECAY, FixedGaussian, LearnedGaussian, OptimalGaussian
from lagvae.model.likelihoods.likelihood import BOUND

TABLE = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 1.0, 1e4]) + torch.tensor(
    [5.0, 0.0, -7e5]
)


def test_columns_are_standardised_on_the_way_in_and_back_on_the_way_out() -> None:
    likelihood = LearnedGaussian((3,))
    likelihood.adapt(Examples(TABLE))
    shown = likelihood.features(TABLE)
    torch.testing.assert_close(shown.mean(0), torch.zeros(3), rtol=0, atol=2e-3)
    torch.testing.assert_close(shown.std(0), torch.ones(3), rtol=3e-3, atol=0)
    torch.testing.assert_close(likelihood.mean(shown), TABLE)


def test_the_density_is_that_of_the_data_in_their_own_units() -> None:
    likelihood = LearnedGaussian((3,))
    before = likelihood.log_prob(torch.zeros(500, 3), TABLE)
    likelihood.adapt(Examples(TABLE))
    normal = torch.distributions.Normal(TABLE.mean(0), TABLE.std(0, correction=0))
    torch.testing.assert_close(
        likelihood.log_prob(torch.zeros(500, 3), TABLE), normal.log_prob(TABLE).sum(-1), rtol=1e-3, atol=1e-2
    )
    assert not torch.allclose(before, normal.log_prob(TABLE).sum(-1))


def test_a_table_has_a_scale_per_column_and_an_image_has_one() -> None:
    assert LearnedGaussian((3,)).raw_log_std.shape == (3,)
    assert LearnedGaussian((1, 4, 4)).raw_log_std.shape == (1,)
    assert OptimalGaussian((1, 4, 4)).running_variance.shape == (1,)


def test_a_constant_column_keeps_its_unit() -> None:
    likelihood = LearnedGaussian((2,))
    likelihood.adapt(Examples(torch.stack([torch.full((50,), 3.0), torch.arange(50.0)], 1)))
    assert likelihood.scale[0] == 1.0
    assert likelihood.scale[1] > 10
    assert torch.isfinite(likelihood.log_prob(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))).all()


def test_log_variances_are_bounded() -> None:
    likelihood = LearnedGaussian((1,))
    for raw in (-1e9, 1e9):
        torch.nn.init.constant_(likelihood.raw_log_std, raw)
        assert float(likelihood.known_log_std().detach().abs()) <= BOUND
        assert torch.isfinite(likelihood.log_prob(torch.zeros(1, 1), torch.ones(1, 1))).all()
    optimal = OptimalGaussian((1,)).train()
    found = optimal.log_prob(torch.ones(4, 1), torch.ones(4, 1))  # no residual at all
    torch.testing.assert_close(found, torch.full((4,), BOUND - 0.5 * math.log(2 * math.pi)))


def test_the_optimal_variance_is_the_likelihoods_maximum() -> None:
    likelihood = OptimalGaussian((1, 2, 3)).train()
    x, m = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(1))
    best = likelihood.log_prob(m, x).mean()
    for std in (x - m).square().mean().sqrt() * torch.tensor([0.9, 0.99, 1.01, 1.1]):
        assert torch.distributions.Normal(m, std).log_prob(x).sum(-1).mean() < best
    std = (x - m).square().mean().sqrt()
    torch.testing.assert_close(best, torch.distributions.Normal(m, std).log_prob(x).sum(-1).mean())


def test_in_evaluation_the_running_variance_is_used_and_stays() -> None:
    likelihood = OptimalGaussian((2,)).train()
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(2)) * torch.tensor([0.5, 2.0])
    for _ in range(5):
        likelihood.log_prob(torch.zeros(400, 2), x)
    torch.testing.assert_close(likelihood.running_variance, x.square().mean(0))
    likelihood.eval()
    kept = likelihood.running_variance.clone()
    torch.testing.assert_close(likelihood.known_log_std(), 0.5 * kept.log())
    likelihood.log_prob(torch.zeros(400, 2), 100 * x)
    assert torch.equal(likelihood.running_variance, kept)
    likelihood.train()
    for _ in range(100):
        likelihood.log_prob(torch.zeros(400, 2), 3 * x)
    torch.testing.assert_close(likelihood.running_variance, 9 * kept, rtol=1e-3, atol=0)
    assert DECAY**100 < 1e-4


def test_bytes_are_spread_over_the_gap_to_the_next() -> None:
    raw = torch.tensor([0, 100, 255], dtype=torch.uint8).repeat(10_000, 1)
    x = FixedGaussian((3,)).prepare(raw, torch.Generator().manual_seed(1))
    for column, value in enumerate((0, 100, 255)):
        assert value / 256 <= float(x[:, column].min()) <= float(x[:, column].max()) < (value + 1) / 256
        assert float(x[:, column].std()) == pytest.approx(1 / 256 / math.sqrt(12), rel=0.03)
    likelihood = LearnedGaussian((3,))
    likelihood.adapt(Examples(raw[:100]))
    torch.testing.assert_close(likelihood.location, x.mean(0), rtol=0, atol=1e-3)


def test_wrong_data_and_settings_are_refused() -> None:
    with pytest.raises(DataError, match=r"finite values in bad, got nan at index \[0, 1\]"):
        LearnedGaussian((2,)).check(Examples(torch.tensor([[0.0, math.nan]])), name="bad")
    with pytest.raises(SettingError, match="expected a standard deviation between"):
        FixedGaussian((2,), std=0.0)
