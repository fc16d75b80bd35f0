"""Divergences of q(z) from p(z) and from independence, where they are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lagvae as lv
from lagvae.evaluation.density.aggregate import score_mixture
from lagvae.evaluation.density.fitted import fit_density, fit_gaussian
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.latent.divergence import kl_to_prior, kl_to_prior_by_mixture, mmd_test, total_correlation
from truth import KernelMeans, imq_expectation, rbf_expectation
from truth_codes import ClusteredCodes, GaussianCodes

CLUSTERS = ClusteredCodes(centres=((-1.5, -0.8), (1.0, 1.2)), weights=(0.6, 0.4), std=0.4)


def deviation(estimate: Estimate, truth: float) -> float:
    return (estimate.value - truth) / estimate.standard_error


@pytest.mark.parametrize(("latent", "variance", "shift"), [(2, 1.0, 0.0), (2, 0.5, 0.4), (16, 1.2, 0.1)])
def test_kl_to_the_prior_of_gaussians(latent: int, variance: float, shift: float) -> None:
    truth = GaussianCodes(3.0, latent, variance=variance, shift=shift)
    fit, score = truth.sample(60_000, seed=0), truth.sample(5000, seed=1)
    low, high = kl_to_prior(score, fit_gaussian(fit)), kl_to_prior_by_mixture(score, score_mixture(score))
    short = latent * (latent + 3) / 4 / 60_000
    assert abs(deviation(low, truth.kl_to_prior - short)) < 4 or abs(low.value - truth.kl_to_prior) < 1e-3
    assert deviation(high, truth.kl_to_prior) > -4
    assert high.value - truth.kl_to_prior < 0.1 + 4 * high.standard_error
    assert (low.bias, high.bias) == ("lower", "upper")
    assert not high.is_saturated


def test_kl_to_the_prior_of_a_mixture() -> None:
    fit, score = CLUSTERS.sample(20_000, seed=0), CLUSTERS.sample(4000, seed=1)
    found = kl_to_prior(score, fit_density(fit, candidates=["gaussian", "mixture"]))
    assert abs(found.value - CLUSTERS.kl_to_prior) < 4 * found.standard_error + 0.01
    assert abs(deviation(kl_to_prior_by_mixture(score, score_mixture(score)), CLUSTERS.kl_to_prior)) < 4


def test_a_saturated_mixture_says_nothing_about_the_divergence_and_is_flagged() -> None:
    codes = GaussianCodes(25.0, 16).sample(1000, seed=0)
    found = kl_to_prior_by_mixture(codes, score_mixture(codes))
    assert found.is_saturated
    assert found.value > 15  # the truth is 0


def test_total_correlation_of_a_correlated_mixture_and_of_independent_coordinates() -> None:
    fit, score = CLUSTERS.sample(20_000, seed=0), CLUSTERS.sample(4000, seed=1)
    found = total_correlation(score, fit_density(fit, candidates=["gaussian", "mixture"]))
    assert CLUSTERS.total_correlation > 0.5
    assert abs(found.value - CLUSTERS.total_correlation) < 4 * found.standard_error + 0.01
    truth = GaussianCodes(8.0, 8)
    codes = truth.sample(4000, seed=0)
    found = total_correlation(codes, fit_gaussian(truth.sample(60_000, seed=1)))
    assert -0.05 < found.value < 4 * found.standard_error
    assert found.bias == "lower"


def test_total_correlation_uses_some_codes_and_tells_of_every_dimension() -> None:
    done: list[int] = []
    codes = GaussianCodes(3.0, 3).sample(5000, seed=0)
    found = total_correlation(codes, fit_gaussian(codes), advance=done.append)
    assert found.examples == 4000
    assert done == [1, 1, 1]


# MMD against its null


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_mmd_is_the_exact_one(kernel: str) -> None:
    truth = GaussianCodes(3.0, 4, variance=0.6, shift=0.3)
    term = lv.mmd(kernel=kernel, bandwidth=4.0)
    found = mmd_test(truth.sample(20_000, seed=0), term, block=200, permutations=20)
    mean, std = np.full(4, 0.3), np.full(4, math.sqrt(0.6))
    if kernel == "rbf":
        exact = KernelMeans.of(rbf_expectation, 4.0, mean, std).squared_mmd
    else:
        constants = [8.0 * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
        exact = KernelMeans.of(imq_expectation, constants, mean, std).squared_mmd
    assert abs(deviation(found.squared_mmd, exact)) < 4
    assert found.p_value.value == pytest.approx(1 / 21)
    assert (found.squared_mmd.examples, found.squared_mmd.bias) == (20_000, "none")


def test_the_mmds_standard_error_covers() -> None:
    truth = GaussianCodes(1.0, 2, variance=0.7)
    exact = KernelMeans.of(rbf_expectation, 2.0, np.zeros(2), np.full(2, math.sqrt(0.7))).squared_mmd
    term = lv.mmd(kernel="rbf", bandwidth=2.0)
    found = [
        mmd_test(truth.sample(2000, seed=s), term, block=50, permutations=2, seed=s).squared_mmd for s in range(200)
    ]
    share = np.mean([abs(deviation(e, exact)) < 1.96 for e in found])
    assert abs(share - 0.94) < 4 * math.sqrt(0.94 * 0.06 / 200)  # 40 blocks: Student's t


def test_p_values_are_uniform_where_the_codes_follow_the_prior() -> None:
    """Of 300 p-values a tenth lies under 0.1 and half under 0.5, within 4 standard errors of a binomial."""
    truth = GaussianCodes(2.0, 3)
    tests = [mmd_test(truth.sample(150, seed=s), block=50, permutations=99, seed=s) for s in range(300)]
    p = np.array([test.p_value.value for test in tests])
    for level in (0.1, 0.5):
        assert abs((p <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 300)
    spread = np.std([test.squared_mmd.value for test in tests])
    assert np.mean([test.null_standard_deviation for test in tests]) == pytest.approx(spread, rel=0.2)


def test_the_imq_kernel_sees_what_the_originals_does_not() -> None:
    """Standard deviation 0.9 in 64 dimensions."""
    codes = GaussianCodes(20.0, 64, variance=0.81).sample(2000, seed=0)
    assert mmd_test(codes, lv.mmd(kernel="imq"), permutations=199).p_value.value == 1 / 200
    assert mmd_test(codes, permutations=199).p_value.value > 1 / 200


def test_a_labelling_is_scored_as_the_term_scores_it() -> None:
    """One block, against the term's own unbiased estimate of the same codes and prior samples."""
    import torch

    from lagvae.streams import derive_seed
    from truth import draw_of_codes

    codes = GaussianCodes(2.0, 3, variance=0.5).sample(80, seed=0)
    generator = torch.Generator().manual_seed(derive_seed(4, "mmd test"))
    z = codes.shuffled(4).z
    w = torch.randn(z.shape, generator=generator)
    exact = float(lv.mmd(estimator="unbiased").measure(draw_of_codes(z, w)))
    found = mmd_test(codes, block=80, permutations=5, seed=4)
    assert found.squared_mmd.value == pytest.approx(exact, rel=1e-4)
    assert math.isnan(found.squared_mmd.standard_error)


def test_blocks_that_cannot_be_filled_are_refused() -> None:
    codes = GaussianCodes(2.0, 3).sample(80, seed=0)
    for block in (1, 81):
        with pytest.raises(lv.ShapeError, match=f"blocks of 2 to 80 codes, as many as there are, got {block}"):
            mmd_test(codes, block=block)
    done: list[int] = []
    assert mmd_test(codes, block=30, permutations=3, advance=done.append).squared_mmd.examples == 60
    assert done == [30, 30]
