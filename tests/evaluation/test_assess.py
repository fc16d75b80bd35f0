"""The whole evaluation: every estimator on every part, by question, the same for the same seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation import assess as room
from lagvae.evaluation.assess import assess, assess_information
from lagvae.evaluation.density import autoregressive
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.evaluation.questions import QUESTIONS
from lagvae.model.vae import VAE, mlp_vae
from lagvae.storage.files import to_plain

PROBLEM = lv.Problem.parse("max mi s.t. neg_elbo <= 60, mmd <= 0.05")
FITTED = {"mutual_information", "kl_to_prior", "total_correlation"}


@pytest.fixture(scope="module", autouse=True)
def few_steps() -> Iterator[None]:
    """What an estimate is worth is tested beside its estimator: here a tenth of the fit will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoregressive, "STEPS", 100)
        yield


@pytest.fixture(scope="module")
def digits() -> lv.Data:
    """500 and 100 of them."""
    whole = lv.open_data("digits")
    return lv.Data("", whole.train.subset(0, 500), whole.test.subset(0, 100))


@pytest.fixture(scope="module")
def model() -> VAE:
    return mlp_vae((1, 8, 8), latent_dim=2, hidden=(16,), generator=torch.Generator().manual_seed(0))


def measure(model: VAE, data: lv.Data, **options: Any) -> Evaluation:
    return assess(model, PROBLEM, data, **{"batch_size": 50, "samples": 30, "examples": 80, **options})


@pytest.fixture(scope="module")
def found(model: VAE, digits: lv.Data) -> Evaluation:
    return measure(model, digits)


def test_every_estimator_on_every_part_under_its_question(found: Evaluation) -> None:
    for part in ("train", "test"):
        answers = found.by_question(part)
        assert list(answers["feasibility"]) == ["constraint neg_elbo", "constraint mmd"]
        for question in ("model", "information"):
            assert list(answers[question]) == list(QUESTIONS[question])
        rates = ["rate_of_dimension_0", "rate_of_dimension_1"]
        assert list(answers["latent_space"]) == [*QUESTIONS["latent_space"], *rates]
        assert sum(map(len, answers.values())) == len(found[part])
        assert all(estimate.standard_error >= 0 for estimate in found[part].values())  # and no NaN


def test_what_is_known_of_the_estimates_side_holds(found: Evaluation) -> None:
    for named in (found["train"], found["test"]):
        assert [e.bias for e in found.by_question("test")["information"].values()] == ["lower", "upper", "upper"]
        assert named["mutual_information_lower"].value < named["mutual_information_upper"].value
        assert named["kl_to_prior"].value < named["kl_to_prior_upper"].value + 5 * named["kl_to_prior"].standard_error
        assert named["log_likelihood"].value > -named["neg_elbo"].value
        total = sum(named[f"rate_of_dimension_{d}"].value for d in range(2))
        assert total == pytest.approx(named["mutual_information_upper"].value, rel=1e-5)
        assert named["mmd_imq"].value > 0
        assert named["mmd_imq_p_value"].value < 0.01  # an untrained model's codes are not the prior's
        assert 0 <= named["active_units"].value <= 2


def test_information_alone_is_that_of_the_whole_evaluation(found: Evaluation, model: VAE, digits: lv.Data) -> None:
    alone = assess_information(model, digits)
    names = ["mutual_information_lower", "mutual_information"]
    assert alone == {part: {name: found[part][name] for name in names} for part in ("train", "test")}
    few = lv.Data("", digits.train.subset(0, 99), digits.test.subset(0, 15))
    assert {part: list(one) for part, one in assess_information(model, few).items()} == {"train": names[:1]}


def test_numbers_of_draws_and_examples_are_those_asked_for(found: Evaluation) -> None:
    assert [(found[p]["log_likelihood"].samples, found[p]["log_likelihood"].examples) for p in ("train", "test")] == [
        (30, 80), (30, 80),
    ]  # fmt: skip
    assert found["train"]["mutual_information_lower"].samples == 500
    assert found["train"]["mutual_information"].examples == 250  # the half that the density has not seen
    assert found["test"]["mutual_information"].examples == 100


def test_it_begins_with_the_quick_evaluation(found: Evaluation, model: VAE, digits: lv.Data) -> None:
    quick = evaluate_model(model, PROBLEM, digits, batch_size=50)
    for part in quick.estimates:
        assert {name: found[part][name] for name in quick[part]} == quick[part]
    assert found.violations("test") == quick.violations("test")
    assert "log_likelihood" not in quick["test"]


def test_the_same_seed_repeats_it_and_another_does_not(found: Evaluation, model: VAE, digits: lv.Data) -> None:
    state = torch.get_rng_state()
    assert measure(model, digits) == found
    assert torch.equal(torch.get_rng_state(), state)
    other = measure(model, digits, seed=1)
    fixed = {"active_units", "mmd_imq_p_value", "linear_probe"}  # counts may agree by chance
    same = [name for name in found["test"] if other["test"][name].value == found["test"][name].value]
    assert set(same) <= fixed


def test_its_json_is_plain_and_stable(found: Evaluation) -> None:
    content = json.loads(json.dumps(to_plain(found.as_dict()), allow_nan=False))
    assert list(content) == ["problem", "questions", "estimates", "violations", "feasible"]
    assert set(content["questions"]) == set(QUESTIONS)
    listed = {name for names in content["questions"].values() for name in names}
    for part in ("train", "test"):
        assert set(content["estimates"][part]) == listed
        for fields in content["estimates"][part].values():
            assert list(fields) == [
                "value", "standard_error", "unit", "bias", "method", "examples", "samples", "is_saturated",
            ]  # fmt: skip


def test_without_labels_there_is_no_probe_and_with_few_examples_no_fit(
    model: VAE, digits: lv.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LEAST_TO_FIT", 1000)
    plain = lv.Data("", Examples(digits.train.values[:60]), Examples(digits.test.values[:10]))
    found = measure(model, plain, batch_size=10)
    assert "mutual_information_lower" in found["train"]
    assert not (FITTED | {"linear_probe"}) & set(found["train"])
    assert set(found["test"]) == {*evaluate_model(model, PROBLEM, plain, batch_size=10)["test"], "log_likelihood"}
    assert found["test"]["log_likelihood"].examples == 10


def test_it_says_what_it_measures(model: VAE, digits: lv.Data) -> None:
    stages: dict[str, list[int]] = {}

    def stage(what: str, steps: int) -> room.Advance:
        stages[what] = [steps, 0]

        def advance(count: int) -> None:
            stages[what][1] += count

        return advance

    measure(model, digits, stage=stage)
    assert {"distortion, rate, mmd", "codes", "log-likelihood, test", "mixture of posteriors, train"} <= set(stages)
    assert all(done <= steps for steps, done in stages.values())
    assert all(done == stages[what][0] for what, (_, done) in stages.items() if what.startswith(("codes", "log-lik")))


@pytest.mark.parametrize("option", ["samples", "examples"])
def test_numbers_that_are_none_are_refused_before_anything_is_measured(
    model: VAE, digits: lv.Data, option: str
) -> None:
    with pytest.raises(lv.SettingError, match=r"expected at least \d .*, got 0"):
        measure(model, digits, **{option: 0})
