"""A convex problem with known x* and λ*, solved by the library's own rule and Lagrangian."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.duality.gradient import GradientAscent
from lagvae.duality.lagrangian import Lagrangian
from lagvae.problem.problem import Problem
from truth import Projection, draw_of_codes

TARGET = np.array([3.0, 1.0])
ALONG, ACROSS = np.array([1.0, 0.5]), np.array([-0.5, 1.0])


def solve(problem: Problem, *, steps: int = 500) -> tuple[np.ndarray, list[float], torch.Tensor]:
    """Descends in x by SGD and ascends in λ, and returns x, λ and the last violations."""
    lagrangian, rule = Lagrangian(problem), GradientAscent(problem, learning_rate=0.2)
    x = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.1)
    for step in range(steps):
        values = lagrangian.measure(draw_of_codes(x.unsqueeze(0)))
        optimizer.zero_grad()
        lagrangian.value(values, rule.multipliers[0]).backward()
        optimizer.step()
        violations = lagrangian.violations(values.detach()).unsqueeze(0)
        rule.update(violations, progress=step / steps)
    return x.detach().numpy(), rule.multipliers[0].tolist(), violations[0]


@pytest.fixture(autouse=True)
def _terms(own_registry: None) -> None:
    """``squares`` is ‖x - a‖²; ``along`` and ``across`` are linear in x."""
    target, along, across = (torch.tensor(v, dtype=torch.float32) for v in (TARGET, ALONG, ACROSS))
    lv.term(lambda draw: (draw.z - target).square().sum(-1), name="squares")
    lv.term(lambda draw: draw.z @ along, name="along")
    lv.term(lambda draw: draw.z @ across, name="across")


CASES = {
    "active": ("along <= 1.5", Projection(TARGET, ((ALONG, 1.5),))),
    "inactive": ("along <= 5", Projection(TARGET, ((ALONG, 5.0),))),
    "from below": ("across >= 0.25", Projection(TARGET, ((-ACROSS, -0.25),))),
    "equality": ("along == 1", Projection(TARGET, (), ((ALONG, 1.0),))),
    "equality on the other side": ("along == 6", Projection(TARGET, (), ((ALONG, 6.0),))),
    "both": ("across <= -0.75, along == 3", Projection(TARGET, ((ACROSS, -0.75),), ((ALONG, 3.0),))),
    "one of two": ("along <= 1.5, across <= 4", Projection(TARGET, ((ALONG, 1.5), (ACROSS, 4.0)))),
}


@pytest.mark.parametrize("case", CASES)
def test_finds_the_solution_and_its_multipliers(case: str) -> None:
    bounds, truth = CASES[case]
    x_star, below, equal = truth.solve()
    assert truth.stationarity(x_star, below, equal) < 1e-5  # the solver's signs are ours
    x, multipliers, _ = solve(Problem.parse(f"min squares s.t. {bounds}"))
    np.testing.assert_allclose(x, x_star, atol=1e-3)
    np.testing.assert_allclose(multipliers, [*below, *equal], atol=2e-3)


def test_cases_are_what_they_are_called() -> None:
    multipliers = {case: [*truth.solve()[1], *truth.solve()[2]] for case, (_, truth) in CASES.items()}
    assert multipliers["active"][0] > 0.1
    assert multipliers["inactive"][0] == pytest.approx(0.0, abs=1e-6)
    assert multipliers["from below"][0] > 0.1
    assert multipliers["equality"][0] > 0.1
    assert multipliers["equality on the other side"][0] < -0.1
    assert multipliers["both"][0] > 0.1
    assert multipliers["one of two"][1] == pytest.approx(0.0, abs=1e-6)


def test_solution_by_hand() -> None:
    # min (x - a)² along ALONG, ‖ALONG‖² = 1.25 and ALONG·a = 3.5: λ* = 2 (3.5 - 1.5) / 1.25, x* = a - λ*/2 ALONG.
    x, multipliers, violations = solve(Problem.parse("min squares s.t. along <= 1.5"))
    assert multipliers == pytest.approx([3.2], abs=2e-3)
    np.testing.assert_allclose(x, TARGET - 1.6 * ALONG, atol=1e-3)
    assert float(violations[0]) == pytest.approx(0.0, abs=1e-3)


def test_an_inactive_bound_leaves_no_trace() -> None:
    x, multipliers, violations = solve(Problem.parse("min squares s.t. along <= 5"))
    assert multipliers == [0.0]
    np.testing.assert_allclose(x, TARGET, atol=1e-4)
    assert float(violations[0]) == pytest.approx(-1.5, abs=1e-3)


def test_the_wrong_multiplier_is_not_stationary() -> None:
    _, truth = CASES["active"]
    x_star, below, _ = truth.solve()
    assert truth.stationarity(x_star, [below[0] + 0.1], []) > 0.05
