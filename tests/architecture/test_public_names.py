from __future__ import annotations

import importlib

import pytest

import lagvae

VALUES = ["best", "distortion", "mmd", "mutual_information", "neg_elbo", "neg_iwae", "rate"]
FUNCTIONS = ["beta_vae", "evaluate", "fit", "geco", "info_vae", "lag_vae", "load", "log_likelihood", "mdr", "open_data"]
FUNCTIONS += ["fit_front", "interpolations", "load_front", "probe", "reconstructions", "term", "traversals", "vae"]
ERRORS = ["CheckpointError", "DataError", "LagvaeError", "ProblemError", "SettingError", "ShapeError", "SolveError"]
CLASSES = ["Bernoulli", "Data", "Diagnosis", "Estimate", "Evaluation", "MLPDecoder", "MLPEncoder", "Probe", "Problem"]
CLASSES += ["Solution", "Status"]
PUBLIC = [*VALUES, *FUNCTIONS, *ERRORS, *CLASSES, "Maximize", "Minimize", "Term", "VAE"]


def test_public_names_are_these() -> None:
    assert sorted(lagvae.__all__) == sorted(PUBLIC)
    assert len(set(lagvae.__all__)) == len(lagvae.__all__)


def test_every_name_has_a_home_and_is_listed() -> None:
    assert set(lagvae._HOMES) == set(lagvae.__all__)
    assert dir(lagvae) == sorted([*PUBLIC, "__version__"])


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_the_one_of_its_home(name: str) -> None:
    home = importlib.import_module(lagvae._HOMES[name])
    assert getattr(lagvae, name) is getattr(home, name)
    module = getattr(getattr(home, name), "__module__", lagvae._HOMES[name])
    assert module == lagvae._HOMES[name]  # defined there, not passed on


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lagvae' has no attribute 'fitt'"):
        _ = lagvae.fitt


def test_every_error_is_a_lagvae_error_and_a_builtin_one() -> None:
    builtins = {
        "ProblemError": ValueError,
        "DataError": ValueError,
        "ShapeError": ValueError,
        "SettingError": ValueError,
        "CheckpointError": RuntimeError,
        "SolveError": RuntimeError,
    }
    assert {*builtins, "LagvaeError"} == set(ERRORS)
    for name, builtin in builtins.items():
        assert issubclass(getattr(lagvae, name), lagvae.LagvaeError)
        assert issubclass(getattr(lagvae, name), builtin)
