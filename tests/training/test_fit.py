"""fit's own arguments: what may be given, and what it leaves alone."""

from __future__ import annotations

import functools
import gc
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

import lagvae as lv
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.front.amortised.session import FrontSession
from lagvae.model.draw import Draw
from lagvae.settings import Settings
from lagvae.training.build import build_session
from lagvae.training.steps.batches import Batches
from lagvae.training.steps.session import Session
from tiny_runs import PROBLEM, TINY, assert_same_tensors, measured, run, settings_of, stopped_after


def weights(solution: lv.Solution) -> dict[str, Tensor]:
    return solution.model.state_dict()


def differ(one: lv.Solution, two: lv.Solution) -> bool:
    return any(not torch.equal(ours, weights(two)[name]) for name, ours in weights(one).items())


def test_a_seed_decides_every_bit() -> None:
    first, again, other = run(), run(), run(seed=1)
    assert_same_tensors(weights(first), weights(again))
    assert first.multipliers == again.multipliers
    assert measured(first) == measured(again)
    assert differ(first, other)
    assert measured(first) != measured(other)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    solution = run()
    lv.evaluate(solution, samples=2, examples=50)
    solution.model.sample(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), before)
    assert_same_tensors(weights(run()), weights(solution))


def test_an_optimiser_of_ones_own() -> None:
    made = []

    def build(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=1e-4))
        return made[0]

    solution = run(optimizer=build)
    assert made[0].param_groups[0]["initial_lr"] == 1e-4
    assert made[0].param_groups[0]["lr"] < 1e-5  # the schedule is applied to it
    assert differ(solution, run())
    named = run(optimizer="sgd", learning_rate=1e-4)
    assert_same_tensors(weights(solution), weights(named))


def test_a_dual_rule_of_ones_own() -> None:
    steps = []

    class Fixed(Zhao2018):
        def update(self, violations: Tensor, *, progress: float) -> None:
            steps.append(progress)

    solution = run(dual=lambda problem: Fixed(problem, torch.tensor([2.0, 30.0])))
    assert solution.multipliers == {"neg_elbo": 2.0, "mmd": 30.0}
    assert steps == pytest.approx([(step + 1) / 18 for step in range(18)])
    original = functools.partial(Zhao2018, learning_rate=1e-3)
    assert_same_tensors(weights(run(dual=original)), weights(run(dual="zhao2018", dual_learning_rate=1e-3)))
    assert differ(run(dual=original), run(dual="zhao2018"))


def test_the_default_rule_starts_by_the_size_of_the_latent_space() -> None:
    problem, data = lv.Problem.parse("max mi s.t. neg_elbo <= 45"), lv.open_data("digits")
    for latent_dim, multiplier in ((2, 0.3 / 0.7), (64, 0.01 / 0.99)):
        settings = Settings().replace(hidden=(8,), latent_dim=latent_dim, device="cpu")
        assert float(build_session(problem, data, settings).rule.multipliers) == pytest.approx(multiplier, rel=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "expected a setting, got 'epoch'; try 'epochs'"),
        ({"latent_dims": 3}, "expected a setting, got 'latent_dims'; try 'latent_dim'"),
        ({"epochs": 0}, "expected a whole number ≥ 1 as epochs, got 0"),
        ({"dual": "forecas"}, "expected a dual rule, got 'forecas'; try 'forecast'"),
        ({"dual": "forecast", "dual_learning_rate": 0.1}, "expected no dual_learning_rate for forecast, got 0.1"),
        ({"device": "cuda:99"}, "expected a device of this machine, got 'cuda:99'; try auto or cpu"),
        ({"device": "gpu"}, "expected a device of this machine, got 'gpu'; try auto or cpu"),
        ({"device": "meta"}, "expected a device of this machine, got 'meta'"),
        ({"preset": "zhao"}, "expected a preset, got 'zhao'; try 'zhao2018'"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(lv.SettingError, match=message):
        run(tmp_path / "run", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_problem_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(lv.ProblemError, match="expected a Problem or its text, got 5; try"):
        run(tmp_path / "run", problem=5)  # type: ignore[arg-type]
    with pytest.raises(lv.ProblemError, match="neg_elbo"):
        run(tmp_path / "run", problem="max mi s.t. neg_elb <= 5")
    assert list(tmp_path.iterdir()) == []


def test_settings_at_once_or_one_by_one() -> None:
    settings = settings_of(TINY)
    at_once = lv.fit(PROBLEM, "digits", settings=settings, progress=False)
    assert_same_tensors(weights(at_once), weights(run()))
    changed = lv.fit(PROBLEM, "digits", settings=settings, progress=False, seed=1)
    assert_same_tensors(weights(changed), weights(run(seed=1)))


def test_a_model_of_ones_own_is_trained_in_place() -> None:
    torch.manual_seed(3)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 6))  # mean and log_std side by side
    model = lv.VAE(encoder, lv.MLPDecoder(3, (1, 8, 8), (8,)), latent_dim=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    solution = run(model=model)
    assert solution.model is model
    assert not model.training
    assert not any(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (lv.MLPEncoder((1, 9, 9), 2, (8,)), lv.MLPDecoder(2, (1, 8, 8), (8,)), r"encoder .* shape \(1, 8, 8\)"),
        (lv.MLPEncoder((1, 8, 8), 3, (8,)), lv.MLPDecoder(2, (1, 8, 8), (8,)), "encoder with 2 means"),
        (lv.MLPEncoder((1, 8, 8), 2, (8,)), lv.MLPDecoder(3, (1, 8, 8), (8,)), "decoder that takes codes of 2"),
        (lv.MLPEncoder((1, 8, 8), 2, (8,)), lv.MLPDecoder(2, (1, 9, 9), (8,)), "decoder with 64 outputs .* got 81"),
    ],
)
def test_networks_that_do_not_fit(
    tmp_path: Path, encoder: torch.nn.Module, decoder: torch.nn.Module, message: str
) -> None:
    with pytest.raises(lv.ShapeError, match=f"expected an? {message}"):
        run(tmp_path / "run", model=lv.VAE(encoder, decoder, latent_dim=2))
    assert list(tmp_path.iterdir()) == []


PIXELS = np.random.default_rng(0).random((300, 5), dtype=np.float32)
ONE_BOUND = "min rate s.t. distortion <= 4"


class Squares(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(PIXELS[index]), index


@pytest.mark.parametrize(
    "data",
    [PIXELS.astype(np.float64), torch.from_numpy(PIXELS), TensorDataset(torch.from_numpy(PIXELS)), Squares()],
    ids=["float64", "tensor", "TensorDataset", "Dataset"],
)
def test_data_may_be_held_by_anything(data: Any) -> None:
    from_array = run(problem=ONE_BOUND, data=PIXELS, batch_size=50)
    assert from_array.step == 15
    assert from_array.data is not None
    assert (len(from_array.data.train), len(from_array.data.test)) == (270, 30)
    assert_same_tensors(weights(run(problem=ONE_BOUND, data=data, batch_size=50)), weights(from_array))


def test_a_pair_of_arrays() -> None:
    solution = run(problem=ONE_BOUND, data=(PIXELS[:200], PIXELS[200:]), batch_size=50)
    assert solution.data is not None
    assert (len(solution.data.train), len(solution.data.test), solution.step) == (200, 100, 12)


def test_a_batch_larger_than_the_data_is_the_data() -> None:
    large = run(problem=ONE_BOUND, data=PIXELS, batch_size=10_000)
    exact = run(problem=ONE_BOUND, data=PIXELS, batch_size=270)
    assert (large.step, large.batch_size) == (3, 270)
    assert_same_tensors(weights(large), weights(exact))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PIXELS * 2, r"expected values in \[0, 1\] in the data \(train\), got .* try dividing"),
        (PIXELS - 0.5, r"expected values in \[0, 1\] in the data \(train\), got -"),
        (np.where(PIXELS > 0.99, np.nan, PIXELS), "expected finite values"),
        (PIXELS[:, 0], "expected an array"),
        (PIXELS[:0], "expected at least one example"),
        ((PIXELS, PIXELS * 2), r"expected values in \[0, 1\] in the data \(test\)"),
        ((PIXELS, PIXELS[:, :3]), "expected train and test examples of one dtype and event shape"),
        ("digit", "'digits'"),
        (5, "expected the name of a data set"),
    ],
)
def test_data_that_cannot_be_scored(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(lv.DataError, match=message):
        run(tmp_path / "run", problem=ONE_BOUND, data=data, likelihood="bernoulli")
    assert list(tmp_path.iterdir()) == []


def seen_by(**settings: Any) -> list[list[int]]:
    """Which examples each step visits."""
    seen: list[list[int]] = []
    index_of = Batches.index

    def watched(batches: Batches, step: int) -> Tensor:
        seen.append((index := index_of(batches, step)).tolist())
        return index

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "index", watched)
        run(problem=ONE_BOUND, data=PIXELS, batch_size=100, epochs=2, **settings)
    return seen


def test_each_epoch_has_an_order_of_its_own_unless_told_not_to() -> None:
    plain = seen_by(shuffle=False)
    assert plain == [list(range(100)), list(range(100, 200))] * 2
    shuffled = seen_by()
    assert all(len(set(shuffled[first] + shuffled[first + 1])) == 200 for first in (0, 2))
    assert shuffled[:2] != shuffled[2:]
    assert shuffled[0] != plain[0]
    assert seen_by() == shuffled
    assert seen_by(seed=1) != shuffled


def test_a_balanced_loss_does_not_scale_with_the_multipliers() -> None:
    def first_step(multiplier: float, *, balance: bool) -> Tensor:
        def fixed(problem: lv.Problem) -> Zhao2018:
            return Zhao2018(problem, torch.tensor([multiplier]))

        settings = {"optimizer": functools.partial(torch.optim.SGD, lr=1e-3), "dual": fixed, "balance": balance}
        with stopped_after(1):
            moved = weights(run(problem="min 0.0001*rate s.t. neg_elbo <= 4", data=PIXELS, **settings))
        return next(iter(moved.values()))

    start = weights(run(problem=ONE_BOUND, data=PIXELS, optimizer=lambda w: torch.optim.SGD(w, lr=0.0)))
    origin = next(iter(start.values()))

    def move(multiplier: float, *, balance: bool) -> Tensor:
        return first_step(multiplier, balance=balance) - origin

    assert torch.allclose(move(50.0, balance=False), 10 * move(5.0, balance=False), rtol=1e-2, atol=1e-6)
    assert torch.allclose(move(50.0, balance=True), move(5.0, balance=True), rtol=1e-2, atol=1e-6)
    # Balanced is divided by the sum of the weights: 50 on distortion and 50.0001 on rate.
    assert torch.allclose(100.0001 * move(50.0, balance=True), move(50.0, balance=False), rtol=1e-2, atol=1e-6)


def test_the_log_says_what_was_measured() -> None:
    solution = run(log_every=1, epochs=1)
    for step, record in enumerate(solution.history, start=1):
        assert (record["step"], record["epoch"]) == (step, step / 6)
        assert record["terms"]["neg_elbo"] == pytest.approx(record["terms"]["distortion"] + record["terms"]["rate"])
        for name in ("neg_elbo", "mmd"):
            constraint = record["constraints"][name]
            assert constraint["value"] == pytest.approx(record["terms"][name])
            assert constraint["violation"] == pytest.approx(constraint["value"] - constraint["bound"], rel=1e-5)
    coarse = run(log_every=6, epochs=1).history
    assert len(coarse) == 1
    for term, value in coarse[0]["terms"].items():
        assert value == pytest.approx(np.mean([record["terms"][term] for record in solution.history]), rel=1e-5)


def test_the_solution_says_how_it_ended() -> None:
    easy = run(problem="min rate s.t. neg_elbo <= 500")
    assert easy.status is lv.Status.FEASIBLE
    assert easy.message == "every bound holds on the training data"
    assert easy.violations["neg_elbo"] < 0
    assert repr(easy).startswith("Solution(feasible, 'min rate s.t. neg_elbo <= 500', multipliers={'neg_elbo': ")
    assert "\n" not in repr(easy)
    hard = run(problem="min rate s.t. neg_elbo <= 10, mmd <= 0.5")
    assert hard.status is lv.Status.INFEASIBLE
    assert hard.violations["neg_elbo"] > 0 > hard.violations["mmd"]
    missed = format(hard.violations["neg_elbo"], ".2f")
    assert hard.message.startswith(f"missed 'neg_elbo <= 10' by {missed}; try ")
    assert hard.message.endswith(f"'neg_elbo <= {hard.diagnosis[0].reachable:g}'")
    assert run(problem="min neg_elbo").message == "trained; the problem has no bounds to keep"
    unfinished = run(problem="min neg_elbo", epochs=1, log_every=1000)
    assert unfinished.history[-1]["step"] == 6
    assert unfinished.residuals is not None
    assert math.isnan(unfinished.residuals.stationarity)


def test_every_line_says_what_the_multipliers_mean(tmp_path: Path) -> None:
    solution = run(tmp_path / "run", "max mi s.t. neg_elbo <= 45, mmd <= 2e-2")
    for record in solution.history:
        weights, found = record["weights"], record["constraints"]
        assert record["beta"] == weights["rate"] / weights["distortion"]
        assert record["gamma"] == weights["mmd"] / weights["distortion"]
        assert found["neg_elbo"]["price"] == found["neg_elbo"]["multiplier"]
        assert found["mmd"]["price"] == pytest.approx(1e-4 * found["mmd"]["multiplier"])
        assert [c["price_unit"] for c in found.values()] == ["nats per nat", "nats per 1e-4"]
        assert found["neg_elbo"]["active"] == (found["neg_elbo"]["violation"] >= -0.75)
        matters = 0.02 * 2e-2 * found["mmd"]["multiplier"] > 0.003
        assert found["mmd"]["active"] == (matters and found["mmd"]["violation"] >= -0.1 * 2e-2)
    assert (solution.beta, solution.gamma) == (record["beta"], record["gamma"])
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    for tag, last in {
        "beta": solution.beta, "gamma": solution.gamma, "price/neg_elbo": solution.prices["neg_elbo"],
    }.items():  # fmt: skip
        assert events.Scalars(tag)[-1].value == pytest.approx(last)


def test_without_distortion_there_is_no_beta_to_log(tmp_path: Path) -> None:
    solution = run(tmp_path / "run", "min rate s.t. rate <= 50", dual="gradient")
    assert solution.beta is None
    assert solution.history[-1]["beta"] is None
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert not {"beta", "gamma"} & set(events.Tags()["scalars"])


def test_the_relaxation_keeps_its_multipliers() -> None:
    relaxed = run(problem=lv.info_vae(1.0, 1.0, 1.0))
    assert relaxed.multipliers == {}
    assert relaxed.weights == pytest.approx({"distortion": 2.0, "rate": 1.0, "mmd": 1e4})


@pytest.mark.usefixtures("registry")
def test_a_term_of_ones_own_is_trained_on() -> None:
    @lv.term
    def code_energy(draw: Draw) -> Tensor:
        return draw.z.square().sum(-1)

    free = run(problem="min neg_elbo + 0.0001*code_energy", epochs=8, learning_rate=0.01)
    held = run(problem="min neg_elbo + 100*code_energy", epochs=8, learning_rate=0.01)
    energy = [solution.history[-1]["terms"]["code_energy"] for solution in (held, free)]
    assert energy[0] < energy[1] / 2


def test_a_log_larger_than_the_run_is_one_record() -> None:
    assert [record["step"] for record in run(log_every=10**12).history] == [18]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")
def test_a_graphics_processor_resumes_to_the_same_bits(tmp_path: Path) -> None:
    from tiny_runs import assert_same_run

    for precision in ("float32", "bfloat16"):
        run(tmp_path / precision / "whole", device="cuda", precision=precision)
        with stopped_after(7):
            run(tmp_path / precision / "run", device="cuda", precision=precision)
        run(tmp_path / precision / "run", device="cuda", precision=precision, resume=True)
        assert_same_run(tmp_path / precision / "run", tmp_path / precision / "whole")
    assert lv.load(tmp_path / "bfloat16" / "run").model.device.type == "cpu"


def test_a_problem_that_asks_for_nothing_yet_does_not_divide_by_zero() -> None:
    """Every weight is 0 until the first violation: the textbook rule starts there."""
    solution = lv.fit(
        "min 0 s.t. neg_elbo <= 40", "digits", dual="gradient", epochs=2, hidden=(8,), latent_dim=2, progress=False
    )
    assert solution.status is not lv.Status.DIVERGED
    assert solution.multipliers["neg_elbo"] > 0


def test_what_a_run_held_is_free_as_soon_as_it_has_ended() -> None:
    """A session that held its own step would wait for the next collection of cycles, with all its memory."""

    def held() -> int:
        return sum(type(one) in (Session, FrontSession) for one in gc.get_objects())

    run()  # what torch keeps of its first optimiser is none of ours
    gc.collect()
    gc.disable()
    try:
        before = held()
        run()
        lv.fit_front("digits", divergence="none", **TINY)
        lv.fit_front("digits", "min distortion s.t. rate <= 5:7:1", method="dedicated", stack=3, **TINY)
        assert held() == before
    finally:
        gc.enable()
