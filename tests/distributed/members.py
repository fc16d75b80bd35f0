"""What the processes of a tested team do: functions of a module, so that a spawned process finds them."""

from __future__ import annotations

import atexit
import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.distributed.team import Team
from lagvae.settings import Settings
from lagvae.storage.checkpoint import save_checkpoint
from lagvae.terms.term import registered_terms
from lagvae.training.build import settle_likelihood
from lagvae.training.devices import Blueprint, TeamSession
from lagvae.training.steps.session import Session

STEPS = 30
SMALL: dict[str, Any] = {
    "hidden": (16,), "latent_dim": 3, "batch_size": 48, "epochs": 4, "device": "cpu", "precision": "float32",
}  # fmt: skip

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "original": ("max mi s.t. neg_elbo <= 45, mmd <= 2e-2", "bits", {}),
    "features": ("min mi s.t. neg_elbo <= 45, mmd(kernel=imq, estimator=unbiased, features=64) <= 1e-2", "bits", {}),
    "flow": ("min neg_elbo s.t. rate >= 2, mmd(prior=closed_form) <= 1e-2", "bits", {"prior": "flow"}),
    "held out": ("max mi s.t. neg_elbo <= 45, mmd <= 2e-2", "bits", {"held_out": 0.3}),
    "many draws": ("min neg_iwae(samples=3) s.t. code_spread <= 1", "bits", {}),
    "variance of the batch": ("max mi s.t. neg_elbo <= 9, mmd <= 2e-2", "reals", {}),
    "learned variance": ("max mi s.t. neg_elbo <= 9", "reals", {"likelihood": "gaussian", "optimizer": "sgd"}),
    "augmented": ("min rate s.t. distortion <= 44", "bits", {"dual": "augmented_lagrangian"}),
}


def code_spread(draw: Any) -> Tensor:
    """A term that looks at all codes and all outputs at once."""
    return draw.z.var(0).sum() + 1e-3 * draw.parameters.var(0).mean() + 1e-3 * (draw.x.mean() - 0.5).square()


def build(case: str) -> Session:
    """A session as every process builds it; the data are the same numbers everywhere."""
    if "code_spread" not in registered_terms():
        lv.term(code_spread)
    problem, kind, changes = CASES[case]
    drawn = torch.rand(400, 12, generator=torch.Generator().manual_seed(0))
    values = (drawn > 0.6).float() if kind == "bits" else drawn * torch.arange(1, 13) + 2
    settings = Settings().replace(**{**SMALL, **changes})
    data = lv.open_data((Examples(values[:320]), Examples(values[320:])))
    data = data.hold_out(settings.dual.held_out, seed=0)
    settings, _ = settle_likelihood(settings, data)
    return Blueprint(lv.Problem.parse(problem), data, settings).build()


def take_steps(session: Session) -> list[Tensor]:
    """What each step measured."""
    return [session.take_step() for _ in range(STEPS)]


def train_every_case(team: Team, folder: Path) -> None:
    """Leaves, of every process, the state after some steps and what they measured."""
    for case in CASES:
        session = TeamSession.of(build(case), team)
        measured = torch.stack(take_steps(session))
        tensors, plain = session.state()
        save_checkpoint(folder / f"{case}-{team.rank}", session.step, {**tensors, "measured": measured}, plain)


def take_part(team: Team, folder: Path) -> None:
    """Checks what the processes tell each other."""
    part = torch.arange(6.0).view(2, 3) + 6 * team.rank
    part.requires_grad_()
    whole = team.gather(part, 0)
    assert whole.tolist() == torch.arange(12.0).view(4, 3).tolist()
    assert torch.equal(team.share(whole), part)
    # Every process has one copy of the loss; the gradient is that of one copy once processes are averaged over.
    own = torch.ones(3, requires_grad=True)
    (whole.square().sum() + (own * whole.mean()).sum()).backward()
    by_hand = 2 * part.detach() + 3 / 12
    assert torch.allclose(part.grad / team.size, by_hand)
    team.average_gradients([own, torch.zeros(2)])
    assert torch.allclose(own.grad, torch.full((3,), 5.5))
    assert not team.agree(is_asked=False)
    assert team.agree(is_asked=team.rank == 1)
    orphan = dataclasses.replace(team, parent=team.parent + (1 if team.rank else 0))
    assert orphan.agree(is_asked=False)
    (folder / f"done-{team.rank}").touch()


def leave_words(team: Team, folder: Path) -> None:
    """Says something, and would die if its interpreter were taken down."""
    atexit.register(os.abort)
    sys.stdout.write(f"process {team.rank} was here\n")
    team.agree(is_asked=False)


def fail(team: Team, folder: Path) -> None:
    """The second process fails while the first waits for it."""
    if team.rank == 1:
        raise lv.DataError("expected luck, got none; try again")
    team.agree(is_asked=False)


def err(team: Team, folder: Path) -> None:
    """The second process has a bug."""
    if team.rank == 1:
        raise ZeroDivisionError("a bug")
    team.agree(is_asked=False)


def die(team: Team, folder: Path) -> None:
    """The second process is killed while the first waits for it."""
    if team.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    team.agree(is_asked=False)
