"""Fronts to draw: of one network, measured in closed form; and of runs, of which one misses a bound and one failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import lagvae as lv
from curves_of_front import GAMMAS, surface
from lagvae.data.dataset import Data
from lagvae.data.examples import Examples
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.amortised.modulation import Modulation
from lagvae.front.dedicated.front import DedicatedFront
from lagvae.front.point import FrontPoint
from lagvae.model.vae import mlp_vae
from lagvae.settings import Settings
from lagvae.training.outcome.solution import Status

PROBLEMS = ("max mi s.t. neg_elbo <= 500", "max mi s.t. neg_elbo <= 10", "min mi s.t. neg_elbo <= 500")


def images(event_shape: tuple[int, ...] = (1, 8, 8)) -> Data:
    """120 train and 20 test examples of ten classes, in memory."""
    random = np.random.default_rng(0)
    labels = torch.arange(120) % 10
    values = torch.from_numpy(random.integers(0, 255, (140, *event_shape)).astype(np.uint8))
    return Data("", Examples(values[:120], labels), Examples(values[120:], labels[:20]))


def amortised(
    data_name: str = "mnist", *, gammas: tuple[float, ...] = GAMMAS, event_shape: tuple[int, ...] = (1, 8, 8)
) -> AmortisedFront:
    """A front of the curves D = 50 + 100 exp(-R / 20) + 2 log(1 + γ / 1000), with a network of random weights."""
    held = surface(gammas)
    points = tuple(
        FrontPoint(
            problem=f"min distortion + {beta:.4g}*rate" + (f" + {gamma:.4g}*mmd" if gamma > 10 else ""),
            status="feasible",
            message="a member of one network",
            beta=beta,
            gamma=gamma if gamma > 10 else 0.0,
            estimates=dict(found),
        )
        for (beta, gamma), found in zip([(b, g) for b in held.betas for g in gammas], held.measured, strict=True)
    )
    generator = torch.Generator().manual_seed(0)
    model = mlp_vae(event_shape, latent_dim=2, hidden=(8,), generator=generator)
    network = Modulation(model).eval()
    with torch.no_grad():  # a modulation starts as none at all: here every member is to draw something else
        for weight in network.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return AmortisedFront(
        points=points,
        status=Status.FEASIBLE,
        message="trained; solve problems on it",
        settings=Settings(),
        data_name=data_name,
        seconds=100.0,
        steps=1000,
        data=images(event_shape),
        network=network,
        surface=held,
    )


def dedicated(out: Path | None = None, *, resume: bool = False) -> DedicatedFront:
    """Three runs of one epoch, of which the second misses its bound, and a run that failed."""
    front = lv.fit_front(
        images(),
        list(PROBLEMS),
        method="dedicated",
        epochs=1,
        batch_size=20,
        hidden=(8,),
        latent_dim=2,
        device="cpu",
        precision="float32",
        progress=False,
        out=out,
        resume=resume,
    )
    assert isinstance(front, DedicatedFront)
    failed = FrontPoint(problem="min mi s.t. neg_elbo <= 400", status="failed", message="out of memory <b>")
    return replace(front, points=(*front.points, failed))
