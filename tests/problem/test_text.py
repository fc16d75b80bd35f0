from __future__ import annotations

import math
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lagvae.errors import ProblemError
from lagvae.problem.problem import Maximize, Minimize, Objective, Problem
from lagvae.terms.algebra import Constraint, WeightedSum, best
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.importance import neg_iwae
from lagvae.terms.information import mutual_information
from lagvae.terms.mmd import mmd
from lagvae.terms.term import Term

estimators = st.sampled_from(["analytic", "one_sample"])
positive = st.floats(min_value=1e-6, max_value=1e6)
terms: st.SearchStrategy[Term] = st.one_of(
    st.just(distortion),
    st.builds(lambda e: rate(estimator=e), estimators),
    st.builds(lambda e: neg_elbo(estimator=e), estimators),
    st.builds(lambda k: neg_iwae(samples=k), st.integers(min_value=1, max_value=10_000)),
    st.builds(lambda e: mutual_information(estimator=e), estimators),
    st.builds(
        lambda k, e, p, b, f: mmd(
            kernel=k,
            estimator=e,
            prior=p,
            **({"bandwidth": b} if b and k != "zhao2018" else {}),
            **({"features": f} if f else {}),
        ),
        st.sampled_from(["zhao2018", "rbf", "imq"]),
        st.sampled_from(["biased", "unbiased"]),
        st.sampled_from(["sample", "closed_form"]),
        st.none() | positive,
        st.none() | st.integers(min_value=16, max_value=100_000),
    ),
)
sums = st.lists(st.tuples(terms, st.just(1.0) | positive | positive.map(lambda w: -w)), max_size=4).map(WeightedSum.of)
finite_floats = st.floats(allow_nan=False, allow_infinity=False)
senses = st.sampled_from(["<=", "<=", "<=", ">=", "=="])
constraints = st.one_of(
    st.builds(Constraint, sums, senses, finite_floats),
    st.builds(Constraint, sums, st.sampled_from(["<=", ">="]), finite_floats, st.just(True)),
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    objective = draw(st.builds(Objective, st.sampled_from(["max", "min"]), sums))
    kept: list[Constraint] = []
    try:
        problem = Problem(objective)
    except ProblemError:
        assume(False)
    for constraint in draw(st.lists(constraints, max_size=4)):
        try:
            problem = Problem(objective, [*kept, constraint])
        except ProblemError:
            continue
        kept.append(constraint)
    return problem


reproducible = settings(
    derandomize=True, deadline=None, max_examples=200, suppress_health_check=[HealthCheck.filter_too_much]
)


@reproducible
@given(problems())
def test_text_of_every_problem_reads_back(problem: Problem) -> None:
    again = Problem.parse(str(problem))
    assert again == problem
    assert str(again) == str(problem)
    assert again.names == problem.names
    assert again.is_relative == problem.is_relative


PIECES = [
    *["max", "min", "minimise", "s.t.", "subject to", "st", "mi", "rate", "mmd", "distortion", "neg_elbo", "rat"],
    *["best", "best + 4", "<= best"],
    *["kernel", "imq", "bandwidth", "+", "-", "*", "(", ")", "=", "==", "<=", ">=", "≤", "<", ",", "0", "5", "1e-4"],
    *[" ", "\n", "\u2028", "1e999", ".5", "²", "é", "٣", "#", "/", "'"],
]


@reproducible
@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join))
def test_any_text_is_a_problem_or_one_line_of_what_is_wrong(text: str) -> None:
    try:
        problem = Problem.parse(text)
    except ProblemError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert re.fullmatch(r"expected .*, got .*; try .+", message)
    else:
        assert Problem.parse(str(problem)) == problem


def test_pieces_do_make_problems() -> None:
    assert Problem.parse(" ".join(["min", "rate", "s.t.", "mmd", "(", "kernel", "=", "imq", ")", "≤", "٣"]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "max mi s.t. neg_elbo <= 86, mmd <= 5e-4",
            Problem(Maximize(mutual_information), [neg_elbo <= 86, mmd <= 5e-4]),
        ),
        ("maximise mi subject to neg_elbo ≤ 86", Problem(Maximize(mutual_information), [neg_elbo <= 86])),
        ("minimize rate st distortion<=-5.", Problem(Minimize(rate), [distortion <= -5])),
        ("min distortion + 0.5*rate + mmd*10", Problem(Minimize(distortion + 0.5 * rate + 10 * mmd))),
        ("min -2*rate + 3*neg_elbo", Problem(Minimize(3 * neg_elbo - 2 * rate))),
        ("min distortion s.t. rate = 20", Problem(Minimize(distortion), [rate == 20])),
        ("min neg_elbo s.t. rate ≥ 20", Problem(Minimize(neg_elbo), [rate >= 20])),
        ("min 0 s.t. rate <= 2", Problem(Minimize(0.0), [rate <= 2])),
        ("min 0*rate", Problem(Minimize(0.0))),
        ("min mmd( kernel = imq , bandwidth=2 )", Problem(Minimize(mmd(kernel="imq", bandwidth=2.0)))),
        ("min mmd()", Problem(Minimize(mmd))),
        ("\tmin\nrate ", Problem(Minimize(rate))),
        ("min rate s.t. neg_elbo <= best", Problem(Minimize(rate), [neg_elbo <= best])),
        ("min rate s.t. neg_elbo≤best+4., mmd <= 1", Problem(Minimize(rate), [neg_elbo <= best + 4, mmd <= 1])),
        ("min neg_elbo s.t. rate >= best - 2", Problem(Minimize(neg_elbo), [rate >= best - 2])),
    ],
)
def test_text_means_what_it_says(text: str, problem: Problem) -> None:
    assert Problem.parse(text) == problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 'max' or 'min' at column 1 of '', got the end; try"),
        ("rate", "expected 'max' or 'min' at column 1 of 'rate', got 'rate'; try"),
        ("min", "expected a term at column 4 of 'min', got the end; try one of distortion, mmd"),
        ("min rat", "expected a term at column 5 of 'min rat', got 'rat'; try 'rate'"),
        ("min neg_ebo", "got 'neg_ebo'; try 'neg_elbo'"),
        ("min mmd(kernl=imq)", "expected an option of mmd, got 'kernl'; try 'kernel'"),
        ("min mmd(kernel=imqq)", "expected a known value of mmd's kernel, got 'imqq'; try 'imq'"),
        ("min mmd(kernel)", "expected '=' after kernel at column 15"),
        ("min mmd(kernel=imq kernel=rbf)", "expected ',' or ')' at column 20"),
        ("min mmd(kernel=imq, kernel=rbf)", "expected kernel once"),
        ("min mmd(=", "expected an option of mmd at column 9"),
        ("min mmd(kernel=imq", "expected ',' or ')' at column 19 of .*, got the end"),
        ("min mmd(bandwidth=-1)", "expected a number as option at column 19 of .*, got '-'"),
        ("min mmd(bandwidth=0)", "expected a positive number as mmd's bandwidth, got 0.0"),
        ("min 5", "expected '*' after a weight at column 6 of 'min 5', got the end; try '5*rate'"),
        ("min rate*distortion", "expected a number as weight at column 10"),
        ("min rate distortion", "expected 's.t.' or the end at column 10 of .*, got 'distortion'"),
        ("min rate s.t. rate", "expected '<=', '>=' or '==' at column 19 of .*, got the end; try 'rate <= 86'"),
        ("min rate s.t. rate < 5", "expected '<=', '>=' or '==' at column 20 of .*, got '<'"),
        ("min rate s.t. rate <= distortion", "expected a number as bound at column 23 of .*, got 'distortion'"),
        ("min rate s.t. rate <= 5,", "expected a term at column 25 of .*, got the end"),
        (
            "min rate s.t. 1 <= rate <= 5",
            "expected a term before its bound at column 17 of .*, got '<='; try the term on the left",
        ),
        ("min rate s.t. rate <= 5 <= 6", "expected ',' or the end at column 25 of .*, got '<='"),
        ("min rate s.t. rate <= 1e999", "expected a finite bound, got inf"),
        ("min rate s.t. rate <= best +", "expected a number as offset from best at column 29 of .*, got the end"),
        ("min rate s.t. rate <= best + mi", "expected a number as offset from best at column 30 of .*, got 'mi'"),
        ("min rate s.t. rate <= best + 1e999", "expected a finite offset from best, got inf"),
        ("min rate s.t. rate <= best * 2", "expected ',' or the end at column 28 of .*, got '*'"),
        ("min rate s.t. rate <= 4 + best", "expected ',' or the end at column 25 of .*, got '+'"),
        ("min rate s.t. rate <= -best", "expected a number as bound at column 24 of .*, got 'best'"),
        ("min rate s.t. rate == best + 4", "expected a bound above or below, .*, got 'rate == best + 4'"),
        ("min rate s.t. best <= 4", "expected a term at column 15 of .*, got 'best'"),
        ("min 1e999*rate", "expected a finite number, got inf"),
        ("min rate ; 5", "expected a term, a number or a sign at column 10 of 'min rate ; 5', got ';'"),
        ("min\nrat", "at column 5 of 'min rat', got 'rat'"),
    ],
)
def test_errors_say_where_and_what_instead(text: str, message: str) -> None:
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ProblemError, match=pattern):
        Problem.parse(text)


def test_bounds_keep_every_bit() -> None:
    bound = math.nextafter(0.1, 1)
    assert Problem.parse(str(Problem(Minimize(rate), [distortion <= bound]))).subject_to[0].bound == bound
