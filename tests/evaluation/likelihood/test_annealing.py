"""Annealing against linear-Gaussian models, whose every tempered posterior is a known Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lagvae.data.examples import Examples
from lagvae.errors import SettingError, ShapeError
from lagvae.evaluation.likelihood.annealing import (
    Annealing,
    anneal,
    anneal_back,
    annealed_log_likelihood,
    bracket_log_likelihood,
    make_path,
    tune,
)
from lagvae.evaluation.likelihood.hamiltonian import transition
from lagvae.evaluation.likelihood.importance import log_likelihood
from lagvae.evaluation.likelihood.rate_distortion import rate_distortion
from lagvae.model.vae import VAE, mlp_vae
from truth import SIGMAS, LinearGaussian, standard_errors

MODEL = LinearGaussian.with_true_posterior(event=6, latent=3, noise=0.6, seed=1)
POOR = MODEL.with_encoder(widen=0.3, shift=6.0)
OFF = MODEL.with_encoder(widen=1.5, shift=1.0)
TINY = Annealing(temperatures=3, chains=2, leapfrogs=1)
SHORT = Annealing(temperatures=12, chains=8, leapfrogs=3)
LONG = Annealing(temperatures=120, chains=16, leapfrogs=4)


class Rows(nn.Module):
    """An encoder that takes examples of three columns, whatever the rows, and nothing else."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        batch, _, columns = x.shape
        assert columns == 3
        return self.layer(x[:, :2].reshape(batch, 6))


def examples_of(model: LinearGaussian, size: int, seed: int = 3) -> Examples:
    return Examples(model.sample_data(size, seed=seed))


def exact(examples: Examples) -> torch.Tensor:
    return torch.tensor(MODEL.log_likelihood(examples.values))  # type: ignore[arg-type]


@pytest.mark.parametrize("spacing", ["sigmoidal", "linear"])
def test_schedules_rise_from_nothing_to_one(spacing: Any) -> None:
    betas = Annealing(temperatures=10, spacing=spacing).betas()
    assert len(betas) == 11
    assert (betas[0], betas[-1]) == (0.0, 1.0)
    steps = np.diff(betas)
    assert steps.min() > 0
    if spacing == "linear":
        np.testing.assert_allclose(steps, 0.1)
    else:
        np.testing.assert_allclose(steps, steps[::-1])
        assert steps[4] > 5 * steps[0]  # densest at both ends


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_weights_are_without_bias_for_the_likelihood(start: Any) -> None:
    """E w = p(x), exactly, however short the walk: 4000 chains, 6.3e-5 for each of three examples."""
    annealing = Annealing(temperatures=6, chains=4000, leapfrogs=2)
    x = MODEL.sample_data(3, seed=5)
    model = MODEL.with_encoder(widen=1.5, shift=0.5)
    with torch.no_grad():
        path = make_path(model.vae(), x, start)
        generator = torch.Generator().manual_seed(0)
        *_, (_, log_weights) = anneal(path, annealing, generator, tune(path, annealing, generator))
    ratios = (log_weights - torch.tensor(MODEL.log_likelihood(x))).exp()
    for column in ratios.T:
        assert abs(standard_errors(column, 1.0)) < SIGMAS
    assert float(ratios.std()) > 0.1


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_reverse_weights_are_without_bias_for_its_inverse(start: Any) -> None:
    annealing = Annealing(temperatures=10, chains=1, leapfrogs=2)
    x = MODEL.sample_data(3, seed=5).repeat(4000, 1)
    mean, variance = MODEL.tempered_posterior(x, 1.0)
    z = mean + variance**0.5 * np.random.default_rng(0).normal(size=mean.shape)
    generator = torch.Generator().manual_seed(1)
    model = MODEL.with_encoder(widen=1.5, shift=0.5)
    with torch.no_grad():
        path = make_path(model.vae(), x, start)
        step_sizes = tune(path, annealing, generator)
        log_weights = anneal_back(path, torch.tensor(z).float(), annealing, generator, step_sizes)[0]
    ratios = (torch.tensor(MODEL.log_likelihood(x)) - log_weights).exp().reshape(4000, 3)
    for column in ratios.T:
        assert abs(standard_errors(column, 1.0)) < SIGMAS
    assert float(ratios.std()) > 0.05


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_lower_and_upper_ends_enclose_the_truth_and_meet(start: Any) -> None:
    """On average over the model's own data; its -H(x) lies within the bracket, four errors given."""
    short = bracket_log_likelihood(OFF.vae(), size=150, annealing=Annealing(4, 4, 2), start=start)
    long = bracket_log_likelihood(OFF.vae(), size=150, annealing=LONG, start=start)
    truth = -MODEL.entropy()
    for found in (short, long):
        assert found.lower.value < truth + SIGMAS * found.lower.standard_error
        assert found.upper.value > truth - SIGMAS * found.upper.standard_error
        assert found.gap.value == pytest.approx(found.upper.value - found.lower.value, abs=1e-6)
        assert found.gap.value > -SIGMAS * found.gap.standard_error
        assert (found.lower.bias, found.upper.bias, found.gap.bias) == ("lower", "upper", "upper")
    assert long.gap.standard_error < long.lower.standard_error  # the same examples
    assert short.gap.value > SIGMAS * short.gap.standard_error
    assert long.gap.value < 0.5 * short.gap.value
    assert long.gap.value < 0.1


def test_it_is_below_the_exact_likelihood_and_tight() -> None:
    examples = examples_of(MODEL, 200)
    truth = float(exact(examples).mean())
    long = annealed_log_likelihood(MODEL.vae(), examples, annealing=LONG)
    short = annealed_log_likelihood(MODEL.vae(), examples, annealing=SHORT)
    assert short.value < truth - 0.05
    assert long.value == pytest.approx(truth, abs=0.08)
    assert long.standard_error == pytest.approx(float(exact(examples).std()) / 200**0.5, rel=0.05)
    assert (long.bias, long.unit, long.examples, long.samples) == ("lower", "nats per example", 200, 16)
    assert long.method.startswith(
        "annealed importance sampling, 16 chains from the prior, 120 sigmoidal temperatures of 4 leapfrogs; effective"
    )
    assert not long.is_saturated


def test_it_finds_what_a_poor_encoder_hides() -> None:
    examples = examples_of(MODEL, 100)
    truth = float(exact(examples).mean())
    sampled = log_likelihood(POOR.vae(), examples, samples=500)
    annealed = annealed_log_likelihood(POOR.vae(), examples, annealing=LONG)
    assert sampled.value < truth - 3
    assert annealed.value == pytest.approx(truth, abs=0.05)
    assert sampled.is_saturated
    assert not annealed.is_saturated


def test_too_short_a_walk_and_too_few_chains_raise_the_flag() -> None:
    examples = examples_of(MODEL, 50)

    def flag(**settings: int) -> bool:
        return annealed_log_likelihood(MODEL.vae(), examples, annealing=Annealing(**settings)).is_saturated

    assert flag(temperatures=2, chains=16, leapfrogs=1)
    assert flag(temperatures=150, chains=4, leapfrogs=4)


def test_step_sizes_are_tuned_to_their_acceptance() -> None:
    """Also where the encoder's width is wrong by a factor of four in either direction."""
    annealing = Annealing(temperatures=150, chains=16, leapfrogs=4)
    for widen in (0.25, 4.0):
        model, generator = MODEL.with_encoder(widen=widen), torch.Generator().manual_seed(0)
        with torch.no_grad():
            path = make_path(model.vae(), model.sample_data(10, seed=2), "prior")
            step_sizes = tune(path, annealing, generator)
            *_, (state, _) = anneal(path, annealing, generator, step_sizes)
            _, acceptance = transition(
                path, state, beta=1.0, step_size=step_sizes[-1], steps=annealing.leapfrogs, generator=generator
            )
        assert float(acceptance.mean()) == pytest.approx(0.65, abs=0.12)


def test_rate_and_distortion_against_their_closed_forms() -> None:
    examples = examples_of(MODEL, 100)
    found = rate_distortion(POOR.vae(), examples, annealing=LONG, points=6)
    assert len(found.beta) == 6
    assert (float(found.beta[0]), float(found.beta[-1])) == (0.0, 1.0)
    assert (float(found.rate[0]), float(found.rate_error[0])) == (0.0, 0.0)
    for beta, distortion, rate in zip(found.beta.tolist(), found.distortion, found.rate, strict=True):
        x: torch.Tensor = examples.values  # type: ignore[assignment]
        # Sixteen chains estimate the mean of a distortion whose standard deviation is some nats: 0.25 of one.
        assert float(distortion) == pytest.approx(MODEL.tempered_distortion(x, beta).mean(), abs=0.25 if beta else 1.0)
        assert float(rate) == pytest.approx(MODEL.tempered_rate(x, beta).mean(), abs=0.25)
    assert float(found.distortion[-1] + found.rate[-1]) == pytest.approx(-float(exact(examples).mean()), abs=0.02)
    assert (found.rate.diff() > 0).all()
    assert (found.distortion.diff() < 0).all()
    assert not found.is_saturated.any()


def test_points_of_a_short_walk_lie_above_the_curve() -> None:
    """R + β D is least on the curve: what is reached is no less, and much more where the walk is too short."""
    examples = examples_of(MODEL, 300)
    x: torch.Tensor = examples.values  # type: ignore[assignment]
    found = rate_distortion(MODEL.vae(), examples, annealing=Annealing(3, 16, 1), points=4)
    assert bool(found.is_saturated[-1])
    assert not bool(found.is_saturated[0])
    excess = [
        float(rate + beta * distortion)
        - (MODEL.tempered_rate(x, beta) + beta * MODEL.tempered_distortion(x, beta)).mean()
        for beta, distortion, rate in zip(found.beta.tolist(), found.distortion, found.rate, strict=True)
    ]
    assert excess[-1] > 0.1
    assert min(excess) > -0.05


def test_rate_and_distortion_in_plain_types() -> None:
    plain = rate_distortion(MODEL.vae(), examples_of(MODEL, 20), annealing=SHORT, points=3).as_dict()
    assert plain["beta"] == [0.0, pytest.approx(0.5), 1.0]
    assert plain["examples"] == 20
    assert plain["annealing"] == {"temperatures": 12, "chains": 8, "leapfrogs": 3, "spacing": "sigmoidal"}
    assert all(len(plain[name]) == 3 for name in ("rate", "distortion", "rate_error", "distortion_error"))


def test_bits_are_annealed_and_bracketed() -> None:
    model = mlp_vae((1, 4, 4), latent_dim=2, hidden=(16,), generator=torch.Generator().manual_seed(0))
    for parameter in model.decoder.parameters():
        parameter.data.mul_(2.0)
    x = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    annealing = Annealing(temperatures=60, chains=8, leapfrogs=3)
    found = annealed_log_likelihood(model, Examples(x), annealing=annealing, seed=2)
    assert -40 < found.value < 0
    bracket = bracket_log_likelihood(model, size=40, annealing=annealing)
    assert abs(bracket.gap.value) < 0.1 + SIGMAS * bracket.gap.standard_error
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_flat_decoder_is_bracketed_once_the_shape_is_known() -> None:
    flat = VAE(nn.Linear(6, 4), nn.Linear(2, 6), latent_dim=2)
    image = VAE(Rows(flat.encoder), flat.decoder, latent_dim=2)
    plain = bracket_log_likelihood(flat, size=4, annealing=TINY)
    assert bracket_log_likelihood(image, size=4, annealing=TINY, event_shape=(2, 3)) == plain
    with pytest.raises(ShapeError, match=r"puts out \(6,\), .* try event_shape=data.train.event_shape"):
        bracket_log_likelihood(image, size=4, annealing=TINY)
    with pytest.raises(ShapeError, match=r"a decoder with 12 outputs for examples of shape \(4, 3\)"):
        bracket_log_likelihood(image, size=4, annealing=TINY, event_shape=(4, 3))


def test_a_seed_decides_every_number() -> None:
    model, examples = MODEL.vae(), examples_of(MODEL, 30)

    def measure(seed: int) -> list[object]:
        options = {"annealing": TINY, "seed": seed}
        curve = rate_distortion(model, examples, points=3, **options).as_dict()  # type: ignore[arg-type]
        found = annealed_log_likelihood(model, examples, **options)  # type: ignore[arg-type]
        return [found, bracket_log_likelihood(model, size=20, **options), curve]  # type: ignore[arg-type]

    state = torch.get_rng_state()
    first, again, other = measure(1), measure(1), measure(2)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_is_told_and_the_mode_is_left() -> None:
    model, done = MODEL.vae(), []
    examples = examples_of(MODEL, 130)
    for training in (True, False):
        model.train(training)
        annealed_log_likelihood(model, examples, annealing=TINY, advance=done.append)
        bracket_log_likelihood(model, size=120, annealing=TINY, advance=done.append)
        rate_distortion(model, examples, annealing=TINY, advance=done.append)
        assert model.training is training
    assert done == [100, 30, 100, 20, 100, 30] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperatures": 0}, "expected at least 1 temperature, got 0; try"),
        ({"chains": 2.5}, "expected at least 1 chain, got 2.5; try"),
        ({"leapfrogs": -1}, "expected at least 1 leapfrog, got -1; try"),
        ({"spacing": "sigmoid"}, "expected a known spacing of temperatures, got 'sigmoid'; try 'sigmoidal'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Annealing(**settings)


def test_wrong_arguments_are_refused() -> None:
    model, examples = MODEL.vae(), examples_of(MODEL, 4)
    with pytest.raises(SettingError, match="expected a known start, got 'encoder'; try one of posterior, prior"):
        annealed_log_likelihood(model, examples, start="encoder")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="expected at least 1 example, got 0; try"):
        bracket_log_likelihood(model, size=0)
    with pytest.raises(SettingError, match="expected at least 2 points, got 1; try"):
        rate_distortion(model, examples, points=1)
