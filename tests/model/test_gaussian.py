from __future__ import annotations

import numpy as np
import pytest
import torch

from lagvae.model.gaussian import DiagonalGaussian, standard_normal_log_prob
from truth import gaussian_kl, gaussian_log_density


@pytest.fixture
def gaussian() -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(1)
    return DiagonalGaussian(*torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64))


def as_torch(gaussian: DiagonalGaussian) -> torch.distributions.Independent:
    return torch.distributions.Independent(torch.distributions.Normal(gaussian.mean, gaussian.log_std.exp()), 1)


def test_log_density_is_torchs(gaussian: DiagonalGaussian) -> None:
    z = torch.linspace(-3, 3, 60, dtype=torch.float64).reshape(4, 5, 3)
    torch.testing.assert_close(gaussian.log_prob(z), as_torch(gaussian).log_prob(z))
    assert not torch.allclose(gaussian.log_prob(z), as_torch(gaussian).log_prob(z + 0.01))


def test_log_density_is_the_textbooks() -> None:
    mean, std, z = np.array([0.5, -1.0]), np.array([0.3, 2.0]), np.array([[0.1, 0.2]])
    gaussian = DiagonalGaussian(torch.tensor(mean[None]), torch.tensor(np.log(std)[None]))
    expected = gaussian_log_density(z, mean, np.diag(std**2))
    np.testing.assert_allclose(gaussian.log_prob(torch.tensor(z)).numpy(), expected)


def test_divergence_is_torchs(gaussian: DiagonalGaussian) -> None:
    zeros = torch.zeros_like(gaussian.mean)
    prior = torch.distributions.Independent(torch.distributions.Normal(zeros, zeros + 1), 1)
    expected = torch.distributions.kl_divergence(as_torch(gaussian), prior)
    torch.testing.assert_close(gaussian.kl_to_standard_normal(), expected)


def test_divergence_is_the_textbooks() -> None:
    mean, std = np.array([0.5, -1.0]), np.array([0.3, 2.0])
    gaussian = DiagonalGaussian(torch.tensor(mean[None]), torch.tensor(np.log(std)[None]))
    assert float(gaussian.kl_to_standard_normal()) == pytest.approx(gaussian_kl(mean, np.diag(std**2)))


def test_divergence_of_the_prior_is_zero_and_keeps_its_last_digits_nearby() -> None:
    zeros = torch.zeros(1, 2)
    assert float(DiagonalGaussian(zeros, zeros).kl_to_standard_normal()) == 0.0
    # About log_std² nearby, which exp(2 log_std) - 1 would lose in float32.
    log_std = torch.linspace(1e-3, 2e-3, 50).unsqueeze(-1)
    found = DiagonalGaussian(torch.zeros_like(log_std), log_std).kl_to_standard_normal()
    exact = DiagonalGaussian(torch.zeros_like(log_std).double(), log_std.double()).kl_to_standard_normal()
    torch.testing.assert_close(found.double(), exact, rtol=2e-3, atol=0)


def test_prior_is_the_standard_normal() -> None:
    z = torch.linspace(-3, 3, 12).reshape(2, 2, 3)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(standard_normal_log_prob(z), expected)


def test_reparameterisation_is_linear_in_the_noise(gaussian: DiagonalGaussian) -> None:
    noise = torch.ones_like(gaussian.mean)
    torch.testing.assert_close(gaussian.at(0 * noise), gaussian.mean)
    torch.testing.assert_close(gaussian.at(2 * noise), gaussian.mean + 2 * gaussian.log_std.exp())
