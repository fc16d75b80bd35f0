"""How far the aggregate posterior q(z) is from the prior, and its coordinates from independence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lagvae.errors import ShapeError, expected
from lagvae.evaluation.codes import Advance, Codes
from lagvae.evaluation.density.aggregate import MixtureScores
from lagvae.evaluation.density.fitted import Density
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.latent.information import mixture_information
from lagvae.streams import derive_seed
from lagvae.terms.kernels import squared_distances
from lagvae.terms.mmd import MMD, mmd

MARGINAL_CODES = 4000
"""How many codes the coordinates' marginals are made of, and scored at, at most."""


def kl_to_prior(codes: Codes, density: Density) -> Estimate:
    """KL(q(z) ‖ p(z)) ≥ E [ log q̂(z_i) - log p(z_i) ], with a density fitted to other codes.

    Units: nats. Bias: lower, by KL(q(z) ‖ q̂); it may come out negative where the truth is near 0.
    Error: s/√N, given q̂.

    Args:
        codes: Which q̂ has not seen.
        density: As ``fit_density`` returns it.
    """
    return Estimate.of_mean(
        density.log_prob(codes.z) - codes.log_prior,
        unit="nats",
        bias="lower",
        method=f"fitted density ({density.name}), held-out score",
        examples=len(codes),
    )


def kl_to_prior_by_mixture(codes: Codes, scores: MixtureScores) -> Estimate:
    """KL(q(z) ‖ p(z)) = R - I ≤ E [ log 1/N Σ_j q(z_i|x_j) - log p(z_i) ]: the other end.

    Units: nats. Bias: upper, since the mixture's information reads low; flagged where that is
    saturated. Error: s/√(codes scored), with the rate in closed form, where the prior allows one.
    """
    differences = codes.rates[scores.index.to(codes.rates.device)] - (scores.log_own - scores.in_sample)
    information = mixture_information(scores)
    found = Estimate.of_mean(
        differences,
        unit="nats",
        bias="upper",
        method=f"rate less the information by a {information.method}",
        examples=len(differences),
    )
    return replace(found, samples=scores.components, is_saturated=information.is_saturated)


def total_correlation(codes: Codes, density: Density, *, seed: int = 0, advance: Advance | None = None) -> Estimate:
    """TC = KL(q(z) ‖ Π_d q(z_d)) ≥ E [ log q̂(z_i) - Σ_d log 1/n Σ_j q(z_id|x_j) ].

    The joint is a density fitted to other codes, which scores low; each marginal is the mixture of n
    one-dimensional posteriors, its own among them, which scores high (by about 1/n per dimension
    and mode). Both errors make the estimate low.

    Units: nats. Bias: lower. Error: s/√n, joint and marginals of the same codes. Source: [Chen2018],
    without its in-batch estimate.

    Args:
        codes: Which q̂ has not seen; at most 4000 of them are used.
        density: As ``fit_density`` returns it.
        seed: Which ones.
        advance: Told of progress, in dimensions.
    """
    used = codes.shuffled(seed).pick(torch.arange(min(len(codes), MARGINAL_CODES)))
    marginals = torch.zeros(len(used), dtype=torch.float64, device=used.z.device)
    for dimension in range(used.latent_dim):
        marginals += _log_marginal(used, dimension)
        if advance is not None:
            advance(1)
    return Estimate.of_mean(
        density.log_prob(used.z) - marginals,
        unit="nats",
        bias="lower",
        method=f"fitted joint ({density.name}), held-out score, less marginals by mixtures of {len(used)}",
        examples=len(used),
    )


@dataclass(frozen=True)
class TwoSampleTest:
    """MMD² of codes against prior samples, and how it reads where the two have one distribution.

    Attributes:
        squared_mmd: The unbiased estimate.
        p_value: The share of relabellings that read as high or higher; its error is that of counting.
        null_standard_deviation: Of the estimate, where q(z) is p(z).
    """

    squared_mmd: Estimate
    p_value: Estimate
    null_standard_deviation: float


@torch.inference_mode()
def mmd_test(
    codes: Codes,
    term: MMD = mmd,
    *,
    block: int = 500,
    permutations: int = 500,
    seed: int = 0,
    advance: Advance | None = None,
) -> TwoSampleTest:
    """Tests q(z) = p(z) by the mean over blocks of MMD², against relabellings of codes and prior samples.

        MMD² = E k(z,z') + E k(w,w') - 2 E k(z,w),     z ~ q(z), w ~ p(z), unbiased in every block

    Both in the coordinates in which p(z) is N(0, I).

    Exact at any size: where q(z) is p(z), the p-value is under α with probability α at most (α a multiple
    of 1/(permutations + 1)). It is (1 + how many read as high) / (1 + permutations), so never 0.

    Units: MMD², unscaled. Bias: none. Error: over blocks, which are disjoint (NaN for one block).
    Cost: N/block Gram matrices of (2·block)² entries. Source: [Gretton2012]; [Zaremba2013] for
    blocks.

    Args:
        codes: At least ``block``; what does not fill a block is left out.
        term: Its kernel and bandwidth are used; ``mmd(kernel="imq")`` sees most.
        block: Codes per block, and prior samples.
        permutations: How many relabellings.
        seed: Of the order of codes, prior samples and relabellings.
        advance: Told of progress, in codes.

    Raises:
        ShapeError: There are fewer codes than a block holds, or a block holds fewer than two.
    """
    if not 2 <= block <= len(codes):
        raise ShapeError(
            expected(f"blocks of 2 to {len(codes)} codes, as many as there are", got=block, fix="a smaller block")
        )
    device = codes.z.device
    generator = torch.Generator(device).manual_seed(derive_seed(seed, "mmd test"))
    kernel = term.kernel_in(codes.latent_dim)
    # Column 0 is the labelling as it is; the others are drawn at random, afresh in every block.
    found, relabelled = [], torch.zeros(permutations, dtype=torch.float64, device=device)
    for z in (chunk for chunk in codes.shuffled(seed).standard_z.split(block) if len(chunk) == block):
        pooled = torch.cat([z, torch.randn(z.shape, generator=generator, device=device)])
        gram = kernel(squared_distances(pooled, pooled)).fill_diagonal_(0)
        ranks = torch.rand(2 * block, permutations, generator=generator, device=device).argsort(0)
        is_code = torch.cat([torch.arange(2 * block, device=device)[:, None] < block, ranks < block], 1)
        values = _squared_mmds(gram, is_code, block)
        found.append(values[0])
        relabelled += values[1:]
        if advance is not None:
            advance(block)
    samples = torch.stack(found)
    null = relabelled / len(samples)
    p = (1 + int((null >= samples.mean()).sum())) / (1 + permutations)
    method = f"{len(samples)} blocks of {block}, {term}"
    return TwoSampleTest(
        squared_mmd=replace(
            Estimate.of_mean(
                samples, unit="MMD²", bias="none", method=f"mean of {method}, unbiased", examples=len(samples) * block
            ),
            samples=block,
        ),
        p_value=Estimate(
            value=p,
            standard_error=math.sqrt(p * (1 - p) / (1 + permutations)),
            unit="probability",
            bias="none",
            method=f"{permutations} permutations of {method}",
            examples=len(samples) * block,
            samples=permutations,
        ),
        null_standard_deviation=float(null.std()),
    )


def _squared_mmds(gram: Tensor, is_code: Tensor, block: int) -> Tensor:
    """Returns the unbiased MMD² for each labelling [2·block, labellings], from a Gram matrix without its diagonal.

    With signs s = ±1 for codes and prior samples, sᵀKs = within - across and 1ᵀK1 = within + across.
    """
    signs = 2 * is_code.to(gram.dtype) - 1
    difference = (signs * (gram @ signs)).sum(0).double()
    total = gram.double().sum()
    within, across = (total + difference) / 2, (total - difference) / 2
    return within / (block * (block - 1)) - across / block**2


def _log_marginal(codes: Codes, dimension: int) -> Tensor:
    """Returns log 1/n Σ_j q(z_id|x_j) at every code: in one dimension float32 is exact enough."""
    mean, log_std, z = (part[:, dimension] for part in (codes.posterior.mean, codes.posterior.log_std, codes.z))
    constant = log_std + 0.5 * math.log(2 * math.pi) + math.log(len(z))
    rows = [
        torch.logsumexp(-0.5 * ((chunk[:, None] - mean) * (-log_std).exp()).square() - constant, 1)
        for chunk in z.split(250)
    ]
    return torch.cat(rows).double()
