"""Importance sampling against likelihoods that are known in closed form, or by quadrature."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.errors import SettingError
from lagvae.evaluation.likelihood.importance import ImportanceWeights, is_degenerate, is_heavy, log_likelihood, weigh
from lagvae.evaluation.visits import rows_at_once
from lagvae.model.vae import VAE, mlp_vae
from lagvae.streams import Streams
from truth import SIGMAS, LinearGaussian, standard_errors

TIGHT = LinearGaussian.with_true_posterior(event=6, latent=3, noise=0.6, seed=1)
NEAR = TIGHT.with_encoder(widen=1.2, shift=0.2)
POOR = TIGHT.with_encoder(widen=0.5, shift=6.0)


def examples_of(model: LinearGaussian, size: int, seed: int = 3) -> Examples:
    return Examples(model.sample_data(size, seed=seed))


def excess(model: LinearGaussian, samples: int, size: int = 4000, at_once: int = 16) -> Tensor:
    """Returns log p̂_K(x) - log p(x), example by example."""
    x = model.sample_data(size, seed=3)
    return weigh(model.vae(), x, samples, Streams(4), at_once=at_once).log_mean - torch.tensor(model.log_likelihood(x))


# Logarithms of weights, as far apart as images make them.
logarithms = st.one_of(st.floats(-1e4, 1e4), st.just(-np.inf))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.tuples(logarithms, logarithms), min_size=1, max_size=30), st.lists(st.integers(1, 7), max_size=30))
def test_streaming_equals_one_shot_for_any_chunking(rows: list[tuple[float, float]], cuts: list[int]) -> None:
    log_weights = torch.tensor(rows, dtype=torch.float64)
    whole, pieces = ImportanceWeights(tail=6), ImportanceWeights(tail=6)
    whole.add(log_weights)
    position = 0
    for size in [*cuts, len(rows)]:
        if position < len(rows):
            pieces.add(log_weights[position : position + size])
        position += size
    known = log_weights.logsumexp(0) - np.log(len(rows))
    for found in (whole, pieces):
        assert found.samples == len(rows)
        torch.testing.assert_close(found.log_mean, known, rtol=1e-13, atol=1e-12)
        assert ((found.effective_sample_size >= 1 - 1e-9) & (found.effective_sample_size <= len(rows) + 1e-9)).all()
    torch.testing.assert_close(pieces.tail_shape, whole.tail_shape, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(pieces.effective_sample_size, whole.effective_sample_size, rtol=1e-9, atol=1e-9)


def test_effective_sample_size_by_hand() -> None:
    weights = ImportanceWeights()
    # Equal weights; one that carries all; 1, 2, 3: (6)²/14; none that carries anything.
    weights.add(torch.tensor([[5.0, 900.0, 0.0, -torch.inf], [5.0, 0.0, np.log(2), -torch.inf]]))
    weights.add(torch.tensor([[5.0, 0.0, np.log(3), -torch.inf]]))
    assert weights.effective_sample_size.tolist() == pytest.approx([3.0, 1.0, 36 / 14, 1.0], rel=1e-6)
    assert weights.log_mean.tolist() == pytest.approx([5.0, 900 - np.log(3), np.log(2), -np.inf], rel=1e-6)


def test_a_weight_that_is_no_number_is_not_hidden() -> None:
    weights = ImportanceWeights()
    weights.add(torch.tensor([[0.0, torch.nan]]))
    weights.add(torch.tensor([[0.0, 0.0]]))
    assert weights.log_mean.isnan().tolist() == [False, True]


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_exact_posterior_has_no_variance(samples: int) -> None:
    assert float(excess(TIGHT, samples, size=300).abs().max()) < 2e-5


def test_the_estimate_is_the_mean_over_examples() -> None:
    examples = examples_of(TIGHT, 300)
    exact = torch.tensor(TIGHT.log_likelihood(examples.values))  # type: ignore[arg-type]
    found = log_likelihood(TIGHT.vae(), examples, samples=40)
    assert found.value == pytest.approx(float(exact.mean()), abs=1e-5)
    assert found.standard_error == pytest.approx(float(exact.std()) / 300**0.5, rel=1e-4)
    assert (found.unit, found.bias, found.examples, found.samples) == ("nats per example", "lower", 300, 40)
    assert found.method.startswith("importance sampling, 40 draws from q(z|x); Pareto shape: median -inf; ")
    assert found.method.endswith("effective sample size: median 40, under 5 for 0% of examples")
    assert not found.is_saturated


def test_it_rises_with_every_further_draw_and_stays_below() -> None:
    ladder = [excess(POOR, samples) for samples in (1, 4, 16, 64)]
    for fewer, more in pairwise(ladder):
        assert standard_errors(more - fewer, 0.0) > SIGMAS
    assert all(standard_errors(found, 0.0) < -SIGMAS for found in ladder)


def test_it_reaches_the_exact_likelihood() -> None:
    """From a near posterior, at K = 2000, within its error on both sides; at K = 2 it does not."""
    assert abs(standard_errors(excess(NEAR, 2000, size=1000), 0.0)) < SIGMAS  # false alarm 6.3e-5
    assert standard_errors(excess(NEAR, 2, size=1000), 0.0) < -SIGMAS


def test_the_shortfall_is_what_the_effective_sample_size_says() -> None:
    """E log p̂_K - log p = -(1/ESS - 1/K)/2 to first order: what the flag is made of."""
    x = NEAR.sample_data(20_000, seed=3)
    weights = weigh(NEAR.vae(), x, 30, Streams(4))
    shortfall = (torch.tensor(NEAR.log_likelihood(x)) - weights.log_mean).mean()
    predicted = 0.5 * (1 / weights.effective_sample_size - 1 / 30).mean()
    assert float(shortfall) == pytest.approx(float(predicted), rel=0.2)


def test_chunks_change_the_draws_and_not_the_value() -> None:
    found = [excess(NEAR, 100, size=2000, at_once=at_once) for at_once in (1, 7, 99, 1000)]
    for other in found[1:]:
        assert abs(standard_errors(found[0] - other, 0.0)) < SIGMAS  # false alarm 6.3e-5 each


def test_the_error_covers_the_truth_as_often_as_it_says() -> None:
    """200 data sets of 100 examples: 95 % of the intervals cover -H(x), and errors are as large as they say.

    Four standard deviations of a binomial, and of a standard deviation: false alarms 6.3e-5 each.
    """
    truth = -NEAR.entropy()
    found = [log_likelihood(NEAR.vae(), examples_of(NEAR, 100, seed=s), samples=100, seed=s) for s in range(200)]
    covered = sum(abs(e.value - truth) < 1.96 * e.standard_error for e in found)
    assert 190 - SIGMAS * (200 * 0.95 * 0.05) ** 0.5 < covered <= 200
    spread = np.std([e.value for e in found], ddof=1)
    assert spread == pytest.approx(np.mean([e.standard_error for e in found]), rel=SIGMAS / 400**0.5)


@pytest.mark.parametrize("samples", [1, 5, 17])
def test_k_is_not_raised_to_the_batch_size(samples: int) -> None:
    model, decoded = NEAR.vae(), []
    model.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(len(output)))
    assert log_likelihood(model, examples_of(NEAR, 230), samples=samples).samples == samples
    assert sum(decoded) == 230 * samples


def test_no_more_is_decoded_at_once_for_a_larger_k() -> None:
    model, decoded = NEAR.vae(), []
    model.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(output.numel()))
    weigh(model, NEAR.sample_data(10, seed=0), 1000, Streams(0), at_once=20)
    assert max(decoded) == 20 * 10 * 6
    assert rows_at_once((1, 28, 28), torch.device("cpu")) == 2**20 // 784
    assert rows_at_once((1, 28, 28), torch.device("cpu"), each=256) == 2**20 // 784 // 256
    assert rows_at_once((3, 1024, 1024), torch.device("cpu")) == 1
    assert rows_at_once((1, 28, 28), torch.device("cuda")) == 2**26 // 784


def test_log_likelihood_is_not_negated() -> None:
    """A narrow density lies above 1, and its logarithm above 0; bits have a probability, and its logarithm below 0."""
    narrow = LinearGaussian.with_true_posterior(event=6, latent=2, noise=0.05, seed=1)
    found = log_likelihood(narrow.vae(), examples_of(narrow, 200), samples=5)
    assert found.value == pytest.approx(-narrow.entropy(), abs=5 * found.standard_error)
    assert found.value > 0
    bits, model = bernoulli()
    assert log_likelihood(model, bits, samples=5).value < 0
    assert found.bias == "lower"


def bernoulli() -> tuple[Examples, VAE]:
    """Six bits that depend strongly on one code; the encoder is the prior."""
    model = mlp_vae((3, 2), latent_dim=1, hidden=(8,), generator=torch.Generator().manual_seed(0))
    for parameter in model.decoder.parameters():
        parameter.data.mul_(2.0)
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    x = torch.rand(60, 3, 2, generator=torch.Generator().manual_seed(1)).round()
    return Examples(x), model


def test_bits_against_quadrature() -> None:
    bits, model = bernoulli()
    z = torch.linspace(-9, 9, 3001).unsqueeze(1)
    with torch.no_grad():
        logits = model.decoder(z).flatten(1).double()
    x = bits.values.flatten(1).double()  # type: ignore[union-attr]
    log_likelihoods = x @ logits.T - torch.nn.functional.softplus(logits).sum(1)
    density = log_likelihoods - 0.5 * z.squeeze(1).double().square() - 0.5 * np.log(2 * np.pi)
    exact = (density.logsumexp(1) + np.log(18 / 3000)).mean()
    found = log_likelihood(model, bits, samples=20_000)
    assert found.value == pytest.approx(float(exact), abs=2e-3)
    assert log_likelihood(model, bits, samples=1).value < float(exact) - 0.1


def flag(model: LinearGaussian, samples: int) -> bool:
    return log_likelihood(model.vae(), examples_of(model, 200), samples=samples).is_saturated


def test_a_good_encoder_raises_no_flag() -> None:
    assert not flag(TIGHT, 25)
    assert not flag(NEAR, 50)
    assert not flag(NEAR, 1000)


def test_draws_that_cannot_show_that_they_suffice_raise_the_flag() -> None:
    assert flag(TIGHT, 1)
    assert flag(TIGHT, 24)


def test_a_misplaced_encoder_raises_the_flag() -> None:
    found = log_likelihood(POOR.vae(), examples_of(POOR, 200), samples=50)
    assert found.is_saturated
    assert found.value < -POOR.entropy() - 1


def test_an_encoder_that_is_too_narrow_raises_the_flag() -> None:
    """Its weights look even (an effective sample size over 5), and the estimate is nats too low."""
    narrow = TIGHT.with_encoder(widen=0.05)
    x = narrow.sample_data(200, seed=3)
    weights = weigh(narrow.vae(), x, 1000, Streams(0))
    assert float((torch.tensor(narrow.log_likelihood(x)) - weights.log_mean).mean()) > 2
    assert not is_degenerate(weights.effective_sample_size)
    assert is_heavy(weights.tail_shape, 1000)
    assert flag(narrow, 1000)
    assert flag(narrow, 100)


def test_a_seed_decides_every_number() -> None:
    model = NEAR.vae()
    data = lv.open_data("digits").test
    grey = mlp_vae((1, 8, 8), latent_dim=2, hidden=(4,), generator=torch.Generator().manual_seed(0))
    for measured, examples in ((model, examples_of(NEAR, 120)), (grey, data)):
        first, again, other = (log_likelihood(measured, examples, samples=6, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first.value != other.value


def test_it_leaves_the_model_and_the_random_state_alone() -> None:
    model = NEAR.vae()
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        log_likelihood(model, examples_of(NEAR, 20), samples=3)
        assert model.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_progress_is_told() -> None:
    done: list[int] = []
    log_likelihood(NEAR.vae(), examples_of(NEAR, 230), samples=3, advance=done.append)
    assert done == [100, 100, 30]


@pytest.mark.parametrize("samples", [0, -3, 2.5, True])
def test_a_number_of_draws_that_is_none_is_refused(samples: object) -> None:
    with pytest.raises(SettingError, match=r"expected at least 1 draw per example, got .*; try"):
        log_likelihood(NEAR.vae(), examples_of(NEAR, 20), samples=samples)  # type: ignore[arg-type]
