"""A front whose points are trained as stacks."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lagvae as lv
from lagvae.evaluation.evaluate import evaluate_model
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.front.dedicated.stacking import Pace, find_pace, group_alike, number_stacks
from lagvae.storage.folder import RunFolder
from lagvae.training.outcome import conclusion
from lagvae.training.steps.stack import StackSession
from small_fronts import SMALL
from tiny_runs import assert_same_run

PROBLEMS = ["max mi s.t. neg_elbo <= 50:70:20, mmd <= 1e-1", "min mi s.t. neg_elbo <= 1, mmd <= 1e-1", "min neg_elbo"]


def fit(out: Path | None = None, stack: Any = 3, **changes: Any) -> DedicatedFront:
    """Three points of 9 steps as one stack, and one of other terms."""
    options = {**SMALL, "batch_size": 500, "epochs": 3, "data_folder": None, "checkpoint_seconds": 0.0, **changes}
    front = lv.fit_front("digits", PROBLEMS, method="dedicated", out=out, stack=stack, **options)
    assert isinstance(front, DedicatedFront)
    return front


def test_each_point_is_what_it_is_alone_to_rounding(tmp_path: Path) -> None:
    front, alone = fit(tmp_path / "stacked"), fit(tmp_path / "alone", stack=1)
    assert [point.status for point in front.points] == ["feasible", "feasible", "infeasible", "feasible"]
    for ours, theirs in zip(front.points, alone.points, strict=True):
        assert (ours.problem, ours.status, ours.folder) == (theirs.problem, theirs.status, theirs.folder)
        assert ours.multipliers == pytest.approx(theirs.multipliers, rel=1e-4)
        for name, estimate in ours.estimates["test"].items():
            assert estimate.value == pytest.approx(theirs.estimates["test"][name].value, rel=1e-4, abs=1e-6)
    assert front.steps == alone.steps == 36
    ours, theirs = (tmp_path / name / str(front.points[0].folder) for name in ("stacked", "alone"))
    assert RunFolder(ours).read_config() == RunFolder(theirs).read_config()
    assert len((ours / "metrics.jsonl").read_text().splitlines()) == 2
    one = lv.load(ours).model.state_dict()
    for name, tensor in lv.load(theirs).model.state_dict().items():
        torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=1e-5)


def stop_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Presses Ctrl-C in the stack's step of that number."""
    take_step = StackSession.take_step

    def watched(stack: StackSession) -> Any:
        values = take_step(stack)
        if stack.step == step and stack.sessions[0].total_steps == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return values

    patch.setattr(StackSession, "take_step", watched)


def without_timing(patch: pytest.MonkeyPatch) -> None:
    import lagvae.front.dedicated.fit as module

    patch.setattr(module, "find_pace", lambda problems, build, size: Pace(size or 1, 0.01))


def test_interrupted_all_of_a_stack_go_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        without_timing(patch)
        stop_at(7, patch)
        stopped = fit(tmp_path / "cut")
    assert [point.status for point in stopped.points] == ["stopped", "stopped", "stopped", "waiting"]
    assert stopped.message == "stopped at point 1 of 4"
    # As if it had been killed while it wrote: the first point's last checkpoint is all that there is of step 7.
    for point in stopped.points[1:3]:
        checkpoints = RunFolder(tmp_path / "cut" / str(point.folder)).checkpoints
        (checkpoints / "step-00000007" / "state.json").unlink()
        (checkpoints / "step-00000007" / "tensors.safetensors").unlink()
        (checkpoints / "step-00000007").rmdir()
    resumed = fit(tmp_path / "cut", stack="auto", resume=True)
    assert resumed.status is lv.Status.FEASIBLE
    for ours, theirs in zip(resumed.points, whole.points, strict=True):
        assert_same_run(tmp_path / "cut" / str(ours.folder), tmp_path / "whole" / str(theirs.folder))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("changes", [{}, {"likelihood": "optimal_gaussian", "held_out": 0.2}], ids=["bits", "scales"])
def test_a_point_that_diverges_is_marked_and_the_others_are_as_they_were(
    index: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    whole = fit(tmp_path / "whole", **changes)
    take_step = StackSession.take_step

    def broken(stack: StackSession) -> Any:
        values = take_step(stack)
        if stack.step == 6:
            with torch.no_grad():
                next(stack.sessions[index].model.parameters()).fill_(torch.nan)
        return values

    with pytest.MonkeyPatch.context() as patch:
        without_timing(patch)
        patch.setattr(StackSession, "take_step", broken)
        front = fit(tmp_path / "broken", **changes)
    statuses = [point.status for point in whole.points]
    assert [point.status for point in front.points] == [*statuses[:index], "diverged", *statuses[index + 1 :]]
    assert "became n" in front.points[index].message  # an estimate nan, or weights non-finite
    for place in {0, 1, 2, 3} - {index}:
        folder = str(front.points[place].folder)
        assert_same_run(tmp_path / "broken" / folder, tmp_path / "whole" / folder)
    broken_one = front.solution_at(index).model
    saved = lv.load(tmp_path / "broken" / str(front.points[index].folder)).model
    for name, tensor in saved.state_dict().items():
        assert torch.equal(tensor, broken_one.state_dict()[name])
        assert bool(tensor.isfinite().all())


def test_ctrl_c_while_a_stack_is_evaluated_ends_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[object] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        evaluated.append(arguments)
        if len(evaluated) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate_model(*arguments, **options)

    monkeypatch.setattr(conclusion, "evaluate_model", watched)
    without_timing(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut")
    assert len(evaluated) == 3  # all of the stack are written, and the point after it is not begun
    monkeypatch.undo()
    assert [point.status for point in fit(tmp_path / "cut", resume=True).points][-1] == "feasible"


def test_a_point_that_fails_to_begin_is_marked_and_the_others_are_trained(fail_at: Callable[[str], None]) -> None:
    fail_at("70")
    front = fit()
    assert [point.status for point in front.points] == ["feasible", "failed", "infeasible", "feasible"]


def test_what_cannot_be_stacked_is_trained_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    without_timing(monkeypatch)
    front = fit(prior="flow")
    assert all(point.estimates for point in front.points)


def test_stacks_are_of_problems_with_the_same_terms() -> None:
    problems = ["min neg_elbo", "max mi s.t. mmd <= 1", "min rate s.t. distortion <= 3", "min mi s.t. mmd <= 2"]
    assert group_alike(problems) == [0, 1, 2, 1]
    assert number_stacks(problems, 2) == [0, 1, 2, 1]
    assert number_stacks(["min neg_elbo"] * 5, 2) == [0, 0, 1, 1, 2]


def test_a_stack_is_taken_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    import lagvae.front.dedicated.stacking as module
    from lagvae.settings import Settings
    from lagvae.training.build import build_session

    data, settings = lv.open_data("digits"), Settings().replace(hidden=(8,), latent_dim=2, device="cpu")

    def build(text: str) -> Any:
        return build_session(lv.Problem.parse(text), data, settings)

    def timed(alone: float, together: float) -> None:
        seconds = {True: together, False: alone}
        monkeypatch.setattr(module, "time_step", lambda session: seconds[isinstance(session, StackSession)])

    problems = ["min neg_elbo"] * 18
    timed(1.0, 4 * 0.5)
    assert find_pace(problems, build, size=None) == Pace(9, 0.5)  # two even stacks of the 16 there may be
    timed(1.0, 4 * 0.9)
    assert find_pace(problems, build, size=None) == Pace(1, 1.0)
    assert find_pace(problems, build, size=5) == Pace(5, 0.9)  # as asked
    assert find_pace(problems[:1], build, size=None) == Pace(1, 1.0)


def test_the_size_is_settled_once_and_kept(tmp_path: Path) -> None:
    fit(tmp_path)
    config = RunFolder(tmp_path).read_config()
    assert config["front"]["stack"] == 3
    for same in ("auto", None):
        assert fit(tmp_path, stack=same, resume=True).steps == 36
    with pytest.raises(lv.CheckpointError, match="run's own front"):
        fit(tmp_path, stack=2, resume=True)
    with pytest.raises(lv.SettingError, match="expected auto or a whole number ≥ 1 as stack, got 0"):
        fit(stack=0)
    assert json.loads((tmp_path / "front.json").read_text())["steps"] == 36
