"""Which estimates answer which question: the order in which a reader asks."""

from __future__ import annotations

from collections.abc import Iterable

CONSTRAINT = "constraint "
"""Before a constraint's name: what it bounds, as the problem states it."""
DIMENSION = "rate_of_dimension_"
"""Before a dimension's number, from 0."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "feasibility": (),
    "model": ("distortion", "rate", "neg_elbo", "log_likelihood"),
    "information": ("mutual_information_lower", "mutual_information", "mutual_information_upper"),
    "latent_space": (
        "active_units",
        "kl_to_prior",
        "kl_to_prior_upper",
        "total_correlation",
        "mmd_biased",
        "mmd_unbiased",
        "mmd_imq",
        "mmd_imq_p_value",
        "linear_probe",
    ),
}
"""Is it feasible? How good is the model? How much information does the code carry? Is the latent space used?

The constraints answer the first question, every dimension's rate belongs to the last one.
"""


def by_question(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns question → those of the names that answer it, in the order of reading; every name stands once."""
    known = list(names)
    return {
        question: [
            *(name for name in listed if name in known),
            *(name for name in known if question == _question_of_family(name)),
        ]
        for question, listed in QUESTIONS.items()
    }


def _question_of_family(name: str) -> str | None:
    """Returns which question a name answers that stands for one of many."""
    return "feasibility" if name.startswith(CONSTRAINT) else "latent_space" if name.startswith(DIMENSION) else None
