from __future__ import annotations

import re
import warnings

import pytest

from lagvae.errors import ProblemError, ProblemWarning
from lagvae.problem.problem import Maximize, Minimize, Problem
from lagvae.terms.algebra import best
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.information import mutual_information
from lagvae.terms.mmd import mmd


def weights(problem: Problem) -> dict[str, float]:
    return {str(term): weight for term, weight in problem.objective.surrogate().items()}


def test_operators_and_text_build_the_same() -> None:
    built = Problem(Maximize(mutual_information), subject_to=[neg_elbo <= 86.0, mmd() <= 5e-4])
    assert built == Problem.parse("max mi s.t. neg_elbo <= 86, mmd <= 5e-4")
    assert str(built) == "max mutual_information s.t. neg_elbo <= 86, mmd <= 0.0005"
    assert hash(built) == hash(Problem.parse(str(built)))
    assert built != Problem.parse("min mi s.t. neg_elbo <= 86, mmd <= 5e-4")


def test_order_of_constraints_is_kept_and_counts() -> None:
    one, other = neg_elbo <= 86, mmd <= 5e-4
    assert Problem(Minimize(rate), [one, other]).names == ("neg_elbo", "mmd")
    assert Problem(Minimize(rate), [other, one]).names == ("mmd", "neg_elbo")
    assert Problem(Minimize(rate), [one, other]) != Problem(Minimize(rate), [other, one])


def test_objective_is_minimised_in_its_surrogates() -> None:
    assert Maximize(mutual_information).surrogate() == {distortion: 1.0}
    assert Minimize(mutual_information).surrogate() == {rate: 1.0}
    assert Maximize(mutual_information - rate).surrogate() == {distortion: 1.0, rate: 1.0}
    assert Minimize(neg_elbo + 0.5 * rate).surrogate() == {distortion: 1.0, rate: 1.5}


def test_names_are_plain_where_that_is_unambiguous() -> None:
    problem = Problem.parse("min 0 s.t. rate >= 10, rate <= 20, 2*distortion <= 8, mmd(kernel=imq) <= 1e-2")
    assert problem.names == ("rate >=", "rate <=", "2*distortion", "mmd")


@pytest.mark.parametrize("weighted", [5.0, -1.0])
def test_only_zero_stands_for_no_objective(weighted: float) -> None:
    assert str(Problem(Minimize(0.0))) == "min 0"
    with pytest.raises(ProblemError, match="expected a term or a weighted sum of terms, got"):
        Minimize(weighted)


def test_relaxing_adds_the_weighted_constraints() -> None:
    problem = Problem.parse("max 2*mi s.t. neg_elbo <= 86, mmd <= 5e-4")
    relaxed = problem.relax(neg_elbo=3.0, mmd=1e4)
    assert str(relaxed) == "max 2*mutual_information - 3*neg_elbo - 10000*mmd"
    assert weights(relaxed) == {"distortion": 5.0, "rate": 3.0, "mmd": 1e4}


def test_relaxing_a_lower_bound_rewards_its_term() -> None:
    assert str(Problem.parse("min neg_elbo s.t. rate >= 20").relax(rate=0.25)) == "min neg_elbo - 0.25*rate"


def test_relaxing_an_equality_takes_either_sign() -> None:
    problem = Problem.parse("min distortion + rate s.t. rate == 20")
    assert str(problem.relax(rate=-0.5)) == "min distortion + 0.5*rate"
    assert str(problem.relax(rate=0.5)) == "min distortion + 1.5*rate"


def test_relaxing_into_what_has_no_minimum_is_refused() -> None:
    problem = Problem.parse("min neg_elbo s.t. rate >= 30")
    with pytest.raises(ProblemError, match="something that limits rate"):
        problem.relax(rate=1.5)


def test_relaxing_bounded_information_bounds_its_upper_bound() -> None:
    # The Lagrangian is D + λ (R - 20), not (1 - λ) D.
    relaxed = Problem.parse("max mi s.t. mi <= 20").relax(mutual_information=0.5)
    assert weights(relaxed) == {"distortion": 1.0, "rate": 0.5}


def test_relaxing_takes_names_that_are_no_identifiers() -> None:
    problem = Problem.parse("min distortion s.t. rate >= 10, rate <= 20")
    assert weights(problem.relax({"rate >=": 0.25, "rate <=": 1.0})) == {"distortion": 1.0, "rate": 0.75}


def test_relaxing_with_zero_switches_a_constraint_off() -> None:
    assert str(Problem.parse("min rate s.t. distortion <= 80").relax(distortion=0.0)) == "min rate"


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ({"neg_elbo": 1.0}, "expected a multiplier for mmd, got none; try relax(mmd=1.0, ...)"),
        ({"neg_elbo": 1.0, "mmd": 1.0, "mdm": 1.0}, "expected a constraint's name, got 'mdm'; try 'mmd'"),
        ({"neg_elbo": -0.5, "mmd": 1.0}, "expected a multiplier of neg_elbo ≥ 0, got -0.5; try 0 to switch it off"),
        ({"neg_elbo": float("nan"), "mmd": 1.0}, "expected a finite multiplier of neg_elbo, got nan"),
        ({"neg_elbo": float("inf"), "mmd": 1.0}, "expected a finite multiplier of neg_elbo, got inf"),
    ],
)
def test_wrong_multipliers_are_refused(multipliers: dict[str, float], message: str) -> None:
    with pytest.raises(ProblemError, match=re.escape(message)):
        Problem.parse("max mi s.t. neg_elbo <= 86, mmd <= 5e-4").relax(multipliers)


def test_nothing_to_relax_is_said() -> None:
    with pytest.raises(ProblemError, match="got 'rate'; try a problem with constraints"):
        Problem.parse("min rate").relax(rate=1.0)


@pytest.mark.parametrize(
    "text",
    [
        "min rate s.t. mmd <= 2.4e-4",
        "min rate s.t. neg_elbo <= 86, mmd <= 1e-4",
        "min rate s.t. 2*mmd <= 4.8e-4",
        "min rate s.t. mmd(prior=closed_form) <= 1.2e-4",
    ],
)
def test_bound_under_the_floor_warns_and_names_it(text: str) -> None:
    with pytest.warns(
        ProblemWarning, match=r"floor (0\.00025|0\.00012|0\.00049) that a perfect q\(z\) measures.*try mmd"
    ):
        Problem.parse(text).warn_of_floors(latent_dim=64, batch_size=250)


@pytest.mark.parametrize(
    "text",
    [
        "min rate s.t. mmd <= 2.5e-4",
        "min rate s.t. mmd(estimator=unbiased) <= 1e-6",
        "min rate s.t. mmd(prior=closed_form) <= 1.3e-4",
        "min rate s.t. neg_elbo <= 86, rate >= 0",
        "min rate s.t. mmd <= best",
        "min rate + mmd",
    ],
)
def test_bound_above_the_floor_does_not_warn(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Problem.parse(text).warn_of_floors(latent_dim=64, batch_size=250)


def test_floor_depends_on_batch_and_dimension() -> None:
    problem = Problem.parse("max mi s.t. neg_elbo <= 86, mmd <= 5e-4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem.warn_of_floors(latent_dim=64, batch_size=250)
        problem.warn_of_floors(latent_dim=10, batch_size=1000)
    with pytest.warns(ProblemWarning, match=r"floor 0\.0014 .*250 examples, 10 dimensions.*got 'mmd <= 0\.0005'"):
        problem.warn_of_floors(latent_dim=10, batch_size=250)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Problem("max mi"), "expected Maximize(...) or Minimize(...), got 'max mi'; try Maximize("),
        (lambda: Problem(Minimize(rate), [True]), "expected constraints in subject_to, got True; try a comparison"),
        (lambda: Problem(Minimize("rate")), "expected a term or a weighted sum of terms, got 'rate'; try"),
        (lambda: Problem.parse(3), "expected a problem's text, got 3; try 'max mi"),
    ],
)
def test_other_types_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProblemError, match=re.escape(message)):
        build()


def test_one_constraint_needs_no_list() -> None:
    assert Problem(Minimize(rate), distortion <= 80) == Problem(Minimize(rate), [distortion <= 80])


RELATIVE = "max mi s.t. neg_elbo <= best + 4, mmd <= best + 1e-4, rate <= 40"


def test_a_problem_knows_whether_a_bound_is_relative() -> None:
    problem = Problem(Maximize(mutual_information), [neg_elbo <= best + 4, mmd <= best + 1e-4, rate <= 40])
    assert problem == Problem.parse(RELATIVE)
    assert problem.is_relative
    assert str(problem) == "max mutual_information s.t. neg_elbo <= best + 4, mmd <= best + 0.0001, rate <= 40"
    assert not Problem.parse("max mi s.t. rate <= 40").is_relative
    assert not Problem.parse("max mi").is_relative


def test_resolving_makes_every_bound_a_number() -> None:
    resolved = Problem.parse(RELATIVE).resolve({"mmd": 2e-4, "neg_elbo": 100.0})
    assert resolved == Problem.parse("max mi s.t. neg_elbo <= 104, mmd <= 3e-4, rate <= 40")
    assert not resolved.is_relative
    assert resolved.resolve({}) == resolved
    both = Problem.parse("min neg_elbo s.t. rate >= best - 3, rate <= best + 2")
    assert str(both.resolve({"rate >=": 20.0, "rate <=": 16.0})) == "min neg_elbo s.t. rate >= 17, rate <= 18"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neg_elbo": 100.0}, "expected the best value of mmd, got none; try resolve({'mmd': ...})"),
        ({}, "expected the best value of neg_elbo, got none"),
        (
            {"neg_elbo": 100.0, "mdm": 1.0},
            "expected the name of a constraint relative to best, got 'mdm'; try 'mmd'",
        ),
        ({"neg_elbo": 100.0, "rate": 1.0}, "expected the name of a constraint relative to best, got 'rate'; try"),
        ({"neg_elbo": float("nan"), "mmd": 1.0}, "expected a finite best value of neg_elbo, got nan"),
    ],
)
def test_wrong_best_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ProblemError, match=re.escape(message)):
        Problem.parse(RELATIVE).resolve(values)


def test_there_is_nothing_to_resolve_in_numbers() -> None:
    with pytest.raises(ProblemError, match="got 'rate'; try a problem with bounds relative to best"):
        Problem.parse("min neg_elbo s.t. rate >= 5").resolve({"rate": 5.0})


def test_bounds_that_contradict_each_other_once_they_are_numbers() -> None:
    problem = Problem.parse("min neg_elbo s.t. rate <= 10, rate >= best - 2")
    assert problem.resolve({"rate >=": 12.0}).is_relative is False
    with pytest.raises(ProblemError, match="got 'rate >= 11', contradicting 'rate <= 10'; try a wider bound"):
        problem.resolve({"rate >=": 13.0})


def test_relaxing_drops_bounds_relative_or_not() -> None:
    relaxed = Problem.parse(RELATIVE).relax(neg_elbo=3.0, mmd=1e4, rate=0.5)
    assert relaxed == Problem.parse(RELATIVE.replace("best + ", "")).relax(neg_elbo=3.0, mmd=1e4, rate=0.5)
    assert not relaxed.is_relative
    with pytest.raises(ProblemError, match="expected a multiplier for mmd, got none"):
        Problem.parse(RELATIVE).relax(neg_elbo=3.0)


def test_a_resolved_bound_under_the_floor_warns() -> None:
    problem = Problem.parse("min rate s.t. mmd <= best").resolve({"mmd": 2.4e-4})
    with pytest.warns(ProblemWarning, match="above the floor"):
        problem.warn_of_floors(latent_dim=64, batch_size=250)
