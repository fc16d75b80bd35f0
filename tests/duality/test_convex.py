"""Convex problems with known x* and λ*, solved by the library's own rules and Lagrangian."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.duality.augmented_lagrangian import AugmentedLagrangian
from lagvae.duality.forecast import Forecast
from lagvae.duality.geco import Geco
from lagvae.duality.gradient import GradientAscent
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.nupi import NuPI
from lagvae.duality.optimizer import OptimizerAscent
from lagvae.duality.rule import DualRule
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.problem.problem import Problem
from truth import QuadraticProgram, draw_of_codes

TARGET = np.array([3.0, 1.0])
ALONG, ACROSS = np.array([1.0, 0.5]), np.array([-0.5, 1.0])


def solve(problem: Problem, *, steps: int = 150) -> tuple[np.ndarray, list[float], torch.Tensor]:
    """Descends in x by SGD and ascends in λ, and returns x, λ and the last violations."""
    lagrangian, rule = Lagrangian(problem), GradientAscent(problem, learning_rate=0.4)
    x = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.3)
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


projection = partial(QuadraticProgram.projection, TARGET)
CASES = {
    "active": ("along <= 1.5", projection(((ALONG, 1.5),))),
    "inactive": ("along <= 5", projection(((ALONG, 5.0),))),
    "from below": ("across >= 0.25", projection(((-ACROSS, -0.25),))),
    "equality": ("along == 1", projection((), ((ALONG, 1.0),))),
    "equality on the other side": ("along == 6", projection((), ((ALONG, 6.0),))),
    "both": ("across <= -0.75, along == 3", projection(((ACROSS, -0.75),), ((ALONG, 3.0),))),
    "one of two": ("along <= 1.5, across <= 4", projection(((ALONG, 1.5), (ACROSS, 4.0)))),
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


# Random programs in six variables: two inequalities hold exactly, one has slack, and of two equalities
# one pulls x down and one up. A stack of them is solved at once, a model each.


@functools.cache
def multipliers_of(seed: int) -> np.ndarray:
    """λ* of three inequalities and ν* of two equalities, of sizes between 0.1 and 5."""
    sizes = np.exp(np.random.default_rng(seed).uniform(np.log(0.1), np.log(5.0), 5))
    return sizes * [1, 1, 0, 1, -1]


@functools.cache
def random_program(seed: int) -> QuadraticProgram:
    below, equal = np.split(multipliers_of(seed), [3])
    return QuadraticProgram.with_multipliers(below, equal, variables=6, seed=seed)


@functools.cache
def random_solution(seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, below, equal = random_program(seed).solve()
    return x, np.array([*below, *equal])


@dataclass(frozen=True)
class Trial:
    """A rule, the steps it takes, and how near it has to come to x* and to λ* in every program."""

    build: Callable[..., DualRule]
    steps: int = 400
    tolerance: float = 2e-3


RULES = {
    # Its limits keep the multiplier of an inequality over a hundredth.
    # Nothing here learns on or decays: x answers at once, by about 1 per unit of λ where a VAE answers by 10 nats.
    "forecast": Trial(partial(Forecast, gain=100.0, decay=(10.0, 10.0), margin=0.0), steps=2000, tolerance=0.02),
    "gradient": Trial(partial(GradientAscent, learning_rate=0.3)),
    "nupi": Trial(partial(NuPI, learning_rate=0.3, proportional=0.5, smoothing=0.5)),
    "nupi, ν negative": Trial(partial(NuPI, learning_rate=0.3, proportional=0.3, smoothing=-0.5)),
    "nupi from zero": Trial(partial(NuPI, learning_rate=0.3, proportional=1.0, smoothing=0.0, from_zero=True)),
    "augmented_lagrangian": Trial(partial(AugmentedLagrangian, learning_rate=1.0, penalty=1.0)),
    # Speed in proportion to λ: 0.1 takes fifty times as long as 5.
    "geco": Trial(partial(Geco, learning_rate=0.1, decay=0.5), steps=2000),
    "sgd": Trial(partial(OptimizerAscent, optimizer=partial(torch.optim.SGD, lr=0.3))),
    "momentum": Trial(partial(OptimizerAscent, optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.7)), steps=800),
    # Steps of nearly one size whatever the violation: they end within a few of them.
    "adam": Trial(
        partial(OptimizerAscent, optimizer=partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.999))),
        steps=1500,
        tolerance=0.02,
    ),
    "zhao2018": Trial(partial(Zhao2018, learning_rate=5e-3), steps=2000, tolerance=0.02),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_finds_the_solutions_of_random_programs(name: str) -> None:
    trial, seeds = RULES[name], range(6)
    programs = [random_program(seed) for seed in seeds]
    normals, bounds, Q, c = (
        torch.tensor(np.stack(parts), dtype=torch.float32)
        for parts in zip(*((np.vstack([p.A, p.E]), np.hstack([p.b, p.d]), p.Q, p.c) for p in programs), strict=True)
    )
    for row in range(5):  # of z = normals · x - bounds + 1, so that one problem is every program's
        lv.term(lambda draw, row=row: draw.z[..., row], name=f"row{row}")
    problem = Problem.parse("min squares s.t. row0 <= 1, row1 <= 1, row2 <= 1, row3 == 1, row4 == 1")

    rule = trial.build(problem, torch.tensor([0.5, 0.5, 0.5, 0.5, -0.5]), models=len(programs))
    x = torch.zeros_like(c)
    for step in range(1, trial.steps + 1):
        violations = torch.einsum("mcv,mv->mc", normals, x) - bounds
        weights = rule.primal_multipliers(violations)
        x -= 0.3 * (torch.einsum("mvw,mw->mv", Q, x) + c + torch.einsum("mcv,mc->mv", normals, weights))
        rule.update(violations, progress=step / trial.steps)

    x_star, multipliers = (np.stack(parts) for parts in zip(*map(random_solution, seeds), strict=True))
    np.testing.assert_allclose(x, x_star, atol=trial.tolerance)
    np.testing.assert_allclose(rule.multipliers, multipliers, atol=trial.tolerance)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_are_what_they_are_made_to_be(seed: int) -> None:
    program, (x, multipliers) = random_program(seed), random_solution(seed)
    np.testing.assert_allclose(multipliers, multipliers_of(seed), atol=1e-5)
    assert program.stationarity(x, list(multipliers[:3]), list(multipliers[3:])) < 1e-5
    assert program.A[2] @ x < program.b[2] - 0.1
