"""What every rule promises, and how one is chosen by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from lagvae.duality.augmented_lagrangian import AugmentedLagrangian
from lagvae.duality.forecast import Forecast
from lagvae.duality.geco import Geco
from lagvae.duality.gradient import GradientAscent
from lagvae.duality.nupi import NuPI
from lagvae.duality.optimizer import OptimizerAscent
from lagvae.duality.rule import DualRule, move
from lagvae.duality.rules import RULES, build_rule, rule_from
from lagvae.duality.start import first_multipliers, start_multipliers
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.errors import SettingError
from lagvae.optimizers import named_optimizers
from lagvae.problem.presets import lag_vae, vae
from lagvae.problem.problem import Problem
from lagvae.settings import DualSettings

PROBLEM = Problem.parse("max mi s.t. neg_elbo <= 86, mmd <= 5e-4, rate == 20")
START = torch.tensor([1.0, 100.0, 0.05])
BUILDERS: dict[str, Callable[..., DualRule]] = {
    "forecast": partial(Forecast, hold=0.1, margin=0.0),  # a margin pulls even where nothing is violated
    "gradient": GradientAscent,
    "geco": partial(Geco, learning_rate=0.05),
    "nupi": NuPI,
    "nupi from zero": partial(NuPI, smoothing=-0.5, from_zero=True),
    "augmented_lagrangian": AugmentedLagrangian,
    "zhao2018": partial(Zhao2018, learning_rate=0.05),
    **{name: partial(OptimizerAscent, optimizer=kind) for name, kind in named_optimizers().items()},
}
every_rule = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def test_every_name_is_held_to_these_promises() -> None:
    assert BUILDERS.keys() >= {*RULES, *named_optimizers()}


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
    together = run(build(PROBLEM, START, models=2), seen)
    alone = [run(build(PROBLEM, START), seen[:, [model]]) for model in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


@every_rule
def test_state_continues_to_the_same_bits(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=2)
    whole = run(build(PROBLEM, START, models=2), seen)
    first = build(PROBLEM, START, models=2)
    run(first, seen[:25])
    state = first.state_dict()
    run(first, seen[25:], first=25)  # what is saved does not change with the rule
    second = build(PROBLEM, START, models=2)
    second.load_state_dict(state)
    assert torch.equal(run(second, seen[25:], first=25), whole)


@every_rule
def test_state_is_needed_to_continue(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=3)
    assert not torch.equal(
        run(build(PROBLEM, START, models=2), seen[25:], first=25), run(build(PROBLEM, START, models=2), seen)
    )


@every_rule
def test_moving_on_the_way_changes_nothing(build: Callable[..., DualRule]) -> None:
    seen = violations(40, 2, seed=5)
    whole = run(build(PROBLEM, START, models=2), seen)
    moved = build(PROBLEM, START, models=2)
    run(moved, seen[:25])
    moved.to("cpu")
    assert torch.equal(run(moved, seen[25:], first=25), whole)


@every_rule
def test_inequalities_stay_nonnegative_where_equalities_may_not(build: Callable[..., DualRule]) -> None:
    final = run(build(PROBLEM, START), -violations(400, 1, seed=4).abs())
    assert (final[0, :2] >= 0).all()
    keeps_its_sign = build is BUILDERS["geco"]
    assert (final[0, 2] > 0) == keeps_its_sign


@every_rule
def test_multipliers_follow_the_sign_of_the_violation(build: Callable[..., DualRule]) -> None:
    once = torch.tensor([[1e-3, 1e-7, 1e-3]])
    for direction in (1, -1):
        final = run(build(PROBLEM, START), (direction * once).expand(20, 1, 3))
        assert (direction * (final - START) > 0).all()


@every_rule
def test_what_weighs_the_loss_is_no_multiplier_below_zero(build: Callable[..., DualRule]) -> None:
    rule = build(PROBLEM, START, models=2)
    before = rule.multipliers.clone()
    seen = torch.tensor([[-1e3, -1e3, -1e3], [1.0, 1e-4, 1.0]])
    weights = rule.primal_multipliers(seen)
    assert weights.shape == (2, 3)
    assert (weights[:, :2] >= 0).all()
    assert torch.equal(rule.multipliers, before)
    if not isinstance(rule, AugmentedLagrangian):
        assert torch.equal(weights, before)


@pytest.mark.parametrize("name", sorted(BUILDERS.keys() - {"forecast"}))  # which counts in shares of the bound
def test_a_bound_in_nats_and_one_in_mmd_move_alike_in_natural_units(name: str) -> None:
    problem = Problem.parse("min distortion s.t. rate <= 20, mmd <= 5e-4")
    rule = BUILDERS[name](problem, torch.tensor([0.3, 0.3e4]))
    for natural in 3 * violations(30, 1, seed=6)[:, :, :1]:
        seen = natural * torch.tensor([1.0, 1e-4])
        nats, mmd = rule.primal_multipliers(seen)[0] * rule.units
        assert float(nats) == pytest.approx(float(mmd), rel=1e-4, abs=1e-6)
        rule.update(seen, progress=0.5)
        nats, mmd = rule.multipliers[0] * rule.units
        assert float(nats) == pytest.approx(float(mmd), rel=1e-4, abs=1e-6)
    assert float(nats) != pytest.approx(0.3)


@every_rule
def test_a_problem_without_constraints_is_no_trouble(build: Callable[..., DualRule]) -> None:
    rule = build(vae(), torch.zeros(0))
    assert rule.primal_multipliers(torch.zeros(1, 0)).shape == (1, 0)
    rule.update(torch.zeros(1, 0), progress=0.5)
    assert rule.multipliers.shape == (1, 0)


def test_rules_are_chosen_by_name() -> None:
    for name, kind in RULES.items():
        assert type(build_rule(PROBLEM, DualSettings(dual=name))) is kind
    torch.testing.assert_close(build_rule(PROBLEM, DualSettings()).multipliers[0], first_multipliers(PROBLEM))


def test_learning_rate_reaches_the_rule() -> None:
    rule = build_rule(PROBLEM, DualSettings(dual="gradient", dual_learning_rate=0.5))
    assert rule.learning_rate == 0.5  # type: ignore[attr-defined]
    assert build_rule(PROBLEM, DualSettings(dual="zhao2018")).learning_rate == 1e-4  # type: ignore[attr-defined]


def test_names_of_torch_optim_are_rules() -> None:
    for name, kind in named_optimizers().items():
        rule = build_rule(PROBLEM, DualSettings(dual=name, dual_learning_rate=0.3))
        assert isinstance(rule, OptimizerAscent)
        assert type(rule.optimizer) is kind
        assert rule.optimizer.param_groups[0]["lr"] == 0.3
    own = build_rule(PROBLEM, DualSettings(dual="rmsprop"))
    assert own.optimizer.defaults["lr"] == 1e-2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["adm", "?"])
def test_the_answer_to_an_unknown_name_lists_every_name(name: str) -> None:
    with pytest.raises(SettingError) as complaint:
        build_rule(PROBLEM, DualSettings(dual=name))
    assert str(complaint.value).split("one of ")[1].split(", ") == sorted([*RULES, *named_optimizers()])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DualSettings(dual="forecsat"), "expected a dual rule, got 'forecsat'; try 'forecast'"),
        (
            DualSettings(dual_learning_rate=0.1),
            "expected no dual_learning_rate for forecast, got 0.1; try --dual gradient",
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


def test_an_upper_bound_on_distortion_or_rate_starts_near_beta_one() -> None:
    assert float(start_multipliers(Problem.parse("min rate s.t. distortion <= 80"))) == pytest.approx(1.0)
    assert float(start_multipliers(Problem.parse("min neg_elbo s.t. rate <= 20"))) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("problem", "start", "first"),
    [
        ("max mi s.t. neg_elbo <= 86", 0.3 / 0.7, 0.01),  # β = λ / (1 + λ)
        ("min neg_elbo s.t. rate >= 20", 0.7, 0.94),  # β = 1 - λ; 0.94 is the candidate next to 1
        ("min neg_elbo s.t. distortion <= 60", 1 / 0.3 - 1, 10.0),  # β = 1 / (1 + λ)
        ("min distortion s.t. rate == 15", 1.0, 1.0),  # β = λ: on either side of the VAE
        ("max mi s.t. neg_elbo <= 86, rate <= 30", 1.0, 1.0),
        ("min mi s.t. neg_elbo <= 86", 10.0, 10.0),
        ("min rate s.t. distortion <= 80", 1.0, 1.0),
        ("min neg_elbo s.t. rate <= 20", 0.01, 0.01),
    ],
)
def test_the_default_warms_up_from_an_autoencoder_where_information_is_rewarded(
    problem: str, start: float, first: float
) -> None:
    parsed = Problem.parse(problem)
    assert float(start_multipliers(parsed)[0]) == pytest.approx(start, rel=0.03)
    assert float(first_multipliers(parsed)[0]) == pytest.approx(first, rel=0.03)


@pytest.mark.parametrize(("latent_dim", "beta"), [(2, 0.3), (10, 0.3), (16, 0.16), (32, 0.04), (64, 0.01)])
def test_few_latent_dimensions_warm_up_from_nearer_by(latent_dim: int, beta: float) -> None:
    problem = Problem.parse("max mi s.t. neg_elbo <= 86")
    first = float(first_multipliers(problem, latent_dim)[0])
    assert first == pytest.approx(beta / (1 - beta), rel=0.03)
    rule = build_rule(problem, DualSettings(), latent_dim=latent_dim)
    assert isinstance(rule, Forecast)
    assert float(rule.multipliers) == first
    assert rule.hold == (0.25 if beta < 0.3 else 0.4)  # where there is no warm-up it rests longer
    assert float(first_multipliers(PROBLEM, latent_dim)[0]) == float(first_multipliers(PROBLEM)[0])


@pytest.mark.parametrize("scale", [0.001, 2.0, 100.0])
@pytest.mark.parametrize("bounds", ["neg_elbo <= 100", "neg_elbo <= 100, mmd <= 5e-4", "distortion <= 70, rate >= 3"])
def test_multipliers_follow_the_scale_of_the_objective(scale: float, bounds: str) -> None:
    plain, scaled = (Problem.parse(f"max {text} s.t. {bounds}") for text in ("mi", f"{scale}*mi"))
    assert start_multipliers(scaled).tolist() == pytest.approx((scale * start_multipliers(plain)).tolist())
    assert first_multipliers(scaled).tolist() == pytest.approx((scale * first_multipliers(plain)).tolist())
    rules = [build_rule(problem, DualSettings(), latent_dim=64) for problem in (plain, scaled)]
    assert [isinstance(rule, Forecast) for rule in rules] == [True, True]
    assert rules[1].largest.tolist() == pytest.approx((scale * rules[0].largest).tolist())
    assert torch.allclose(rules[1].width, scale * rules[0].width)  # type: ignore[attr-defined]


def test_a_divergence_in_the_objective_counts_in_its_unit() -> None:
    """10,000 mmd are a nat per 1e-4: no reason to let multipliers grow ten thousand times as far."""
    plain, with_mmd = map(Problem.parse, ("max mi s.t. neg_elbo <= 100", "max mi - 10000*mmd s.t. neg_elbo <= 100"))
    assert with_mmd.objective.scale == pytest.approx(2.0)
    rules = [build_rule(problem, DualSettings(), latent_dim=64) for problem in (plain, with_mmd)]
    assert float(rules[1].largest[0]) == pytest.approx(2 * float(rules[0].largest[0]))
    assert start_multipliers(with_mmd).tolist() == start_multipliers(plain).tolist()


def test_divergences_start_at_a_hundredth_of_a_nat_per_unit() -> None:
    assert float(start_multipliers(lag_vae(1.0, 86.0, 5.0))[1]) == pytest.approx(100.0)


@every_rule
def test_moving_a_rule_moves_every_tensor(build: Callable[..., DualRule]) -> None:
    rule = build(PROBLEM, START)
    rule.to("meta")
    held = [value for value in vars(rule).values() if isinstance(value, torch.Tensor)]
    assert len(held) >= 4
    assert {value.device.type for value in held} == {"meta"}


@every_rule
def test_no_multiplier_is_larger_than_the_largest(build: Callable[..., DualRule]) -> None:
    rule = build(PROBLEM, START, models=2)
    assert rule.largest.expand_as(rule.multipliers).shape == (2, 3)
    far = torch.tensor([500.0, 5e-2, -500.0]).expand(40, 2, 3)
    assert (run(rule, far).abs() <= rule.largest * (1 + 1e-6)).all()


def test_a_limit_that_is_reached_and_a_rule_without_one() -> None:
    rule = Zhao2018(PROBLEM, START, learning_rate=100.0)
    run(rule, torch.ones(3, 1, 3))
    assert torch.equal(rule.multipliers[0], rule.largest)
    assert rule.largest.tolist() == pytest.approx([100.0, 1e6, 100.0])
    assert GradientAscent(PROBLEM).largest.tolist() == [math.inf] * 3


def test_the_default_rule_goes_on_from_a_solutions_multipliers() -> None:
    problem = Problem.parse("max mi s.t. neg_elbo <= 100, mmd <= 5e-4")
    rule = rule_from(problem, DualSettings(), {"neg_elbo": 3.0, "mmd": 40.0})
    torch.testing.assert_close(rule.multipliers, torch.tensor([[3.0, 40.0]]))
    rule.update(torch.tensor([[50.0, 0.1]]), progress=0.04)
    torch.testing.assert_close(rule.multipliers, torch.tensor([[3.0, 40.0]]))
    rule.update(torch.tensor([[50.0, 0.1]]), progress=0.06)
    assert (rule.multipliers > torch.tensor([[3.0, 40.0]])).all()


def test_chance_hardly_moves_multipliers_that_go_on() -> None:
    """A batch of 250 measures neg_elbo to 1.6 nats; three epochs of MNIST are 660 steps."""
    problem = Problem.parse("max mi s.t. neg_elbo <= 100")
    rule = rule_from(problem, DualSettings(), {"neg_elbo": 1.0})
    noise = torch.randn(660, 1, 1, generator=torch.Generator().manual_seed(0)) * 1.6
    seen = []
    for step, violation in enumerate(noise - rule.margin):
        rule.update(violation, progress=(step + 1) / len(noise))
        seen.append(float(rule.multipliers))
    assert 0.4 < min(seen) < max(seen) < 2.5  # 6.0 by the rule of a whole run


@pytest.mark.parametrize("multipliers", [{}, {"neg_elbo": math.nan}], ids=["another's", "of an infeasible one"])
def test_without_usable_multipliers_a_rule_starts_as_always(multipliers: dict[str, float]) -> None:
    problem = Problem.parse("max mi s.t. neg_elbo <= 100")
    ours, usual = rule_from(problem, DualSettings(), multipliers), build_rule(problem, DualSettings())
    assert torch.equal(ours.multipliers, usual.multipliers)
    assert type(rule_from(problem, DualSettings(dual="geco"), {"neg_elbo": 3.0})) is type(
        build_rule(problem, DualSettings(dual="geco"))
    )


@every_rule
def test_multipliers_stay_where_they_are_in_memory(build: Callable[..., DualRule]) -> None:
    rule = build(PROBLEM, START)
    kept, before = rule.multipliers, rule.multipliers.clone()
    for step in range(5):
        move(rule, torch.tensor([[3.0, 1e-3, -2.0]]), progress=(step + 1) / 5)
    assert rule.multipliers is kept
    assert not torch.equal(kept, before)


def test_a_rule_that_makes_new_multipliers_moves_the_old_ones() -> None:
    class Anew(DualRule):
        def update(self, violations: torch.Tensor, *, progress: float) -> None:
            self.multipliers = self.multipliers + violations

    rule = Anew(PROBLEM, START)
    kept = rule.multipliers
    move(rule, torch.ones(1, 3), progress=0.5)
    assert rule.multipliers is kept
    assert kept.tolist() == [pytest.approx([2.0, 101.0, 1.05])]


def test_an_equalitys_multiplier_is_no_start_below_0_for_an_inequality() -> None:
    found = rule_from(Problem.parse("min distortion s.t. rate <= 20"), DualSettings(), {"rate": -0.5})
    assert found.multipliers.tolist() == [[0.0]]
    found = rule_from(Problem.parse("min distortion s.t. rate == 20"), DualSettings(), {"rate": -0.5})
    assert found.multipliers.tolist() == [[-0.5]]
