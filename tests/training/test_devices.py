"""A run on two devices is the run on one, to rounding, and either goes on with what the other left."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lagvae as lv
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.training import devices as devices_module
from tiny_runs import STEPS, TINY, metrics, run, stopped_after

LONG: dict[str, Any] = {"epochs": 60, "checkpoint_seconds": 0.0, "batch_size": 250}


def last_step(out: Path) -> int:
    """The last whole line of a log that is being written."""
    path = out / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


@contextlib.contextmanager
def once_at(out: Path, step: int, act: Callable[[], object]) -> Iterator[None]:
    """While entered, does something when a run's log has come to a step."""
    is_over = threading.Event()

    def watch() -> None:
        while last_step(out) < step and not is_over.wait(0.01):
            pass
        if not is_over.is_set():
            act()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def is_gone(group: int) -> bool:
    """Whether all processes of a group end within moments: the one that tracks what they share ends last."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def kill_the_second() -> None:
    second = max(multiprocessing.active_children(), key=lambda process: int(process.name.split("-")[-1]))
    assert second.pid is not None
    os.kill(second.pid, signal.SIGKILL)


def test_one_and_two_go_on_with_each_others_runs(tmp_path: Path) -> None:
    """One device, then two until Ctrl-C, then two until one is killed, then one: as if it had been one all along."""
    whole = run(tmp_path / "whole", **LONG)
    out = tmp_path / "run"
    with stopped_after(7):
        run(out, **LONG)

    command = [sys.executable, "-m", "lagvae", "train", "--resume", str(out), "--devices", "2", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with once_at(out, 20, lambda: os.killpg(process.pid, signal.SIGINT)):  # as a terminal does: to all of them
        printed, complaint = process.communicate(timeout=300)
    assert process.returncode == 1, complaint
    assert "STOPPED: stopped at step" in printed
    assert "Traceback" not in complaint
    assert is_gone(process.pid)

    stopped = lv.load(out)
    assert 20 <= stopped.step < whole.step
    message = r"2 processes that train to the end, got process 1 ended by SIGKILL; try to resume"
    with once_at(out, stopped.step + 20, kill_the_second), pytest.raises(lv.SolveError, match=message):
        run(out, resume=True, devices=2, **LONG)
    assert not multiprocessing.active_children()
    left = lv.load(out).step
    assert stopped.step + 20 <= left < whole.step

    last = run(out, resume=True, **LONG)
    assert last.status is whole.status
    assert [record["step"] for record in metrics(out)] == [record["step"] for record in metrics(tmp_path / "whole")]
    for ours, theirs in zip(metrics(out), metrics(tmp_path / "whole"), strict=True):
        assert ours["terms"] == pytest.approx(theirs["terms"], rel=1e-3, abs=1e-4)
    ours_now, theirs_now = (load_checkpoint(folder / "checkpoints")[0] for folder in (out, tmp_path / "whole"))
    assert ours_now.keys() == theirs_now.keys()
    for name in ours_now:
        if not name.startswith("optimizer/"):
            torch.testing.assert_close(ours_now[name], theirs_now[name], rtol=1e-3, atol=1e-4, msg=name)
    assert last.multipliers == pytest.approx(whole.multipliers, rel=1e-3)


def test_ctrl_c_in_a_programme_stops_all_of_them_too(tmp_path: Path) -> None:
    """Only this process gets the signal, and passes it on; what came out is the model that was given, trained."""
    model = lv.VAE(lv.MLPEncoder((64,), 2, (16,)), lv.MLPDecoder(2, (64,), (16,)), latent_dim=2)
    before = [weight.clone() for weight in model.parameters()]
    out = tmp_path / "run"
    began = time.monotonic()
    data = lv.open_data("digits")
    flat = (data.train.values.flatten(1), data.test.values.flatten(1))
    with once_at(out, 10, lambda: os.kill(os.getpid(), signal.SIGINT)):
        solution = run(out, data=flat, model=model, devices=2, **{**LONG, "epochs": 2000})
    assert solution.status is lv.Status.STOPPED
    assert solution.model is model
    assert solution.step >= 10
    assert [record["step"] for record in solution.history] == list(range(5, solution.step + 1, 5))
    assert not any(torch.equal(ours, theirs) for ours, theirs in zip(before, model.parameters(), strict=True))
    assert time.monotonic() - began < 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, r"batches that 3 devices can share evenly, got 250 examples; try --batch-size 249"),
        ({"devices": 2, "held_out": 0.09}, r"batches that 2 devices can share evenly, got \d+ examples"),
        ({"devices": 0}, r"a whole number ≥ 1 as devices, got 0"),
    ],
)
def test_what_cannot_be_shared_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(lv.SettingError, match=message):
        run(**{"batch_size": 250, **changes})


def test_networks_whose_examples_share_statistics_are_refused() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    model = lv.VAE(encoder, lv.MLPDecoder(2, (8, 8), (8,)), latent_dim=2)
    with pytest.raises(
        lv.SettingError, match=r"each example by itself, got BatchNorm1d at encoder.2, .*; try LayerNorm"
    ):
        run(model=model, devices=2, batch_size=250)


def test_an_amortised_front_needs_one_device() -> None:
    with pytest.raises(lv.SettingError, match=r"one device for an amortised front, got 2; try devices=1, or --method"):
        lv.fit_front("digits", devices=2, **TINY)


def test_one_device_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "run_team", None)
    assert run(devices=1).step == STEPS
