"""A session is what the settings name, around what is given."""

from __future__ import annotations

import pytest
import torch

import lagvae as lv
from lagvae.duality.zhao2018 import Zhao2018
from lagvae.training.build import build_session
from tiny_runs import PROBLEM, STEPS, TINY, assert_same_tensors, settings_of

SETTINGS = settings_of(TINY)
DIGITS = lv.open_data("digits")


def test_a_session_of_the_settings() -> None:
    session = build_session(lv.Problem.parse(PROBLEM), DIGITS, SETTINGS)
    assert (session.step, session.total_steps, session.batch_size) == (0, STEPS, 250)
    assert session.model.latent_dim == 2
    assert session.model.training
    assert session.lagrangian.names == ("neg_elbo", "mmd")
    assert isinstance(session.optimizer, torch.optim.Adam)
    again = build_session(lv.Problem.parse("min rate"), DIGITS, SETTINGS)
    assert_same_tensors(session.model.state_dict(), again.model.state_dict())
    other = build_session(lv.Problem.parse(PROBLEM), DIGITS, SETTINGS.replace(seed=1))
    name, weight = next(iter(session.model.state_dict().items()))
    assert not torch.equal(weight, other.model.state_dict()[name])


def test_a_session_around_what_is_given() -> None:
    model = lv.VAE(lv.MLPEncoder((1, 8, 8), 3, (8,)), lv.MLPDecoder(3, (1, 8, 8), (8,)), latent_dim=3)
    session = build_session(
        lv.Problem.parse(PROBLEM),
        DIGITS,
        SETTINGS,
        model=model,
        optimizer=lambda weights: torch.optim.SGD(weights, lr=0.5),
        dual=lambda problem: Zhao2018(problem, torch.tensor([2.0, 30.0])),
    )
    assert session.model is model
    assert (type(session.optimizer), session.learning_rate()) == (torch.optim.SGD, 0.5)
    assert session.rule.multipliers.tolist() == [[2.0, 30.0]]


def test_what_does_not_fit() -> None:
    problem = lv.Problem.parse(PROBLEM)
    with pytest.raises(lv.SettingError, match=r"expected an optimiser of torch\.optim, got 'adm'; try 'adam'"):
        build_session(problem, DIGITS, SETTINGS.replace(optimizer="adm"))
    with pytest.raises(lv.SettingError, match="expected a dual rule, got 'log_p'"):
        build_session(problem, DIGITS, SETTINGS.replace(dual="log_p"))
    with pytest.raises(lv.SettingError, match="expected a device of this machine, got 'cuda:99'"):
        build_session(problem, DIGITS, SETTINGS.replace(device="cuda:99"))
    wide = lv.VAE(lv.MLPEncoder((1, 9, 9), 2, (8,)), lv.MLPDecoder(2, (1, 9, 9), (8,)), latent_dim=2)
    with pytest.raises(lv.ShapeError, match="expected an encoder"):
        build_session(problem, DIGITS, SETTINGS, model=wide)
