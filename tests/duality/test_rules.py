"""What every rule promises, and how one is chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from lagvae.duality.gradient import GradientAscent
from lagvae.duality.log_pi import LogPI
from lagvae.duality.rule import DualRule
from lagvae.duality.rules import RULES, build_rule
from lagvae.duality.start import start_multipliers
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.errors import SettingError
from lagvae.problem.presets import lag_vae, vae
from lagvae.problem.problem import Problem
from lagvae.settings import DualSettings

PROBLEM = Problem.parse("max mi s.t. neg_elbo <= 86, mmd <= 5e-4, rate == 20")
START = torch.tensor([1.0, 100.0, 0.2])
BUILDERS: list[Callable[..., DualRule]] = [
    partial(LogPI, PROBLEM, START, hold=0.1),
    partial(GradientAscent, PROBLEM, START),
    partial(Zhao2018, PROBLEM, START, learning_rate=0.05),
]
every_rule = pytest.mark.parametrize("build", BUILDERS, ids=["log_pi", "gradient", "zhao2018"])


def violations(steps: int, models: int, *, seed: int) -> torch.Tensor:
    noise = torch.randn(steps, models, 3, generator=torch.Generator().manual_seed(seed))
    return noise * torch.tensor([3.0, 3e-4, 2.0])


def run(rule: DualRule, seen: torch.Tensor, *, first: int = 0) -> torch.Tensor:
    for step, violation in enumerate(seen, start=first + 1):
        rule.update(violation, progress=step / 40)
    return rule.multipliers.clone()


@every_rule
def test_models_are_independent(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=1)
    together = run(build(models=2), seen)
    alone = [run(build(), seen[:, [model]]) for model in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


@every_rule
def test_state_continues_to_the_same_bits(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=2)
    whole = run(build(models=2), seen)
    first = build(models=2)
    run(first, seen[:25])
    state = first.state_dict()
    run(first, seen[25:], first=25)  # what is saved does not change with the rule
    second = build(models=2)
    second.load_state_dict(state)
    assert torch.equal(run(second, seen[25:], first=25), whole)


@every_rule
def test_state_is_needed_to_continue(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=3)
    assert not torch.equal(run(build(models=2), seen[25:], first=25), run(build(models=2), seen))


@every_rule
def test_inequalities_stay_nonnegative_where_equalities_may_not(build: Callable[..., DualRule]) -> None:
    rule = build()
    final = run(rule, -violations(400, 1, seed=4).abs())
    assert (final[0, :2] >= 0).all()
    assert final[0, 2] < 0


@pytest.mark.parametrize("rule", [LogPI(vae(), torch.zeros(0)), GradientAscent(vae()), Zhao2018(vae())])
def test_a_problem_without_constraints_is_no_trouble(rule: DualRule) -> None:
    rule.update(torch.zeros(1, 0), progress=0.5)
    assert rule.multipliers.shape == (1, 0)


def test_rules_are_chosen_by_name() -> None:
    for name, kind in RULES.items():
        assert type(build_rule(PROBLEM, DualSettings(dual=name))) is kind
    torch.testing.assert_close(build_rule(PROBLEM, DualSettings()).multipliers[0], start_multipliers(PROBLEM))


def test_learning_rate_reaches_the_rule() -> None:
    rule = build_rule(PROBLEM, DualSettings(dual="gradient", dual_learning_rate=0.5))
    assert rule.learning_rate == 0.5  # type: ignore[attr-defined]
    assert build_rule(PROBLEM, DualSettings(dual="zhao2018")).learning_rate == 1e-4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DualSettings(dual="log_ip"), "expected a dual rule, got 'log_ip'; try 'log_pi'"),
        (
            DualSettings(dual_learning_rate=0.1),
            "expected no dual_learning_rate for log_pi, got 0.1; try --dual gradient",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: DualSettings, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build_rule(PROBLEM, settings)


def beta_at_start(problem: Problem) -> float:
    """weight(R) / weight(D) at the first multipliers, λ₁ of neg_elbo being the first of them."""
    weight = problem.objective.surrogate()
    by_name = {term.name: value for term, value in weight.items()}
    multiplier = float(start_multipliers(problem)[0])
    return (multiplier + by_name.get("rate", 0.0)) / (multiplier + by_name.get("distortion", 0.0))


@pytest.mark.parametrize("mi", [0.5, 1.0, 3.0])
def test_maximising_information_starts_from_low_beta(mi: float) -> None:
    assert beta_at_start(lag_vae(mi, 86.0, 5.0)) == pytest.approx(0.3, abs=0.015)


@pytest.mark.parametrize("mi", [-0.5, -1.0, 0.0])
def test_minimising_information_starts_near_beta_one(mi: float) -> None:
    assert 1.0 <= beta_at_start(lag_vae(mi, 86.0, 5.0)) <= 1.1 + 1e-6


def test_geco_and_minimum_rate_start_near_beta_one() -> None:
    assert float(start_multipliers(Problem.parse("min rate s.t. distortion <= 80"))) == pytest.approx(1.0)
    assert float(start_multipliers(Problem.parse("min neg_elbo s.t. rate >= 20"))) == pytest.approx(0.1)


def test_divergences_start_at_a_hundredth_of_a_nat_per_unit() -> None:
    assert float(start_multipliers(lag_vae(1.0, 86.0, 5.0))[1]) == pytest.approx(100.0)


@pytest.mark.parametrize("name", sorted(RULES))
def test_moving_a_rule_moves_every_tensor(name: str) -> None:
    rule = build_rule(lag_vae(1.0, 86.0, 5.0), DualSettings(dual=name))
    rule.to("meta")
    held = [value for value in vars(rule).values() if isinstance(value, torch.Tensor)]
    assert len(held) >= 4
    assert {value.device.type for value in held} == {"meta"}
