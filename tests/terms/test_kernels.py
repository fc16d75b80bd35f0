from __future__ import annotations

import numpy as np
import pytest
import torch

from lagvae.terms.kernels import (
    IMQ_SCALES,
    GaussianKernel,
    InverseMultiquadricKernel,
    Kernel,
    mean_kernel,
    squared_distances,
)
from truth import SIGMAS, imq_expectation, rbf_expectation, standard_errors

DIMENSIONS = [2, 10, 64]


def imq_constants(latent_dim: int) -> list[float]:
    return [2.0 * latent_dim * scale for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]


def test_gaussian_by_hand() -> None:
    kernel = GaussianKernel(2.0, 3)
    torch.testing.assert_close(kernel(torch.tensor([0.0, 4.0])), torch.tensor([1.0, np.exp(-1.0)]).float())
    assert kernel.diagonal == 1.0
    assert kernel.prior_mean == pytest.approx(0.5**1.5)
    torch.testing.assert_close(
        kernel.against_prior(torch.tensor([6.0])), torch.tensor([(2 / 3) ** 1.5 * np.exp(-1.0)]).float()
    )


def test_inverse_multiquadric_by_hand() -> None:
    kernel = InverseMultiquadricKernel(5.0, 3)  # constants 1, 2, 5, 10, 20, 50, 100
    found = kernel(torch.tensor([0.0, 1.0]))
    by_hand = 1 / 2 + 2 / 3 + 5 / 6 + 10 / 11 + 20 / 21 + 50 / 51 + 100 / 101
    torch.testing.assert_close(found, torch.tensor([7.0, by_hand]))
    assert kernel.diagonal == 7.0 == len(IMQ_SCALES)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_gaussian_prior_expectations_match_the_general_formula(d: int) -> None:
    kernel = GaussianKernel(1.7, d)
    assert kernel.prior_mean == pytest.approx(rbf_expectation(np.zeros(d), np.full(d, 2.0), 1.7), rel=1e-12)
    shift = np.linspace(-1, 1, d)
    found = kernel.against_prior(torch.tensor([shift @ shift], dtype=torch.float64))
    assert float(found) == pytest.approx(rbf_expectation(shift, np.ones(d), 1.7), rel=1e-12)


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("length", [0.0, 1.0, 8.0, 20.0])
def test_inverse_multiquadric_prior_expectations_match_adaptive_quadrature(d: int, length: float) -> None:
    kernel = InverseMultiquadricKernel(float(d), d)
    shift = np.zeros(d)
    shift[0] = length
    found = kernel.against_prior(torch.tensor([length**2], dtype=torch.float64))
    assert float(found) == pytest.approx(imq_expectation(shift, np.ones(d), imq_constants(d)), abs=1e-7)
    assert kernel.prior_mean == pytest.approx(imq_expectation(0 * shift, np.full(d, 2.0), imq_constants(d)), abs=1e-7)


@pytest.mark.parametrize("d", [2, 64])
def test_inverse_multiquadric_prior_expectations_match_monte_carlo(d: int) -> None:
    kernel = InverseMultiquadricKernel(float(d), d)
    rng = np.random.default_rng(d)
    w, v = rng.normal(size=(2, 100_000, d))
    z = np.full(d, 0.5)
    between = torch.tensor(sum(c / (c + ((w - v) ** 2).sum(-1)) for c in imq_constants(d)))
    against = torch.tensor(sum(c / (c + ((w - z) ** 2).sum(-1)) for c in imq_constants(d)))
    closed = float(kernel.against_prior(torch.tensor([z @ z], dtype=torch.float64)))
    # False alarm 6.3e-5 each.
    assert abs(standard_errors(between, kernel.prior_mean)) < SIGMAS
    assert abs(standard_errors(against, closed)) < SIGMAS
    assert abs(standard_errors(against, kernel.prior_mean)) > SIGMAS


def test_float32_loses_nothing_that_matters() -> None:
    kernel = InverseMultiquadricKernel(64.0, 64)
    squared_norm = torch.linspace(0, 400, 50, dtype=torch.float64)
    exact = kernel.against_prior(squared_norm)
    torch.testing.assert_close(kernel.against_prior(squared_norm.float()).double(), exact, atol=3e-6, rtol=0)


KERNELS = [GaussianKernel(1.5, 4), InverseMultiquadricKernel(4.0, 4)]


def points(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_mean_kernel_is_the_mean_over_pairs(kernel: Kernel) -> None:
    a, b = points(2, 7, 4, seed=1), points(2, 5, 4, seed=2)
    by_hand = torch.stack([kernel((p - q).square().sum()) for p in a[0] for q in b[0]]).mean()
    torch.testing.assert_close(mean_kernel(kernel, a, b)[0], by_hand)
    torch.testing.assert_close(mean_kernel(kernel, a), mean_kernel(kernel, a, a.clone()))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_mean_kernels_gradient_in_closed_form_is_that_of_its_value(kernel: Kernel) -> None:
    a, b = points(2, 5, 4, seed=3), points(2, 3, 4, seed=4)
    for arguments in ((a,), (a, b), (a.detach(), b), (a, b.detach())):
        torch.autograd.gradcheck(lambda *given: mean_kernel(kernel, *given), arguments)
        torch.autograd.gradgradcheck(lambda *given: mean_kernel(kernel, *given), arguments)


def test_mean_kernels_gradient_in_float32_loses_nothing_to_autograds() -> None:
    kernel = GaussianKernel(64**2 / 2, 64)
    codes, w = points(250, 64, seed=5), points(250, 64, seed=6).detach()

    def gradients(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = a.detach().requires_grad_(), w.to(a.dtype)
        chained = kernel(squared_distances(a, a)).mean() - 2 * kernel(squared_distances(a, b)).mean()
        closed = mean_kernel(kernel, a) - 2 * mean_kernel(kernel, a, b)
        return torch.autograd.grad(chained, a)[0], torch.autograd.grad(closed, a)[0]

    exact, also_exact = gradients(codes)
    torch.testing.assert_close(also_exact, exact, rtol=1e-9, atol=1e-14)
    chained, closed = (float((found - exact).norm() / exact.norm()) for found in gradients(codes.float()))
    assert closed < max(2 * chained, 1e-6)


def test_what_an_evaluation_computes_first_serves_training_too() -> None:
    kernel = InverseMultiquadricKernel(11.0, 7)  # of no other test: what it needs is computed once
    squared = torch.rand(4, requires_grad=True)
    with torch.inference_mode():
        kernel.against_prior(torch.rand(4))
    kernel.against_prior(squared).sum().backward()
    assert squared.grad is not None
