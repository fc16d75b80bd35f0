from __future__ import annotations

import pytest

from lagvae.errors import ProblemError
from lagvae.problem.presets import beta_vae, geco, info_vae, lag_vae, mdr, vae
from lagvae.problem.problem import Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (vae(), "min distortion + rate"),
        (beta_vae(4.0), "min distortion + 4*rate"),
        (beta_vae(1.0), "min distortion + rate"),
        (info_vae(1.0, 1.0, 1.0), "max mutual_information - neg_elbo - 10000*mmd"),
        (info_vae(-2.0, 1.0, 0.5), "min 2*mutual_information + neg_elbo + 5000*mmd"),
        (info_vae(0.0, 1.0, 0.0), "min neg_elbo"),
        (lag_vae(1.0, 86.0, 5.0), "max mutual_information s.t. neg_elbo <= 86, mmd <= 0.0005"),
        (lag_vae(-2.0, 86.0, 5.0), "min 2*mutual_information s.t. neg_elbo <= 86, mmd <= 0.0005"),
        (lag_vae(0.0, 88.0, 8.0), "min 0 s.t. neg_elbo <= 88, mmd <= 0.0008"),
        (
            lag_vae(1.0, 86.0, 5.0, estimator="one_sample"),
            "max mutual_information(estimator=one_sample) s.t. neg_elbo(estimator=one_sample) <= 86, mmd <= 0.0005",
        ),
        (geco(80.0), "min rate s.t. distortion <= 80"),
        (mdr(20.0), "min neg_elbo s.t. rate >= 20"),
    ],
)
def test_text_of_every_preset(problem: Problem, text: str) -> None:
    assert str(problem) == text
    assert Problem.parse(text) == problem


def test_original_estimator_reaches_the_relaxation() -> None:
    weights = info_vae(1.0, 1.0, 0.0, estimator="one_sample").objective.surrogate()
    assert {str(term): weight for term, weight in weights.items()} == {
        "distortion": 2.0,
        "rate(estimator=one_sample)": 1.0,
    }


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: lag_vae(float("nan"), 86.0, 5.0), "expected a finite weight, got nan"),
        (lambda: lag_vae(1.0, float("inf"), 5.0), "expected a finite bound, got inf"),
        (lambda: lag_vae(1.0, 86.0, -5.0), "expected bounds that can hold together, got 'mmd <= -0.0005'"),
        (lambda: info_vae(1.0, -1.0, 1.0), "expected a multiplier of neg_elbo ≥ 0, got -1; try 0 to switch it off"),
        (lambda: mdr(float("nan")), "expected a finite bound, got nan"),
        (lambda: beta_vae(float("inf")), "expected a finite weight, got inf"),
    ],
)
def test_nonsense_is_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProblemError, match=message):
        build()
