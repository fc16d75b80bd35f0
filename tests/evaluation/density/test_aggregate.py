"""The mixture of all posteriors: against the definition, in float64, with whatever could go wrong in float32."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lagvae.evaluation.codes import Codes
from lagvae.evaluation.density import aggregate
from lagvae.evaluation.density.aggregate import log_densities, log_sum_of_densities, score_mixture
from lagvae.model.gaussian import DiagonalGaussian
from truth_codes import GaussianCodes, draw_codes


def by_definition(z: Tensor, posterior: DiagonalGaussian) -> Tensor:
    """The [points, components, latent] tensor that the library never makes."""
    mean, std = posterior.mean.double(), posterior.log_std.double().exp()
    return torch.distributions.Normal(mean, std).log_prob(z.double()[:, None]).sum(-1)


def ragged(size: int, latent: int, seed: int = 0, offset: float = 0.0) -> Codes:
    """Posteriors of many widths, each its own."""
    generator = torch.Generator().manual_seed(seed)
    mean = offset + torch.randn(size, latent, generator=generator)
    return draw_codes(mean, torch.randn(size, latent, generator=generator) * 0.7 - 1.5, generator)


@pytest.fixture
def no_small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of any size take the way of large ones, in blocks that do not divide them."""
    monkeypatch.setattr(aggregate, "SMALL", 0)
    monkeypatch.setattr(aggregate, "POINTS", 48)
    monkeypatch.setattr(aggregate, "COMPONENTS", 70)


def test_log_densities_are_those_of_the_definition() -> None:
    codes = ragged(200, 5)
    torch.testing.assert_close(
        log_densities(codes.z, codes.posterior), by_definition(codes.z, codes.posterior), rtol=1e-10, atol=1e-8
    )


@pytest.mark.parametrize("latent", [1, 2, 16, 64])
def test_sums_in_blocks_are_those_of_the_definition(latent: int, no_small_sets: None) -> None:
    codes = ragged(301, latent)
    pairs = by_definition(codes.z, codes.posterior)
    scores = score_mixture(codes)
    own = pairs.diagonal()
    others = torch.logsumexp(pairs.masked_fill(torch.eye(301, dtype=torch.bool), -math.inf), 1)
    torch.testing.assert_close(scores.log_own, own, rtol=0, atol=1e-8)
    torch.testing.assert_close(scores.log_others, others, rtol=0, atol=aggregate.TOLERANCE)
    torch.testing.assert_close(
        scores.in_sample, torch.logsumexp(pairs, 1) - math.log(301), rtol=0, atol=aggregate.TOLERANCE
    )
    torch.testing.assert_close(scores.leave_one_out, others - math.log(300), rtol=0, atol=aggregate.TOLERANCE)


@pytest.mark.parametrize(("offset", "log_std"), [(100.0, -3.0), (0.0, -7.0), (0.0, -12.0)])
def test_float32_is_left_where_it_does_not_suffice(offset: float, log_std: float, no_small_sets: None) -> None:
    """Far from the origin the squares would cancel, and narrow posteriors make them huge."""
    generator = torch.Generator().manual_seed(0)
    mean = offset + torch.randn(300, 8, generator=generator)
    codes = draw_codes(mean, torch.full_like(mean, log_std), generator)
    pairs = by_definition(codes.z, codes.posterior).fill_diagonal_(-math.inf)
    found = score_mixture(codes).log_others
    exact = torch.logsumexp(pairs, 1)
    assert float(((found - exact).abs() / exact.abs().clamp_min(1)).max()) < 1e-4


def test_float32_agrees_with_float64_on_many_codes() -> None:
    codes = GaussianCodes(information=12.0, latent=64).sample(3000, seed=0)
    assert aggregate.SMALL < 3000**2
    found = score_mixture(codes)
    exact = torch.logsumexp(log_densities(codes.z, codes.posterior).fill_diagonal_(-math.inf), 1)
    error = (found.log_others - exact).abs()
    assert 0 < float(error.max()) < 1e-3  # the quick way was taken, and is exact enough


def test_a_component_that_is_excluded_is_the_only_one_missing(no_small_sets: None) -> None:
    codes = ragged(150, 3)
    excluded = torch.randint(150, (40,), generator=torch.Generator().manual_seed(1))
    pairs = by_definition(codes.z[:40], codes.posterior)
    pairs[torch.arange(40), excluded] = -math.inf
    found = log_sum_of_densities(codes.z[:40], codes.posterior, excluded=excluded)
    torch.testing.assert_close(found, torch.logsumexp(pairs, 1), rtol=0, atol=aggregate.TOLERANCE)


def test_a_sample_of_the_points_meets_all_components() -> None:
    codes = ragged(500, 4)
    whole, part = score_mixture(codes), score_mixture(codes, scored=60, seed=5)
    assert part.components == 500
    assert len(part.index.unique()) == 60
    torch.testing.assert_close(part.log_others, whole.log_others[part.index])
    torch.testing.assert_close(part.log_own, whole.log_own[part.index])
    assert not torch.equal(part.index, score_mixture(codes, scored=60, seed=6).index)


def test_the_order_of_the_codes_does_not_matter() -> None:
    codes = ragged(400, 4)
    backwards = codes.pick(torch.arange(400).flip(0))
    torch.testing.assert_close(score_mixture(backwards).in_sample.flip(0), score_mixture(codes).in_sample)


def test_it_never_needs_the_memory_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor it makes is larger than a block or than the codes."""
    largest = 0
    addmm = torch.addmm

    def watched(constant: Tensor, a: Tensor, b: Tensor) -> Tensor:
        nonlocal largest
        result = addmm(constant, a, b)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch, "addmm", watched)
    score_mixture(ragged(5000, 2))
    assert largest == aggregate.POINTS * aggregate.COMPONENTS


def test_progress_is_told() -> None:
    done: list[int] = []
    score_mixture(ragged(600, 2), advance=done.append)
    assert sum(done) == 600


def test_without_any_component_there_is_no_density() -> None:
    posterior = DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2))
    nothing = log_sum_of_densities(torch.zeros(3, 2), posterior, excluded=torch.zeros(3, dtype=torch.int64))
    assert nothing.tolist() == [-math.inf] * 3


def test_what_lies_far_under_the_largest_term_changes_nothing() -> None:
    """Terms 10 to 10,000 nats under the largest: exact in float64, and within rounding in float32's blocks."""
    mean = torch.linspace(0, 140, 3000).unsqueeze(1)
    posterior = DiagonalGaussian(mean, torch.zeros(3000, 1))
    z = torch.linspace(-5, 145, 2000).unsqueeze(1)
    exact = torch.logsumexp(log_densities(z, posterior), 1)
    torch.testing.assert_close(log_sum_of_densities(z, posterior), exact, rtol=0, atol=1e-2)
