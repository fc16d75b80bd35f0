"""Random features stand for the kernel: without bias, with a known error, and the same ones every time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.errors import ProblemError
from lagvae.terms.features import features_of
from lagvae.terms.kernels import orthogonal_normals
from lagvae.terms.mmd import MMD, mmd
from terms.test_mmd import ESTIMATORS, KERNELS, PRIORS, LargestTensor, kernel_by_hand, kernel_means, normal
from truth import SIGMAS, draw_of_codes, feature_squared_mmd, standard_errors

CPU = torch.device("cpu")
every_variant = pytest.mark.parametrize(
    "term",
    [mmd(**k, estimator=e, prior=p, features=64) for k, e, p in itertools.product(KERNELS, ESTIMATORS, PRIORS)],
    ids=str,
)
every_kernel = pytest.mark.parametrize("options", KERNELS, ids=str)


def feature_mmd_by_hand(term: MMD, z: np.ndarray, w: np.ndarray) -> float:
    """Double loops over one batch with the kernel Σ_j weight_j cos ω_j·(a-b)."""
    found = features_of(term.kernel_in(z.shape[1]), term.features, torch.float64, CPU)
    omega, weight = found.omega.numpy(), found.weight.numpy()

    def mean(a: np.ndarray, b: np.ndarray, *, same: bool) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not same or i != j]
        return float(np.mean([weight @ np.cos(omega @ (a[i] - b[j])) for i, j in pairs]))

    is_unbiased, prior = term.estimator == "unbiased", np.exp(-0.5 * (omega**2).sum(1))
    if term.prior == "closed_form":
        cross = float(np.mean([weight @ (prior * np.cos(omega @ code)) for code in z]))
        return mean(z, z, same=is_unbiased) + float(weight @ prior**2) - 2 * cross
    return mean(z, z, same=is_unbiased) + mean(w, w, same=is_unbiased) - 2 * mean(z, w, same=False)


@every_variant
def test_equals_a_double_loop(term: MMD) -> None:
    z, w = 0.7 * normal(9, 3, seed=1) + 0.4, normal(9, 3, seed=2)
    found = float(term.measure(draw_of_codes(z, w)))
    assert found == pytest.approx(feature_mmd_by_hand(term, z.double().numpy(), w.double().numpy()), abs=3e-6)


@every_variant
def test_mean_over_batches_is_the_closed_form_plus_the_known_bias(term: MMD) -> None:
    repeats, n, d = 600, 48, 4
    mean, std = np.array([0.3, 0.0, -0.2, 0.0]), np.array([0.6, 1.0, 1.2, 0.8])
    kernel = term.kernel_in(d)
    found = features_of(kernel, term.features, torch.float64, CPU)
    omega, weight = found.omega.numpy(), found.weight.numpy()
    truth = feature_squared_mmd(omega, weight, mean, std)
    bias = 0.0
    if term.estimator == "biased":
        within = float(weight @ np.exp(-(omega**2) @ std**2))
        bias += (kernel.diagonal - within) / n
        bias += (kernel.diagonal - found.prior_mean) / n if term.prior == "sample" else 0.0
    z = normal(repeats, n, d, seed=3) * torch.tensor(std).float() + torch.tensor(mean).float()
    samples = term.measure(draw_of_codes(z, normal(repeats, n, d, seed=4)))
    assert abs(standard_errors(samples, truth + bias)) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, truth + (0.0 if bias else kernel.diagonal / n))) > SIGMAS


@every_variant
def test_floor_is_what_a_perfect_posterior_measures(term: MMD) -> None:
    repeats, n, d = 400, 50, 6
    samples = term.measure(draw_of_codes(normal(repeats, n, d, seed=5), normal(repeats, n, d, seed=6)))
    floor = term.floor(latent_dim=d, batch_size=n)
    assert abs(standard_errors(samples, floor)) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, floor + 1.0 / n)) > SIGMAS
    assert floor == pytest.approx(term(features=4096).floor(latent_dim=d, batch_size=n), rel=0.1)


@every_kernel
def test_features_are_the_kernel_in_the_mean_over_frequencies(options: dict[str, object]) -> None:
    d, seeds, count = 5, 400, 37  # no multiple of the dimensions, nor of the scales
    a, b = (0.6 * normal(d, seed=seed).double().numpy() for seed in (7, 8))
    kernel = mmd(**options).kernel_in(d)
    products = []
    for seed in range(seeds):
        omega, weight = kernel.frequencies(count, torch.Generator().manual_seed(seed))
        assert float(weight.sum()) == pytest.approx(kernel.diagonal)
        products.append(float(weight @ torch.cos(omega @ torch.tensor(a - b))))
    exact = kernel_by_hand(mmd(**options), a, b)
    assert abs(standard_errors(torch.tensor(products), exact)) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(torch.tensor(products), 0.9 * exact)) > SIGMAS


@every_kernel
@pytest.mark.parametrize("shape", ["narrow", "shifted"])
def test_the_error_is_relative_and_falls_with_the_number_of_features(options: dict[str, object], shape: str) -> None:
    """Against the exact closed form, of a q(z) near the prior: a thousand features know MMD² within a tenth."""
    d = 16
    mean, std = (np.zeros(d), np.full(d, 0.9)) if shape == "narrow" else (np.full(d, 0.05), np.ones(d))
    exact = kernel_means(mmd(**options), mean, std).squared_mmd
    kernel = mmd(**options).kernel_in(d)

    def spread(count: int) -> tuple[float, float]:
        ratios = []
        for seed in range(60):
            omega, weight = (part.numpy() for part in kernel.frequencies(count, torch.Generator().manual_seed(seed)))
            ratios.append(feature_squared_mmd(omega, weight, mean, std) / exact)
        assert abs(standard_errors(torch.tensor(ratios), 1.0)) < SIGMAS  # no bias; false alarm 6.3e-5
        return float(np.mean(ratios)), float(np.std(ratios))

    (_, few), (_, many) = spread(64), spread(1024)
    assert many < 0.1
    assert many < few / 2.5  # a fourth, by √(1024/64)


def test_orthogonal_vectors_are_standard_normal_each() -> None:
    drawn = orthogonal_normals(6 * 400, 6, torch.Generator().manual_seed(0))
    products = torch.einsum("bid,bjd->bij", *(drawn.unflatten(0, (-1, 6)),) * 2)
    assert float((products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))).abs().max()) < 1e-12
    assert abs(standard_errors(drawn.flatten(), 0.0)) < SIGMAS
    assert abs(standard_errors(drawn.square().flatten(), 1.0)) < SIGMAS
    assert abs(standard_errors(drawn.pow(4).flatten(), 3.0)) < SIGMAS
    assert len(orthogonal_normals(7, 3, torch.Generator())) == 7


@every_variant
def test_a_stack_is_its_members_one_by_one(term: MMD) -> None:
    z, w = 0.8 * normal(2, 3, 7, 4, seed=12), normal(2, 3, 7, 4, seed=13)
    stacked = term.measure(draw_of_codes(z, w))
    assert stacked.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        torch.testing.assert_close(stacked[i, j], term.measure(draw_of_codes(z[i, j], w[i, j])), atol=2e-6, rtol=0)


@every_variant
def test_gradient_is_that_of_finite_differences(term: MMD) -> None:
    z, w = normal(6, 3, seed=17).double().requires_grad_(), normal(6, 3, seed=18).double()
    assert torch.autograd.gradcheck(lambda codes: term.measure(draw_of_codes(codes, w)), (z,), atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_memory_grows_with_the_batch_alone(prior: str) -> None:
    n, d, count = 1024, 64, 128
    z = normal(n, d, seed=14).requires_grad_()
    term = mmd(prior=prior, features=count)
    features_of(term.kernel_in(d), count, torch.float32, CPU)
    with LargestTensor() as largest:
        term.measure(draw_of_codes(z, normal(n, d, seed=15))).backward()
    assert largest.size == n * count


def test_the_same_frequencies_every_time_also_after_an_evaluation() -> None:
    kernel = mmd.kernel_in(11)
    with torch.inference_mode():
        first = features_of(kernel, 32, torch.float32, CPU)
    z = normal(20, 11, seed=1).requires_grad_()
    mmd(features=32).measure(draw_of_codes(z)).backward()  # an inference tensor could not be saved for this
    assert z.grad is not None
    features_of.cache_clear()
    assert torch.equal(features_of(kernel, 32, torch.float32, CPU).omega, first.omega)
    assert not torch.equal(features_of(kernel, 33, torch.float32, CPU).omega[:32], first.omega)


def test_the_text_form_reads_it_back() -> None:
    text = "max mutual_information s.t. neg_elbo <= 86, mmd(kernel=imq, features=1024) <= 0.0005"
    problem = lv.Problem.parse(text)
    assert str(problem) == text
    assert problem.subject_to[1].quantity == mmd(kernel="imq", features=1024).as_sum()
    assert mmd(features=1024) != mmd


@pytest.mark.parametrize("count", [15, 1])
def test_too_few_features_are_refused(count: int) -> None:
    with pytest.raises(ProblemError, match=rf"expected mmd's features ≥ 16, got {count}; try features=1024"):
        mmd(features=count)


@pytest.mark.parametrize("count", [0.5, 20.5, -3, "many"])
def test_only_a_positive_whole_number_is_one(count: object) -> None:
    with pytest.raises(ProblemError, match=r"(whole|positive) number as mmd's features"):
        mmd(features=count)
