"""Runs in a local store of MLflow's, read back by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import lagvae as lv
from lagvae.cli.main import main
from lagvae.storage.folder import RunFolder
from tiny_runs import PROBLEM, TINY, run, stopped_after


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """An empty store that runs find by the environment, as they would at home."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # artifacts of a local store lie beside the process
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield MlflowClient(f"sqlite:///{folder}/mlflow.db")


def test_a_run_is_read_back(store: MlflowClient, tmp_path: Path) -> None:
    solution = run(tmp_path / "run", "max mi s.t. neg_elbo <= 45, mmd(kernel=imq) <= 0.1", track="mlflow")
    assert solution.evaluation is not None
    tracked = RunFolder(tmp_path / "run").read_tracked()["mlflow"]
    assert tracked["where"].startswith(f"MLflow run {tracked['id']} in sqlite:///")
    found = store.get_run(tracked["id"])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert store.get_experiment(found.info.experiment_id).name == "lagvae"
    assert found.data.tags["status"] == str(solution.status)
    assert found.data.tags["message"] == solution.message
    params = found.data.params
    assert params["problem"] == str(solution.problem)
    assert (params["data"], params["hidden"], params["dual"], params["seed"]) == ("digits", "32", "forecast", "0")
    for name in solution.problem.names:
        for kind in ("violation", "multiplier", "price"):
            history = store.get_metric_history(found.info.run_id, f"{kind}/{name}")
            assert [seen.step for seen in history] == [5, 10, 15, 18]
            logged = [record["constraints"][name][kind] for record in solution.history]
            assert [seen.value for seen in history] == pytest.approx(logged)
    assert found.data.metrics["weight/mmd_kernel_imq"] == pytest.approx(solution.weights["mmd(kernel=imq)"])
    measured = solution.evaluation["test"]["neg_elbo"].value
    assert found.data.metrics["evaluation/test/neg_elbo"] == pytest.approx(measured)
    assert {file.path for file in store.list_artifacts(found.info.run_id)} == {
        "config.yaml", "evaluation.json", "metrics.jsonl",
    }  # fmt: skip


def test_resuming_goes_on_with_the_same_run(store: MlflowClient, tmp_path: Path) -> None:
    with stopped_after(12):
        run(tmp_path / "run", track=["mlflow"])
    (tracked,) = RunFolder(tmp_path / "run").read_tracked().values()
    assert store.get_run(tracked["id"]).info.status == "KILLED"
    solution = run(tmp_path / "run", track=["mlflow"], resume=True)
    assert RunFolder(tmp_path / "run").read_tracked() == {"mlflow": tracked}
    found = store.get_run(tracked["id"])
    assert (found.info.status, found.data.tags["status"]) == ("FINISHED", str(solution.status))
    history = store.get_metric_history(tracked["id"], "terms/rate")
    assert [seen.step for seen in history] == [5, 10, 15, 18]
    assert [seen.value for seen in history] == pytest.approx([record["terms"]["rate"] for record in solution.history])


def test_the_command_line_tracks_sends_its_picture_and_says_where(
    store: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--hidden", "32", "--latent-dim", "2", "--epochs", "1", "--precision", "float32"]
    out = tmp_path / "run"
    assert main(["train", PROBLEM, "--data", "digits", "--out", str(out), "--track", "mlflow", *flags]) == 0
    tracked = RunFolder(out).read_tracked()["mlflow"]
    assert f"mlflow   {tracked['where']}" in capsys.readouterr().out
    assert "report.png" in {file.path for file in store.list_artifacts(tracked["id"])}
    assert RunFolder(out).read_config()["output"]["track"] == ["mlflow"]


def test_a_server_that_is_not_there_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(
        RuntimeWarning, match="expected mlflow to track the run, got MlflowException: API request to http"
    ) as seen:
        solution = run(tmp_path / "run", track="mlflow")
    assert len([w for w in seen if "mlflow to track" in str(w.message)]) == 1
    assert solution.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)
    assert RunFolder(tmp_path / "run").read_tracked() == {}
    assert len(solution.history) == TINY["epochs"] + 1
