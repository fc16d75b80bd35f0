from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lagvae.errors import ProblemError
from lagvae.terms.mmd import MMD, mmd
from truth import (
    SIGMAS,
    KernelMeans,
    draw_of_codes,
    imq_expectation,
    rbf_expectation,
    standard_errors,
    v_statistic_floor,
)

KERNELS = [{"kernel": "zhao2018"}, {"kernel": "rbf", "bandwidth": 3.0}, {"kernel": "rbf"}, {"kernel": "imq"}]
ESTIMATORS = ["biased", "unbiased"]
PRIORS = ["sample", "closed_form"]
every_variant = pytest.mark.parametrize(
    "term",
    [mmd(**k, estimator=e, prior=p) for k, e, p in itertools.product(KERNELS, ESTIMATORS, PRIORS)],
    ids=str,
)


def kernel_means(term: MMD, mean: np.ndarray, std: np.ndarray) -> KernelMeans:
    d = len(mean)
    scale = d if term.bandwidth is None else term.bandwidth
    if term.kernel == "imq":
        return KernelMeans.of(imq_expectation, [2 * scale * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)], mean, std)
    return KernelMeans.of(rbf_expectation, d**2 / 2 if term.kernel == "zhao2018" else scale, mean, std)


def kernel_by_hand(term: MMD, a: np.ndarray, b: np.ndarray) -> float:
    squared, d = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)), len(a)
    scale = d if term.bandwidth is None else term.bandwidth
    if term.kernel == "imq":
        return sum(2 * scale * s / (2 * scale * s + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))
    return math.exp(-squared / d**2) if term.kernel == "zhao2018" else math.exp(-squared / (2 * scale))


def mmd_by_hand(term: MMD, z: np.ndarray, w: np.ndarray) -> float:
    """Double loops over one batch; the prior's expectations by the general Gaussian formulas."""

    def within(codes: np.ndarray) -> float:
        n, total = len(codes), 0.0
        for i in range(n):
            for j in range(n):
                if term.estimator == "biased" or i != j:
                    total += kernel_by_hand(term, codes[i], codes[j])
        return total / (n * n if term.estimator == "biased" else n * (n - 1))

    if term.prior == "closed_form":
        d = z.shape[1]
        crosses = [kernel_means(term, code, np.zeros(d)).cross for code in z]
        return within(z) + kernel_means(term, np.zeros(d), np.ones(d)).prior - 2 * float(np.mean(crosses))
    cross = np.mean([kernel_by_hand(term, a, b) for a in z for b in w])
    return within(z) + within(w) - 2 * float(cross)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@every_variant
def test_equals_a_double_loop(term: MMD) -> None:
    z, w = 0.7 * normal(9, 3, seed=1) + 0.4, normal(9, 3, seed=2)
    found = float(term.measure(draw_of_codes(z, w)))
    assert found == pytest.approx(mmd_by_hand(term, z.double().numpy(), w.double().numpy()), abs=3e-6)


@every_variant
def test_mean_over_batches_is_the_closed_form_plus_the_known_bias(term: MMD) -> None:
    repeats, n, d = 600, 48, 4
    mean, std = np.array([0.3, 0.0, -0.2, 0.0]), np.array([0.6, 1.0, 1.2, 0.8])
    truth = kernel_means(term, mean, std)
    diagonal = 7.0 if term.kernel == "imq" else 1.0
    bias = 0.0
    if term.estimator == "biased":
        bias += (diagonal - truth.within) / n
        bias += (diagonal - truth.prior) / n if term.prior == "sample" else 0.0
    z = normal(repeats, n, d, seed=3) * torch.tensor(std).float() + torch.tensor(mean).float()
    samples = term.measure(draw_of_codes(z, normal(repeats, n, d, seed=4)))
    assert abs(standard_errors(samples, truth.squared_mmd + bias)) < SIGMAS  # false alarm 6.3e-5
    wrong = truth.squared_mmd + (0.0 if bias else diagonal / n)
    assert abs(standard_errors(samples, wrong)) > SIGMAS


@pytest.mark.parametrize(
    ("latent_dim", "published", "digit"),
    [(64, 2.46e-4, 1e-6), (31, 5.0e-4, 1e-5), (10, 1.4e-3, 1e-4), (2, 4.0e-3, 1e-4)],
)
def test_floor_of_the_original_kernel(latent_dim: int, published: float, digit: float) -> None:
    floor = mmd.floor(latent_dim=latent_dim, batch_size=250)
    assert floor == pytest.approx(published, abs=digit / 2)
    assert floor == pytest.approx(v_statistic_floor(250, latent_dim), rel=1e-9)


@every_variant
def test_floor_is_what_a_perfect_posterior_measures(term: MMD) -> None:
    repeats, n, d = 400, 50, 6
    samples = term.measure(draw_of_codes(normal(repeats, n, d, seed=5), normal(repeats, n, d, seed=6)))
    floor = term.floor(latent_dim=d, batch_size=n)
    assert abs(standard_errors(samples, floor)) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, floor + 1.0 / n)) > SIGMAS


def test_floor_halves_without_a_prior_sample_and_vanishes_without_the_diagonal() -> None:
    sizes = {"latent_dim": 10, "batch_size": 250}
    assert mmd(prior="closed_form").floor(**sizes) == pytest.approx(mmd.floor(**sizes) / 2)
    assert mmd(estimator="unbiased").floor(**sizes) == 0.0
    assert mmd.floor(latent_dim=10, batch_size=500) == pytest.approx(mmd.floor(**sizes) / 2)


@pytest.mark.parametrize("kernel", ["zhao2018", "imq"])
@pytest.mark.parametrize("prior", PRIORS)
def test_only_the_unbiased_estimate_may_be_negative(kernel: str, prior: str) -> None:
    draw = draw_of_codes(normal(100, 20, 5, seed=7), normal(100, 20, 5, seed=8))
    assert (mmd(kernel=kernel, prior=prior, estimator="unbiased").measure(draw) < 0).any()
    assert (mmd(kernel=kernel, prior=prior).measure(draw) > 0).all()


def test_same_codes_as_the_prior_sample_measure_zero() -> None:
    z = normal(30, 4, seed=9)
    assert float(mmd.measure(draw_of_codes(z, z))) == pytest.approx(0.0, abs=1e-6)
    assert float(mmd.measure(draw_of_codes(z, z + 1))) > 0.01


def test_original_kernel_is_nearly_blind_to_half_the_standard_deviation() -> None:
    d = 64
    exact = kernel_means(mmd, np.zeros(d), np.full(d, 0.5)).squared_mmd
    assert exact == pytest.approx(1.4e-4, abs=0.05e-4)
    z, w = 0.5 * normal(200, 250, d, seed=10), normal(200, 250, d, seed=11)
    samples = mmd(estimator="unbiased").measure(draw_of_codes(z, w))
    assert abs(standard_errors(samples, exact)) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, 5e-4)) > SIGMAS


def test_inverse_multiquadric_sees_a_tenth_less_standard_deviation() -> None:
    repeats, n, d = 200, 250, 64

    def significance(term: MMD) -> float:
        found = [
            torch.stack(
                [
                    term.measure(draw_of_codes(std * normal(n, d, seed=2 * i), normal(n, d, seed=2 * i + 1)))
                    for i in range(start, start + repeats)
                ]
            )
            for std, start in ((0.9, 1000), (1.0, 2000))
        ]
        return float((found[0].mean() - found[1].mean()) / found[1].std())

    # About 7.5 in truth; 200 repeats know it to 5 %, so that ±2 is five of its own standard errors (6e-7).
    assert significance(mmd(kernel="imq")) == pytest.approx(7.5, abs=2.0)
    assert abs(significance(mmd)) < 2.0


@every_variant
def test_a_stack_is_its_members_one_by_one(term: MMD) -> None:
    z, w = 0.8 * normal(2, 3, 7, 4, seed=12), normal(2, 3, 7, 4, seed=13)
    stacked = term.measure(draw_of_codes(z, w))
    assert stacked.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        torch.testing.assert_close(stacked[i, j], term.measure(draw_of_codes(z[i, j], w[i, j])), atol=2e-6, rtol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returns, forwards and backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return found


@pytest.mark.parametrize("kernel", ["zhao2018", "imq"])
@pytest.mark.parametrize("prior", PRIORS)
def test_memory_grows_with_the_square_of_the_batch_alone(kernel: str, prior: str) -> None:
    n, d = 512, 64
    z = normal(n, d, seed=14).requires_grad_()
    with LargestTensor() as largest:
        mmd(kernel=kernel, prior=prior).measure(draw_of_codes(z, normal(n, d, seed=15))).backward()
    assert n * d <= largest.size <= n * n


def test_largest_tensor_is_noticed() -> None:
    z = normal(8, 3, seed=16)
    with LargestTensor() as largest:
        (z[:, None] - z[None]).square().sum(-1)
    assert largest.size == 8 * 8 * 3


@every_variant
def test_gradient_is_that_of_finite_differences(term: MMD) -> None:
    z, w = normal(6, 3, seed=17).double().requires_grad_(), normal(6, 3, seed=18).double()
    assert torch.autograd.gradcheck(lambda codes: term.measure(draw_of_codes(codes, w)), (z,), atol=1e-6)


def test_kernel_scale_follows_the_latent_dimension_unless_given() -> None:
    assert mmd.kernel_in(8).squared_bandwidth == 32.0
    assert mmd(kernel="rbf").kernel_in(8).squared_bandwidth == 8.0
    assert mmd(kernel="imq", bandwidth=3.0).kernel_in(8).squared_bandwidth == 3.0


def test_a_bandwidth_of_a_kernel_that_has_none_is_refused() -> None:
    with pytest.raises(ProblemError, match=r"expected a bandwidth of rbf or imq, got 2 for zhao2018"):
        mmd(bandwidth=2)
