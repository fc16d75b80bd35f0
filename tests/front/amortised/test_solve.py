"""The dual on a surface in closed form: weights, bounds and multipliers by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

import lagvae as lv
from curves_of_front import BETAS, GAMMAS, measured, surface
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.questions import CONSTRAINT
from lagvae.front.amortised.solve import Optimum, solve_on
from lagvae.front.bounds import Measured, bounded_estimates


def solve(text: str, part: str = "train", gammas: tuple[float, ...] = GAMMAS) -> Optimum:
    return solve_on(surface(gammas), lv.Problem.parse(text), part=part)


def neg_elbo(beta: float) -> float:
    """Along the front without a divergence; γ = 10 costs 0.02 nat."""
    return measured(beta, 10.0)["neg_elbo"].value


@pytest.mark.parametrize("beta", [0.3, 0.6, 0.9])
def test_most_information_at_a_bound_is_the_low_end_of_the_interval(beta: float) -> None:
    found = solve(f"max mi s.t. neg_elbo <= {neg_elbo(beta)}")
    assert found.is_feasible
    assert found.beta == pytest.approx(beta, rel=1e-3)
    # (1 + λ, λ) ∝ (1, β)
    assert found.multipliers["neg_elbo"] == pytest.approx(beta / (1 - beta), rel=0.01)


@pytest.mark.parametrize("beta", [1.2, 2.0, 4.0])
def test_least_information_is_its_high_end(beta: float) -> None:
    found = solve(f"min mi s.t. neg_elbo <= {neg_elbo(beta)}", gammas=GAMMAS[:1])
    assert found.beta == pytest.approx(beta, rel=1e-3)
    # (λ, 1 + λ) ∝ (1, β)
    assert found.multipliers["neg_elbo"] == pytest.approx(1 / (beta - 1), rel=0.01)


@pytest.mark.parametrize(
    ("text", "beta", "multiplier"),
    [
        ("min rate s.t. distortion <= 80.02", 1.5, 1 / 1.5),  # D = 50 + 20 β
        ("min distortion s.t. rate == 15", 5 * math.exp(-0.75), 5 * math.exp(-0.75)),
        ("min neg_elbo s.t. rate >= 40", 5 * math.exp(-2), 1 - 5 * math.exp(-2)),
        ("min distortion + 0.5*rate s.t. rate <= 100", 0.5, 0.0),
    ],
)
def test_every_sense_of_bound(text: str, beta: float, multiplier: float) -> None:
    found = solve(text, gammas=GAMMAS[:1])
    assert found.is_feasible
    assert found.beta == pytest.approx(beta, rel=2e-3)
    assert list(found.multipliers.values()) == [pytest.approx(multiplier, rel=0.01, abs=1e-6)]


def test_two_bounds_that_are_both_active() -> None:
    found = solve("max mi s.t. neg_elbo <= 120, mmd <= 1e-3")
    assert found.is_feasible
    # Both hold with equality; on the grid's own γ = 9000 (between 1e3 and 1e4) the spline is not exact.
    assert max(map(abs, found.violations.values())) < 1e-3
    loosened = solve("max mi s.t. neg_elbo <= 120.1, mmd <= 1e-3")
    distortions = [
        surface().estimates("train", beta=f.beta, gamma=f.gamma)["distortion"].value for f in (found, loosened)
    ]
    # The price is the derivative of the objective by its bound.
    assert (distortions[0] - distortions[1]) / 0.1 == pytest.approx(found.multipliers["neg_elbo"], rel=0.05)
    assert found.multipliers["mmd"] == pytest.approx(
        found.gamma * (1 + found.multipliers["neg_elbo"]), rel=1e-3
    )  # (1 + λ₁, λ₁, λ₂) ∝ (1, β, γ)


def test_a_bound_out_of_reach_is_missed_by_as_little_as_can_be() -> None:
    best = min(neg_elbo(0.9 + 0.01 * i) for i in range(21))
    found = solve("max mi s.t. neg_elbo <= 90", gammas=GAMMAS[:1])
    assert not found.is_feasible
    assert found.violations["neg_elbo"] == pytest.approx(best - 90, abs=0.01)
    assert math.isnan(found.multipliers["neg_elbo"])


def test_an_equality_out_of_reach_is_infeasible_on_either_side() -> None:
    for bound, nearest in ((1e3, 20 * math.log(50)), (0.1, 20 * math.log(5 / 4.9))):
        found = solve(f"min distortion s.t. rate == {bound}")
        assert not found.is_feasible
        assert found.violations["rate"] == pytest.approx(nearest - bound, abs=0.01)


def test_a_bound_that_does_not_matter_has_no_price() -> None:
    found = solve("max mi s.t. neg_elbo <= 1000", gammas=GAMMAS[:1])
    assert (found.beta, found.multipliers["neg_elbo"]) == (pytest.approx(0.1), 0.0)


def test_bounds_hold_on_the_data_that_are_asked_for() -> None:
    found = {part: solve(f"min mi s.t. neg_elbo <= {neg_elbo(2.0)}", part, GAMMAS[:1]) for part in ("train", "test")}
    assert found["train"].beta == pytest.approx(2.0, rel=1e-3)
    assert found["test"].beta < 1.9  # three nats more have to be made up for


def test_a_term_that_was_not_measured_is_refused() -> None:
    with pytest.raises(lv.ProblemError, match=r"a problem over distortion, rate, .*, got neg_iwae"):
        solve("max mi s.t. neg_iwae <= 90")


def test_terms_of_one_mean_add_up() -> None:
    known = Measured(measured(1.0, 10.0), lv.mmd)
    problem = lv.Problem.parse("min distortion s.t. neg_elbo(estimator=one_sample) + 2*rate <= 30")
    found = bounded_estimates(known, problem)[f"{CONSTRAINT}{problem.names[0]}"]
    assert found.value == pytest.approx(known.estimates["distortion"].value + 3 * known.estimates["rate"].value)


@pytest.mark.parametrize(("sharpness", "errors"), [(2, 1.0), (4, 1.2), (8, 2.5)])
def test_errors_between_members_hold_what_splines_may_be_off_by(sharpness: int, errors: float) -> None:
    def rate(beta: float) -> float:
        """Of dimensions that die at β = 2, the sharper the faster."""
        return 20 * math.log1p((2 / beta) ** sharpness) / sharpness

    def member(beta: float) -> dict[str, Estimate]:
        found = measured(beta, 10.0)
        exact = replace(found["rate"], value=rate(beta), standard_error=1e-4)
        return {**found, "rate": exact, "neg_elbo": replace(exact, value=found["distortion"].value + rate(beta))}

    bent = replace(surface(GAMMAS[:1]), measured=tuple({"train": member(beta)} for beta in BETAS))
    for low, high in itertools.pairwise(BETAS):
        beta = math.sqrt(low * high)
        found = bent.estimates("train", beta=beta, gamma=10.0)
        assert found["rate"].value > 0
        assert abs(found["rate"].value - rate(beta)) < errors * found["rate"].standard_error
        assert found["neg_elbo"].value == pytest.approx(found["distortion"].value + found["rate"].value)
        assert bent.estimates("train", beta=low, gamma=10.0)["rate"].standard_error == pytest.approx(1e-4, rel=1e-6)


def test_two_equalities_meet_in_a_point() -> None:
    """They cross on no line of the grid."""
    there = measured(0.7, 1000.0)
    rate, distortion = there["rate"].value, there["distortion"].value
    found = solve(f"min mmd s.t. rate == {rate}, distortion == {distortion}")
    assert found.is_feasible
    assert (found.beta, found.gamma) == (pytest.approx(0.7, rel=1e-3), pytest.approx(1000, rel=0.02))
    assert all(math.isfinite(value) for value in found.multipliers.values())
    assert not solve(f"min mmd s.t. rate == {rate}, distortion == {distortion - 30}").is_feasible


def test_a_price_is_the_slope_where_the_family_does_not_weigh_what_is_bounded() -> None:
    """mmd at the front's lowest γ alone: D and R cannot say what it is worth, but the curve can.

    Here mmd = 0.01 / (1 + γ / 1000) is one number, and along β nothing changes it; so it is put on the rate's axis.
    """
    held = surface(GAMMAS[:1])
    scaled = tuple(
        {
            part: {**found, "mmd_biased": replace(found["rate"], value=1e-4 * found["rate"].value)}
            for part, found in m.items()
        }
        for m in held.measured
    )
    found = solve_on(replace(held, measured=scaled), lv.Problem.parse("max mi s.t. mmd <= 0.003"), part="train")
    # D = 50 + 100 exp(-R / 20) at R = 30: dD/dR = -5 exp(-1.5), and mmd = 1e-4 R.
    assert found.is_feasible
    assert found.multipliers["mmd"] == pytest.approx(1e4 * 5 * math.exp(-1.5), rel=0.03)


def test_the_price_at_an_end_of_the_family_is_the_slope_too() -> None:
    """With γ at its largest, D + βR + γ mmd of the member is not the problem's Lagrangian."""
    beta = 0.5
    bound = measured(beta, GAMMAS[0])["rate"].value
    found = solve_on(surface(GAMMAS[-1:]), lv.Problem.parse(f"min distortion s.t. rate <= {bound}"), part="train")
    assert found.multipliers["rate"] == pytest.approx(beta, rel=0.02)
