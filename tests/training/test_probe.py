"""A probe says what is within reach; bounds relative to best are made numbers by one."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import lagvae as lv
from lagvae.evaluation.evaluate import evaluate_model
from lagvae.model.draw import Draw
from lagvae.settings import PROBE_EPOCHS
from lagvae.storage.files import to_plain
from lagvae.terms.algebra import Constraint
from lagvae.training import probe as probe_module
from lagvae.training.devices import Blueprint
from lagvae.training.probe import resolve_bounds
from tiny_runs import TINY, assert_same_tensors, run, settings_of, stopped_after

# Enough steps for the ends of the range to be where they belong.
ENOUGH: dict[str, Any] = {**TINY, "hidden": (64,), "latent_dim": 8, "epochs": 20, "learning_rate": 5e-3}
ENOUGH |= {"batch_size": 100}
SETTINGS = settings_of(ENOUGH)
NAMES = ["distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased"]
imq = lv.mmd(kernel="imq", estimator="unbiased")


@pytest.fixture(scope="module")
def found() -> lv.Probe:
    return lv.probe("digits", **ENOUGH)


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The problems that are trained without a folder's log of their own: those of probes."""
    problems: list[str] = []
    plan = probe_module.Blueprint

    def watched(problem: lv.Problem, *rest: Any, **options: Any) -> Blueprint:
        problems.append(str(problem))
        return plan(problem, *rest, **options)

    monkeypatch.setattr(probe_module, "Blueprint", watched)
    return problems


def value(found: lv.Probe, beta: float, name: str) -> float:
    return found.estimates[beta][name].value


def test_three_runs_and_what_they_reached(found: lv.Probe) -> None:
    assert [str(solution.problem) for solution in found.solutions.values()] == [
        "min distortion + 0.1*rate",
        "min distortion + rate",
        "min distortion + 10*rate",
    ]
    assert list(found.estimates) == [0.1, 1.0, 10.0]
    assert list(found.ranges) == NAMES
    rates, distortions = ([value(found, beta, name) for beta in (0.1, 1.0, 10.0)] for name in ("rate", "distortion"))
    assert rates == sorted(rates, reverse=True)
    assert distortions == sorted(distortions)
    for name, reached in found.ranges.items():
        values = [value(found, beta, name) for beta in found.estimates]
        assert (reached.lowest, reached.highest) == (min(values), max(values))
    assert found.ranges["neg_elbo"].lowest == value(found, 1.0, "neg_elbo")
    assert (found.ranges["rate"].unit, found.ranges["mmd_biased"].unit) == ("nats per example", "MMD²")
    assert f"neg_elbo {found.ranges['neg_elbo'].lowest:.4g} to " in repr(found)


def test_a_run_of_a_probe_is_a_run(found: lv.Probe) -> None:
    vae = lv.fit("min distortion + rate", "digits", **ENOUGH)
    assert_same_tensors(vae.model.state_dict(), found.solutions[1.0].model.state_dict())
    assert vae.evaluation is not None
    assert vae.evaluation["train"]["neg_elbo"] == found.estimates[1.0]["neg_elbo"]


def meets(found: lv.Probe, beta: float, constraint: Constraint) -> bool:
    (name,) = (name for name in NAMES if name.removesuffix("_biased") == str(constraint.quantity))
    return constraint.is_met_by(value(found, beta, name))


def test_every_suggestion_was_reached(found: lv.Probe) -> None:
    problems = [lv.Problem.parse(text) for text in found.suggestions]
    assert [problem.names for problem in problems] == [("neg_elbo", "mmd"), ("neg_elbo",), ("distortion",), ("rate",)]
    for problem in problems:
        upper = [c for c in problem.subject_to if not c.is_equality]
        assert any(all(meets(found, beta, c) for c in upper) for beta in found.solutions)
        for constraint in problem.subject_to:
            if constraint.is_equality:
                assert found.ranges["rate"].lowest < constraint.bound < found.ranges["rate"].highest
    assert not meets(found, 1.0, lv.neg_elbo <= found.ranges["neg_elbo"].lowest - 1)


def test_the_mmd_that_is_suggested_lies_above_its_floor(found: lv.Probe) -> None:
    assert found.floor == lv.mmd.floor(latent_dim=8, batch_size=100)
    assert lv.Problem.parse(found.suggestions[0]).constraints["mmd"].bound > found.floor


@pytest.mark.parametrize(
    ("constraint", "name", "beta"),
    [
        (lv.neg_elbo <= 0, "neg_elbo", 1.0),
        (lv.rate <= lv.best + 3, "rate", 10.0),
        (lv.rate >= 3, "rate", 0.1),
        (lv.distortion <= 1, "distortion", 0.1),
        (lv.mutual_information <= 0, "rate", 10.0),
    ],
    ids=str,
)
def test_the_best_of_what_every_evaluation_holds(
    found: lv.Probe, constraint: Constraint, name: str, beta: float
) -> None:
    assert found.best(constraint) == pytest.approx(value(found, beta, name), rel=1e-6)


def test_the_best_of_any_sum_with_any_options(found: lv.Probe) -> None:
    values = [2 * value(found, beta, "rate") + value(found, beta, "distortion") for beta in found.estimates]
    assert found.best(2 * lv.rate + lv.distortion <= 0) == pytest.approx(min(values))
    assert found.best(lv.rate - 0.5 * lv.mmd >= 0) == pytest.approx(found.ranges["rate"].highest, abs=0.1)
    problem, data = lv.Problem(lv.Minimize(0), [imq <= 1]), lv.open_data("digits")
    divergences = [
        evaluate_model(solution.model, problem, data, batch_size=100)["train"]["constraint mmd"].value
        for solution in found.solutions.values()
    ]
    assert divergences == sorted(divergences, reverse=True)
    assert found.best(imq <= 0) == pytest.approx(divergences[-1])
    assert found.best(lv.rate(estimator="one_sample") <= 0) == pytest.approx(found.ranges["rate"].lowest, abs=0.2)
    assert found.best(lv.rate(estimator="one_sample") >= 0) == pytest.approx(found.ranges["rate"].highest, abs=0.5)


@pytest.mark.usefixtures("registry")
def test_the_best_of_a_term_of_ones_own(found: lv.Probe) -> None:
    @lv.term
    def code_energy(draw: Draw) -> Tensor:
        return draw.z.square().sum(-1)

    lowest, highest = found.best(code_energy <= 0), found.best(code_energy >= 0)
    assert 6 < lowest < highest  # 8 where z ~ p(z)


def test_an_equality_has_no_best(found: lv.Probe) -> None:
    with pytest.raises(lv.ProblemError, match="expected a bound above or below, got 'rate == 5'; try 'rate <= 5'"):
        found.best(Constraint(lv.rate.as_sum(), "==", 5.0))
    with pytest.raises(lv.ProblemError, match="expected a term in each constraint, got '0 <= 0'"):
        found.best(lv.rate - lv.rate <= 0)


def test_a_problem_is_resolved_by_what_was_reached(found: lv.Probe) -> None:
    problem = lv.Problem.parse("max mi s.t. neg_elbo <= best + 4, rate >= best - 2, mmd <= 1")
    resolved = found.resolve(problem)
    assert [c.is_relative for c in resolved.subject_to] == [False, False, False]
    assert resolved.constraints["neg_elbo"].bound == pytest.approx(value(found, 1.0, "neg_elbo") + 4, rel=1e-6)
    assert resolved.constraints["rate"].bound == pytest.approx(value(found, 0.1, "rate") - 2, rel=1e-6)
    assert resolved.constraints["mmd"].bound == 1
    impossible = lv.Problem.parse("min neg_elbo s.t. rate <= 1, rate >= best - 2")
    with pytest.raises(lv.ProblemError, match="contradicting 'rate <= 1'"):
        found.resolve(impossible)


def test_everything_in_plain_types(found: lv.Probe) -> None:
    plain = json.loads(json.dumps(to_plain(found.as_dict())))
    assert plain["data"] == "digits"
    assert plain["settings"]["primal"]["epochs"] == 20
    assert plain["suggestions"] == list(found.suggestions)
    assert list(plain["runs"]) == ["0.1", "1", "10"]
    assert plain["runs"]["1"]["estimates"]["train"]["rate"]["value"] == value(found, 1.0, "rate")
    assert plain["ranges"]["rate"]["highest"] == found.ranges["rate"].highest
    assert plain["mmd_floor"] == found.floor


def test_epochs_are_few_unless_they_are_given(probed: list[str]) -> None:
    tiny = {name: setting for name, setting in TINY.items() if name != "epochs"}
    assert lv.probe("digits", **tiny).settings.primal.epochs == PROBE_EPOCHS == 5
    assert lv.probe("digits", **tiny, epochs=2).settings.primal.epochs == 2
    settings = settings_of(TINY).settled()
    given = lv.probe("digits", settings=settings, progress=False)
    assert (given.settings, given.solutions[1.0].step) == (settings, 18)
    assert lv.probe("digits", settings=settings, epochs=1, progress=False).settings.primal.epochs == 1
    original = lv.probe("digits", preset="zhao2018", **tiny)
    assert (original.settings.primal.epochs, original.settings.primal.beta1) == (5, 0.5)
    assert len(probed) == 15


def test_a_model_and_an_optimiser_of_ones_own() -> None:
    torch.manual_seed(3)
    model = lv.VAE(lv.MLPEncoder((1, 8, 8), 3, (8,)), lv.MLPDecoder(3, (1, 8, 8), (8,)), latent_dim=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sgd = functools.partial(torch.optim.SGD, lr=1e-4)
    found = lv.probe("digits", model=model, optimizer=sgd, **TINY)
    assert_same_tensors(model.state_dict(), before)
    own = lv.fit("min distortion + rate", "digits", model=model, optimizer=sgd, **TINY)
    assert_same_tensors(found.solutions[1.0].model.state_dict(), own.model.state_dict())
    named = lv.probe("digits", optimizer="sgd", **TINY)
    assert named.settings.primal.optimizer == "sgd"


def test_what_a_probe_refuses(probed: list[str]) -> None:
    with pytest.raises(lv.SettingError, match="expected a setting, got 'epoch'; try 'epochs'"):
        lv.probe("digits", epoch=3)
    with pytest.raises(lv.SettingError, match="expected a whole number ≥ 1 as epochs, got 0"):
        lv.probe("digits", epochs=0)
    with pytest.raises(lv.DataError, match="'digits'"):
        lv.probe("digit", **TINY)
    assert probed == []


def test_a_probe_that_diverges() -> None:
    with pytest.raises(lv.SolveError, match=r"expected a probe that trains to its end, got 'min distortion \+ rate', "):
        lv.probe("digits", optimizer=functools.partial(torch.optim.SGD, lr=1e30), **TINY)


def test_a_probe_that_is_interrupted(probed: list[str]) -> None:
    with stopped_after(4), pytest.raises(KeyboardInterrupt, match=r"^$"):
        lv.probe("digits", **TINY)
    assert len(probed) == 1


def test_the_vae_alone_where_only_neg_elbo_is_relative(probed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    data = lv.open_data("digits")
    problem = lv.Problem.parse("max mi s.t. 2*neg_elbo <= best + 4, rate <= 90, neg_elbo(estimator=one_sample) <= best")
    (resolved,) = resolve_bounds([problem], data, SETTINGS.replace(epochs=3))
    assert probed == ["min distortion + rate"]
    assert not resolved.is_relative
    said = capsys.readouterr().err
    assert "probe 1 of 1: min distortion + rate, 3 epochs" in said
    bound = resolved.constraints["2*neg_elbo"]
    assert f"best in 3 epochs: '2*neg_elbo <= best + 4' is '{bound}', 'neg_elbo(estimator" in said
    probed.clear()
    (both,) = resolve_bounds([lv.Problem.parse("max mi s.t. 2*neg_elbo <= best + 4, mmd <= best")], data, SETTINGS)
    assert len(probed) == 3
    assert both.constraints["2*neg_elbo"].bound < bound.bound  # of longer runs


def test_best_of_neg_elbo_does_not_hang_on_what_else_is_relative() -> None:
    data, settings = lv.open_data("digits"), SETTINGS.replace(epochs=1)
    alone, beside = (
        resolve_bounds([lv.Problem.parse(text)], data, settings, progress=False)[0].constraints["neg_elbo"]
        for text in ("max mi s.t. neg_elbo <= best", "max mi s.t. neg_elbo <= best, rate <= best")
    )
    assert alone == beside


@pytest.mark.parametrize(("given", "epochs"), [(None, 3), (1, 1)])
def test_best_is_of_the_runs_own_budget_unless_told_otherwise(
    given: int | None, epochs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = lv.Problem.parse("max mi s.t. neg_elbo <= best + 4")
    settings = SETTINGS.replace(epochs=3, probe_epochs=given)
    (resolved,) = resolve_bounds([problem], lv.open_data("digits"), settings)
    own = lv.fit("min distortion + rate", "digits", **{**ENOUGH, "epochs": epochs})
    assert own.evaluation is not None
    bound = own.evaluation["train"]["neg_elbo"].value + 4
    assert resolved.constraints["neg_elbo"].bound == pytest.approx(bound, rel=1e-6)
    assert f"best in {epochs} epoch" in capsys.readouterr().err


def test_a_fit_is_resolved_first(probed: list[str]) -> None:
    solution = run(problem="max mi s.t. neg_elbo <= best + 4, mmd <= 1")
    assert probed == ["min distortion + rate"]
    assert str(solution.problem).startswith("max mutual_information s.t. neg_elbo <= ")
    assert not solution.problem.is_relative
    absolute = run(problem=str(solution.problem))
    assert len(probed) == 1
    assert_same_tensors(absolute.model.state_dict(), solution.model.state_dict())
    assert math.isfinite(solution.violations["neg_elbo"])


def test_a_probe_is_judged_on_what_is_held_out() -> None:
    found = lv.probe("digits", held_out=0.2, **{**TINY, "epochs": 1})
    assert {estimate["rate"].examples for estimate in found.estimates.values()} == {300}
