"""Every setting is declared once; names and values are checked where they are given."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.duality.rules import build_rule
from lagvae.settings import (
    FRONT_RECIPE,
    PRESETS,
    FrontSettings,
    NetworkSettings,
    OutputSettings,
    PrimalSettings,
    Settings,
    check_setting,
    preset,
    setting_names,
)
from lagvae.storage.folder import RunFolder, settings_of
from lagvae.training.build import build_session

# [LagVAE] and the authors' code: the table of the original's settings, value by value.
ORIGINAL = {
    "latent_dim": 64,
    "network": "mlp",
    "hidden": (1024, 1024),
    "activation": "softplus",
    "likelihood": "bernoulli",
    "prior": "standard_normal",
    "epochs": 5000,
    "batch_size": 250,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "beta1": 0.5,
    "beta2": 0.999,
    "weight_decay": None,
    "schedule": "constant",
    "warmup_steps": 0,
    "shuffle": False,
    "balance": False,
    "dual": "zhao2018",
    "dual_learning_rate": 1e-4,
}


def test_the_originals_settings_value_by_value() -> None:
    flat = preset("zhao2018").flat()
    assert {name: flat[name] for name in ORIGINAL} == ORIGINAL
    untouched = {name for name in flat if name not in ORIGINAL}
    elsewhere = {"channels", "noise_std", "probe_epochs", "held_out", "devices"}
    run = {"seed", "device", "precision", "capture", "log_every", "checkpoint_seconds", "track"}
    assert untouched == run | elsewhere
    assert flat["epochs"] * (55_000 // flat["batch_size"]) == 1_100_000


def test_the_originals_dual_rule_value_by_value() -> None:
    rule: Any = build_rule(lv.lag_vae(1.0, 86.0, 5.0), preset("zhao2018").dual)
    assert (rule.learning_rate, rule.decay) == (1e-4, 0.9)
    # λ counts nats per nat and nats per 1e-4 of MMD² there: 1 at the start, clipped to [0.001, 100].
    assert (rule.multipliers[0] * rule.units).tolist() == pytest.approx([1.0, 1.0])
    assert (rule.low * rule.units).tolist() == pytest.approx([0.001, 0.001])
    assert (rule.largest * rule.units).tolist() == pytest.approx([100.0, 100.0])


def test_the_default_preset_is_the_defaults() -> None:
    assert preset("default") == Settings() != preset("zhao2018")
    assert set(PRESETS) == {"default", "zhao2018"}
    with pytest.raises(lv.SettingError, match="expected a preset, got 'zhao2017'; try 'zhao2018'"):
        preset("zhao2017")


def test_no_name_stands_in_two_sections() -> None:
    names = [f.name for s in dataclasses.fields(Settings) for f in dataclasses.fields(getattr(Settings(), s.name))]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(setting_names()) == sorted(Settings().flat())


def test_replace_reaches_every_section() -> None:
    changed = Settings().replace(latent_dim=3, epochs=2, dual="gradient", seed=7, log_every=9)
    assert (changed.network.latent_dim, changed.primal.epochs, changed.dual.dual) == (3, 2, "gradient")
    assert (changed.execution.seed, changed.output.log_every) == (7, 9)
    assert changed.primal.batch_size == Settings().primal.batch_size
    assert changed.replace(**Settings().flat()) == Settings()
    with pytest.raises(lv.SettingError, match="expected a setting, got 'latentdim'; try 'latent_dim'"):
        changed.replace(latentdim=3)
    with pytest.raises(lv.SettingError, match="got 'zzz'; try one of activation, balance, batch_size"):
        changed.replace(zzz=3)


@pytest.mark.parametrize("name", PRESETS)
def test_sections_are_plain_and_read_back(name: str) -> None:
    settings = preset(name)
    sections = settings.as_sections()
    assert sections["network"]["hidden"] == [1024, 1024]
    assert Settings.from_sections(sections) == settings
    assert Settings.from_sections(settings.flat()) == settings
    assert Settings.from_sections({"primal": {"epochs": 4}, "seed": 2}) == Settings().replace(epochs=4, seed=2)
    over = Settings.from_sections({"network": {"network": "residual"}, "epochs": 4}, base=settings)
    assert over == settings.replace(network="residual", epochs=4)
    assert Settings.from_sections({"network": "residual"}, base=settings) == settings.replace(network="residual")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"primal": {"epoch": 4}}, "expected a setting, got 'epoch'; try 'epochs'"),
        ({"primal": 4}, "expected a setting, got 'primal'"),
        ({"primals": {"epochs": 4}}, "expected a setting, got 'primals'"),
        ({"primal": {4: 4}}, "expected a setting, got '4'"),
        ({"primal": {"epochs": "4"}}, "expected a whole number ≥ 1 as epochs, got '4'"),
    ],
)
def test_wrong_sections(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(lv.SettingError, match=message):
        Settings.from_sections(sections)


GOOD: list[tuple[str, Any, Any]] = [
    ("epochs", 1, 1),
    ("seed", 0, 0),
    ("warmup_steps", 0, 0),
    ("hidden", [8, 4], (8, 4)),
    ("hidden", (), ()),
    ("hidden", 8, (8,)),
    ("learning_rate", 1, 1.0),
    ("learning_rate", 1e30, 1e30),
    ("beta1", 0, 0.0),
    ("beta2", 0.999999, 0.999999),
    ("weight_decay", None, None),
    ("weight_decay", 0, 0.0),
    ("weight_decay", 0.03, 0.03),
    ("held_out", 0, 0.0),
    ("held_out", 0.25, 0.25),
    ("checkpoint_seconds", 0, 0.0),
    ("dual_learning_rate", None, None),
    ("probe_epochs", None, None),
    ("probe_epochs", 3, 3),
    ("dual_learning_rate", 0.5, 0.5),
    ("shuffle", False, False),
    ("schedule", "constant", "constant"),
    ("schedule", None, None),
    ("optimizer", None, None),
    ("optimizer", "adamw", "adamw"),
    ("beta2", None, None),
    ("device", "cuda:3", "cuda:3"),
    ("track", "mlflow", ("mlflow",)),
    ("track", ["wandb", "mlflow", "wandb"], ("wandb", "mlflow")),
    ("track", (), ()),
]

BAD: list[tuple[str, Any, str]] = [
    ("epochs", 0, "a whole number ≥ 1 as epochs, got 0"),
    ("epochs", -3, "a whole number ≥ 1 as epochs, got -3"),
    ("epochs", 1.5, "a whole number ≥ 1 as epochs, got 1.5"),
    ("epochs", True, "a whole number ≥ 1 as epochs, got True"),
    ("epochs", None, "a whole number ≥ 1 as epochs, got None"),
    ("probe_epochs", 0, "a whole number ≥ 1 as probe_epochs, got 0"),
    ("probe_epochs", 2.5, "a whole number ≥ 1 as probe_epochs, got 2.5"),
    ("batch_size", 1, "a whole number ≥ 2 as batch_size, got 1"),
    ("log_every", 0, "a whole number ≥ 1 as log_every"),
    ("latent_dim", 0, "a whole number ≥ 1 as latent_dim"),
    ("seed", -1, "a whole number ≥ 0 as seed, got -1"),
    ("hidden", [8, 0], r"positive whole numbers as hidden, got \[8, 0\]; try 1024 1024"),
    ("hidden", 0, "positive whole numbers as hidden, got 0"),
    ("hidden", "8", "positive whole numbers as hidden, got '8'"),
    ("learning_rate", 0.0, "a positive number as learning_rate, got 0.0"),
    ("learning_rate", -1.0, "a positive number as learning_rate"),
    ("learning_rate", math.nan, "a positive number as learning_rate, got nan"),
    ("learning_rate", math.inf, "a positive number as learning_rate, got inf"),
    ("learning_rate", True, "a positive number as learning_rate, got True"),
    ("checkpoint_seconds", None, "a positive number as checkpoint_seconds, got None"),
    ("dual_learning_rate", 0, "a positive number as dual_learning_rate, got 0"),
    ("beta1", 1.0, r"a number in \[0, 1\) as beta1, got 1.0"),
    ("weight_decay", -0.1, "a positive number as weight_decay"),
    ("beta1", None, r"a number in \[0, 1\) as beta1, got None"),
    ("learning_rate", None, "a positive number as learning_rate, got None"),
    ("optimizer", 3, "str as optimizer, got 3"),
    ("beta2", -0.1, r"a number in \[0, 1\) as beta2"),
    ("held_out", 1.0, r"a number in \[0, 1\) as held_out, got 1.0"),
    ("held_out", -0.1, r"a number in \[0, 1\) as held_out, got -0.1"),
    ("held_out", None, r"a number in \[0, 1\) as held_out, got None"),
    ("checkpoint_seconds", -1, "a positive number as checkpoint_seconds"),
    ("shuffle", 1, "bool as shuffle, got 1"),
    ("device", 3, "str as device, got 3"),
    ("activation", "gellu", "a known activation, got 'gellu'; try 'gelu'"),
    ("activation", ["gelu"], "a known activation, got"),
    ("network", "convolution", "a known network, got 'convolution'; try 'convolutional'"),
    ("channels", [0], r"positive whole numbers as channels, got \[0\]; try 1024 1024"),
    ("likelihood", "gausian", "a known likelihood, got 'gausian'; try 'gaussian'"),
    ("noise_std", 0, "a positive number as noise_std, got 0"),
    ("schedule", "cosin", "a known schedule, got 'cosin'; try 'cosine'"),
    ("track", "mlfow", "names to track, got 'mlfow'; try 'mlflow'"),
    ("track", ["wandb", 3], "names to track, got 3; try one of mlflow, wandb"),
    ("track", 3, "names to track, got 3"),
    ("track", None, "names to track, got None"),
    ("precision", "float16", "a known precision, got 'float16'; try '(b?)float"),
]


@pytest.mark.parametrize(("name", "value", "kept"), GOOD)
def test_values_that_are_taken(name: str, value: Any, kept: Any) -> None:
    found = check_setting(name, value)
    assert found == kept
    assert type(found) is type(kept)
    assert Settings().replace(**{name: value}).flat()[name] == kept


def test_how_weights_descend_is_settled_where_nothing_is_asked_for(tmp_path: Path) -> None:
    """By Adam and a cosine for a run, by a front's own recipe for a front; what is written names what is taken."""
    small: dict[str, Any] = {"hidden": (8,), "latent_dim": 2, "epochs": 1, "device": "cpu", "progress": False}
    assert lv.fit("min neg_elbo", "digits", out=tmp_path / "run", **small).history[-1]["learning_rate"] <= 2e-3
    lv.fit_front("digits", divergence="none", out=tmp_path / "front", **small)
    lv.fit_front("digits", batch_size=500, out=tmp_path / "with mmd", **small)
    asked: dict[str, Any] = {"optimizer": "adam", "schedule": "constant", "learning_rate": 1e-3}
    lv.fit_front("digits", divergence="none", out=tmp_path / "asked", **asked, **small)
    lv.fit_front("digits", ["min neg_elbo"], method="dedicated", out=tmp_path / "runs", **small)
    names = ("learning_rate", "optimizer", "beta2", "weight_decay", "schedule")
    for folder, expected in {
        "run": (2e-3, "adam", 0.999, None, "cosine"),
        "front": (2e-3, "adamw", 0.98, 0.1, "trapezoidal"),
        "with mmd": (2e-3, "adamw", 0.98, 0.1, "cosine"),
        "asked": (1e-3, "adam", 0.98, None, "constant"),
        "runs": (2e-3, "adam", 0.999, None, "cosine"),
    }.items():
        primal = settings_of(RunFolder(tmp_path / folder).read_config()).primal
        assert tuple(getattr(primal, name) for name in names) == expected
    session = build_session(lv.Problem.parse("min neg_elbo"), lv.open_data("digits"), Settings())
    assert [group["lr"] for group in session.optimizer.param_groups] == [2e-3]
    assert type(session.optimizer) is torch.optim.Adam
    assert session.optimizer.defaults["betas"] == (0.9, 0.999)


def test_a_recipe_leaves_what_was_asked_for() -> None:
    mine = PrimalSettings(beta2=0.9, schedule="constant", learning_rate=1e-3).settled(FRONT_RECIPE)
    assert (mine.beta2, mine.schedule, mine.learning_rate) == (0.9, "constant", 1e-3)
    assert (mine.optimizer, mine.weight_decay) == ("adamw", 0.1)
    assert PrimalSettings(optimizer="adam").settled(FRONT_RECIPE).weight_decay is None
    assert PrimalSettings(optimizer="sgd", weight_decay=0.2).settled(FRONT_RECIPE).weight_decay == 0.2
    assert mine.settled() == mine


def test_sections_hold_what_was_checked() -> None:
    settings = Settings(
        network=NetworkSettings(hidden=8),  # type: ignore[arg-type]
        primal=PrimalSettings(learning_rate=np.float64(1e-3)),
        output=OutputSettings(track="mlflow"),  # type: ignore[arg-type]
    )
    assert settings.network.hidden == (8,)
    assert type(settings.primal.learning_rate) is float
    assert settings.output.track == ("mlflow",)
    front = FrontSettings(beta_high=np.float32(5.0), group_size=np.int64(4))
    assert (type(front.beta_high), type(front.group_size)) == (float, int)
    for changes in ({"beta_high": "5"}, {"group_size": 2.5}, {"gain": True}):
        with pytest.raises(lv.SettingError, match=f" as {next(iter(changes))}, got "):
            FrontSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("latent_dim", np.int64(3), 3), ("hidden", (np.int64(8),), (8,)), ("learning_rate", np.float32(0.5), 0.5)],
)
def test_numbers_of_numpy_are_numbers(name: str, value: Any, kept: Any) -> None:
    found = check_setting(name, value)
    assert found == kept
    assert repr(found) == repr(kept)  # as config.yaml and messages have it


@pytest.mark.parametrize("changes", [{"gamma_high": math.nan}, {"gamma_high": math.inf}, {"beta_high": math.inf}])
def test_a_front_ends_somewhere(changes: dict[str, float]) -> None:
    with pytest.raises(lv.SettingError, match="expected"):
        FrontSettings(**changes)


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_values_that_are_not(name: str, value: Any, message: str) -> None:
    with pytest.raises(lv.SettingError, match=f"^expected {message}"):
        check_setting(name, value)
    with pytest.raises(lv.SettingError, match=message):
        Settings().replace(**{name: value})


def test_a_section_made_by_hand_is_checked_when_it_is_put_in() -> None:
    assert Settings(primal=PrimalSettings(epochs=2)).primal.epochs == 2
    with pytest.raises(lv.SettingError, match="as epochs, got -2"):
        Settings(primal=PrimalSettings(epochs=-2))


def test_every_setting_is_documented() -> None:
    from lagvae import settings

    lines = [line.strip() for line in Path(settings.__file__).read_text().splitlines()]
    for name in setting_names():
        declared = next(n for n, line in enumerate(lines) if line.startswith(f"{name}: ") and " = " in line)
        assert lines[declared + 1].startswith('"""'), name
