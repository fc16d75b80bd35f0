"""Estimators of the log-likelihood against linear-Gaussian models, whose log p(x) is known.

    python benchmarks/truth_evidence.py               a table: bias, coverage, and whether the flag was up
    python benchmarks/truth_evidence.py --repeats 20  the same, rougher

A model of d latent and 2d observed dimensions, data of its own distribution (so that the truth is -H(x)), and three
encoders: its exact posterior, one that is 20 % wider and 0.2 standard deviations off, and one of a third of its width.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
from ground_truth import LinearGaussian
from truth_cases import Case, Row, summarise

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation.likelihood.annealing import Annealing, annealed_log_likelihood, bracket_log_likelihood

Measured = dict[str, tuple[lv.Estimate, float]]
"""Estimator → an estimate, and how far it lies above the exact value of what it was measured on."""

DIMENSIONS = (2, 8, 32, 64)
ENCODERS = {
    "exact encoder": {"widen": 1.0},
    "near encoder": {"widen": 1.2, "shift": 0.2},
    "narrow encoder": {"widen": 0.33},
}
EXAMPLES = 100


def cases(*, repeats: int = 100, dimensions: tuple[int, ...] = DIMENSIONS) -> Iterator[Case]:
    """Yields what is measured.

    ``bias`` is the mean excess over the exact log-likelihood of the same examples, in nats per example;
    ``coverage`` the share of 95 % intervals that hold the truth of the whole population; ``flag`` the
    share of estimates that were flagged as saturated.
    """
    annealing = Annealing(temperatures=100, chains=16, leapfrogs=4)
    few = max(2, repeats // 5)
    for latent in dimensions:
        exact = LinearGaussian.with_true_posterior(event=2 * latent, latent=latent, noise=0.6, seed=latent)
        for encoder, change in ENCODERS.items():
            model = exact.with_encoder(**change)
            for samples in (50, 1000):
                names = (f"importance sampling, K = {samples}",)
                measure = partial(by_importance, model, names, samples=samples)
                yield _case(f"d = {latent}, {encoder}", names, model, measure, repeats)
        names = ("annealing, T = 100, M = 16",)
        yield _case(f"d = {latent}", names, exact, partial(by_annealing, exact, names, annealing=annealing), few)
        names = ("bracket, lower end", "bracket, upper end")
        yield _case(f"d = {latent}", names, exact, partial(by_bracket, exact, names, annealing=annealing), few)


def _case(
    name: str, estimators: tuple[str, ...], model: LinearGaussian, measure: Callable[[int], Measured], repeats: int
) -> Case:
    """Returns the case of so many repeats, on data of another seed each, against the truth -H(x)."""

    def measure_all() -> list[Row]:
        drawn = [measure(seed) for seed in range(repeats)]
        return [
            summarise(estimator, name, -model.entropy(), *zip(*(found[estimator] for found in drawn), strict=True))
            for estimator in estimators
        ]

    return Case(name, estimators, measure_all)


def by_importance(model: LinearGaussian, names: tuple[str, ...], seed: int, *, samples: int) -> Measured:
    """Importance sampling from the encoder."""
    x = model.sample_data(EXAMPLES, seed=seed)
    found = lv.log_likelihood(model.vae(), Examples(x), samples=samples, seed=seed)
    return {names[0]: (found, found.value - float(model.log_likelihood(x).mean()))}


def by_annealing(model: LinearGaussian, names: tuple[str, ...], seed: int, *, annealing: Annealing) -> Measured:
    """Annealed importance sampling from the prior."""
    x = model.sample_data(EXAMPLES, seed=seed)
    found = annealed_log_likelihood(model.vae(), Examples(x), annealing=annealing, seed=seed)
    return {names[0]: (found, found.value - float(model.log_likelihood(x).mean()))}


def by_bracket(model: LinearGaussian, names: tuple[str, ...], seed: int, *, annealing: Annealing) -> Measured:
    """A bracket's ends; its examples are the model's own, and their exact mean is not to be had: the truth's."""
    bracket = bracket_log_likelihood(model.vae(), size=EXAMPLES, annealing=annealing, seed=seed)
    ends = zip(names, (bracket.lower, bracket.upper), strict=True)
    return {name: (end, end.value + model.entropy()) for name, end in ends}


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
    asked = cases(repeats=options.repeats, dimensions=tuple(options.dimensions))
    for found in (row for case in asked for row in case.measure()):
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
