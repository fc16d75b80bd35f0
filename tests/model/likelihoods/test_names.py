from __future__ import annotations

from typing import get_args

import pytest
import torch

from lagvae.data.examples import Examples
from lagvae.errors import DataError, SettingError
from lagvae.model.build import build_vae
from lagvae.model.likelihoods.likelihood import Likelihood, count_parameters
from lagvae.model.likelihoods.names import build_likelihood, choose_likelihood
from lagvae.settings import LikelihoodName, NetworkSettings
from lagvae.streams import Streams

NAMES = [name for name in get_args(LikelihoodName) if name != "auto"]
BYTES = torch.randint(0, 256, (6, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("event_shape", [(3, 4, 4), (5,)])
def test_every_name_builds_a_model_that_draws_encodes_and_decodes(name: str, event_shape: tuple[int, ...]) -> None:
    settings = NetworkSettings(latent_dim=2, hidden=(8,), likelihood=name)  # type: ignore[arg-type]
    model = build_vae(event_shape, settings, generator=torch.Generator().manual_seed(1))
    assert isinstance(model.likelihood, Likelihood)
    assert model.likelihood.name == name
    model.check_shapes(event_shape)
    raw = BYTES.flatten(1)[:, :5] if event_shape == (5,) else BYTES
    model.likelihood.check(Examples(raw), name="bytes")
    streams = Streams(0)
    x = model.likelihood.prepare(raw, streams.binarisation)
    draw = model.draw(x, streams)
    assert draw.log_likelihood.shape == (6,)
    assert torch.isfinite(draw.log_likelihood).all()
    assert draw.draw_again(3).log_likelihood.shape == (3, 6)
    for decoded in (model.decode(draw.z), model.simulate(draw.z, streams.posterior)):
        assert decoded.shape == (6, *event_shape)
        assert torch.isfinite(decoded).all()
    (-draw.log_likelihood.mean()).backward()
    assert all(weight.grad is None or torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_pixels_keep_their_place_where_a_dimension_has_several_parameters() -> None:
    settings = NetworkSettings(latent_dim=2, hidden=(), likelihood="discretised_logistic")
    model = build_vae((3, 4, 4), settings, generator=torch.Generator().manual_seed(1))
    z = torch.zeros(1, 2)
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    bias = model.decoder.layers[-1].bias  # type: ignore[union-attr, index]
    with torch.no_grad():
        bias.unflatten(0, (2, 3, 4, 4))[0, 1, 2, 3] = 0.3  # type: ignore[operator]
        bias.unflatten(0, (2, 3, 4, 4))[1] = -20.0  # type: ignore[operator]
    assert float(model.decode(z)[0, 1, 2, 3]) == pytest.approx(0.8, abs=1e-2)
    assert float(model.decode(z)[0, 1, 2, 2]) == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        (BYTES, "discretised_logistic", "bytes in three colours"),
        (BYTES[:, :1], "bernoulli", "bytes, whose intensities"),
        (BYTES[:, 0], "bernoulli", "bytes, whose intensities"),
        (BYTES / 255, "continuous_bernoulli", "three colours"),
        (BYTES[:, :1] / 255, "bernoulli", r"floats in \[0, 1\]"),
        ((BYTES > 99).float(), "bernoulli", "bits"),
        (BYTES[:, :1].float(), "bernoulli", "bytes as floats"),
        (BYTES[:, 0, 0].float(), "negative_binomial", r"counts in \d+\.\.\d+"),
        (BYTES[:, 0, 0].float() - 300, "optimal_gaussian", r"numbers in -\d+\.\.-\d+"),
        (BYTES / 255 - 0.5, "optimal_gaussian", "numbers in"),
    ],
)
def test_the_data_choose(values: torch.Tensor, name: str, reason: str) -> None:
    choice = choose_likelihood(Examples(values))
    assert choice.name == name
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(str(choice))


def test_unknown_names_and_auto_are_refused() -> None:
    with pytest.raises(SettingError, match="expected a likelihood, got 'gausian'; try 'gaussian'"):
        build_likelihood("gausian", (3,))
    with pytest.raises(SettingError, match="expected a likelihood, got 'auto'"):
        build_vae((3,), NetworkSettings())


@pytest.mark.parametrize("name", ["categorical", "discretised_logistic"])
def test_levels_want_bytes(name: str) -> None:
    with pytest.raises(DataError, match=f"expected bytes in train, of which {name} scores the 256 levels, got floats"):
        build_likelihood(name, (2,)).check(Examples(torch.zeros(3, 2)), name="train")
    assert count_parameters(build_likelihood(name, (2,))) == {"categorical": 256}.get(name, 2)


@pytest.mark.parametrize("bad", [-1.0, 0.5])
def test_counts_want_whole_numbers(bad: float) -> None:
    likelihood = build_likelihood("poisson", (2,))
    likelihood.check(Examples(torch.tensor([[0.0, 300.0]])), name="fine")
    with pytest.raises(
        DataError, match=rf"counts 0, 1, 2, \.\.\. in train, got {bad:g} at index \[1, 0\]; try another"
    ):
        likelihood.check(Examples(torch.tensor([[0.0, 1.0], [bad, 2.0]])), name="train")


def test_counts_start_at_the_usual_rate_of_each_column() -> None:
    likelihood = build_likelihood("poisson", (3,))
    values = torch.tensor([[0.0, 4.0, 1000.0], [0.0, 2.0, 3000.0]])
    likelihood.adapt(Examples(values))  # type: ignore[attr-defined]
    torch.testing.assert_close(likelihood.mean(torch.zeros(1, 3)), torch.tensor([[0.25, 3.0, 2000.0]]))
    torch.testing.assert_close(likelihood.features(values), torch.log1p(values))  # type: ignore[attr-defined]
    as_bytes = build_likelihood("poisson", (3,))
    as_bytes.adapt(Examples(torch.tensor([[0, 4, 200]], dtype=torch.uint8)))  # type: ignore[attr-defined]
    torch.testing.assert_close(as_bytes.mean(torch.zeros(1, 3)), torch.tensor([[0.5, 4.0, 200.0]]))
