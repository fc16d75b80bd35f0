"""Going on from a solution: its networks, whatever the settings say, and what a folder tells of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import lagvae as lv
from lagvae.model.vae import mlp_vae
from lagvae.storage.folder import RunFolder
from tiny_runs import TINY, assert_same_tensors, run

OTHER: dict[str, Any] = {"hidden": (24,), "latent_dim": 3, "activation": "softplus"}
BEST = "min rate s.t. neg_elbo <= best + 2"


def own_model() -> lv.VAE:
    return mlp_vae((1, 8, 8), latent_dim=2, hidden=(20,), generator=torch.Generator().manual_seed(0))


def neg_elbo_of(solution: lv.Solution) -> float:
    assert solution.evaluation is not None
    return solution.evaluation["train"]["neg_elbo"].value


def test_a_run_that_goes_on_is_read_back_with_the_networks_of_its_start(tmp_path: Path) -> None:
    start = run(**OTHER)
    went_on = lv.fit("min distortion + rate", "digits", start=start, out=tmp_path, **TINY)
    config = RunFolder(tmp_path).read_config()
    assert config["network"]["activation"] == "softplus"
    assert tuple(config["network"]["hidden"]) == (24,)
    assert config["primal"]["epochs"] == TINY["epochs"]
    loaded = lv.load(tmp_path)
    assert_same_tensors(loaded.model.state_dict(), went_on.model.state_dict())
    found = lv.evaluate(tmp_path, quick=True)
    assert found["train"]["neg_elbo"].value == pytest.approx(neg_elbo_of(went_on), abs=1e-4)


def test_a_model_of_ones_own_stays_one(tmp_path: Path) -> None:
    first = lv.fit("min distortion + rate", "digits", model=own_model(), out=tmp_path / "first", **TINY)
    second = lv.fit("min distortion + rate", "digits", start=first, out=tmp_path / "second", **TINY)
    with pytest.raises(lv.CheckpointError, match=r"the model that .* was trained with, got none"):
        lv.load(tmp_path / "second")
    again = lv.load(tmp_path / "second", model=own_model())
    assert_same_tensors(again.model.state_dict(), second.model.state_dict())


def test_best_is_what_an_ordinary_vae_reaches_wherever_a_run_begins() -> None:
    asked = run(problem=BEST)
    start = run(problem="min distortion + rate", epochs=12)
    assert neg_elbo_of(start) < asked.problem.constraints["neg_elbo"].bound - 3  # a probe from there would reach less
    assert run(problem=BEST, start=start).problem == asked.problem


def test_best_of_a_model_of_ones_own_is_its_own(tmp_path: Path) -> None:
    start = lv.fit("min distortion + rate", "digits", model=own_model(), **TINY)
    before = copy.deepcopy(start.model.state_dict())
    assert not run(problem=BEST, start=start).problem.is_relative
    assert_same_tensors(start.model.state_dict(), before)
