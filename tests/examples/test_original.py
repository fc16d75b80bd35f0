"""The original's two commands, unchanged, on the public API."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lagvae as lv
from lagvae.storage.folder import RunFolder

EXAMPLES = Path(__file__).parents[2] / "examples"
DEFAULTS: dict[str, dict[str, Any]] = {
    "lagvae": {"mi": 0.0, "e1": 88.0, "e2": 8.0, "z_dim": 64, "epochs": 5000, "test": False},
    "infovae": {"mi": 0.0, "e1": 1.0, "e2": 0.0, "z_dim": 64, "epochs": 5000, "test": False},
}


def script(name: str, *options: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs an example on a stand-in for MNIST."""
    runner = str(Path(__file__).with_name("runner.py"))
    clean = {key: value for key, value in os.environ.items() if key not in ("EXP_LOG_PATH", "DATA_PREFIX")}
    return subprocess.run(
        [sys.executable, runner, str(EXAMPLES / f"{name}.py"), *options],
        cwd=cwd,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def load_script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Imports an example without running it; its folder and modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.delitem(sys.modules, "_original", raising=False)
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_defaults_are_the_originals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = inspect.signature(load_script(name, monkeypatch).main).parameters
    assert {parameter.name: parameter.default for parameter in parameters.values()} == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "typed", "problem"),
    [
        ("infovae", "--mi=1.0 --e1=1.0 --e2=1.0", lv.info_vae(1.0, 1.0, 1.0, estimator="one_sample")),
        ("lagvae", "--mi=1.0 --e1=86.0 --e2=5.0", lv.lag_vae(1.0, 86.0, 5.0, estimator="one_sample")),
    ],
)
def test_the_readmes_commands(tmp_path: Path, name: str, typed: str, problem: lv.Problem) -> None:
    options, label = typed.split(), typed.replace(" --", "_").removeprefix("--")
    ended = script(name, *options, "--z_dim=3", "--epochs", "1", cwd=tmp_path, EXP_LOG_PATH="logs", DATA_PREFIX="data")
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "logs" / f"{name}_{label}_z=3"
    assert f"run folder: logs/{folder.name}\n" in ended.stdout
    assert "EXP_LOG_PATH" not in ended.stdout
    assert "DATA_PREFIX" not in ended.stdout
    config = RunFolder(folder).read_config()
    assert lv.Problem.parse(config["problem"]) == problem
    assert config["primal"] | {"epochs": 5000} == {
        "epochs": 5000, "batch_size": 250, "optimizer": "adam", "learning_rate": 1e-4, "beta1": 0.5, "beta2": 0.999,
        "weight_decay": None, "schedule": "constant", "warmup_steps": 0, "shuffle": False, "balance": False,
    }  # fmt: skip
    for part in ("train", "test"):
        line = re.search(rf"^{part} +rate (\S+)  nll (\S+)  -elbo (\S+)  mmd (\S+)$", ended.stdout, re.MULTILINE)
        assert line is not None
        rate, nll, neg_elbo, mmd = map(float, line.groups())
        assert neg_elbo == pytest.approx(rate + nll, abs=2e-3)
        assert 300 < nll < 600
        assert mmd > 0

    found = json.loads((folder / "evaluation.json").read_text())
    assert found["step"] == 2
    lambdas = dict(re.findall(r"^lambda\d \((\w+)\)  (\S+)$", ended.stdout, re.MULTILINE))
    if name == "infovae":
        assert lambdas == {}
        # (λ₁ + mi)·D + λ₁·R + λ₂·1e4·mmd with λ₁ = e1 and λ₂ = e2 fixed.
        weights = {term.split("(")[0]: weight for term, weight in found["weights"].items()}
        assert weights == pytest.approx({"distortion": 2.0, "rate": 1.0, "mmd": 1e4})
    else:
        # Two steps of about 1e-4 from 1, upwards, since both bounds are far away.
        assert set(lambdas) == {"neg_elbo", "mmd"}
        assert all(1.0 < float(value) < 1.001 for value in lambdas.values())

    before = (folder / "metrics.jsonl").read_bytes()
    again = script(
        name, *options, "--z-dim=3", "--epochs=1", "--test", cwd=tmp_path, EXP_LOG_PATH="logs", DATA_PREFIX="data"
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == ended.stdout
    assert again.stderr == ""  # nothing is trained
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_without_the_two_variables_they_say_where_things_are(tmp_path: Path) -> None:
    ended = script("lagvae", "--epochs=1", "--z_dim=2", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "run folder: runs/lagvae_mi=0.0_e1=88.0_e2=8.0_z=2 (EXP_LOG_PATH says where else)" in ended.stdout
    assert "data: the user's cache (DATA_PREFIX says where else)" in ended.stdout
    assert (tmp_path / "runs" / "lagvae_mi=0.0_e1=88.0_e2=8.0_z=2" / "evaluation.json").exists()


def test_testing_what_was_never_trained_fails_and_writes_nothing(tmp_path: Path) -> None:
    ended = script("infovae", "--test", cwd=tmp_path)
    assert ended.returncode != 0
    assert "expected a run at runs/infovae_mi=0.0_e1=1.0_e2=0.0_z=64, got no config.yaml there" in ended.stderr
    assert list(tmp_path.iterdir()) == []
