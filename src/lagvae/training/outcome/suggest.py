"""Which bounds are worth asking for, once a probe has shown what is within reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lagvae.problem.problem import Maximize, Minimize, Problem
from lagvae.terms.algebra import Constraint
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.information import mutual_information
from lagvae.terms.mmd import mmd

NARROWEST = 0.5
"""Nats between two bounds, below which there is nothing to choose."""


def suggest(vae: Mapping[str, float], ends: Sequence[Mapping[str, float]], *, floor: float) -> tuple[str, ...]:
    """Returns problems, as text, whose bounds were reached: all of a problem's upper bounds by one run.

    The bounds have as few digits as their range allows: neg_elbo lies about 4 % above the VAE's,
    mmd about 1.6 times above what the VAE measures and above its floor, distortion between the
    most informed run and the VAE, rate (an equality) between the least informed run and the VAE.
    A bound whose range is narrower than half a nat is left out.

    Args:
        vae: Name → what the VAE reached, in nats per example; ``mmd_biased`` in MMD².
        ends: The same of the runs at the ends of the range.
        floor: What a perfect model's ``mmd_biased`` measures.
    """
    margin = max(0.04 * abs(vae["neg_elbo"]), NARROWEST)
    loss = neg_elbo <= round_between(vae["neg_elbo"] + margin / 2, vae["neg_elbo"] + 1.5 * margin)
    divergence = max(vae["mmd_biased"], floor)
    problems = [
        Problem(Maximize(mutual_information), [loss, mmd <= round_between(1.2 * divergence, 2 * divergence)]),
        Problem(Minimize(mutual_information), [loss]),
    ]
    lowest = {name: min(run[name] for run in (vae, *ends)) for name in ("distortion", "rate")}
    if vae["distortion"] - lowest["distortion"] > NARROWEST:
        bound = round_between(*_inner_half(lowest["distortion"], vae["distortion"]))
        problems.append(Problem(Minimize(rate), [distortion <= bound]))
    if vae["rate"] - lowest["rate"] > NARROWEST:
        value = round_between(*_inner_half(lowest["rate"], vae["rate"]))
        problems.append(Problem(Minimize(distortion), [Constraint(rate.as_sum(), "==", value)]))
    return tuple(map(str, problems))


def round_between(low: float, high: float) -> float:
    """Returns the middle of [low, high], rounded to as few digits as stay inside."""
    middle = (low + high) / 2
    rounded = (float(f"{middle:.{digits}e}") for digits in range(17))  # 17 digits are the number itself
    return next(value for value in rounded if low <= value <= high)


def _inner_half(low: float, high: float) -> tuple[float, float]:
    """Returns the range without the quarters at its ends."""
    return low + (high - low) / 4, high - (high - low) / 4
