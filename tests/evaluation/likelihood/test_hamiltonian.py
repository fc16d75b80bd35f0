"""Moves against what a Hamiltonian's have to be: reversible, of second order, and faithful to their density."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from lagvae.evaluation.likelihood.annealing import Start, make_path
from lagvae.evaluation.likelihood.hamiltonian import Path, State, leapfrog, transition
from lagvae.model.gaussian import standard_normal_log_prob
from truth import SIGMAS, LinearGaussian, standard_errors

MODEL = LinearGaussian.with_true_posterior(event=6, latent=3, noise=0.6, seed=1)
OFF = MODEL.with_encoder(widen=1.4, shift=1.0)
STARTS = pytest.mark.parametrize("start", ["prior", "posterior"])


def path_of(model: LinearGaussian, start: str, size: int = 5) -> Path:
    """In double precision: orders of convergence are below float32's rounding."""
    with torch.no_grad():
        return make_path(model.vae().double(), model.sample_data(size, seed=2).double(), cast(Start, start))


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def energy(path: Path, state: State, momentum: Tensor, beta: float) -> Tensor:
    return 0.5 * momentum.square().sum(-1) - path.log_density(state, beta)


@STARTS
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_density_on_the_path_is_the_geometric_mean_of_its_ends(start: str, beta: float) -> None:
    path = path_of(OFF, start)
    state = path.at(normal(4, 5, 3, seed=0))
    residual = path.x - state.z @ path.model.decoder.loading.T - path.model.decoder.mean
    joint = path.model.likelihood.log_prob(residual, torch.zeros_like(residual)) + standard_normal_log_prob(state.z)
    known = (1 - beta) * path.start.log_prob(state.z) + beta * joint
    torch.testing.assert_close(path.log_density(state, beta), known)
    torch.testing.assert_close(path.log_density(state, 1.0) - path.log_density(state, 0.0), path.log_ratio(state))


@STARTS
def test_gradients_are_the_densitys(start: str) -> None:
    path, z = path_of(OFF, start), normal(4, 5, 3, seed=0)
    found = path.gradient(path.at(z), 0.4)
    step = 1e-5
    for direction in torch.eye(3, dtype=torch.float64):
        ends = [path.log_density(path.at(z + sign * step * direction), 0.4) for sign in (1, -1)]
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), found @ direction, rtol=1e-6, atol=1e-6)


def test_at_the_ends_the_scale_is_the_start_and_the_encoder() -> None:
    path = path_of(MODEL, "prior")
    torch.testing.assert_close(path.scale(0.0), torch.ones(5, 3))
    known = torch.tensor(MODEL.tempered_posterior(MODEL.sample_data(1, seed=2), 0.5)[1]).sqrt()
    torch.testing.assert_close(path.scale(0.5), known.float().expand(5, 3))


@STARTS
def test_leapfrogs_are_reversible(start: str) -> None:
    path = path_of(OFF, start)
    state, momentum = path.at(normal(4, 5, 3, seed=0)), normal(4, 5, 3, seed=1)
    options = {"beta": 0.6, "step_size": torch.full((5,), 0.3, dtype=torch.float64), "steps": 12}
    there, final = leapfrog(path, state, momentum, **options)  # type: ignore[arg-type]
    back, initial = leapfrog(path, there, -final, **options)  # type: ignore[arg-type]
    assert float((there.z - state.z).abs().min()) > 1e-3
    torch.testing.assert_close(back.z, state.z, rtol=0, atol=1e-12)
    torch.testing.assert_close(-initial, momentum, rtol=0, atol=1e-12)


@STARTS
def test_the_error_in_energy_is_of_second_order(start: str) -> None:
    """Half the step, a quarter of the error over the same time."""
    path = path_of(OFF, start)
    state, momentum = path.at(normal(4, 5, 3, seed=0)), normal(4, 5, 3, seed=1)
    before = energy(path, state, momentum, 0.6)
    errors = []
    for steps in (20, 40, 80):
        step_size = torch.full((5,), 2.0 / steps, dtype=torch.float64)
        there, final = leapfrog(path, state, momentum, beta=0.6, step_size=step_size, steps=steps)
        errors.append(float((energy(path, there, final, 0.6) - before).abs().mean()))
    assert 1e-9 < errors[2] < errors[0] < 0.1
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("beta", [0.25, 1.0])
def test_moves_keep_their_density(beta: float) -> None:
    """Chains that start exactly in the tempered posterior stay there: means and variances, 6.3e-5 each."""
    x = MODEL.sample_data(2, seed=2)
    mean, variance = (torch.tensor(part) for part in MODEL.tempered_posterior(x, beta))
    path = path_of(MODEL, "prior", size=2)
    state = path.at(mean + variance.sqrt() * normal(8000, 2, 3, seed=3))
    start, generator = state.z, torch.Generator().manual_seed(4)
    for _ in range(3):
        # Long steps, so that acceptance matters: without it the variance would be off.
        state, acceptance = transition(
            path,
            state,
            beta=beta,
            step_size=torch.full((2,), 1.5, dtype=torch.float64),
            steps=2,
            generator=generator,
        )
    assert 0.3 < float(acceptance.mean()) < 0.95
    assert float((state.z == start).double().mean()) < 0.5
    for example in range(2):
        for i in range(3):
            found = state.z[:, example, i]
            assert abs(standard_errors(found, float(mean[example, i]))) < SIGMAS
            assert abs(standard_errors((found - mean[example, i]).square(), float(variance[i]))) < SIGMAS


def test_a_refused_move_stays_where_it_was_and_a_wild_one_is_refused() -> None:
    path = path_of(MODEL, "prior")
    state = path.at(normal(4, 5, 3, seed=0))
    for step_size in (1e4, 1e200):
        moved, acceptance = transition(
            path,
            state,
            beta=1.0,
            step_size=torch.full((5,), step_size, dtype=torch.float64),
            steps=3,
            generator=torch.Generator().manual_seed(0),
        )
        assert acceptance.tolist() == torch.zeros(4, 5).tolist()
        for name, kept in vars(state).items():
            assert torch.equal(getattr(moved, name), kept)


def test_what_the_decoder_says_is_carried_along() -> None:
    path = path_of(MODEL, "prior")
    state = path.at(normal(4, 5, 3, seed=0))
    size = torch.full((5,), 0.8, dtype=torch.float64)
    for _ in range(4):
        state, _ = transition(
            path, state, beta=0.7, step_size=size, steps=2, generator=torch.Generator().manual_seed(1)
        )
    fresh = path.at(state.z)
    for name, known in vars(fresh).items():
        torch.testing.assert_close(getattr(state, name), known)
    assert all(parameter.grad is None for parameter in path.model.parameters())
