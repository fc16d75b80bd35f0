"""A loss that is no number ends a run with a status that says which term, at which step."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import lagvae as lv
from lagvae.model.draw import Draw
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.training.steps.session import Session
from tiny_runs import TINY, checkpoint_names, content, evaluation, metrics, run

PROBLEM = "max mi s.t. neg_elbo <= 45, code_energy <= 70"


def break_at(step: int, value: float = math.nan) -> None:
    """Registers the term code_energy, which is ``value`` at that step of a process (from 1)."""
    calls = 0

    @lv.term
    def code_energy(draw: Draw) -> Tensor:
        nonlocal calls
        calls += 1
        energy = draw.z.square().sum(-1)
        return energy * value if calls == step else energy


@pytest.mark.usefixtures("registry")
class TestTerm:
    @pytest.mark.parametrize("step", [1, 7, 10, 11, 18])
    def test_the_message_names_term_and_step(self, tmp_path: Path, step: int) -> None:
        break_at(step)
        solution = run(tmp_path / "run", PROBLEM, checkpoint_seconds=0.0)
        assert solution.status is lv.Status.DIVERGED
        assert solution.message.startswith(f"code_energy became nan at step {step}; ")
        assert solution.evaluation is None
        found = evaluation(tmp_path / "run")
        assert (found["status"], found["message"]) == ("diverged", solution.message)
        assert "estimates" not in found

    def test_a_term_that_stays_finite_ends_well(self, tmp_path: Path) -> None:
        break_at(19)
        solution = run(tmp_path / "run", PROBLEM)
        assert solution.status in (lv.Status.FEASIBLE, lv.Status.INFEASIBLE)

    def test_infinite_is_told_from_nan(self) -> None:
        break_at(3, math.inf)
        assert run(problem=PROBLEM).message.startswith("code_energy became infinite at step 3; ")

    def test_the_last_good_checkpoint_is_kept_finite_and_loadable(self, tmp_path: Path) -> None:
        break_at(12)
        solution = run(tmp_path / "run", PROBLEM, checkpoint_seconds=0.0)
        assert checkpoint_names(tmp_path / "run") == ["step-00000005", "step-00000010"]
        assert [record["step"] for record in metrics(tmp_path / "run")] == [5, 10]
        tensors, _ = load_checkpoint(tmp_path / "run" / "checkpoints")
        assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
        loaded = lv.load(tmp_path / "run")
        for found in (solution, loaded):
            assert (found.status, found.step) == (lv.Status.DIVERGED, 10)
            assert torch.isfinite(found.model.sample(4)).all()
            assert all(math.isfinite(value) for value in found.multipliers.values())
        assert loaded.multipliers == solution.multipliers
        assert loaded.message == solution.message

    def test_what_is_said_is_of_the_checkpoint(self, tmp_path: Path) -> None:
        break_at(12)
        solution = run(tmp_path / "run", PROBLEM, checkpoint_seconds=1e6)
        loaded = lv.load(tmp_path / "run")
        for found in (solution, loaded):
            assert (found.step, found.history, found.seconds) == (0, [], 0.0)
            assert all(math.isnan(violation) for violation in found.violations.values())

    def test_without_a_folder_nothing_is_said_to_be_kept(self) -> None:
        break_at(12)
        solution = run(None, PROBLEM)
        assert "no checkpoint was kept, for want of a folder" in solution.message
        assert (solution.step, [record["step"] for record in solution.history]) == (15, [5, 10])

    def test_with_no_checkpoint_in_between_it_is_the_beginning(self, tmp_path: Path) -> None:
        break_at(2)
        solution = run(tmp_path / "run", PROBLEM, checkpoint_seconds=1e6)
        assert solution.step == 0
        assert torch.isfinite(lv.load(tmp_path / "run").model.sample(4)).all()

    def test_a_diverged_run_can_be_resumed_from_there(self, tmp_path: Path, registry: dict[str, lv.Term]) -> None:
        break_at(12)
        run(tmp_path / "run", PROBLEM, checkpoint_seconds=0.0)
        del registry["code_energy"]
        break_at(1000)
        mended = run(tmp_path / "run", PROBLEM, resume=True)
        assert mended.step == 18
        assert mended.evaluation is not None
        assert evaluation(tmp_path / "run")["status"] == str(mended.status)

    def test_a_caller_may_ask_for_an_exception(self) -> None:
        break_at(3)
        with pytest.raises(lv.SolveError, match="code_energy became nan at step 3"):
            run(problem=PROBLEM).require_feasible()
        easy = run(problem="min rate s.t. neg_elbo <= 500")
        assert easy.require_feasible() is easy


class Breaking(nn.Module):
    """A decoder whose output is NaN from a forward pass on (the first checks the shapes)."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner = lv.MLPDecoder(2, (1, 8, 8), (16,))
        self.at, self.calls = at, -1

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1
        logits = self.inner(z)
        return logits * math.nan if self.calls >= self.at else logits


@pytest.mark.parametrize("step", [4, 9])
def test_a_model_that_breaks(tmp_path: Path, step: int) -> None:
    torch.manual_seed(0)
    model = lv.VAE(lv.MLPEncoder((1, 8, 8), 2, (16,)), Breaking(step), latent_dim=2)
    solution = run(tmp_path / "run", model=model, checkpoint_seconds=0.0)
    assert solution.status is lv.Status.DIVERGED
    assert solution.message.startswith(f"distortion became nan at step {step}; ")
    assert all(torch.isfinite(weight).all() for weight in solution.model.parameters())


def test_a_learning_rate_that_is_far_too_high(tmp_path: Path) -> None:
    solution = run(tmp_path / "run", learning_rate=1e30, schedule="constant", warmup_steps=0)
    assert solution.status is lv.Status.DIVERGED
    assert " at step 2; " in solution.message
    assert run(tmp_path / "tame", learning_rate=1e-3).status is not lv.Status.DIVERGED


def test_weights_that_break_in_the_last_step_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_step = Session.take_step

    def break_last(session: Session) -> Tensor:
        values = take_step(session)
        if session.step == session.total_steps:
            next(session.model.parameters()).data.fill_(math.inf)
        return values

    monkeypatch.setattr(Session, "take_step", break_last)
    solution = run(tmp_path / "run", checkpoint_seconds=0.0)
    assert (solution.status, solution.step) == (lv.Status.DIVERGED, 15)
    assert re.match(r"weights became non-finite at step 18 \(\S+\); the last good", solution.message)
    assert checkpoint_names(tmp_path / "run") == ["step-00000010", "step-00000015"]


def test_weights_that_are_broken_at_a_line_of_the_log_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = Session.take_step

    def break_tenth(session: Session) -> Tensor:
        values = take_step(session)
        if session.step == 10:
            next(session.model.parameters()).data.fill_(math.nan)
        return values

    monkeypatch.setattr(Session, "take_step", break_tenth)
    solution = run(tmp_path / "run", checkpoint_seconds=0.0)
    assert (solution.status, solution.step) == (lv.Status.DIVERGED, 5)
    assert solution.message.startswith("weights became non-finite at step 10 (encoder.layers.0.weight); ")


def test_at_the_command_line_it_is_exit_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lagvae.cli.main import main

    words = ["train", "min rate s.t. neg_elbo <= 500", "--data", "digits", "--hidden", "8", "--latent-dim", "2"]
    words += ["--device", TINY["device"], "--epochs", "2", "--warmup-steps", "0", "--quiet"]
    assert main([*words, "--learning-rate", "1e30", "--out", str(tmp_path / "run")]) == 1
    shown = capsys.readouterr()
    assert "DIVERGED: " in shown.out
    assert "at step 2" in shown.out
    assert shown.err == ""
    assert "evaluation.json" in content(tmp_path / "run")
    assert main([*words, "--out", str(tmp_path / "tame")]) == 0
