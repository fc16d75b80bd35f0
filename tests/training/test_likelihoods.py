"""Runs on data of other kinds than grey images: the likelihood is picked, said, saved, and resumed to the bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import lagvae as lv
from lagvae.model.likelihoods.gaussian import OptimalGaussian
from tiny_runs import TINY, assert_same_run, stopped_after

EASY = "max mi s.t. neg_elbo <= 1e6"
SCALES = np.array([1e-3, 1.0, 1e4, 30.0])
NOISE = 0.3


def make_table(size: int = 1200) -> np.ndarray:
    """Four columns of very different scales that one factor moves, with independent noise."""
    generator = np.random.default_rng(0)
    factor = generator.normal(size=(size, 1)) * np.array([1.0, -0.8, 0.6, 1.0])
    return ((factor + NOISE * generator.normal(size=(size, 4))) * SCALES + 100 * SCALES).astype(np.float32)


def entropy() -> float:
    """The differential entropy of a row, in nats: no neg_elbo of the true distribution lies under it."""
    loading = np.array([[1.0], [-0.8], [0.6], [1.0]])
    covariance = (loading @ loading.T + NOISE**2 * np.eye(4)) * SCALES[:, None] * SCALES
    return 0.5 * (4 * math.log(2 * math.pi * math.e) + np.linalg.slogdet(covariance)[1])


def test_the_likelihood_of_a_model_of_ones_own_is_adapted_once() -> None:
    table = make_table()
    model = lv.VAE(
        lv.MLPEncoder((4,), 2, (16,)), lv.MLPDecoder(2, (4,), (16,)), latent_dim=2, likelihood=OptimalGaussian((4,))
    )
    first = lv.fit("min neg_elbo", table, model=model, **{**TINY, "epochs": 2, "batch_size": 100})
    assert first.status is lv.Status.FEASIBLE
    likelihood = first.model.likelihood
    assert isinstance(likelihood, OptimalGaussian)
    torch.testing.assert_close(likelihood.scale, torch.from_numpy(table).std(0), rtol=0.1, atol=0.0)
    scale = likelihood.scale.clone()
    again = lv.fit("min neg_elbo", 5 * table, model=first.model, **{**TINY, "epochs": 1, "batch_size": 100})
    assert isinstance(again.model.likelihood, OptimalGaussian)
    assert torch.equal(again.model.likelihood.scale, scale)  # its networks know these


def test_a_table_of_columns_of_different_scales_is_modelled_in_its_own_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table()
    options = {**TINY, "epochs": 40, "batch_size": 100, "learning_rate": 1e-2, "progress": True}
    solution = lv.fit("min neg_elbo", table, out=tmp_path / "run", **options)
    assert "likelihood: optimal_gaussian, for numbers in" in capsys.readouterr().err
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["network"]["likelihood"] == "optimal_gaussian"
    assert solution.evaluation is not None
    found = solution.evaluation["train"]["neg_elbo"]
    # The sample's own entropy lies 0.0 ± 0.06 from the true one; what is left is the model's gap.
    assert -0.2 < found.value - entropy() < 0.6
    rebuilt = solution.model.decode(solution.model.encode(torch.from_numpy(table)))
    errors = ((rebuilt - torch.from_numpy(table)).square().mean(0).sqrt() / torch.tensor(SCALES)).tolist()
    assert max(errors) < 1.6 * NOISE
    again = lv.load(tmp_path / "run").model
    assert torch.equal(again.decode(again.encode(torch.from_numpy(table))), rebuilt)


@pytest.mark.parametrize("likelihood", ["optimal_gaussian", "negative_binomial", "discretised_logistic"])
def test_what_a_likelihood_learns_is_resumed_to_the_bit(likelihood: str, tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 256, (300, 6)).astype(np.uint8)
    options = {**TINY, "epochs": 4, "batch_size": 50, "likelihood": likelihood}
    whole = lv.fit(EASY, counts, out=tmp_path / "whole", **options)
    with stopped_after(7):
        lv.fit(EASY, counts, out=tmp_path / "broken", **options)
    lv.fit(EASY, counts, out=tmp_path / "broken", resume=True, **options)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")
    assert whole.model.likelihood.name == likelihood


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (np.random.default_rng(2).poisson(3.0, (60, 5)), "negative_binomial"),
        (np.random.default_rng(2).random((60, 3, 4, 4)).astype(np.float32), "continuous_bernoulli"),
        (np.random.default_rng(2).integers(0, 256, (60, 3, 4, 4)).astype(np.uint8), "discretised_logistic"),
        (np.random.default_rng(2).random((60, 1, 4, 4)).astype(np.float32), "bernoulli"),
    ],
)
def test_every_kind_of_data_goes_from_fit_to_evaluation(array: np.ndarray, name: str) -> None:
    solution = lv.fit(EASY, array, **{**TINY, "epochs": 1})
    assert solution.model.likelihood.name == name
    assert lv.evaluate(solution, samples=5)["test"]["log_likelihood"].value < math.inf
    assert solution.model.sample(3).shape == (3, *array.shape[1:])


def test_a_model_of_ones_own_keeps_its_likelihood(tmp_path: Path) -> None:
    table = make_table(100)
    model = lv.VAE(lv.MLPEncoder((4,), 2, (8,)), lv.MLPDecoder(2, (4,), (8,)), latent_dim=2)
    with pytest.raises(lv.DataError, match=r"expected values in \[0, 1\]"):
        lv.fit(EASY, table, model=model, **{**TINY, "epochs": 1})
    lv.probe(table, **{**TINY, "epochs": 1})
