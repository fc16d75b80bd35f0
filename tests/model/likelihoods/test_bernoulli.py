from __future__ import annotations

import pytest
import torch

from lagvae.data.examples import Examples
from lagvae.errors import DataError
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.likelihoods.likelihood import Likelihood
from truth import Gaussian

LOGITS = torch.linspace(-30, 30, 24).reshape(2, 3, 4)


def test_log_probability_is_torchs() -> None:
    x = torch.bernoulli(torch.full_like(LOGITS, 0.5), generator=torch.Generator().manual_seed(1))
    expected = torch.distributions.Bernoulli(logits=LOGITS).log_prob(x).sum(-1)
    torch.testing.assert_close(Bernoulli().log_prob(LOGITS, x), expected)
    assert not torch.allclose(Bernoulli().log_prob(LOGITS, 1 - x), expected)


def test_extreme_logits_stay_finite() -> None:
    found = Bernoulli().log_prob(torch.tensor([[1000.0, -1000.0]]), torch.tensor([[0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([-1000.0]))


def test_low_precision_logits_are_scored_in_float32() -> None:
    assert Bernoulli().log_prob(torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(1, 2)).dtype == torch.float32


def test_mean_is_the_probability_of_each_bit() -> None:
    torch.testing.assert_close(Bernoulli().mean(LOGITS), torch.sigmoid(LOGITS))


def test_samples_are_bits_of_the_generator() -> None:
    fair = torch.zeros(2, 50)
    first, again, other = (Bernoulli().sample(fair, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_intensities_are_binarised_afresh() -> None:
    generator = torch.Generator().manual_seed(1)
    raw = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat(20_000, 1)
    first, second = Bernoulli().prepare(raw, generator), Bernoulli().prepare(raw, generator)
    assert not torch.equal(first, second)
    assert first[:, 0].max() == 0.0
    assert first[:, 2].min() == 1.0
    # 0.2 ± 4 √(0.16 / 20,000): false alarm 6.3e-5.
    assert float(first[:, 1].mean()) == pytest.approx(0.2, abs=0.0113)


def test_values_outside_the_unit_interval_are_refused() -> None:
    Bernoulli().check(Examples(torch.tensor([[0.0, 1.0]])), name="fine")
    with pytest.raises(DataError, match=r"expected .*bad.*got .*1\.5"):
        Bernoulli().check(Examples(torch.tensor([[0.0, 1.5]])), name="bad")


def test_a_users_likelihood_is_one() -> None:
    assert isinstance(Bernoulli(), Likelihood)
    assert isinstance(Gaussian(0.5), Likelihood)
    assert not isinstance(torch.nn.Linear(1, 1), Likelihood)


def test_truth_gaussian_is_torchs() -> None:
    x, mean = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3))
    expected = torch.distributions.Normal(mean, 0.7).log_prob(x).sum(-1)
    torch.testing.assert_close(Gaussian(0.7).log_prob(mean, x), expected)
