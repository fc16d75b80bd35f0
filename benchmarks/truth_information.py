"""Estimates of information and divergence against exact values: bias, its error, and coverage of the 95 % interval.

    python benchmarks/truth_information.py             every row, as a table
    python benchmarks/truth_information.py --quick     a tenth of the repeats

Every repeat draws new codes. The bias is against the exact value, so that an estimator that is meant to be a bound
shows by how much; coverage is that of the exact value too, and says something only where the bias is none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from lagvae.evaluation.codes import Codes
from lagvae.evaluation.density.aggregate import score_mixture
from lagvae.evaluation.density.fitted import CANDIDATES, Candidate, fit_density
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.latent.divergence import kl_to_prior, kl_to_prior_by_mixture, mmd_test, total_correlation
from lagvae.evaluation.latent.information import (
    InBatch,
    density_information,
    in_batch_information,
    leave_one_out_information,
    mixture_information,
    rate_information,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # the same truths as the tests'
from truth_cases import Case, Row, summarise

from truth_codes import ClusteredCodes, GaussianCodes

Truths = dict[str, float]
Measure = Callable[[Codes, int], dict[str, Estimate]]
"""Estimates by name from one draw of codes, with the repeat's seed."""

IN_BATCH: tuple[InBatch, ...] = get_args(InBatch)
CLUSTERS = ClusteredCodes(centres=((-1.5, 0.0), (1.0, 1.2), (0.5, -1.0)), weights=(0.5, 0.3, 0.2), std=0.4)


@dataclass(frozen=True)
class Source:
    """Codes, what is known of them, and how often they are drawn."""

    name: str
    truth: GaussianCodes | ClusteredCodes
    size: int
    repeats: int

    def draw(self, seed: int) -> Codes:
        """Draws the codes of one repeat."""
        return self.truth.sample(self.size, seed=seed)


def cases(*, quick: bool = False) -> Iterator[Case]:
    """Yields what is measured, with ``quick`` a tenth as often."""
    for source, truths, measure in _plan():
        repeats = max(2, source.repeats // 10) if quick else source.repeats
        name = f"{source.name}, N = {source.size:,}"
        yield Case(name, tuple(truths), partial(_measure_all, name, source, truths, measure, repeats))


def _measure_all(name: str, source: Source, truths: Truths, measure: Measure, repeats: int) -> list[Row]:
    drawn = [measure(source.draw(seed), seed) for seed in range(repeats)]
    rows = []
    for estimator, exact in truths.items():
        found = [estimates[estimator] for estimates in drawn]
        rows.append(summarise(estimator, name, exact, found, [e.value - exact for e in found]))
    return rows


def _plan() -> Iterator[tuple[Source, Truths, Measure]]:
    for latent, information in ((2, 3.0), (16, 3.0), (64, 3.0), (16, 8.0), (16, 25.0)):
        truth = GaussianCodes(information, latent, variance=1.2)
        source = Source(f"Gaussian, d = {latent}, I = {information:g}", truth, 3000, 50)
        yield source, _truths_of_the_whole_set(truth), _measure_whole_set
    yield Source("3 clusters, d = 2", CLUSTERS, 3000, 50), _truths_of_the_whole_set(CLUSTERS), _measure_whole_set
    for latent, information in ((16, 8.0), (64, 20.0)):
        truth = GaussianCodes(information, latent, variance=1.2)
        source = Source(f"Gaussian, d = {latent}, I = {information:g}", truth, 20_000, 4)
        yield source, _truths_of_densities(truth), _measure_by_densities
    yield Source("3 clusters, d = 2", CLUSTERS, 20_000, 4), _truths_of_densities(CLUSTERS), _measure_by_densities
    source = Source("Gaussian, d = 16, I = 8", GaussianCodes(8.0, 16), 50_000, 10)
    yield source, dict.fromkeys(map(_in_batch_name, IN_BATCH), 8.0), _measure_in_batches
    # Under the null a p-value is uniform: its mean is a half, and its coverage means nothing.
    source = Source("q(z) = p(z), d = 4", GaussianCodes(3.0, 4), 1000, 200)
    yield source, {"MMD², unbiased": 0.0, "MMD² p-value": 0.5}, _measure_mmd


def _truths_of_the_whole_set(truth: GaussianCodes | ClusteredCodes) -> Truths:
    information, divergence = truth.information, truth.kl_to_prior
    return {
        "rate": information + divergence,
        "I, mixture": information,
        "I, leave-one-out": information,
        "KL, mixture": divergence,
    }


def _measure_whole_set(codes: Codes, seed: int) -> dict[str, Estimate]:
    scores = score_mixture(codes)
    return {
        "rate": rate_information(codes),
        "I, mixture": mixture_information(scores),
        "I, leave-one-out": leave_one_out_information(scores),
        "KL, mixture": kl_to_prior_by_mixture(codes, scores),
    }


def _truths_of_densities(truth: GaussianCodes | ClusteredCodes) -> Truths:
    names = ("I, best density", *(f"I, {candidate} density" for candidate in get_args(Candidate)))
    correlation = truth.total_correlation if isinstance(truth, ClusteredCodes) else 0.0
    return {
        **dict.fromkeys(names, truth.information),
        "KL, best density": truth.kl_to_prior,
        "total correlation": correlation,
    }


def _measure_by_densities(codes: Codes, seed: int) -> dict[str, Estimate]:
    fit, held_out = codes.split(0.8, seed=seed)
    fitted = {name: fit_density(fit, candidates=[name], seed=seed) for name in get_args(Candidate)}
    best = max((fitted[name] for name in CANDIDATES), key=lambda density: density.scores[density.name])
    return {
        **{f"I, {name} density": density_information(held_out, density) for name, density in fitted.items()},
        "I, best density": density_information(held_out, best),
        "KL, best density": kl_to_prior(held_out, best),
        "total correlation": total_correlation(held_out, best, seed=seed),
    }


def _in_batch_name(estimator: InBatch) -> str:
    return f"I, {estimator}, B = 128"


def _measure_in_batches(codes: Codes, seed: int) -> dict[str, Estimate]:
    return {_in_batch_name(name): in_batch_information(codes, name, batch_size=128, seed=seed) for name in IN_BATCH}


def _measure_mmd(codes: Codes, seed: int) -> dict[str, Estimate]:
    test = mmd_test(codes, block=50, permutations=99, seed=seed)
    return {"MMD², unbiased": test.squared_mmd, "MMD² p-value": test.p_value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    table = Table("estimator", "case", "truth", "mean", "bias", "coverage", "repeats", "flagged")
    for row in (row for case in cases(quick=parser.parse_args().quick) for row in case.measure()):
        table.add_row(
            row["estimator"],
            row["case"],
            f"{row['truth']:.4g}",
            f"{row['mean']:.4g}",
            f"{row['bias']:+.3g} ± {row['standard_error_of_bias']:.1g}",
            f"{row['coverage']:.0%}",
            str(row["repeats"]),
            f"{row['flag']:.0%}",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
