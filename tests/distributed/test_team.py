"""Two processes see what one would have seen."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from distributed import members
from lagvae.distributed.launch import run_team
from lagvae.distributed.streams import TeamStreams
from lagvae.distributed.team import Team
from lagvae.errors import DataError, SettingError, SolveError
from lagvae.storage.checkpoint import load_checkpoint
from lagvae.streams import Streams


def test_each_takes_its_share_of_the_random_numbers_of_all() -> None:
    alone = Streams(3)
    team = [TeamStreams(Streams(3), Team(rank, 2, 0)) for rank in range(2)]
    for _ in range(2):
        noise = alone.posterior_noise(torch.empty(5, 6, 4))
        shares = [streams.posterior_noise(torch.empty(5, 3, 4)) for streams in team]
        assert torch.equal(torch.cat(shares, 1), noise)
        sample = alone.prior_sample(torch.empty(6, 4))
        assert all(torch.equal(streams.prior_sample(torch.empty(3, 4)), sample) for streams in team)
    for streams in team:
        assert all(torch.equal(state, alone.state_dict()[name]) for name, state in streams.state_dict().items())


def test_processes_gather_share_average_and_agree(tmp_path: Path) -> None:
    run_team(members.take_part, 2, tmp_path)
    assert {"done-0", "done-1"} <= {path.name for path in tmp_path.iterdir()}


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Weights, multipliers, streams and every value measured, for problems whose terms see more than one example."""
    run_team(members.train_every_case, 2, tmp_path)
    for case in members.CASES:
        session = members.build(case)
        measured = torch.stack(members.take_steps(session))
        (first, _), (second, _) = (load_checkpoint(tmp_path / f"{case}-{rank}") for rank in range(2))
        different = [name for name in first if not torch.equal(first[name], second[name])]
        assert not different, case  # to the bit: nothing drifts apart
        torch.testing.assert_close(first["measured"], measured, rtol=1e-4, atol=1e-5, msg=lambda m, c=case: f"{c}: {m}")
        tensors, _ = session.state()
        assert first.keys() - {"measured"} == tensors.keys(), case
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                continue
            theirs = first[name]
            assert torch.allclose(theirs.double(), tensor.double(), rtol=1e-4, atol=1e-5), (case, name)
        assert len(measured.unique(dim=0)) == members.STEPS


@pytest.mark.parametrize(
    ("member", "kind", "message"),
    [
        (members.fail, DataError, "^expected luck, got none; try again$"),
        (
            members.err,
            SolveError,
            "expected 2 processes that train to the end, got ZeroDivisionError: a bug; try to resume",
        ),
        (members.die, SolveError, "expected 2 processes that train to the end, got process 1 ended by SIGKILL; try to"),
    ],
    ids=["error", "bug", "killed"],
)
def test_where_one_fails_all_end_with_its_reason(
    member: object, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        run_team(member, 2, tmp_path)  # type: ignore[arg-type]
    assert not multiprocessing.active_children()


def test_members_leave_at_once_and_lose_no_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Threads of the backend outlive the team; where the interpreter is taken down around them, they abort it."""
    run_team(members.leave_words, 2, tmp_path)
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "process 0 was here", "process 1 was here"]


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"expected what another process can be sent, got .*lambda.*; try functions"):
        run_team(members.take_part, 2, tmp_path, lambda: None)
    assert not multiprocessing.active_children()
