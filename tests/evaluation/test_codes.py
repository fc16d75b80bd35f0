"""One pass over a part: posteriors, one z each, in the order of the data."""

from __future__ import annotations

import pytest
import torch

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation.codes import Codes, collect_codes
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.vae import VAE, mlp_vae
from truth import LinearGaussian, standard_errors


@pytest.fixture(scope="module")
def model() -> VAE:
    return mlp_vae((1, 8, 8), latent_dim=3, hidden=(16,), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def digits() -> lv.Data:
    return lv.open_data("digits")


def test_codes_of_a_linear_gaussian_vae() -> None:
    """Every posterior is Ax + c with its std, and z follows the exact aggregate posterior."""
    truth = LinearGaussian.arbitrary(event=5, latent=3, seed=0)
    x = truth.sample_data(20_000, seed=1)
    codes = collect_codes(truth.vae(), Examples(x), part="train")
    means = x.double().numpy() @ truth.slope.T + truth.offset
    torch.testing.assert_close(codes.posterior.mean.double(), torch.tensor(means), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(codes.posterior.log_std[7].double().exp(), torch.tensor(truth.std), atol=1e-6, rtol=1e-6)
    mean, covariance = truth.aggregate()
    for dimension in range(3):
        z = codes.z[:, dimension]
        assert abs(standard_errors(z, mean[dimension])) < 4
        assert abs(standard_errors((z - mean[dimension]) ** 2, covariance[dimension, dimension])) < 4
    assert abs(standard_errors(codes.rates, truth.rate())) < 4
    assert abs(standard_errors(codes.log_posterior - codes.log_prior, truth.rate())) < 4
    assert codes.rates.dtype == torch.float64


def test_they_stand_in_the_order_of_the_data_with_their_labels(model: VAE, digits: lv.Data) -> None:
    x = (torch.arange(300)[:, None] % 2).float().expand(300, 64).reshape(300, 1, 8, 8)
    codes = collect_codes(model, Examples(x, torch.arange(300)), part="train", batch_size=70)
    torch.testing.assert_close(codes.posterior.mean, model.posterior(x).mean.detach())
    assert torch.equal(codes.labels, torch.arange(300))  # type: ignore[arg-type]
    assert collect_codes(model, Examples(x), part="train").labels is None
    picked = codes.pick(torch.tensor([5, 2]))
    assert torch.equal(picked.z, codes.z[[5, 2]])
    assert picked.labels is not None
    assert picked.labels.tolist() == [5, 2]


def test_two_parts_share_no_noise(model: VAE) -> None:
    """With one stream for both, a test code's nearest neighbour is the train code of its number."""
    x = torch.zeros(200, 1, 8, 8)
    train, test = (collect_codes(model, Examples(x), part=part).z for part in ("train", "test"))
    nearest = torch.cdist(test, train).argmin(1)
    assert (nearest == torch.arange(200)).sum() <= 6  # expected 1, Poisson; false alarms: 8e-5


def test_a_seed_decides_everything(model: VAE, digits: lv.Data) -> None:
    state = torch.get_rng_state()
    one, two, other = (collect_codes(model, digits.test, part="test", seed=seed).z for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_leaves_the_model_as_it_was_and_tells_of_progress(model: VAE, digits: lv.Data) -> None:
    done: list[int] = []
    for training in (True, False):
        model.train(training)
        collect_codes(model, digits.test, part="test", batch_size=100, advance=done.append)
        assert model.training is training
    assert done == [100, 100, 97] * 2


def test_a_memory_map_is_read_batch_by_batch(model: VAE, digits: lv.Data, tmp_path: object) -> None:
    import numpy as np

    path = f"{tmp_path}/x.npy"
    np.save(path, digits.test.values.numpy())  # type: ignore[union-attr]
    mapped = Examples(np.load(path, mmap_mode="r"))
    expected = collect_codes(model, digits.test, part="test")
    assert torch.equal(collect_codes(model, mapped, part="test").z, expected.z)


def test_a_split_is_a_partition_at_random() -> None:
    z = torch.arange(100.0)[:, None]
    codes = Codes(DiagonalGaussian(z, z), z, torch.arange(100))
    first, second = codes.split(0.8, seed=3)
    assert (len(first), len(second)) == (80, 20)
    assert sorted([*first.z[:, 0].tolist(), *second.z[:, 0].tolist()]) == list(range(100))
    assert first.labels is not None
    assert torch.equal(first.labels.float(), first.z[:, 0])
    assert not torch.equal(first.z, z[:80])
    assert not torch.equal(first.z, codes.split(0.8, seed=4)[0].z)
    assert torch.equal(codes.shuffled(1).z.sort(0).values, z)


def test_shapes_that_do_not_fit_are_refused() -> None:
    z = torch.zeros(3, 2)
    with pytest.raises(lv.ShapeError, match=r"one shape \[codes, latent\].*\(3, 2\) and \(2, 2\)"):
        Codes(DiagonalGaussian(z, z), z[:2])
    with pytest.raises(lv.ShapeError, match="two codes or more"):
        Codes(DiagonalGaussian(z[:1], z[:1]), z[:1])
