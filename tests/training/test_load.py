"""What fit returned is read back from the folder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

import lagvae as lv
from tiny_runs import TINY, assert_same_tensors, run, stopped_after


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> lv.Solution:
    return run(tmp_path_factory.mktemp("runs") / "run", batch_size=100, epochs=2, log_every=1)


def test_a_finished_run_makes_the_round_trip(solution: lv.Solution) -> None:
    assert solution.folder is not None
    loaded = lv.load(solution.folder)
    assert_same_tensors(loaded.model.state_dict(), solution.model.state_dict())
    apart = ("model", "data", "seconds")
    for field in dataclasses.fields(lv.Solution):
        if field.name not in apart:
            assert getattr(loaded, field.name) == getattr(solution, field.name), field.name
    assert loaded.seconds == pytest.approx(solution.seconds, abs=1e-3)  # the log rounds them
    assert loaded.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)
    assert not loaded.model.training
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    assert torch.equal(loaded.model.encode(x), solution.model.encode(x))
    assert torch.equal(loaded.model.sample(3), solution.model.sample(3))


def test_a_run_is_evaluated_from_its_folder_as_its_solution_is(solution: lv.Solution) -> None:
    assert solution.folder is not None
    own = lv.evaluate(solution, quick=True)
    assert lv.evaluate(solution.folder, quick=True) == own
    assert lv.evaluate(str(solution.folder), "digits", quick=True) == own
    assert lv.evaluate(solution.folder, quick=True, seed=1) != own


def test_an_unfinished_run_is_loaded_as_stopped(tmp_path: Path) -> None:
    with stopped_after(7):
        stopped = run(tmp_path / "run", batch_size=200)
    state = torch.get_rng_state()
    loaded = lv.load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.batch_size == stopped.batch_size == 200
    assert (loaded.status, loaded.step) == (lv.Status.STOPPED, 7)
    assert (loaded.evaluation, loaded.residuals) == (None, None)
    assert loaded.multipliers == stopped.multipliers
    assert loaded.violations == stopped.violations
    assert set(loaded.violations) == {"neg_elbo", "mmd"}
    assert loaded.message == "not finished: at step 7"


def test_a_run_stopped_before_its_first_record_is_loaded(tmp_path: Path) -> None:
    with stopped_after(2):
        run(tmp_path / "run")
    loaded = lv.load(tmp_path / "run")
    assert loaded.step == 2
    assert all(math.isnan(violation) for violation in loaded.violations.values())


def make_model(width: int = 8) -> lv.VAE:
    encoder = lv.MLPEncoder((1, 8, 8), 2, (width,))
    return lv.VAE(encoder, lv.MLPDecoder(2, (1, 8, 8), (width,)), latent_dim=2)


def test_a_model_of_ones_own_has_to_be_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    solution = run(tmp_path / "run", model=make_model())
    with pytest.raises(lv.CheckpointError, match=r"expected the model that .*, got none; try lv\.load\(run, model="):
        lv.load(tmp_path / "run")
    loaded = lv.load(tmp_path / "run", model=make_model())
    assert_same_tensors(loaded.model.state_dict(), solution.model.state_dict())
    with pytest.raises(
        lv.CheckpointError, match=r"expected the networks that the run was trained with, got .*mismatch"
    ):
        lv.load(tmp_path / "run", model=make_model(9))


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"expected a run at .*, got no config\.yaml there"):
        lv.load(tmp_path)


def test_an_array_in_memory_has_to_be_given_again(tmp_path: Path) -> None:
    x = torch.rand(300, 4, generator=torch.Generator().manual_seed(0))
    solution = run(tmp_path / "run", "min rate s.t. distortion <= 4", x, batch_size=10, epochs=1)
    with pytest.raises(lv.DataError, match=r"expected data to evaluate on, got none; try evaluate\(solution, data\)"):
        lv.evaluate(tmp_path / "run")
    assert lv.evaluate(tmp_path / "run", x, quick=True) == lv.evaluate(solution, quick=True)


def test_other_data_has_to_fit_the_model_and_its_likelihood(solution: lv.Solution) -> None:
    generator = torch.Generator().manual_seed(0)
    fine = torch.rand(300, 1, 8, 8, generator=generator)
    assert lv.evaluate(solution, fine, quick=True)["train"]["distortion"].examples == 270
    with pytest.raises(lv.DataError, match=r"expected values in \[0, 1\] in the data \(train\), got .*; try dividing"):
        lv.evaluate(solution, fine * 3)
    with pytest.raises(lv.ShapeError, match=r"expected examples of shape \(1, 8, 8\), .*, got \(1, 9, 9\)"):
        lv.evaluate(solution, torch.rand(300, 1, 9, 9, generator=generator))


def test_a_front_is_no_run(tmp_path: Path) -> None:
    lv.fit_front("digits", out=tmp_path, divergence="none", **{**TINY, "epochs": 1})
    with pytest.raises(lv.CheckpointError, match=r"expected a run at .*, got a front; try lagvae solve .* --out"):
        lv.load(tmp_path)
