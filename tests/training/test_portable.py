from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.front.amortised.front import AmortisedFront
from lagvae.training.portable import CONFIG, FILES, RESULT, WEIGHTS, pack, unpack
from tiny_runs import TINY, measured, run, without


@pytest.fixture(scope="module")
def solution() -> lv.Solution:
    return run(epochs=1)


def test_three_files_hold_all_that_a_solution_is(solution: lv.Solution) -> None:
    files = pack(solution)
    assert tuple(files) == FILES
    assert b"pickle" not in b"".join(files.values())
    again = unpack(files)
    state = again.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in solution.model.state_dict().items())
    for name in (
        "status",
        "message",
        "problem",
        "multipliers",
        "violations",
        "weights",
        "diagnosis",
        "step",
        "seconds",
    ):
        assert getattr(again, name) == getattr(solution, name), name
    assert measured(again) == measured(solution)
    assert pack(again) == files
    assert measured_anew(again) == measured_anew(solution)


def measured_anew(solution: lv.Solution) -> str:
    return str(lv.evaluate(solution, "digits", quick=True).as_dict())


def test_a_run_that_was_loaded_packs_alike(tmp_path: Path) -> None:
    ours = run(tmp_path / "run", epochs=1)
    packed, again = pack(ours), pack(lv.load(tmp_path / "run"))
    assert [again[name] == packed[name] for name in (CONFIG, WEIGHTS)] == [True, True]
    # The clock of the last checkpoint is a little ahead of the last record's.
    clocks = ("seconds", "checksum")
    assert without(json.loads(again[RESULT]), *clocks) == without(json.loads(packed[RESULT]), *clocks)


def test_multipliers_that_are_no_numbers_stay_none() -> None:
    front = lv.fit_front("digits", divergence="none", **{**TINY, "epochs": 1})
    assert isinstance(front, AmortisedFront)
    again = unpack(pack(front.solve("max mi s.t. neg_elbo <= 1")))
    assert math.isnan(again.multipliers["neg_elbo"])
    assert math.isnan(again.prices["neg_elbo"])


def test_the_path_of_the_data_stays_behind(tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", np.random.default_rng(0).random((30, 4, 4)).astype(np.float32))
    assert b"secret" not in b"".join(pack(run(data=tmp_path / "secret.npy", epochs=1, problem="min rate")).values())


def test_a_model_of_ones_own_is_needed_again() -> None:
    def make() -> lv.VAE:
        return lv.VAE(lv.MLPEncoder((1, 8, 8), 2, (8,)), lv.MLPDecoder(2, (1, 8, 8), (8,)), latent_dim=2)

    own = run(epochs=1, model=make())
    with pytest.raises(lv.CheckpointError, match="expected the model that the saved model was trained with, got none"):
        unpack(pack(own))
    again = unpack(pack(own), model=make())
    assert torch.equal(again.model.sample(2), own.model.sample(2))


@pytest.mark.parametrize("name", FILES)
def test_damage_is_noticed(solution: lv.Solution, name: str) -> None:
    files = pack(solution)
    with pytest.raises(lv.CheckpointError, match=f"got no {name}"):
        unpack({other: content for other, content in files.items() if other != name})
    with pytest.raises(lv.CheckpointError, match="expected"):
        unpack({**files, name: files[name][: len(files[name]) // 3]})


def test_files_of_two_models_do_not_mix(solution: lv.Solution) -> None:
    other = pack(run(epochs=1, latent_dim=3))
    with pytest.raises(lv.CheckpointError, match=r"got ValueError: another model\.safetensors than was saved"):
        unpack({CONFIG: other[CONFIG], WEIGHTS: pack(solution)[WEIGHTS], RESULT: other[RESULT]})


def test_a_probes_solution_has_no_configuration() -> None:
    found = lv.probe("digits", epochs=1, hidden=(8,), latent_dim=2, progress=False)
    with pytest.raises(lv.CheckpointError, match="expected a solution of fit or load, got one of a probe; try"):
        pack(found.solutions[1.0])
