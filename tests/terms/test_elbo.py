from __future__ import annotations

import numpy as np
import pytest
import torch

from lagvae.model.draw import Draw
from lagvae.streams import Streams
from lagvae.terms.elbo import distortion, neg_elbo, rate
from truth import SIGMAS, LinearGaussian, gaussian_kl, standard_errors

SIZE = 100_000


@pytest.fixture(scope="module")
def tight() -> LinearGaussian:
    return LinearGaussian.with_true_posterior(event=5, latent=3, noise=0.6, seed=1)


@pytest.fixture(scope="module")
def loose() -> LinearGaussian:
    return LinearGaussian.arbitrary(event=5, latent=3, seed=2)


def draw(model: LinearGaussian, size: int = SIZE) -> Draw:
    with torch.no_grad():
        return model.vae().draw(model.sample_data(size, seed=3), Streams(4))


def test_truth_rate_is_information_plus_the_prior_mismatch(loose: LinearGaussian) -> None:
    assert loose.rate() == pytest.approx(loose.mutual_information() + gaussian_kl(*loose.aggregate()), abs=1e-10)


def test_truth_is_tight_where_the_encoder_is_the_posterior(tight: LinearGaussian) -> None:
    assert tight.distortion() + tight.rate() == pytest.approx(tight.entropy(), abs=1e-10)
    assert tight.mutual_information() == pytest.approx(tight.rate(), abs=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_posterior_gives_the_likelihood_for_every_z(tight: LinearGaussian, seed: int) -> None:
    x = tight.sample_data(500, seed=seed)
    with torch.no_grad():
        found = neg_elbo(estimator="one_sample").per_example(tight.vae().draw(x, Streams(seed)))
    np.testing.assert_allclose(found.numpy(), -tight.log_likelihood(x), atol=2e-5)


def test_inexact_posterior_costs_its_divergence(loose: LinearGaussian) -> None:
    drawn = draw(loose)
    excess = neg_elbo.per_example(drawn) + torch.tensor(loose.log_likelihood(drawn.x))
    assert standard_errors(excess, 0.0) > 100


def test_neg_elbo_is_the_negative_log_likelihood_on_average(tight: LinearGaussian) -> None:
    drawn = draw(tight)
    excess = neg_elbo.per_example(drawn) + torch.tensor(tight.log_likelihood(drawn.x))
    assert abs(standard_errors(excess, 0.0)) < SIGMAS  # false alarm 6.3e-5


@pytest.mark.parametrize("model", ["tight", "loose"])
@pytest.mark.parametrize("estimator", ["analytic", "one_sample"])
def test_rate_has_its_closed_form(model: str, estimator: str, request: pytest.FixtureRequest) -> None:
    known: LinearGaussian = request.getfixturevalue(model)
    samples = rate(estimator=estimator).per_example(draw(known))
    assert abs(standard_errors(samples, known.rate())) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, 1.05 * known.rate())) > SIGMAS


def test_analytic_rate_has_less_noise(loose: LinearGaussian) -> None:
    drawn = draw(loose)
    assert rate.per_example(drawn).var() < rate(estimator="one_sample").per_example(drawn).var()


@pytest.mark.parametrize("model", ["tight", "loose"])
def test_distortion_has_its_closed_form(model: str, request: pytest.FixtureRequest) -> None:
    known: LinearGaussian = request.getfixturevalue(model)
    samples = distortion.per_example(draw(known))
    assert abs(standard_errors(samples, known.distortion())) < SIGMAS  # false alarm 6.3e-5
    assert abs(standard_errors(samples, 1.05 * known.distortion())) > SIGMAS


def test_information_lies_strictly_between_its_measured_bounds(loose: LinearGaussian) -> None:
    drawn = draw(loose)
    information = loose.mutual_information()
    assert standard_errors(loose.entropy() - distortion.per_example(drawn), information) < -SIGMAS
    assert standard_errors(rate.per_example(drawn), information) > SIGMAS


def test_measured_bounds_meet_where_the_encoder_is_the_posterior(tight: LinearGaussian) -> None:
    drawn = draw(tight)
    information = tight.mutual_information()
    # False alarm 6.3e-5 each.
    assert abs(standard_errors(tight.entropy() - distortion.per_example(drawn), information)) < SIGMAS
    assert abs(standard_errors(rate.per_example(drawn), information)) < SIGMAS


def test_rate_exceeds_information_by_the_aggregate_divergence(loose: LinearGaussian) -> None:
    samples = rate.per_example(draw(loose)) - loose.mutual_information()
    assert abs(standard_errors(samples, gaussian_kl(*loose.aggregate()))) < SIGMAS  # false alarm 6.3e-5


def test_codes_have_the_aggregate_moments(loose: LinearGaussian) -> None:
    mean, covariance = loose.aggregate()
    z = draw(loose).z
    for i in range(len(mean)):
        # False alarm 6.3e-5 each.
        assert abs(standard_errors(z[:, i], mean[i])) < SIGMAS
        assert abs(standard_errors((z[:, i] - mean[i]).square(), covariance[i, i])) < SIGMAS


@pytest.mark.parametrize("estimator", ["analytic", "one_sample"])
def test_neg_elbo_is_distortion_plus_rate(loose: LinearGaussian, estimator: str) -> None:
    drawn = draw(loose, 100)
    term = neg_elbo(estimator=estimator)
    parts = term.surrogate(2.0)
    assert parts == {distortion: 2.0, rate(estimator=estimator): 2.0}
    torch.testing.assert_close(
        2 * term.measure(drawn), sum(weight * part.measure(drawn) for part, weight in parts.items())
    )


def test_measure_is_the_mean_over_examples(loose: LinearGaussian) -> None:
    drawn = draw(loose, 100)
    for term in (distortion, rate, neg_elbo):
        torch.testing.assert_close(term.measure(drawn), term.per_example(drawn).mean())


def test_only_losses_may_not_be_rewarded() -> None:
    assert not distortion.may_be_rewarded
    assert not neg_elbo.may_be_rewarded
    assert rate.may_be_rewarded
