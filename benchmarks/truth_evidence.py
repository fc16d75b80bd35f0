"""Estimators of the log-likelihood against linear-Gaussian models, whose log p(x) is known.

    python benchmarks/truth_evidence.py               a table: bias, coverage, and whether the flag was up
    python benchmarks/truth_evidence.py --repeats 20  the same, rougher

A model of d latent and 2d observed dimensions, data of its own distribution (so that the truth is -H(x)), and three
encoders: its exact posterior, one that is 20 % wider and 0.2 standard deviations off, and one of a third of its width.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from ground_truth import LinearGaussian

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood, bracket_log_likelihood

Row = dict[str, Any]
Measured = tuple[lv.Estimate, float]
"""An estimate, and how far it lies above the exact value of what it was measured on."""

DIMENSIONS = (2, 8, 32, 64)
ENCODERS = {
    "exact encoder": {"widen": 1.0},
    "near encoder": {"widen": 1.2, "shift": 0.2},
    "narrow encoder": {"widen": 0.33},
}
EXAMPLES = 100


def rows(*, repeats: int = 100, dimensions: tuple[int, ...] = DIMENSIONS) -> Iterator[Row]:
    """Yields a row per estimator and case.

    ``bias`` is the mean excess over the exact log-likelihood of the same examples, in nats per example;
    ``coverage`` the share of 95 % intervals that hold the truth of the whole population; ``flag`` the
    share of estimates that were flagged as saturated.
    """
    for latent in dimensions:
        exact = LinearGaussian.with_true_posterior(event=2 * latent, latent=latent, noise=0.6, seed=latent)
        for name, change in ENCODERS.items():
            model = exact.with_encoder(**change)
            case = f"d = {latent}, {name}"
            for samples in (50, 1000):
                measure = partial(by_importance, model, samples=samples)
                yield row(f"importance sampling, K = {samples}", case, model, measure, repeats)
        annealing = Annealing(temperatures=100, chains=16, leapfrogs=4)
        measure = partial(by_annealing, exact, annealing=annealing)
        few = max(2, repeats // 5)
        yield row("annealing, T = 100, M = 16", f"d = {latent}", exact, measure, few)
        for end in ("lower", "upper"):
            measure = partial(by_bracket, exact, annealing=annealing, end=end)
            yield row(f"bracket, {end} end", f"d = {latent}", exact, measure, few)


def row(estimator: str, case: str, model: LinearGaussian, measure: Callable[[int], Measured], repeats: int) -> Row:
    """Measures so many times, on data of another seed each, and compares with the truth -H(x)."""
    truth = -model.entropy()
    estimates, excesses = zip(*(measure(seed) for seed in range(repeats)), strict=True)
    return {
        "estimator": estimator,
        "case": case,
        "truth": truth,
        "mean": statistics.mean(e.value for e in estimates),
        "bias": statistics.mean(excesses),
        "standard_error_of_bias": statistics.stdev(excesses) / repeats**0.5,
        "coverage": statistics.mean(abs(e.value - truth) < 1.96 * e.standard_error for e in estimates),
        "repeats": repeats,
        "flag": statistics.mean(e.is_saturated for e in estimates),
    }


def by_importance(model: LinearGaussian, seed: int, *, samples: int) -> Measured:
    """Importance sampling from the encoder."""
    x = model.sample_data(EXAMPLES, seed=seed)
    found = lv.log_likelihood(model.vae(), Examples(x), samples=samples, seed=seed)
    return found, found.value - float(model.log_likelihood(x).mean())


def by_annealing(model: LinearGaussian, seed: int, *, annealing: Annealing) -> Measured:
    """Annealed importance sampling from the prior."""
    x = model.sample_data(EXAMPLES, seed=seed)
    found = annealed_log_likelihood(model.vae(), Examples(x), annealing=annealing, seed=seed)
    return found, found.value - float(model.log_likelihood(x).mean())


def by_bracket(model: LinearGaussian, seed: int, *, annealing: Annealing, end: str) -> Measured:
    """One end of a bracket; its examples are the model's own, and their exact mean is not to be had: the truth's."""
    found = getattr(bracket_log_likelihood(model.vae(), size=EXAMPLES, annealing=annealing, seed=seed), end)
    return found, found.value + model.entropy()


def main() -> None:
    """Prints the rows as they come, in a table."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--dimensions", type=int, nargs="+", default=list(DIMENSIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="log-likelihood, nats per example")
    for column in ("estimator", "case", "truth", "mean", "bias", "coverage", "repeats", "flag"):
        table.add_column(column, justify="left" if column in ("estimator", "case") else "right")
    for found in rows(repeats=options.repeats, dimensions=tuple(options.dimensions)):
        table.add_row(
            found["estimator"],
            found["case"],
            f"{found['truth']:.2f}",
            f"{found['mean']:.2f}",
            f"{found['bias']:+.4f} ± {found['standard_error_of_bias']:.4f}",
            f"{found['coverage']:.0%}",
            str(found["repeats"]),
            f"{found['flag']:.0%}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
