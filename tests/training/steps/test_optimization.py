"""Optimisers by name, and the learning rate at each step."""

from __future__ import annotations

import math

import pytest
import torch

import lagvae as lv
from lagvae.settings import PrimalSettings, preset
from lagvae.training.steps.optimization import build_optimizer, rate_factor
from tiny_runs import run


def factors(total: int, **settings: object) -> list[float]:
    return [rate_factor(step, total, PrimalSettings(**settings)) for step in range(total)]  # type: ignore[arg-type]


def test_warm_up_then_cosine_to_nothing() -> None:
    found = factors(10_000)
    assert found[0] == 1 / 500
    assert found[249] == 0.5
    assert found[499] == found[500] == max(found) == 1.0
    assert found[500 + 9500 // 2] == pytest.approx(0.5)
    assert found[500 + 9500 // 4] == pytest.approx(0.5 + 0.5 * math.sqrt(0.5))
    assert 0 < found[-1] < 1e-7
    assert found[:500] == sorted(found[:500])
    assert found[500:] == sorted(found[500:], reverse=True)


def test_a_constant_rate_after_the_warm_up() -> None:
    assert factors(100, schedule="constant", warmup_steps=4) == [0.25, 0.5, 0.75] + [1.0] * 97
    assert set(factors(1000, schedule="constant", warmup_steps=0)) == {1.0}


def test_a_trapezoid_stays_until_half_and_falls_to_nothing() -> None:
    found = factors(1100, schedule="trapezoidal", warmup_steps=100)
    assert found[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert set(found[100:601]) == {1.0}
    assert found[600:] == pytest.approx([1 - step / 500 for step in range(500)])
    assert factors(1, schedule="trapezoidal") == [1.0]


def test_the_warm_up_is_at_most_a_tenth_of_the_run() -> None:
    assert factors(20, schedule="constant") == [0.5] + [1.0] * 19
    assert factors(9, schedule="constant") == [1.0] * 9
    assert factors(1) == [1.0]


def test_a_run_uses_them() -> None:
    solution = run(log_every=1, learning_rate=0.01)
    found = [record["learning_rate"] for record in solution.history]
    assert found == pytest.approx([0.01 * factor for factor in factors(18)])
    constant = run(log_every=1, learning_rate=0.01, schedule="constant", warmup_steps=0)
    assert {record["learning_rate"] for record in constant.history} == {0.01}


def test_adam_gets_every_option() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    adam = build_optimizer(weights, preset("zhao2018").primal)
    assert type(adam) is torch.optim.Adam
    assert {name: adam.defaults[name] for name in ("lr", "betas", "fused")} == {
        "lr": 1e-4,
        "betas": (0.5, 0.999),
        "fused": True,
    }
    assert type(build_optimizer(weights, PrimalSettings(optimizer="sgd"))) is torch.optim.SGD


def test_weights_decay_as_asked_and_as_the_optimiser_does_otherwise() -> None:
    weights = [torch.nn.Parameter(torch.ones(2))]
    for name, asked, found in (("adamw", 0.03, 0.03), ("adamw", None, 0.01), ("adam", None, 0.0), ("adamw", 0.0, 0.0)):
        optimizer = build_optimizer(weights, PrimalSettings(optimizer=name, weight_decay=asked))
        assert optimizer.defaults["weight_decay"] == found
    optimizer = build_optimizer(weights, PrimalSettings(optimizer="adamw", learning_rate=0.1, weight_decay=0.5))
    weights[0].sum().backward()
    optimizer.step()  # w ← (1 - 0.1 · 0.5) w - 0.1 · sign
    torch.testing.assert_close(weights[0].detach(), torch.full((2,), 0.85))
    with pytest.raises(lv.SettingError, match=r"got weight_decay=0\.1 of rprop; try adamw"):
        build_optimizer(weights, PrimalSettings(optimizer="rprop", weight_decay=0.1))


def test_a_factory_is_called_with_the_weights() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    given = build_optimizer(iter(weights), PrimalSettings(), lambda w: torch.optim.SGD(w, lr=3.0))
    assert given.param_groups[0]["params"] == weights
    assert given.defaults["lr"] == 3.0


@pytest.mark.parametrize(
    ("name", "fix"), [("adm", "'adam'"), ("lbfgs", "'rmsprop'|one of"), ("Adam", "'adam'"), ("muon", "one of|'")]
)
def test_an_unknown_optimiser_is_named_with_the_nearest(name: str, fix: str) -> None:
    with pytest.raises(lv.SettingError, match=rf"expected an optimiser of torch\.optim, got '{name}'; try ({fix})"):
        run(optimizer=name)


def test_every_accepted_optimiser_takes_a_step() -> None:
    with pytest.raises(lv.SettingError, match="one of adadelta") as complaint:
        run(optimizer="?")
    names = str(complaint.value).split("one of ")[1].split(", ")
    assert {"adam", "adamw", "sgd", "rmsprop"} <= set(names)
    for name in names:
        weights = [torch.nn.Parameter(torch.ones(2, 2))]
        optimizer = build_optimizer(weights, PrimalSettings(optimizer=name, learning_rate=0.1))
        weights[0].square().sum().backward()
        optimizer.step()
        assert not torch.equal(weights[0], torch.ones(2, 2)), name
