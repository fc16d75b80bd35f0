"""A front of one network: trained, solved, saved, resumed, refused."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lagvae as lv
from fronts_to_draw import amortised
from lagvae.evaluation.evaluate import evaluate_model
from lagvae.front.amortised.fit import _build_session
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.amortised.session import FIRST, WARM_UP_GAMMA, FrontSession, warm_up
from lagvae.model.draw import Draw
from lagvae.model.likelihoods.gaussian import FixedGaussian, LearnedGaussian, OptimalGaussian
from lagvae.report.members import constrained
from lagvae.settings import FrontSettings, Settings
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.streams import Streams
from lagvae.training.portable import pack, unpack
from small_fronts import SMALL
from tiny_runs import assert_same_tensors, settings_of


def tiny(out: Path | None = None, **changes: Any) -> AmortisedFront:
    """A front after three steps an epoch, three epochs."""
    front = lv.fit_front("digits", out=out, **{**SMALL, "batch_size": 500, "epochs": 3, **changes})
    assert isinstance(front, AmortisedFront)
    return front


def neg_elbo_of(front: AmortisedFront, beta: float, part: str = "held_out") -> float:
    assert front.surface is not None
    return front.surface.estimates(part, beta=beta, gamma=10.0)["neg_elbo"].value


def test_less_is_paid_for_what_weighs_more(trained_front: AmortisedFront) -> None:
    distortion, rate = trained_front.values("train").T
    assert (np.diff(rate) < 0).all()
    assert (np.diff(distortion) > 0).all()
    assert rate[0] > 3 * rate[-1]


def test_a_member_is_better_at_its_own_weight_than_members_far_away(trained_front: AmortisedFront) -> None:
    distortion, rate = trained_front.values("train").T
    betas = np.array([point.beta for point in trained_front.points])
    losses = distortion[None, :] + betas[:, None] * rate[None, :]  # [weight, member]
    # Three members are 1.4 in log β; within that, the loss is flat and 480 steps are few.
    assert (np.abs(losses.argmin(1) - np.arange(len(betas))) <= 3).all()


def test_one_example_does_not_undo_a_front(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lv.open_data("digits")

    def ends_at(*, spoiled: int | None) -> float:
        settings = settings_of(SMALL, epochs=20)
        session = _build_session(data, FrontSettings(divergence="none"), settings, None, None)
        measure = session._measure_groups

        def outlier(draw: Draw, conditions: torch.Tensor) -> torch.Tensor:
            values = measure(draw, conditions)
            values[0] *= 1e6 if session.step == spoiled else 1.0
            return values

        monkeypatch.setattr(session, "_measure_groups", outlier)
        neg_elbo = [float(session.take_step().sum()) for _ in range(session.total_steps)]
        return float(np.mean(neg_elbo[-20:]))

    untouched = ends_at(spoiled=None)
    assert ends_at(spoiled=200) == pytest.approx(untouched, abs=0.1)
    monkeypatch.setattr("lagvae.training.steps.clipping.LIMIT", math.inf)
    assert ends_at(spoiled=200) > untouched + 0.5


def test_a_solution_measures_what_the_surface_said(trained_front: AmortisedFront) -> None:
    solution = trained_front.solve("min distortion + 0.77*rate")
    again = lv.evaluate(solution, quick=True)
    assert solution.evaluation is not None
    for part in ("train", "held_out", "test"):
        for name in ("distortion", "rate", "neg_elbo"):
            # The same examples and random numbers; the spline lies between members that are not this one.
            assert again[part][name].value == pytest.approx(solution.evaluation[part][name].value, abs=0.02)


def test_bounds_hold_on_the_data_that_they_were_solved_on(trained_front: AmortisedFront) -> None:
    for on in ("held_out", "train"):
        bound = neg_elbo_of(trained_front, 0.3, on)
        solution = trained_front.solve(f"max mi s.t. neg_elbo <= {bound}", on=on)
        assert solution.status is lv.Status.FEASIBLE
        again = lv.evaluate(solution, quick=True)
        assert again.violations(on)["neg_elbo"] == pytest.approx(0.0, abs=0.05)


def test_held_out_data_decide_where_there_are_any(trained_front: AmortisedFront) -> None:
    bound = neg_elbo_of(trained_front, 0.4)
    solution = trained_front.solve(f"max mi s.t. neg_elbo <= {bound}")
    assert solution.evaluation is not None
    assert solution.evaluation.judged == "held_out"
    assert solution.beta == pytest.approx(0.4, rel=0.01)
    assert "held-out data" in solution.message
    with pytest.raises(lv.DataError, match="train or held_out, got 'test'"):
        trained_front.solve("min neg_elbo", on="test")


def test_the_answer_comes_in_under_a_second(trained_front: AmortisedFront) -> None:
    trained_front.solve("min neg_elbo")  # imports
    began = time.process_time()
    trained_front.solve("max mi s.t. neg_elbo <= best + 1")
    assert time.process_time() - began < 1


def test_an_infeasible_bound_names_the_nearest_one_that_is_not(trained_front: AmortisedFront) -> None:
    solution = trained_front.solve("max mi s.t. neg_elbo <= 10")
    assert solution.status is lv.Status.INFEASIBLE
    assert solution.suggestion is not None
    assert "try a front of 80 epochs or 'neg_elbo <= " in solution.message
    assert trained_front.solve(solution.suggestion).status is lv.Status.FEASIBLE
    lowest = trained_front.values("held_out", ("neg_elbo",)).min()
    assert solution.violations["neg_elbo"] == pytest.approx(lowest - 10, abs=0.3)


def test_a_solution_is_a_run_like_any_other(trained_front: AmortisedFront, tmp_path: Path) -> None:
    out = tmp_path / "solved"
    solution = trained_front.solve(f"max mi s.t. neg_elbo <= {neg_elbo_of(trained_front, 0.3)}", out=out)
    loaded = lv.load(out)
    assert_same_tensors(loaded.model.state_dict(), solution.model.state_dict())
    assert (loaded.status, loaded.multipliers) == (solution.status, pytest.approx(solution.multipliers))
    assert loaded.model.sample(3).shape == (3, 1, 8, 8)
    quick = lv.evaluate(out, quick=True)
    assert quick.violations()["neg_elbo"] == pytest.approx(0.0, abs=0.05)
    with pytest.raises(lv.CheckpointError, match="no run at"):
        trained_front.solve("min neg_elbo", out=out)
    trained_front.solve("min neg_elbo", out=out, overwrite=True)
    assert str(lv.load(out).problem) == "min neg_elbo"


def test_polishing_trains_on_from_the_weights_and_multipliers(trained_front: AmortisedFront, tmp_path: Path) -> None:
    problem = f"max mi s.t. neg_elbo <= {neg_elbo_of(trained_front, 0.3, 'train')}"
    solved = trained_front.solve(problem, on="train")
    polished = trained_front.solve(problem, on="train", polish=4, out=tmp_path / "polished")
    assert (polished.step, polished.folder) == (4 * 12, tmp_path / "polished")
    first = polished.history[0]
    assert first["constraints"]["neg_elbo"]["multiplier"] == pytest.approx(solved.multipliers["neg_elbo"], rel=0.2)
    # The very first steps already stand where the front's member stood.
    assert first["terms"]["neg_elbo"] == pytest.approx(float(solved.evaluation["train"]["neg_elbo"].value), abs=2)  # type: ignore[index]
    assert lv.load(tmp_path / "polished").status is polished.status


def test_loaded_it_solves_the_same(trained_front: AmortisedFront) -> None:
    assert trained_front.folder is not None
    loaded = lv.load_front(trained_front.folder)
    assert isinstance(loaded, AmortisedFront)
    problem = "max mi s.t. neg_elbo <= best + 1"
    ours, theirs = trained_front.solve(problem), loaded.solve(problem)
    assert_same_tensors(ours.model.state_dict(), theirs.model.state_dict())
    assert ours.multipliers == theirs.multipliers
    assert loaded.hypervolume((60.0, 60.0)) == trained_front.hypervolume((60.0, 60.0)) > 0
    content = json.loads((trained_front.folder / "front.json").read_text())
    assert len(content["points"]) == len(trained_front.points) == 11
    assert content["method"] == "amortised"


def test_a_front_of_before_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lagvae.front.amortised.modulation.KNOTS", 10)
        tiny(tmp_path)
    with pytest.raises(lv.CheckpointError, match="training it again"):
        lv.load_front(tmp_path)


def test_a_front_whose_gates_had_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(tmp_path)

    def load_older(*args: Any, **options: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, state = load_checkpoint(*args, **options)
        return {name.replace("entries", "tables"): tensor for name, tensor in tensors.items()}, state

    monkeypatch.setattr("lagvae.front.amortised.fit.load_checkpoint", load_older)
    with pytest.raises(lv.CheckpointError, match="training it again"):
        lv.load_front(tmp_path)


def test_its_points_are_a_table_too(trained_front: AmortisedFront) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra: tables")
    assert trained_front.folder is not None
    table = parquet.read_table(trained_front.folder / "points.parquet").to_pydict()
    assert table["train rate"] == trained_front.values("train", ("rate",))[:, 0].tolist()
    assert table["beta"] == [point.beta for point in trained_front.points]


def test_a_divergence_makes_it_a_rectangle_and_weighs() -> None:
    front = tiny(epochs=120, gamma_high=1e4)
    assert len(front.points) == 44
    assert front.surface is not None
    assert front.surface.gammas == pytest.approx((10.0, 100.0, 1e3, 1e4))
    mmd = front.values("train", ("mmd_unbiased",)).reshape(11, 4)
    assert mmd[:4, -1].mean() < 0.7 * mmd[:4, 0].mean()  # where there is information to shape
    solution = front.solve("max mi s.t. neg_elbo <= best + 2, mmd(estimator=unbiased) <= best + 1e-3")
    assert solution.status is lv.Status.FEASIBLE
    assert set(solution.weights) == {"distortion", "rate", "mmd"}


def test_a_front_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    tiny(whole)
    with pytest.MonkeyPatch.context() as patch:
        take_step = FrontSession.take_step

        def watched(session: FrontSession) -> torch.Tensor:
            values = take_step(session)
            if session.step == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return values

        patch.setattr(FrontSession, "take_step", watched)
        stopped = tiny(cut)
    assert (stopped.status, stopped.steps, stopped.points) == (lv.Status.STOPPED, 4, ())
    with pytest.raises(lv.CheckpointError, match="a finished front"):
        lv.load_front(cut)
    with pytest.raises(lv.ProblemError, match="a front that was trained to its end"):
        stopped.solve("min neg_elbo")
    resumed = tiny(cut, resume=True)
    assert_same_tensors(load_checkpoint(whole / "checkpoints")[0], load_checkpoint(cut / "checkpoints")[0])
    assert resumed.steps == 9
    contents = [json.loads((folder / "front.json").read_text())["points"] for folder in (whole, cut)]
    for point in (*contents[0], *contents[1]):
        del point["seconds"]
    assert contents[0] == contents[1]


def test_a_front_that_died_while_it_wrote_its_table_writes_it_again(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    def die(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lagvae.front.front.write_whole", die)
        with pytest.raises(KeyboardInterrupt):
            tiny(tmp_path)
    assert not (tmp_path / "front.json").exists()
    front = tiny(tmp_path, resume=True)
    assert parquet.read_table(tmp_path / "points.parquet").num_rows == len(front.points)


def test_a_seed_decides_every_bit_and_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again, other = tiny(), tiny(), tiny(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one.values(), again.values())
    assert not np.array_equal(one.values(), other.values())


def test_a_model_of_ones_own_is_modulated_and_left_unchanged_in_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def build() -> lv.VAE:
        encoder = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(64, 4))
        decoder = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 64), nn.Unflatten(1, (1, 8, 8)))
        return lv.VAE(encoder, decoder, latent_dim=2)

    front = tiny(tmp_path, model=build())
    folded = front.model_at(beta=0.5)
    assert [type(layer) for layer in folded.encoder] == [nn.Conv2d, nn.GELU, nn.Flatten, nn.Linear]
    with pytest.raises(lv.CheckpointError, match=r"lv.load_front\(folder, model=my_vae\)"):
        lv.load_front(tmp_path)
    loaded = lv.load_front(tmp_path, model=build())
    assert isinstance(loaded, AmortisedFront)
    assert_same_tensors(loaded.model_at(beta=0.5).state_dict(), folded.state_dict())
    other = lv.VAE(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), nn.Linear(2, 64), latent_dim=2)
    with pytest.raises(lv.CheckpointError, match=r"the networks that the run was trained with, .* training it again"):
        lv.load_front(tmp_path, model=other)


@pytest.mark.parametrize(
    ("steps", "low", "high"),
    [
        (500, 0.5, 0.2),
        (6_500, 0.4, 1 / 13),
        (26_400, 2_600 / 13_200, 500 / 13_200),
        (660_000, 2_600 / 66_000, 500 / 66_000),
    ],
)
def test_weights_warm_up_by_factors_sooner_at_the_high_end_and_in_a_long_run(
    steps: int, low: float, high: float
) -> None:
    ends = torch.tensor([[-1.0, -1.0], [0.0, 0.3], [1.0, 1.0]])
    lengths = torch.tensor([low, (low + high) / 2, high])
    for share in (0.0, 0.5, 1.0):  # of a member's own warm-up: by factors, so that the middle is a hundredth
        for row, length in enumerate(lengths.tolist()):
            assert warm_up(share * length, ends, steps)[row, 0] == pytest.approx(FIRST[0] ** (1 - share), rel=1e-4)
    assert (warm_up(high * 0.99, ends, steps)[:, 1] == 0).all()  # the divergence comes after β, member by member
    after = warm_up(high + WARM_UP_GAMMA / 2, ends, steps)
    assert after[2].tolist() == pytest.approx([1.0, FIRST[1] ** 0.5], rel=1e-4)
    before = warm_up(low * 0.99, ends, steps)
    assert before[0, 1] == 0
    assert before[2, 1] > 0
    assert torch.equal(warm_up(1.0, ends, steps), torch.ones(3, 2))


def test_a_step_descends_on_the_mean_of_its_members_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(SMALL)
    session = _build_session(
        lv.open_data("digits", progress=False), FrontSettings(divergence="none"), settings, None, None
    )
    session.step = session.total_steps - 1  # every member at its own weights
    losses, values = [], []
    measure = session._measure_groups

    def measured(draw: Draw, conditions: torch.Tensor) -> torch.Tensor:
        values.append(measure(draw, conditions))
        return values[-1]

    monkeypatch.setattr(session, "_measure_groups", measured)
    monkeypatch.setattr(session, "_descend", losses.append)
    drawn = torch.Generator().manual_seed(0)
    drawn.set_state(session._weights.get_state())
    beta = session.family.weights(session.family.draw(session.blocks, session.groups // session.blocks, drawn))
    session.take_step()
    beta = beta.flatten(0, 1)[:, 0]
    distortion, rate = values[0].detach().unbind(-1)
    expected = (distortion + beta * rate).mean()
    assert float(losses[0].detach()) == pytest.approx(float(expected), rel=1e-5)


def test_a_steps_loss_is_divided_by_the_nats_that_chance_makes_of_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(SMALL)
    session = _build_session(lv.open_data("digits", progress=False), FrontSettings(), settings, None, None)
    session.step = session.total_steps - 1
    values = torch.rand(session.groups, 3, generator=torch.Generator().manual_seed(0))
    losses: list[torch.Tensor] = []
    monkeypatch.setattr(session, "_measure_groups", lambda *_: values)
    monkeypatch.setattr(session, "_descend", losses.append)
    drawn = torch.Generator().manual_seed(0)
    drawn.set_state(session._weights.get_state())
    conditions = session.family.draw(session.blocks, session.groups // session.blocks, drawn).flatten(0, 1)
    session.take_step()
    beta, gamma = session.family.weights(conditions).unbind(-1)
    # What a perfect q(z) measures among a block's codes is the floor of the biased estimate, its prior in closed form.
    codes = session.batch_size // session.blocks
    chance = lv.mmd(prior="closed_form").floor(latent_dim=SMALL["latent_dim"], batch_size=codes)
    nats = gamma * chance
    assert nats.min() < 1 < nats.max()
    expected = ((values * torch.stack([torch.ones_like(beta), beta, gamma], -1)).sum(-1) / nats.clamp_min(1.0)).mean()
    assert float(losses[0]) == pytest.approx(float(expected), rel=1e-4)


def test_what_a_front_does_not_cover_is_refused(trained_front: AmortisedFront) -> None:
    with pytest.raises(lv.SettingError, match=r"β in \[0.1, 10\], got 20"):
        trained_front.model_at(beta=20.0)
    with pytest.raises(lv.ProblemError, match="a problem over distortion, rate"):
        trained_front.solve("max mi s.t. neg_iwae <= 30")
    with pytest.raises(lv.SettingError, match=r"0 < beta_low < beta_high, got 3 and 2"):
        tiny(beta_low=3.0, beta_high=2.0)
    with pytest.raises(lv.SettingError, match="one mmd as divergence, got 'rate'"):
        tiny(divergence="rate")
    with pytest.raises(lv.SettingError, match="a method, got 'amortized'; try 'amortised'"):
        lv.fit_front("digits", method="amortized")
    with pytest.raises(lv.SettingError, match="no problem for an amortised front"):
        lv.fit_front("digits", ["max mi s.t. neg_elbo <= 30"], method="amortised", **SMALL)
    with pytest.raises(lv.SettingError, match="problems for method='dedicated', got none; try 'max mi"):
        lv.fit_front("digits", method="dedicated", **SMALL)


def test_a_divergence_in_few_dimensions_does_not_tear_the_family_apart() -> None:
    """Among 50 codes of 8 dimensions chance alone makes an mmd of 9e-3: 86 nats, weighed by the highest γ."""
    small: dict[str, Any] = {"hidden": (64, 64), "latent_dim": 8, "batch_size": 100, "epochs": 40}
    settings = Settings().replace(**small, precision="float32", device="cpu")
    session = _build_session(lv.open_data("digits"), FrontSettings(), settings, None, None)
    for _ in range(session.total_steps):
        session.take_step()
    x = session.model.model.likelihood.prepare(session.batches.examples.values, torch.Generator().manual_seed(0))
    rates = []
    with torch.no_grad():
        for weights in ([0.1, 10.0], [0.1, 1e4], [1.0, 1e4], [10.0, 1e4]):
            member = session.model.fold(session.family.conditions(torch.tensor(weights)))
            rates.append(float(session.lagrangian.measure(member.draw(x, Streams(0)))[1]))
    assert 3 < rates[0] < 20
    assert rates[0] > rates[1] > rates[2] > rates[3]
    assert rates[3] < 0.5


def test_a_front_says_what_it_trains_on_and_shows_means_over_all_weights(capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    lv.fit_front(rows, divergence="none", **{**SMALL, "epochs": 2, "progress": True})
    shown = capsys.readouterr().err
    assert "likelihood: " in shown
    assert "steps in all, which is few: more --epochs" in shown
    last = shown.splitlines()[-1]
    assert " mean over all weights: distortion " in last
    assert "beta" not in last  # of 1, as a run of the family's problem would have


def test_a_member_of_a_front_in_memory_is_read_back(tmp_path: Path) -> None:
    solution = tiny(divergence="none", activation="softplus").solve("min distortion + rate", out=tmp_path)
    assert_same_tensors(lv.load(tmp_path).model.state_dict(), solution.model.state_dict())
    assert_same_tensors(unpack(pack(solution)).model.state_dict(), solution.model.state_dict())


def test_a_member_of_a_front_of_arrays_is_read_back(tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).integers(0, 2, (600, 12)).astype(np.float32)
    lv.fit_front(arrays, out=tmp_path / "front", divergence="none", **{**SMALL, "epochs": 2})
    solution = lv.load_front(tmp_path / "front").solve("min distortion + rate", out=tmp_path / "solved")
    loaded = lv.load(tmp_path / "solved")
    assert_same_tensors(loaded.model.state_dict(), solution.model.state_dict())
    assert loaded.model.sample(2).shape == (2, 12)


def test_what_was_polished_is_measured_and_gone_on_with_like_any_run(
    trained_front: AmortisedFront, tmp_path: Path
) -> None:
    problem = f"max mi s.t. neg_elbo <= {neg_elbo_of(trained_front, 0.3)}"
    polished = trained_front.solve(problem, polish=1, out=tmp_path)
    found = lv.evaluate(lv.load(tmp_path), quick=True)
    assert polished.evaluation is not None
    for part in ("train", "held_out", "test"):
        assert found[part]["rate"].value == pytest.approx(polished.evaluation[part]["rate"].value, rel=1e-5)


def test_a_bound_is_judged_in_the_divergence_that_the_front_measured() -> None:
    front = tiny(divergence="mmd(kernel=imq)", epochs=20, batch_size=250)
    assert front.surface is not None
    middle = front.surface.estimates("train", beta=1.0, gamma=100.0)["mmd_biased"].value
    solution = front.solve(f"min distortion s.t. mmd(kernel=imq) <= {middle}")
    assert solution.status is lv.Status.FEASIBLE
    again = evaluate_model(solution.model, solution.problem, lv.open_data("digits"), batch_size=250)
    assert again.violations()["mmd"] == pytest.approx(0, abs=0.1 * middle)
    assert "*mmd(kernel=imq)" in front.points[-1].problem
    shown = constrained(front.points[-1], "train")
    assert shown is not None
    assert "mmd(kernel=imq) <= " in shown[0]
    with pytest.raises(lv.ProblemError, match=r"in mmd\(kernel=imq\), got mmd"):
        front.solve("min distortion s.t. mmd <= 1e-2")
    with pytest.raises(lv.ProblemError, match=r"got mmd\(kernel=imq\)"):
        tiny().solve("min distortion s.t. mmd(kernel=imq) <= 1e-2")


def test_a_prior_that_is_learned_is_modulated_with_the_rest() -> None:
    session = _build_session(
        lv.open_data("digits"), FrontSettings(), settings_of({**SMALL, "batch_size": 500}, prior="flow"), None, None
    )
    for _ in range(3):  # a coupling begins as none at all
        session.take_step()
    names, sizes = session.model._names, session.model._sizes
    moved = [float(part.abs().sum()) for part in session.model.entries.grad.split(sizes, dim=-1)]  # type: ignore[union-attr]
    by_layer = {name: sum(moved[3 * i : 3 * i + 3]) for i, name in enumerate(names)}
    couplings = [value for name, value in by_layer.items() if name.startswith("prior.")]
    assert len(couplings) == 16
    assert min(couplings) > 0


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_example_learns_with_every_beta_also_in_a_batch_that_keeps_its_order(shuffle: bool) -> None:
    session = _build_session(
        lv.open_data("digits"), FrontSettings(), settings_of({**SMALL, "batch_size": 500}, shuffle=shuffle), None, None
    )
    seen: list[torch.Tensor] = []
    at = session.model.at

    def watched(conditions: torch.Tensor) -> Any:
        seen.append(conditions[:, 0])
        return at(conditions)

    session.model.at = watched  # type: ignore[method-assign, assignment]
    for _ in range(30):
        session.take_step()
    spread = torch.stack(seen).amax(0) - torch.stack(seen).amin(0)
    # With an order of its own in each epoch, a place in the batch is not an example.
    assert bool((spread < 0.1).all()) if shuffle else bool((spread > 1.5).all())


def test_a_test_part_of_one_example_has_no_error_and_does_not_stop_a_solve() -> None:
    arrays = np.random.default_rng(0).integers(0, 2, (301, 6)).astype(np.float32)
    front = lv.fit_front((arrays[:300], arrays[300:]), divergence="none", **{**SMALL, "epochs": 2})
    solution = front.solve("min distortion + rate")
    assert solution.evaluation is not None
    assert math.isnan(solution.evaluation["test"]["rate"].standard_error)
    assert math.isfinite(solution.evaluation["test"]["rate"].value)


@pytest.mark.parametrize("likelihood", ["gaussian", "optimal_gaussian"])
def test_members_on_a_table_have_scales_of_their_own(likelihood: str) -> None:
    # Three readings of one number, whose noise is 0.05: a code of one number tells all there is.
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(2000, 1)) + 0.05 * rng.normal(size=(2000, 3))).astype(np.float32)
    front = lv.fit_front(rows, divergence="none", likelihood=likelihood, **{**SMALL, "epochs": 30})
    low, high = (front.solve(f"min distortion + {beta}*rate") for beta in (0.15, 13))
    stds = []
    for solution in (low, high):
        model = solution.model
        assert isinstance(model.likelihood, LearnedGaussian | OptimalGaussian)
        stds.append(model.likelihood.known_log_std().detach().exp())
        shown = torch.from_numpy(rows)
        error = (model.decode(model.encode(shown)) - shown).div(model.likelihood.scale).std(0)
        assert bool((stds[-1] > error).all())  # what the code's own noise adds comes on top of it
        assert bool((stds[-1] < 1.5 * error + 0.1).all())
    assert bool((4 * stds[0] < stds[1]).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": 4}, "expected no stack, got 4 for amortised; try method='dedicated'"),
        ({"problems": "min rate s.t. distortion <= 60", "method": "path", "stack": "auto"}, "'auto' for path"),
        ({"problems": "min rate s.t. distortion <= 60", "method": "dedicated", "gain": 3}, "dedicated, got gain=3.0"),
    ],
)
def test_what_would_be_ignored_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(lv.SettingError, match=message):
        lv.fit_front("digits", **options)


def test_what_all_members_share_is_warned_of() -> None:
    class Noisy(FixedGaussian):
        """σ learned, but as the likelihood's own affair."""

        def __init__(self) -> None:
            super().__init__((3,))
            self.raw = nn.Parameter(torch.zeros(3))

        def known_log_std(self) -> torch.Tensor:
            return self.raw

    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    model = lv.VAE(nn.Linear(3, 4), nn.Linear(2, 3), latent_dim=2, likelihood=Noisy())
    with pytest.warns(UserWarning, match="what fixed_gaussian learns is one for every weight of the front"):
        lv.fit_front(rows, model=model, divergence="none", epochs=1, progress=False)


def test_an_answer_at_an_end_of_the_front_says_so() -> None:
    front = amortised()
    found = front.solve("min rate s.t. neg_elbo <= 1000")
    assert found.multipliers == {"neg_elbo": 0.0}
    assert found.message.endswith("; the front ends there (beta_high = 4.9), and a wider one may do better")
    assert "ends there" not in front.solve("min neg_elbo").message
    assert "ends there" not in front.solve("max mi s.t. neg_elbo <= 125").message
