"""A run's folder is not lost by accident, is not continued as another run, and repeats itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import lagvae as lv
from lagvae.cli.main import main
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.storage.folder import RunFolder, read_config_file, settings_of
from tiny_runs import (
    PROBLEM,
    STEPS,
    TINY,
    assert_same_run,
    checkpoint_names,
    content,
    metrics,
    run,
    stopped_after,
    without,
)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    run(tmp_path / "run")
    return tmp_path / "run"


def test_a_run_is_not_replaced_unless_asked(finished: Path) -> None:
    before = content(finished)
    with pytest.raises(lv.CheckpointError, match=r"expected no run at .*run, got one; try --resume .*--overwrite"):
        run(finished)
    assert content(finished) == before
    run(finished, overwrite=True, seed=1, epochs=2)
    after = content(finished)
    assert after["config.yaml"] != before["config.yaml"]
    assert [record["step"] for record in metrics(finished)] == [5, 10, 12]
    assert checkpoint_names(finished) == ["step-00000000", "step-00000012"]
    assert len([name for name in after if name.startswith("tensorboard/")]) == 1


def test_an_overwritten_run_is_the_run_it_would_be_elsewhere(finished: Path, tmp_path: Path) -> None:
    (finished / "report.png").write_bytes(b"of the earlier run")
    run(finished, overwrite=True, seed=1)
    run(tmp_path / "other", seed=1)
    assert_same_run(finished, tmp_path / "other")
    assert not (finished / "report.png").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("years")
    with pytest.raises(lv.CheckpointError, match=r"expected an empty folder or a run at .*own, got other files"):
        run(tmp_path / "own", overwrite=overwrite)
    assert content(tmp_path) == {"own/thesis.tex": b"years"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_programs_configuration_is_no_run(tmp_path: Path, overwrite: bool) -> None:
    own = {"config.yaml": b"lr: 1\n", "checkpoints/best.pt": b"weeks", "points/a": b"b"}
    for name, text in own.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(text)
    with pytest.raises(lv.CheckpointError, match=r"an empty folder or a run at .*own, got other files"):
        run(tmp_path / "own", overwrite=overwrite)
    assert content(tmp_path / "own") == own


def test_data_that_were_moved_are_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    run(tmp_path / "run", data=str(tmp_path / "x.npy"))
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    with pytest.raises(lv.DataError, match=r"the run's data at .*x\.npy, got nothing there; try naming where they are"):
        lv.evaluate(tmp_path / "run", quick=True)
    assert run(tmp_path / "run", data=str(tmp_path / "y.npy"), resume=True).step == 3
    assert RunFolder(tmp_path / "run").read_config()["data"] == str(tmp_path / "y.npy")
    assert lv.evaluate(tmp_path / "run", quick=True)["test"]
    (tmp_path / "y.npy").unlink()
    assert main(["report", str(tmp_path / "run")]) == 0


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(lv.CheckpointError, match=r"expected a folder at .*run, got a file; try another --out"):
        run(tmp_path / "run")


def test_an_empty_folder_or_half_a_configuration_is_free(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.yaml.part").write_text("prob")
    run(tmp_path / "run", epochs=1)
    assert ".config.yaml.part" not in content(tmp_path / "run")


X = np.random.default_rng(0).random((200, 1, 8, 8), dtype=np.float32)

OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "problem": ({"problem": "max mi s.t. neg_elbo <= 46, mmd <= 2e-2"}, "own problem .*neg_elbo <= 45.*got .* <= 46"),
    "networks": ({"hidden": (31,)}, r"own hidden \(\(32,\)\), got \(31,\)"),
    "latent": ({"latent_dim": 3}, r"own latent_dim \(2\), got 3"),
    "activation": ({"activation": "relu"}, r"own activation \(gelu\), got relu"),
    "data": ({"data": X}, r"own data \(digits\)"),
    "seed": ({"seed": 1}, r"own seed \(0\), got 1"),
    "epochs": ({"epochs": 4}, r"own epochs \(3\), got 4"),
    "batch": ({"batch_size": 100}, r"own batch_size \(250\), got 100"),
    "rate": ({"learning_rate": 1e-2}, r"own learning_rate \(0\.002\), got 0\.01"),
    "optimiser": ({"optimizer": "adamw"}, r"own optimizer \(adam\), got adamw"),
    "factory": ({"optimizer": lambda w: torch.optim.SGD(w, lr=0.1)}, r"own custom \(\[\]\), got \['optimizer'\]"),
    "rule": ({"dual": "gradient"}, r"own dual \(forecast\), got gradient"),
    "precision": ({"precision": "bfloat16"}, r"own precision \(float32\), got bfloat16"),
}


@pytest.mark.parametrize("other", OTHER)
def test_another_run_is_not_continued(finished: Path, other: str) -> None:
    changes, message = OTHER[other]
    before = content(finished)
    with pytest.raises(lv.CheckpointError, match=f"expected to resume with the run's {message}"):
        run(finished, resume=True, **changes)
    assert content(finished) == before


def test_the_same_run_is_continued_however_its_problem_is_written(finished: Path) -> None:
    problem = lv.Problem(lv.Maximize(lv.mutual_information), subject_to=[lv.neg_elbo <= 45.0, lv.mmd() <= 2e-2])
    again = run(finished, problem=problem, resume=True, device="auto", log_every=3, checkpoint_seconds=7.0)
    assert again.step == STEPS


def test_other_values_in_an_array_of_the_same_shape_are_noticed(tmp_path: Path) -> None:
    settings = {"problem": "min rate s.t. distortion <= 60", "batch_size": 60}
    with stopped_after(4):
        run(tmp_path / "run", data=X, **settings)
    with pytest.raises(lv.CheckpointError, match="own data_fingerprint"):
        run(tmp_path / "run", data=X[::-1], resume=True, **settings)
    assert run(tmp_path / "run", data=X.copy(), resume=True, **settings).step == 9


def test_networks_of_ones_own_are_compared_by_their_weights(tmp_path: Path) -> None:
    def make(width: int) -> lv.VAE:
        torch.manual_seed(0)
        encoder = lv.MLPEncoder((1, 8, 8), 2, (width,))
        return lv.VAE(encoder, lv.MLPDecoder(2, (1, 8, 8), (width,)), latent_dim=2)

    with stopped_after(4):
        run(tmp_path / "run", model=make(8))
    before = content(tmp_path / "run")
    with pytest.raises(lv.CheckpointError, match=r"networks that the run was started with .*\(8,\).*, got .*\(9,\)"):
        run(tmp_path / "run", model=make(9), resume=True)
    assert content(tmp_path / "run") == before
    assert run(tmp_path / "run", model=make(8), resume=True).step == STEPS


def test_there_has_to_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"expected a run at .*none, got no config\.yaml there"):
        run(tmp_path / "none", resume=True)
    with pytest.raises(lv.SettingError, match="expected the folder of the run to resume, got none"):
        run(resume=True)
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_repeats_the_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--config", str(finished / "config.yaml"), "--out", str(tmp_path / "again"), "--quiet"]
    assert main(arguments) == 0
    assert_same_run(tmp_path / "again", finished)
    assert main([*arguments[:-2], str(tmp_path / "other"), "--quiet", "--seed", "1"]) == 0
    ours, _ = load_checkpoint(tmp_path / "other" / "checkpoints")
    theirs, _ = load_checkpoint(finished / "checkpoints")
    assert not torch.equal(ours["model/encoder.layers.0.weight"], theirs["model/encoder.layers.0.weight"])


def test_the_configuration_says_everything(finished: Path) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert lv.Problem.parse(config["problem"]) == lv.Problem.parse(PROBLEM)
    assert (config["data"], config["event_shape"], config["custom"]) == ("digits", [1, 8, 8], [])
    own = {"latent_dim": 2, "hidden": [32], "activation": "gelu", "network": "mlp", "likelihood": "bernoulli"}
    assert own.items() <= config["network"].items()
    settings = settings_of(read_config_file(finished / "config.yaml"))
    flat = settings.flat()
    assert {name: flat[name] for name in TINY if name != "progress"} == {
        k: v for k, v in TINY.items() if k != "progress"
    }
    assert settings.as_sections() == {name: config[name] for name in settings.as_sections()}


def test_a_configuration_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: zhao2018\nlearning_rate: 1e-3\nprimal: {epochs: 2, warmup_steps: 3}\nhidden: [8]\n")
    config = read_config_file(file)
    assert config["learning_rate"] == 1e-3
    flat = settings_of(config).flat()
    assert (flat["learning_rate"], flat["epochs"], flat["warmup_steps"], flat["hidden"]) == (1e-3, 2, 3, (8,))
    for text, value in {"-1E+2": -100.0, "1e5": 1e5, "0.5": 0.5, "7": 7, "a1e5": "a1e5", "1e5x": "1e5x"}.items():
        file.write_text(f"value: {text}\n")
        assert read_config_file(file) == {"value": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "expected a YAML file at .*got .*; try config.yaml of a run"),
        ("- 1\n- 2\n", "expected names and values in .*got .1, 2."),
        ("", "expected names and values in .*got None"),
        ("1: 2\n", "expected names and values in"),
        ("a: !!python/object/apply:os.getcwd []", "expected a YAML file"),
        ("\x00", "expected a YAML file"),
    ],
)
def test_yaml_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(lv.CheckpointError, match=message):
        read_config_file(file)
    with pytest.raises(lv.CheckpointError, match=r"expected a YAML file at .*absent, got .*No such file"):
        read_config_file(tmp_path / "absent")


def test_an_unknown_setting_in_yaml_is_named_with_the_nearest(finished: Path) -> None:
    file = finished / "config.yaml"
    assert settings_of(read_config_file(file)).primal.epochs == 3
    file.write_text(file.read_text().replace("epochs:", "epoch:"))
    with pytest.raises(lv.SettingError, match="expected a setting, got 'epoch'; try 'epochs'"):
        settings_of(read_config_file(file))
    with pytest.raises(lv.SettingError, match="got 'epoch'; try 'epochs'"):
        lv.load(finished)


def test_metrics_stop_at_a_line_that_is_cut(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    for step in (1, 2, 3):
        folder.append_metrics({"step": step})
    folder.metrics_file.write_text(folder.metrics_file.read_text()[:-4])
    assert folder.read_metrics() == [{"step": 1}, {"step": 2}]
    assert folder.keep_metrics_until(1) == [{"step": 1}]
    (line,) = folder.metrics_file.read_text().splitlines()
    assert without(json.loads(line), "checksum") == {"step": 1}


def test_metrics_on_a_full_disk(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "absent")
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*metrics\.jsonl, got No such file"):
        folder.append_metrics({"step": 1})


def test_a_run_remembers_what_it_was_asked_for(tmp_path: Path) -> None:
    asked = "max mi s.t. neg_elbo <= best + 40, mmd <= 1"
    solution = run(tmp_path / "run", problem=asked)
    folder = RunFolder(tmp_path / "run")
    config = folder.read_config()
    assert config["asked"] == str(lv.Problem.parse(asked))
    assert config["problem"] == str(solution.problem) == folder.resolved_problem(config["asked"])
    assert lv.load(tmp_path / "run").problem == solution.problem
    with pytest.raises(lv.CheckpointError, match=r"run's own problem \(.*best \+ 40, .*\), got .*best \+ 41"):
        folder.resolved_problem(config["asked"].replace("40", "41"))


def test_a_run_in_numbers_was_not_asked_for_relative_to_best(finished: Path) -> None:
    folder = RunFolder(finished)
    assert "asked" not in folder.read_config()
    with pytest.raises(lv.CheckpointError, match=r"run's own problem \(.*neg_elbo <= 45.*\), got min rate s.t. rate"):
        folder.resolved_problem("min rate s.t. rate <= best")
