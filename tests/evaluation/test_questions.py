"""Which estimate answers which question."""

from __future__ import annotations

from lagvae.evaluation.questions import QUESTIONS, by_question


def test_every_name_answers_one_question_in_the_order_of_reading() -> None:
    listed = [name for names in QUESTIONS.values() for name in names]
    assert len(set(listed)) == len(listed)
    given = [*reversed(listed), "constraint mmd", "constraint neg_elbo", "rate_of_dimension_0", "rate_of_dimension_1"]
    found = by_question(given)
    assert list(found) == ["feasibility", "model", "information", "latent_space"]
    assert found["feasibility"] == ["constraint mmd", "constraint neg_elbo"]
    assert found["model"] == list(QUESTIONS["model"])
    assert found["latent_space"] == [*QUESTIONS["latent_space"], "rate_of_dimension_0", "rate_of_dimension_1"]
    assert sorted(name for names in found.values() for name in names) == sorted(given)


def test_what_was_not_measured_is_left_out() -> None:
    assert by_question(["rate", "distortion"]) == {
        "feasibility": [], "model": ["distortion", "rate"], "information": [], "latent_space": [],
    }  # fmt: skip
