"""log p(x) by importance sampling from the encoder: the bound that every published figure is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.likelihood.pareto import largest_reliable_shape, pareto_shape, tail_length
from lagvae.evaluation.visits import LARGEST_BLOCK, check_count, evaluating, prepared_blocks, rows_at_once
from lagvae.model.likelihoods.likelihood import count_parameters
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed

LEAST_EFFECTIVE = 5.0
"""The effective sample size under which an estimate of log p(x) is no more than a bound of unknown looseness."""


class ImportanceWeights:
    """Running sums of w = p(x,z)/q(z), z ~ q, per example, in logarithms, and the few largest.

    Draws are not kept: memory is that of the largest weights, which are 3√K at most.

    Args:
        tail: How many of the largest weights to keep, for :attr:`tail_shape`.

    Attributes:
        samples: K, how many weights per example were added.
    """

    def __init__(self, tail: int = 0) -> None:
        self.tail = tail
        self.samples = 0
        self._log_sum: Tensor | None = None
        self._log_sum_of_squares: Tensor | None = None
        self._largest: Tensor | None = None

    def add(self, log_weights: Float[Tensor, "samples batch"]) -> None:
        """Adds log w of further draws; how they are cut into pieces changes nothing but rounding."""
        log_weights = log_weights.double()
        self.samples += len(log_weights)
        self._log_sum = _log_add(self._log_sum, log_weights)
        self._log_sum_of_squares = _log_add(self._log_sum_of_squares, 2 * log_weights)
        if self.tail:
            known = log_weights if self._largest is None else torch.cat([self._largest, log_weights])
            self._largest = known.topk(min(self.tail + 1, len(known)), dim=0).values

    @property
    def log_mean(self) -> Float[Tensor, " batch"]:
        """The logarithm of the mean, log (1/K) Σ_k w_k, in nats: E log_mean ≤ log E w = log p(x)."""
        assert self._log_sum is not None
        return self._log_sum - math.log(self.samples)

    @property
    def effective_sample_size(self) -> Float[Tensor, " batch"]:
        """(Σ w)² / Σ w², between 1 (one draw carries all the weight, or all weights vanish) and K [Kong1992]."""
        assert self._log_sum is not None
        assert self._log_sum_of_squares is not None
        return (2 * self._log_sum - self._log_sum_of_squares).exp().nan_to_num(nan=1.0)

    @property
    def tail_shape(self) -> Float[Tensor, " batch"]:
        """k̂ of the largest weights, NaN where too few are kept (``likelihood/pareto.py``)."""
        assert self._log_sum is not None
        return torch.full_like(self._log_sum, math.nan) if self._largest is None else pareto_shape(self._largest)


def is_degenerate(effective_sample_size: Float[Tensor, " examples"]) -> bool:
    """Whether so few draws carry the weight that the mean of log (1/K) Σ w may lie far under log p(x).

    To first order the shortfall of one example is (1/ESS - 1/K)/2 nats [Nowozin2018]. Where the mean of 1/ESS is
    over 1/5, that is 0.1 nat, and the series that it begins tells nothing any more. Fewer than five draws always
    read as degenerate: they cannot show that they suffice.
    """
    return not float((1 / effective_sample_size).mean()) <= 1 / LEAST_EFFECTIVE


def is_heavy(tail_shape: Float[Tensor, " examples"], samples: int) -> bool:
    """Whether for half of the examples or more the weights' tail is too heavy for the mean of K of them, or unknown.

    An encoder that is too narrow never visits where most of p(x) comes from: its weights look even, and the
    effective sample size large. What gives it away is how the largest of them grow.
    """
    return bool((~(tail_shape <= largest_reliable_shape(samples))).double().mean() >= 0.5)


def log_likelihood(
    model: VAE,
    examples: Examples,
    *,
    samples: int = 1000,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Estimate:
    """Estimates the log-likelihood E log p(x) by importance sampling from q(z|x), in float32.

        log p̂_K(x) = log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k|x),    z_k ~ q(z|x),    E log p̂_K ≤ E log p̂_{K+1} ≤ log p(x)

    Grey examples are binarised afresh, once. The Bernoulli's is a log-probability (≤ 0), a density's may have
    either sign; minus the value is an upper bound of the negative log-likelihood.

    Args:
        model: Whose p(x), by its own q(z|x).
        examples: Of one part of a data set: ``data.test``.
        samples: K, exactly; it changes the bound, so a value without its K says little.
        seed: Of binarisation and draws.
        advance: Told how many examples are done.

    Returns:
        The mean over examples, in nats per example. Bias: lower. Standard error s/√N over examples, which holds the
        spread of examples and of draws. ``is_saturated`` where the weights do not show that K suffices: too few of them
        carry the sum (:func:`is_degenerate`), their tail is too heavy (:func:`is_heavy`), or K is under 25.

    Raises:
        SettingError: ``samples`` is no positive whole number.

    Draws are not kept: memory does not grow with K but for the largest weights, 3√K. Source: [Burda2016], equations
    8 and 9; the diagnosis, [Kong1992] and [Vehtari2024].
    """
    check_count(samples, "draw per example")
    rows = rows_at_once(examples.event_shape, model.device, each=count_parameters(model.likelihood))
    block = min(LARGEST_BLOCK, rows)
    streams = Streams(derive_seed(seed, "log_likelihood"), model.device)
    values, sizes, shapes = [], [], []
    with evaluating(model):
        for x in prepared_blocks(model, examples, block, streams):
            weights = weigh(model, x, samples, streams, at_once=rows // block)
            values.append(weights.log_mean.cpu())
            sizes.append(weights.effective_sample_size.cpu())
            shapes.append(weights.tail_shape.cpu())
            if advance is not None:
                advance(len(x))
    shape = torch.cat(shapes)
    method = f"importance sampling, {samples} draws from q(z|x); Pareto shape: median {shape.median():.2g}"
    found = summarise(torch.cat(values), torch.cat(sizes), samples=samples, method=method)
    return replace(found, is_saturated=found.is_saturated or is_heavy(shape, samples))


@torch.inference_mode()
def weigh(
    model: VAE, x: Float[Tensor, "batch *event"], samples: int, streams: Streams, *, at_once: int = 16
) -> ImportanceWeights:
    """Draws z_1 ... z_K ~ q(z|x) for every prepared example, ``at_once`` of them at a time, and weighs them."""
    weights = ImportanceWeights(tail=tail_length(samples))
    draw = model.draw(x, streams)
    weights.add(draw.log_weight.unsqueeze(0))
    while weights.samples < samples:
        weights.add(draw.draw_again(min(at_once, samples - weights.samples)).log_weight)
    return weights


def summarise(
    log_means: Float[Tensor, " examples"],
    effective_sample_size: Float[Tensor, " examples"],
    *,
    samples: int,
    method: str,
    bias: Literal["lower", "upper"] = "lower",
) -> Estimate:
    """Returns the mean of log (1/K) Σ w over examples as an estimate, with what its weights tell about it."""
    share = (effective_sample_size < LEAST_EFFECTIVE).double().mean()
    estimate = Estimate.of_mean(
        log_means,
        unit="nats per example",
        bias=bias,
        method=f"{method}; effective sample size: median {effective_sample_size.median():.3g},"
        f" under {LEAST_EFFECTIVE:g} for {share:.0%} of examples",
        examples=len(log_means),
    )
    return replace(estimate, samples=samples, is_saturated=is_degenerate(effective_sample_size))


def _log_add(log_sum: Tensor | None, logarithms: Tensor) -> Tensor:
    """Returns log(sum + Σ exp(logarithms)), over the first dimension."""
    added = logarithms.logsumexp(0)
    return added if log_sum is None else torch.logaddexp(log_sum, added)
