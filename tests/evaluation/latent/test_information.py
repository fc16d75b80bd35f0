"""Estimates of mutual information: where the truth is known, on which side they err, and where they must give up.

Coverage: the share of repeats whose 95 % interval holds what the estimator estimates, within 4 standard errors of a
binomial (false alarms: 6e-5 each).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation.codes import Codes, collect_codes
from lagvae.evaluation.density.aggregate import log_densities, score_mixture
from lagvae.evaluation.density.fitted import fit_gaussian
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.latent.information import (
    InBatch,
    density_information,
    in_batch_information,
    in_batch_weights,
    information_interval,
    leave_one_out_information,
    mixture_information,
    rate_information,
)
from truth import LinearGaussian
from truth_codes import ClusteredCodes, GaussianCodes

CLUSTERS = ClusteredCodes(centres=((-1.5, 0.0), (1.0, 1.2), (0.5, -1.0)), weights=(0.5, 0.3, 0.2), std=0.4)


def deviation(estimate: Estimate, truth: float) -> float:
    return (estimate.value - truth) / estimate.standard_error


def covered(estimates: list[Estimate], truth: float) -> bool:
    """Whether as many 95 % intervals hold the truth as should."""
    share = np.mean([abs(deviation(e, truth)) < 1.96 for e in estimates])
    return bool(abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / len(estimates)))


@pytest.mark.parametrize(("latent", "information"), [(2, 1.0), (2, 5.0), (8, 3.0), (16, 5.0), (64, 4.0)])
def test_under_the_cap_the_interval_holds_a_gaussian_truth(latent: int, information: float) -> None:
    """Leave-one-out and in-sample bracket the truth, which has 3 nats to the cap; the rate lies KL above it."""
    truth = GaussianCodes(information, latent, variance=1.3, shift=0.2)
    codes = truth.sample(6000, seed=latent)
    scores = score_mixture(codes, scored=3000)
    interval, above = information_interval(codes, scores), leave_one_out_information(scores)
    below, rate = interval.lower, interval.upper
    assert below.value - 4 * below.standard_error < information < above.value + 4 * above.standard_error
    assert abs(below.value - information) < 0.3 + 4 * below.standard_error
    assert not below.is_saturated
    assert not above.is_saturated
    assert abs(deviation(rate, truth.rate)) < 4
    assert (below.bias, above.bias, rate.bias) == ("lower", "upper", "upper")
    assert (below.examples, below.samples, above.samples, rate.examples) == (3000, 6000, 5999, 6000)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_interval_of_a_linear_gaussian_vae_holds_its_exact_information(seed: int) -> None:
    truth = LinearGaussian.arbitrary(event=6, latent=3, seed=seed)
    codes = collect_codes(truth.vae(), Examples(truth.sample_data(5000, seed=seed)), part="train")
    interval = information_interval(codes, score_mixture(codes))
    exact = truth.mutual_information()
    assert abs(deviation(interval.lower, exact)) < 4
    assert abs(deviation(interval.upper, truth.rate())) < 4
    assert exact < interval.upper.value


def test_where_the_model_is_exact_both_ends_meet() -> None:
    """q(z) = p(z): the rate is the information."""
    truth = LinearGaussian.with_true_posterior(event=6, latent=2, noise=0.7, seed=3)
    assert truth.rate() == pytest.approx(truth.mutual_information())
    codes = collect_codes(truth.vae(), Examples(truth.sample_data(5000, seed=0)), part="train")
    interval = information_interval(codes, score_mixture(codes))
    assert abs(interval.upper.value - interval.lower.value) < 4 * interval.upper.standard_error + 0.05


def test_a_mixture_that_quadrature_integrates() -> None:
    codes = CLUSTERS.sample(4000, seed=0)
    assert 0 < CLUSTERS.information < 1.03  # the entropy of the cluster
    for estimate in (mixture_information(score_mixture(codes)), leave_one_out_information(score_mixture(codes))):
        assert abs(deviation(estimate, CLUSTERS.information)) < 4


@pytest.mark.parametrize("truth", [CLUSTERS, GaussianCodes(2.0, 4)], ids=["clusters", "gaussian"])
def test_the_mixtures_standard_error_covers(truth: ClusteredCodes | GaussianCodes) -> None:
    """With 1000 components the bias is small against the error, although they are shared by all terms."""
    codes = [truth.sample(1000, seed=seed) for seed in range(200)]
    scores = [score_mixture(one, scored=300) for one in codes]
    mixture, left_out = ([find(s) for s in scores] for find in (mixture_information, leave_one_out_information))
    for found in (mixture, left_out):
        assert abs(np.mean([e.value for e in found]) - truth.information) < 0.05
    middle = np.mean([e.value for e in mixture])
    assert covered(mixture, float(middle))
    assert covered([rate_information(one) for one in codes], truth.kl_to_prior + truth.information)


@pytest.mark.parametrize("latent", [2, 16, 64])
def test_above_log_n_the_flag_is_raised(latent: int) -> None:
    """20 nats from 1000 codes: the mixture reads log N, leave-one-out anything above."""
    scores = score_mixture(GaussianCodes(20.0, latent).sample(1000, seed=0))
    below, above = mixture_information(scores), leave_one_out_information(scores)
    assert below.is_saturated
    assert above.is_saturated
    assert below.value <= math.log(1000) + 1e-9
    assert above.value > 20


def test_unflagged_it_is_less_than_a_nat_short() -> None:
    """The margin: on the way to the cap, every estimate that is more than 0.7 nat short is flagged."""
    for latent in (2, 16, 64):
        for information in (3.0, 4.0, 5.0, 6.0, 7.0, 9.0):
            codes = GaussianCodes(information, latent).sample(2000, seed=0)
            found = mixture_information(score_mixture(codes, scored=1000))
            short = information - found.value
            assert found.is_saturated or short < 0.7 + 4 * found.standard_error, (latent, information)
            assert not found.is_saturated or short > 0, (latent, information)


# In batches


def test_the_numbers_of_the_comparison_are_reproduced() -> None:
    """Truth 8 nats, d = 16, N = 50,000, B = 128: batch mixture 4.7, leave-one-out 11.2, minibatch-weighted 15.5,
    stratified 8.9, stratified as widely published 4.7."""
    codes = GaussianCodes(8.0, 16).sample(50_000, seed=0)
    found = {name: in_batch_information(codes, name) for name in ("info_nce", "leave_one_out", "minibatch_weighted")}
    stratified = in_batch_information(codes, "stratified")
    assert found["info_nce"].value == pytest.approx(4.7, abs=0.1)
    assert found["leave_one_out"].value == pytest.approx(11.2, abs=0.1)
    assert found["minibatch_weighted"].value == pytest.approx(15.5, abs=0.1)
    assert stratified.value == pytest.approx(8.9, abs=0.1)
    assert published_stratified(codes, 128) == pytest.approx(4.7, abs=0.1)
    assert all(e.is_saturated for e in found.values())
    assert stratified.is_saturated  # 1.9 nats under log N
    whole = mixture_information(score_mixture(codes, scored=1000))
    assert abs(whole.value - 8) < 0.6
    assert not whole.is_saturated


def published_stratified(codes: Codes, batch_size: int) -> float:
    """The estimate with the weights where a flat stride of B instead of B + 1 puts them: in columns 0 and 1."""
    B, N, M = batch_size, len(codes), batch_size - 1
    weights = torch.full((B, B), 1 / M, dtype=torch.float64)
    weights[:, 0] = 1 / N
    weights[:, 1] = (N - M) / (N * M)
    weights[B - 2, 0] = (N - M) / (N * M)
    means = []
    for index in torch.arange(N).split(B)[:50]:
        batch = codes.pick(index)
        log_density = log_densities(batch.z, batch.posterior)
        means.append((log_density.diagonal() - torch.logsumexp(weights.log() + log_density, 1)).mean())
    return float(torch.stack(means).mean())


def test_stratified_weights_sit_on_the_diagonal() -> None:
    B, N = 5, 40
    weights = in_batch_weights("stratified", B, N)
    assert weights.diagonal().tolist() == [1 / N] * B
    off = weights[~torch.eye(B, dtype=torch.bool)]
    assert torch.equal(off, torch.full((B * (B - 1),), (N - 1) / (N * (B - 1)), dtype=torch.float64))
    assert weights.sum(1).tolist() == pytest.approx([1.0] * B)


def test_stratified_weights_are_the_papers_averaged_over_which_other_example_is_the_last() -> None:
    """[Chen2018]: 1/N for its own, (N-M)/(NM) for one of the others, 1/M for the rest, M = B - 1."""
    B, N, M = 6, 50, 5
    papers = np.mean([[(N - M) / (N * M) if last == other else 1 / M for other in range(M)] for last in range(M)], 0)
    assert in_batch_weights("stratified", B, N)[0, 1:].tolist() == pytest.approx(papers.tolist())


def expectation_over_batches(density: Tensor, estimator: InBatch, B: int) -> Tensor:
    """E Σ_j w_ij q(z_i|x_j) over all batches that hold i: the other B - 1 are any of the N - 1."""
    N = len(density)
    weights = in_batch_weights(estimator, B, N)
    own, others = density.diagonal(), (density.sum(1) - density.diagonal()) / (N - 1)
    return weights[0, 0] * own + (B - 1) * weights[0, 1] * others


def test_only_the_stratified_density_is_unbiased_for_the_finite_set() -> None:
    codes = GaussianCodes(2.0, 2).sample(30, seed=0)
    density = log_densities(codes.z, codes.posterior).exp()
    exact = density.mean(1)
    torch.testing.assert_close(expectation_over_batches(density, "stratified", 7), exact)
    assert expectation_over_batches(density, "info_nce", 7).mean() > 1.3 * exact.mean()
    assert (expectation_over_batches(density, "minibatch_weighted", 7) < exact).all()


@pytest.mark.parametrize(
    ("estimator", "cap"),
    [("info_nce", math.log(50)), ("stratified", math.log(4000)), ("minibatch_weighted", math.log(50 * 4000))],
)
def test_every_cap_is_flagged_and_never_passed(estimator: InBatch, cap: float) -> None:
    found = in_batch_information(GaussianCodes(40.0, 16).sample(4000, seed=0), estimator, batch_size=50)
    assert cap - 0.01 < found.value <= cap + 1e-9
    assert found.is_saturated


@pytest.mark.parametrize("estimator", ["info_nce", "leave_one_out", "stratified"])
def test_with_little_information_batches_suffice(estimator: InBatch) -> None:
    truth = GaussianCodes(1.0, 4)
    found = [in_batch_information(truth.sample(2000, seed=s), estimator, batch_size=200) for s in range(100)]
    values = np.array([e.value for e in found])
    side = {"info_nce": -1, "leave_one_out": 1, "stratified": 1}[estimator]
    assert 0 < side * (values.mean() - 1) + 4 * values.std() / 10 < 0.1
    errors = np.array([e.standard_error for e in found])
    assert errors.mean() == pytest.approx(values.std(), rel=0.35)
    assert (found[0].examples, found[0].samples, found[0].is_saturated) == (2000, 200, False)
    assert found[0].bias == ("lower" if side < 0 else "upper")


def test_batches_are_random_and_a_seed_decides_them() -> None:
    codes = GaussianCodes(3.0, 4).sample(1000, seed=0)
    one, two, other = (in_batch_information(codes, "info_nce", seed=seed).value for seed in (0, 0, 1))
    assert one == two != other


def test_what_cannot_be_asked_for() -> None:
    codes = GaussianCodes(3.0, 4).sample(100, seed=0)
    with pytest.raises(lv.SettingError, match="expected an in-batch estimator, got 'stratifid'; try 'stratified'"):
        in_batch_information(codes, "stratifid")  # type: ignore[arg-type]
    for size in (1, 101):
        with pytest.raises(lv.SettingError, match=f"a batch of 2 to 100 codes, as many as there are, got {size}"):
            in_batch_information(codes, "info_nce", batch_size=size)


# By a fitted density


@pytest.mark.parametrize(("latent", "information"), [(2, 3.0), (16, 20.0), (64, 30.0)])
def test_a_fitted_density_has_no_cap(latent: int, information: float) -> None:
    """Gaussian q(z), Gaussian q̂: right at 30 nats from 2000 codes, and high by the d²/4n of a fitted covariance."""
    truth = GaussianCodes(information, latent, variance=1.4, shift=0.1)
    fit, score = truth.sample(40_000, seed=0), truth.sample(2000, seed=1)
    found = density_information(score, fit_gaussian(fit))
    excess = latent * (latent + 3) / 4 / 40_000
    assert abs(deviation(found, information + excess)) < 4
    assert found.bias == "upper"
    assert not found.is_saturated


def test_a_density_that_does_not_fit_reads_high_by_its_divergence() -> None:
    """One Gaussian for three clusters: I reads high by KL(q(z) ‖ q̂) = H(q̂) - H(z)."""
    fit, score = CLUSTERS.sample(50_000, seed=0), CLUSTERS.sample(20_000, seed=1)
    covariance = np.cov(fit.z.double().numpy().T)
    excess = 0.5 * math.log(np.linalg.det(2 * math.pi * math.e * covariance)) - CLUSTERS.entropy
    found = density_information(score, fit_gaussian(fit))
    assert excess > 0.1
    assert abs(found.value - CLUSTERS.information - excess) < 4 * found.standard_error + 0.01


def test_the_fitted_densitys_standard_error_covers() -> None:
    truth = GaussianCodes(3.0, 4, variance=0.8)
    density = fit_gaussian(truth.sample(200_000, seed=1000))
    assert covered([density_information(truth.sample(300, seed=s), density) for s in range(400)], 3.0)
