"""k steps, a stop, and m steps more are k + m steps, to the bit."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lagvae as lv
from lagvae.errors import DamageWarning
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.streams import Streams
from lagvae.training import fit as fit_module
from lagvae.training.interrupt import Interrupt
from tiny_runs import (
    STEPS,
    assert_same_run,
    assert_same_tensors,
    checkpoint_names,
    content,
    evaluation,
    measured,
    metrics,
    run,
    stopped_after,
)

SGD = functools.partial(torch.optim.SGD, lr=1e-4, momentum=0.9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", SGD], ids=["adam", "momentum"])
@pytest.mark.parametrize("dual", ["forecast", "gradient", "zhao2018"])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, dual: str, optimizer: Any, precision: str) -> None:
    settings = {"dual": dual, "optimizer": optimizer, "precision": precision}
    whole = run(tmp_path / "whole", **settings)
    assert whole.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)
    for stops in ((10,), (1, 14)):  # at a record, and between two
        out = tmp_path / "-".join(map(str, stops))
        resume = False
        with stopped_after(*stops):
            for step in stops:
                part = run(out, resume=resume, **settings)
                assert (part.status, part.step) == (lv.Status.STOPPED, step)
                resume = True
            last = run(out, resume=True, **settings)
        assert (last.status, last.step) == (whole.status, STEPS)
        assert_same_run(out, tmp_path / "whole")
        assert last.multipliers == whole.multipliers
        assert measured(last) == measured(whole)
        assert_same_tensors(last.model.state_dict(), whole.model.state_dict())


def test_what_is_compared_would_show_a_difference(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", seed=1)
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "one", tmp_path / "two")
    tensors, _ = load_checkpoint(tmp_path / "one" / "checkpoints")
    others, _ = load_checkpoint(tmp_path / "two" / "checkpoints")
    changed = {name.split("/")[0] for name in tensors if not torch.equal(tensors[name], others[name])}
    assert changed == {"model", "optimizer", "dual", "streams"}
    assert metrics(tmp_path / "one") != metrics(tmp_path / "two")
    assert evaluation(tmp_path / "one") != evaluation(tmp_path / "two")


def test_a_checkpoint_holds_everything_that_a_step_changes(tmp_path: Path) -> None:
    run(tmp_path / "run")
    tensors, state = load_checkpoint(tmp_path / "run" / "checkpoints")
    parts = {name.split("/")[0] for name in tensors}
    assert parts == {"model", "optimizer", "dual", "streams", "log"}
    assert {name for name in tensors if name.startswith("dual/")} == {
        f"dual/{name}" for name in ("multipliers", "fast", "slow", "updates", "progress")
    }
    assert {name for name in tensors if name.startswith("streams/")} == {
        f"streams/{name}" for name in ("initial_weights", "binarisation", "posterior", "prior")
    }
    moments = {name.rsplit("/", 1)[1] for name in tensors if name.startswith("optimizer/")}
    assert moments == {"exp_avg", "exp_avg_sq", "step"}
    assert state["step"] == STEPS


def test_what_was_measured_since_the_last_record_is_in_the_checkpoint(tmp_path: Path) -> None:
    with stopped_after(7):
        run(tmp_path / "run")
    assert [record["step"] for record in metrics(tmp_path / "run")] == [5]
    tensors, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
    assert tensors["log/unlogged"].shape == (2, 1, 3)
    run(tmp_path / "run", resume=True)
    assert [record["step"] for record in metrics(tmp_path / "run")] == [5, 10, 15, 18]
    tensors, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
    assert tensors["log/unlogged"].shape == (0, 1, 3)


def test_a_resumed_run_may_log_more_often_and_keeps_its_bits(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with stopped_after(14):
        run(tmp_path / "run", log_every=9)
    run(tmp_path / "run", resume=True, log_every=2, checkpoint_seconds=0.0, device="auto")
    assert [record["step"] for record in metrics(tmp_path / "run")] == [9, 16, 18]
    ours, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
    theirs, _ = load_checkpoint(tmp_path / "whole" / "checkpoints")
    assert_same_tensors(ours, theirs)


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "adagrad", "rprop", "asgd", "nadam", "adafactor"])
def test_any_optimiser_of_torch_resumes(tmp_path: Path, name: str) -> None:
    run(tmp_path / "whole", optimizer=name, learning_rate=1e-4)
    with stopped_after(7):
        run(tmp_path / "run", optimizer=name, learning_rate=1e-4)
    run(tmp_path / "run", optimizer=name, learning_rate=1e-4, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_array_in_memory_resumes_with_the_same_array(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((120, 6), dtype=np.float32)
    settings = {"data": x, "batch_size": 20, "problem": "min rate s.t. distortion <= 4"}
    run(tmp_path / "whole", **settings)
    with stopped_after(4):
        run(tmp_path / "run", **settings)
    run(tmp_path / "run", resume=True, **settings)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


class Tied(nn.Module):
    """A decoder that shares the encoder's weights, with running statistics of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(64)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.norm(nn.functional.linear(z, self.layer.weight.T[:, :2])).unflatten(-1, (1, 8, 8))


def make_tied() -> lv.VAE:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    return lv.VAE(encoder, Tied(encoder[1]), latent_dim=2)


def test_a_model_of_ones_own_resumes_with_tied_weights_and_running_statistics(tmp_path: Path) -> None:
    run(tmp_path / "whole", model=make_tied())
    with stopped_after(7):
        run(tmp_path / "run", model=make_tied())
    last = run(tmp_path / "run", model=make_tied(), resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert last.model.decoder.layer.weight is last.model.encoder[1].weight


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    before = content(tmp_path / "run")
    again = run(tmp_path / "run", resume=True)
    after = content(tmp_path / "run")
    assert (again.status, again.step) == (first.status, STEPS)
    assert measured(again) == measured(first)
    assert after == before


def test_a_run_killed_before_its_first_checkpoint_starts_at_its_beginning(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with stopped_after(1):
        run(tmp_path / "run", log_every=1)
    for path in (tmp_path / "run").iterdir():
        if path.name == "checkpoints":
            for checkpoint in path.iterdir():
                for file in checkpoint.iterdir():
                    file.unlink()
                checkpoint.rmdir()
    with pytest.raises(lv.CheckpointError, match=r"expected a checkpoint in .*, got none"):  # a record, so one is lost
        run(tmp_path / "run", resume=True)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    run(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_half_a_line_of_the_log_is_dropped_and_written_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with stopped_after(12):
        run(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 15, "terms": {}}) + "\n" + '{"step": 18, "ter')
    run(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_resumed_run_forgets_how_it_ended_before(tmp_path: Path) -> None:
    with stopped_after(7):
        run(tmp_path / "run")
    stale = tmp_path / "run" / "evaluation.json"
    stale.write_text('{"status": "diverged"}')
    with stopped_after(9):
        run(tmp_path / "run", resume=True)
    assert not stale.exists()
    assert lv.load(tmp_path / "run").status is lv.Status.STOPPED


def test_a_relative_problem_resumes_without_another_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "max mi s.t. neg_elbo <= best + 4, mmd <= 2e-2"
    whole = run(tmp_path / "whole", problem=asked)
    numbers = str(whole.problem)
    with stopped_after(7):
        run(tmp_path / "run", problem=numbers)
    shutil.copy(tmp_path / "whole" / "config.yaml", tmp_path / "run" / "config.yaml")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("probed again")

    monkeypatch.setattr(fit_module, "resolve_bounds", refuse)
    with stopped_after(9):
        assert run(tmp_path / "run", problem=asked, resume=True).step == 9
    with pytest.raises(lv.CheckpointError, match=r"own problem \(.*best \+ 4.*\), got .*best \+ 5"):
        run(tmp_path / "run", problem=asked.replace("4", "5"), resume=True)
    with stopped_after(12):
        assert run(tmp_path / "run", problem=numbers, resume=True).step == 12
    last = run(tmp_path / "run", problem=lv.Problem.parse(asked), resume=True)
    assert last.problem == whole.problem
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    with pytest.raises(AssertionError, match="probed again"):
        run(tmp_path / "new", problem=asked)


def test_a_probe_that_is_interrupted_leaves_no_run(tmp_path: Path) -> None:
    with stopped_after(7), pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(tmp_path / "run", problem="max mi s.t. neg_elbo <= best + 4")
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    solution = run()
    with stopped_after(7):
        stopped = run()
    assert list(tmp_path.iterdir()) == []
    assert solution.folder is None
    assert [record["step"] for record in solution.history] == [5, 10, 15, 18]
    assert (stopped.status, stopped.message) == (lv.Status.STOPPED, "stopped at step 7 of 18")
    run(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml", "metrics.jsonl", "checkpoints", "tensorboard", "evaluation.json",
    }  # fmt: skip


def test_a_stopped_run_has_a_checkpoint_and_no_evaluation(tmp_path: Path) -> None:
    with stopped_after(7):
        stopped = run(tmp_path / "run")
    assert stopped.evaluation is None
    assert stopped.residuals is None
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert checkpoint_names(tmp_path / "run") == ["step-00000000", "step-00000007"]


def test_a_stop_in_the_last_step_is_no_stop(tmp_path: Path) -> None:
    with stopped_after(STEPS):
        solution = run(tmp_path / "run")
    assert solution.evaluation is not None
    assert solution.step == STEPS


def test_only_the_first_sigint_is_kept_back() -> None:
    before = signal.default_int_handler
    inherited = signal.signal(signal.SIGINT, before)  # a shell's background jobs ignore it
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with Interrupt() as untouched:
        pass
    assert not untouched.requested
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, inherited)


def test_a_finished_run_whose_log_was_deleted_is_judged_again(tmp_path: Path) -> None:
    before = run(tmp_path / "run", "max mi s.t. neg_elbo <= 20")
    assert before.status is lv.Status.INFEASIBLE
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.warns(DamageWarning, match="is gone"):
        again = run(tmp_path / "run", "max mi s.t. neg_elbo <= 20", resume=True)
    assert (again.status, again.violations) == (before.status, before.violations)
    (diagnosis,) = again.diagnosis
    assert (diagnosis.cause, diagnosis.why) == ("unknown", "its log is gone")
    assert diagnosis.reachable == before.diagnosis[0].reachable
    assert again.seconds > 0
    assert lv.load(tmp_path / "run").diagnosis[0].why == "its log is gone"


def test_a_stopped_run_is_loaded_as_it_was_returned(tmp_path: Path) -> None:
    with stopped_after(12):
        stopped = run(tmp_path / "run")
    loaded = lv.load(tmp_path / "run")
    assert (loaded.step, loaded.multipliers, loaded.seconds) == (12, stopped.multipliers, stopped.seconds)
    assert loaded.weights == pytest.approx(stopped.weights)
    assert loaded.beta == pytest.approx(stopped.beta)


def test_on_another_kind_of_device_streams_begin_afresh() -> None:
    streams = Streams(3, "cpu")
    elsewhere = {name: torch.zeros(16, dtype=torch.uint8) for name in streams.state_dict()}
    with pytest.warns(UserWarning, match="from step 7 on random numbers are others than on the device"):
        streams.go_on(elsewhere, step=7)
    again = Streams(3, "cpu")
    with pytest.warns(UserWarning, match="step 7"):
        again.go_on(elsewhere, step=7)
    assert all(torch.equal(a, b) for a, b in zip(*(s.state_dict().values() for s in (streams, again)), strict=True))
    saved = streams.state_dict()
    again.go_on(saved, step=7)
    assert torch.equal(torch.rand(3, generator=again.posterior), torch.rand(3, generator=streams.posterior))
