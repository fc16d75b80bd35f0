from __future__ import annotations

import pytest
import torch

from lagvae.duality.lagrangian import Lagrangian
from lagvae.errors import ProblemError
from lagvae.problem.presets import lag_vae, vae
from lagvae.problem.problem import Problem
from truth import draw_of_codes

D, R, MMD = 60.0, 25.0, 7e-4
MEASURED = torch.tensor([D, R, MMD])


def texts(lagrangian: Lagrangian) -> list[str]:
    return [str(term) for term in lagrangian.terms]


# The original's loss with λ₁ = 1.5, λ₂ = 0.8, e₁ = 86, e₂ = 5; mmd counts in 1e-4, so that 1e4·mmd = 7.
@pytest.mark.parametrize(
    ("mi", "loss", "weights"),
    [
        (2.0, (1.5 + 2) * 60 + 1.5 * 25 + 0.8 * 7 - 1.5 * 86 - 0.8 * 5, (3.5, 1.5, 8000.0)),
        (-2.0, 1.5 * 60 + (1.5 + 2) * 25 + 0.8 * 7 - 1.5 * 86 - 0.8 * 5, (1.5, 3.5, 8000.0)),
        (0.0, 1.5 * 60 + 1.5 * 25 + 0.8 * 7 - 1.5 * 86 - 0.8 * 5, (1.5, 1.5, 8000.0)),
    ],
)
def test_loss_of_the_original_with_its_constants(mi: float, loss: float, weights: tuple[float, ...]) -> None:
    lagrangian = Lagrangian(lag_vae(mi, 86.0, 5.0))
    multipliers = torch.tensor([1.5, 0.8e4])
    assert texts(lagrangian) == ["distortion", "rate", "mmd"]
    assert float(lagrangian.value(MEASURED, multipliers)) == pytest.approx(loss, abs=1e-4)
    torch.testing.assert_close(lagrangian.weights(multipliers), torch.tensor(weights))


@pytest.mark.parametrize("mi", [2.0, -2.0, 0.0])
def test_value_is_the_weighted_sum_without_the_bounds(mi: float) -> None:
    lagrangian = Lagrangian(lag_vae(mi, 86.0, 5.0))
    multipliers = torch.tensor([1.5, 0.8e4])
    constants = float(multipliers @ torch.tensor([86.0, 5e-4]))
    weighted = float(MEASURED @ lagrangian.weights(multipliers))
    assert float(lagrangian.value(MEASURED, multipliers)) == pytest.approx(weighted - constants, abs=1e-4)


@pytest.mark.parametrize(
    ("constraint", "value", "violation"),
    [
        ("rate <= 20", R, R - 20),
        ("rate <= 30", R, R - 30),
        ("rate >= 20", R, 20 - R),
        ("rate >= 30", R, 30 - R),
        ("rate == 20", R, R - 20),
        ("rate == 30", R, R - 30),
        ("neg_elbo <= 86", D + R, D + R - 86),
        ("2*rate + 0.5*distortion <= 70", 2 * R + 0.5 * D, 2 * R + 0.5 * D - 70),
        ("mi <= 20", R, R - 20),
        ("mmd <= 5e-4", MMD, 2e-4),
    ],
)
def test_violation_has_the_sign_of_its_sense(constraint: str, value: float, violation: float) -> None:
    problem = Problem.parse(f"min neg_elbo + mmd s.t. {constraint}")
    lagrangian = Lagrangian(problem)
    assert texts(lagrangian) == ["distortion", "rate", "mmd"]
    assert float(lagrangian.constraint_values(MEASURED)) == pytest.approx(value, rel=1e-6)
    assert float(lagrangian.violations(MEASURED)) == pytest.approx(violation, rel=1e-3)
    assert problem.subject_to[0].violation(value) == pytest.approx(violation)


def test_lower_bound_pulls_its_term_up() -> None:
    lagrangian = Lagrangian(Problem.parse("min neg_elbo s.t. rate >= 20"))
    torch.testing.assert_close(lagrangian.weights(torch.tensor([0.25])), torch.tensor([1.0, 0.75]))


def test_every_model_of_a_stack_has_its_own_multipliers() -> None:
    lagrangian = Lagrangian(lag_vae(2.0, 86.0, 5.0))
    values = torch.stack([MEASURED, 2 * MEASURED])
    multipliers = torch.tensor([[1.5, 8000.0], [0.5, 0.0]])
    assert lagrangian.weights(multipliers).shape == (2, 3)
    for model in range(2):
        alone = lagrangian.value(values[model], multipliers[model])
        torch.testing.assert_close(lagrangian.value(values, multipliers)[model], alone)
        torch.testing.assert_close(lagrangian.violations(values)[model], lagrangian.violations(values[model]))


def test_a_problem_without_constraints_has_no_multipliers() -> None:
    lagrangian = Lagrangian(vae())
    nothing = torch.zeros(0)
    assert lagrangian.violations(MEASURED[:2]).shape == (0,)
    assert float(lagrangian.value(MEASURED[:2], nothing)) == D + R
    torch.testing.assert_close(lagrangian.weights(nothing), torch.ones(2))


def test_distortion_and_a_rate_are_always_measured_first() -> None:
    assert texts(Lagrangian(Problem.parse("min mmd"))) == ["distortion", "rate", "mmd"]
    one_sample = Problem.parse("min 0 s.t. mmd <= 1, neg_elbo(estimator=one_sample) <= 86")
    assert texts(Lagrangian(one_sample)) == ["distortion", "rate(estimator=one_sample)", "mmd"]


def test_measure_stacks_the_terms_in_order() -> None:
    lagrangian = Lagrangian(Problem.parse("min mmd"))
    draw = draw_of_codes(torch.ones(4, 2))
    expected = torch.stack([term.measure(draw) for term in lagrangian.terms])
    torch.testing.assert_close(lagrangian.measure(draw), expected)


def test_a_relative_bound_has_no_violation_yet() -> None:
    problem = Problem.parse("max mi s.t. neg_elbo <= best + 4, mmd <= 5e-4")
    with pytest.raises(
        ProblemError, match=r"^expected numbers as bounds, got 'max .* best \+ 4, .*'; try Problem\.resolve\(\.\.\.\) "
    ):
        Lagrangian(problem)
    assert Lagrangian(problem.resolve({"neg_elbo": 100.0})).bounds[0] == 104.0
