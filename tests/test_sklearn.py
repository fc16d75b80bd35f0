from __future__ import annotations

import os
import pickle
import signal
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import lagvae as lv
from lagvae.sklearn import LagVAE
from lagvae.training.steps.session import Session
from training.test_likelihoods import NOISE, SCALES, entropy, make_table

EASY = "max mi s.t. neg_elbo <= 1e6"
TINY: dict[str, Any] = {"n_components": 2, "hidden": (16,), "epochs": 3, "random_state": 0}
TABLE = make_table()


@parametrize_with_checks([LagVAE(EASY, n_components=2, hidden=(8,), epochs=2, random_state=0)])
def test_scikit_learns_own_checks(estimator: LagVAE, check: Any) -> None:
    # None is excepted. check_array_api_input skips itself where SCIPY_ARRAY_API is not set.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.fixture(scope="module")
def fitted() -> LagVAE:
    return LagVAE("min neg_elbo", **{**TINY, "epochs": 40}, batch_size=100, learning_rate=1e-2).fit(TABLE)


def test_columns_of_different_scales_just_work(fitted: LagVAE) -> None:
    assert fitted.likelihood_ == "optimal_gaussian"
    codes = fitted.transform(TABLE)
    assert codes.shape == (len(TABLE), 2)
    assert codes.dtype == np.float32 == TABLE.dtype
    errors = np.sqrt(np.square(fitted.inverse_transform(codes) - TABLE).mean(0)) / SCALES
    assert errors.max() < 1.6 * NOISE
    sample = fitted.sample(2000, random_state=1)
    np.testing.assert_allclose(sample.mean(0) / SCALES, 100, atol=0.3)
    np.testing.assert_allclose(sample.std(0), TABLE.std(0), rtol=0.25)


def test_scores_are_log_likelihoods_of_the_table_in_its_own_units(fitted: LagVAE) -> None:
    scores = fitted.score_samples(TABLE)
    assert scores.mean() == pytest.approx(fitted.score(TABLE))
    # No model says more than the truth does, up to 4 errors of a mean over rows; and this one says nearly as much.
    error = scores.std() / np.sqrt(len(scores))
    assert -entropy() - 0.5 < scores.mean() < -entropy() + 4 * error
    assert fitted.evaluation_ is not None
    assert scores.mean() > -fitted.evaluation_["train"]["neg_elbo"].value - error
    assert set(fitted.evaluation_.estimates) == {"train"}


def test_a_rows_score_and_code_depend_on_no_other_row() -> None:
    digits, _ = load_digits_01()
    model = LagVAE(EASY, **TINY).fit(digits)
    assert model.likelihood_ == "bernoulli"
    order = np.random.default_rng(0).permutation(150)
    for method in (model.score_samples, model.transform):
        np.testing.assert_allclose(method(digits[order]), method(digits[:150])[order], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(method(digits[:3]), method(digits[:150])[:3], rtol=1e-4, atol=1e-4)


def load_digits_01() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data / 16, digits.target


def test_pickles_hold_the_librarys_own_files_and_nothing_of_torch(fitted: LagVAE) -> None:
    text = pickle.dumps(fitted)
    assert b"torch" not in text
    assert b"config.yaml" in text
    again = pickle.loads(text)
    np.testing.assert_array_equal(again.transform(TABLE), fitted.transform(TABLE))
    np.testing.assert_array_equal(again.score_samples(TABLE[:50]), fitted.score_samples(TABLE[:50]))
    assert again.solution_.status == fitted.solution_.status
    assert again.solution_.multipliers == fitted.solution_.multipliers
    assert again.evaluation_["train"] == fitted.evaluation_["train"]  # type: ignore[index]
    assert not hasattr(pickle.loads(pickle.dumps(clone(fitted))), "solution_")


def test_the_same_seed_gives_the_same_model() -> None:
    first, again, other = (LagVAE(EASY, **{**TINY, "random_state": seed}).fit(TABLE[:200]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.transform(TABLE), again.transform(TABLE))
    assert not np.allclose(first.transform(TABLE), other.transform(TABLE))
    np.testing.assert_array_equal(first.sample(3, random_state=5), again.sample(3, random_state=5))
    state = torch.get_rng_state()
    LagVAE(EASY, **TINY).fit(TABLE[:50])
    assert torch.equal(torch.get_rng_state(), state)


def test_pipelines_and_grid_search() -> None:
    digits, labels = load_digits_01()
    digits, labels = digits[:300], labels[:300]
    pipeline = make_pipeline(
        FunctionTransformer(), LagVAE(EASY, **{**TINY, "epochs": 8}, batch_size=50), LogisticRegression()
    )
    search = GridSearchCV(pipeline, {"lagvae__n_components": [1, 8]}, cv=2).fit(digits, labels)
    assert search.best_params_ == {"lagvae__n_components": 8}
    assert search.best_score_ > 0.3  # of ten classes
    alone = GridSearchCV(LagVAE(EASY, **TINY), {"problem": [EASY, lv.vae()]}, cv=2).fit(digits)
    assert set(alone.cv_results_["rank_test_score"]) <= {1, 2}
    assert np.isfinite(alone.cv_results_["mean_test_score"]).all()


def test_data_frames_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas", reason="data frames need pandas, which is no dependency")
    frame = pandas.DataFrame(TABLE[:100], columns=["a", "b", "c", "d"])
    model = LagVAE(EASY, **TINY).set_output(transform="pandas").fit(frame)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    assert list(model.transform(frame).columns) == ["lagvae0", "lagvae1"] == list(model.get_feature_names_out())


def test_counts_and_bytes() -> None:
    counts = np.random.default_rng(0).poisson([0.5, 30, 2000], (200, 3))
    model = LagVAE(EASY, **TINY).fit(counts)
    assert model.likelihood_ == "negative_binomial"
    drawn = model.sample(5, random_state=0)
    np.testing.assert_array_equal(drawn, np.rint(drawn))
    pictures = np.random.default_rng(0).integers(0, 256, (60, 48)).astype(np.uint8)
    model = LagVAE(EASY, **TINY, event_shape=(3, 4, 4)).fit(pictures)
    assert model.likelihood_ == "discretised_logistic"
    decoded, drawn = model.inverse_transform(model.transform(pictures)), model.sample(20, random_state=0)
    assert decoded.shape == (60, 48)
    for bytes_again in (decoded, drawn):  # in the units of the table
        assert 60 < bytes_again.mean() < 200
        assert bytes_again.max() <= 255
    assert model.transform(drawn).shape == (20, 2)
    assert LagVAE(EASY, **TINY, likelihood="poisson").fit(pictures).sample(20, random_state=0).max() > 2
    np.testing.assert_array_equal(model.transform(pictures.astype(float)), model.transform(pictures))
    with pytest.raises(lv.DataError, match="expected bytes, as the model was fitted to, got float64 beyond them"):
        model.transform(pictures / 255)


def test_ctrl_c_ends_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = Session.take_step

    def interrupted(session: Session) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return take_step(session)

    monkeypatch.setattr(Session, "take_step", interrupted)
    rows = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(LagVAE(epochs=2, hidden=(8,)), {"n_components": [1, 2]}, cv=2).fit(rows)


def test_missed_bounds_warn_and_divergence_is_an_error() -> None:
    with pytest.warns(ConvergenceWarning, match="missed 'neg_elbo <= -1000'"):
        model = LagVAE("max mi s.t. neg_elbo <= -1000", **TINY).fit(TABLE[:100])
    assert model.solution_.status is lv.Status.INFEASIBLE
    with pytest.raises(lv.SolveError, match="became"):
        LagVAE(EASY, **{**TINY, "epochs": 20}, learning_rate=1e30).fit(TABLE[:100])


def test_bounds_relative_to_best_and_other_settings() -> None:
    settings = {"held_out": 0.2, "probe_epochs": 2, "activation": "relu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LagVAE("max mi s.t. neg_elbo <= best + 100", **TINY, settings=settings).fit(TABLE[:200])
    assert set(model.evaluation_.estimates) == {"train", "held_out"}  # type: ignore[union-attr]
    with pytest.raises(lv.SettingError, match="expected a setting, got 'epoch'"):
        LagVAE(EASY, settings={"epoch": 3}).fit(TABLE)
    with pytest.raises(lv.SettingError, match="other settings than LagVAE's own, got epochs; try LagVAE's argument"):
        LagVAE(EASY, settings={"epochs": 3}).fit(TABLE)


def test_wrong_use(fitted: LagVAE) -> None:
    with pytest.raises(NotFittedError):
        LagVAE().transform(TABLE)
    with pytest.raises(lv.DataError, match="expected codes of 2 columns, got 3"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(lv.SettingError, match="at least 1 draw per row"):
        fitted.score_samples(TABLE, draws=0)
    with pytest.raises(lv.SettingError, match="at least 1 sample"):
        fitted.sample(0)
    with pytest.raises(lv.SettingError, match="positive whole numbers as hidden, got 0"):
        LagVAE(EASY, hidden=0).fit(TABLE)  # type: ignore[arg-type]
    with pytest.raises(lv.DataError, match=r"rows that fold to event_shape \(6,\), got 4 columns"):
        LagVAE(EASY, event_shape=6).fit(TABLE)  # type: ignore[arg-type]
    numbers = LagVAE(EASY, **{**TINY, "n_components": np.int64(2), "hidden": np.array([8])}).fit(TABLE[:50])
    assert numbers.score_samples(TABLE[:3], draws=np.int64(3)).shape == (3,)  # type: ignore[arg-type]
    with pytest.raises(lv.DataError, match=r"rows that fold to event_shape \(2, 3\), got 4 columns"):
        LagVAE(EASY, event_shape=(2, 3)).fit(TABLE)
