"""Any text is a problem, which its own text gives back, or a ProblemError of one line."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import lagvae as lv
from lagvae.terms import importance, information, mmd  # noqa: F401 (registers the built-in terms)

CASES = 9_500

TERMS = ["distortion", "rate", "neg_elbo", "mutual_information", "mi", "mmd", "neg_iwae", "best", "mmd()", "elbo", "x"]
OPTIONS = ["kernel=imq", "kernel=rbf", "estimator=unbiased", "prior=closed_form", "samples=5", "samples=0", "k=1e999"]
NUMBERS = ["0", "1", "86", "5e-4", "1e999", "-3", ".5", "1.", "1e", "nan", "inf", "00", "1_0", "٣", "1e-400", "9" * 400]
SIGNS = [
    "+",
    "-",
    "*",
    ",",
    "(",
    ")",
    "<=",
    ">=",
    "==",
    "=",
    "≤",
    "≥",
    "<",
    ">",
    "s.t.",
    "st",
    "subject to",
    "max",
    "min",
]
WORDS = [*TERMS, *OPTIONS, *NUMBERS, *SIGNS, "maximise", "\n", "\t", "#", "\x1b", "'", '"', "{", "}"]

WEIGHTED = [*TERMS[:7], "mmd(kernel=imq)", "2 * rate", "rate * 0.5", "neg_iwae(samples=5)", "distortion + 3*rate"]
BOUNDS = [*(f"<= {bound}" for bound in ("86", "5e-4", "0", "best", "best + 4", "-1")), ">= 30", "== 15", "<= 1e999"]

sentences = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
likely = st.builds(
    lambda way, objective, bounds: f"{way} {objective}" + (" s.t. " + ", ".join(map(" ".join, bounds))) * bool(bounds),
    st.sampled_from(["max", "min"]),
    st.sampled_from(WEIGHTED),
    st.lists(st.tuples(st.sampled_from(WEIGHTED), st.sampled_from(BOUNDS)), max_size=2),
)


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    text = draw(likely)
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(st.text(max_size=3)) + text[start + draw(st.integers(0, 4)) :]


@settings(max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(likely | mutilated() | sentences | st.text(max_size=20))
def test_any_text_is_a_problem_or_one_line(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problem = lv.Problem.parse(text)
        except lv.ProblemError as error:
            event("refused")
            found = error
        else:
            event("a problem")
            assert lv.Problem.parse(str(problem)) == problem
            assert str(lv.Problem.parse(str(problem))) == str(problem)
            return
    assert len(str(found).splitlines()) == 1
    assert "expected " in str(found)
    assert "; try " in str(found)


@pytest.mark.parametrize("text", [None, 5, b"min rate", ["min rate"]])
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(lv.ProblemError, match="expected a problem's text, got"):
        lv.Problem.parse(text)  # type: ignore[arg-type]
