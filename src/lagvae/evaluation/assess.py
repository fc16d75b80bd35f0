"""Measures all that lagvae can say of a model: minutes, where the evaluation that ends a run takes seconds.

is it feasible?              every constrained quantity on every part
how good is the model?       distortion, rate, neg_elbo, log-likelihood
how much information?        an interval from the mixture of posteriors to the rate; a point by a fitted density
is the latent space used?    active units, rates by dimension, KL(q(z) ‖ p(z)), total correlation, MMD², labels
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lagvae.data.dataset import Data
from lagvae.data.examples import Examples
from lagvae.evaluation.codes import Advance, Codes, collect_codes, random_order
from lagvae.evaluation.density.aggregate import MixtureScores, score_mixture
from lagvae.evaluation.density.fitted import FittedDensity, fit_density
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.evaluation.latent.divergence import kl_to_prior, kl_to_prior_by_mixture, mmd_test, total_correlation
from lagvae.evaluation.latent.information import density_information, information_interval, mixture_information
from lagvae.evaluation.latent.representation import linear_probe
from lagvae.evaluation.latent.units import active_units, rate_per_dimension
from lagvae.evaluation.likelihood.importance import log_likelihood
from lagvae.evaluation.questions import DIMENSION
from lagvae.evaluation.visits import check_count
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.streams import derive_seed
from lagvae.terms.mmd import mmd

Stage = Callable[[str, int], Advance]
"""Called with what is measured next and in how many steps; returns what is told of each."""
Found = dict[str, Estimate]

SAMPLES = 100
"""K of the log-likelihood."""
EXAMPLES = 1000
"""How many examples of each part it is measured on."""

SCORED = 5000
"""Codes of each part that the mixture of all its posteriors scores. The cap is that of all of them."""
COMPARED = 10_000
"""Codes of each part that are tested against the prior, and that a probe learns from, at most."""
LEAST = 16
"""Examples under which the codes of a part are not looked at."""
LEAST_TO_FIT = 100
"""Training examples under which nothing is fitted to their codes."""
BLOCK, LEAST_BLOCKS = 500, 8
"""Codes in a block of the test against the prior, fewer where there would not be so many blocks."""


def assess(
    model: VAE,
    problem: Problem,
    data: Data,
    *,
    batch_size: int = 250,
    samples: int = SAMPLES,
    examples: int = EXAMPLES,
    seed: int = 0,
    stage: Stage | None = None,
) -> Evaluation:
    """Measures a model on every part of a data set, by every estimator that applies.

    To what :func:`~lagvae.evaluation.evaluate.evaluate_model` returns it adds, for each part (bias in brackets):

    * ``log_likelihood``: by importance sampling with K draws (reads low);
    * ``mutual_information_lower`` and ``_upper``: by the mixture of all posteriors (low) and the rate (high);
      ``mutual_information`` between them: R - KL(q(z) ‖ p(z)) with a density for q(z) (high);
    * ``kl_to_prior`` by that density (low), ``kl_to_prior_upper`` by the mixture (high), ``total_correlation`` (low);
    * ``mmd_imq``: MMD² in a kernel that sees narrow codes too, and ``mmd_imq_p_value``;
    * ``active_units``, and ``rate_of_dimension_0`` and so on;
    * ``linear_probe``, where there are labels, of five examples each or more: the accuracy on this part of a probe that
      learned from train.

    The density and the probe learn from one half of the training codes and are scored on the other, or on another part.
    What a few examples cannot tell is left out: on under 16 all about codes, on under 100 in train all that is fitted.

    Args:
        model: What to measure.
        problem: Whose constraints to check.
        data: Its parts.
        batch_size: Examples per mmd as the problem states it; the one trained with.
        samples: K.
        examples: How many of each part the log-likelihood is measured on, drawn at random; no more than there are.
        seed: Of everything that is drawn.
        stage: Told what is measured, and of its progress.

    Raises:
        SettingError: ``samples`` or ``examples`` is no positive whole number.
    """
    check_count(samples, "draw per example")
    check_count(examples, "examples", least=2)
    stage = stage or _unseen
    advance = stage("distortion, rate, mmd", sum(map(len, data.parts.values())))
    quick = evaluate_model(model, problem, data, batch_size=batch_size, seed=seed, advance=advance)
    codes = _collect(model, data, seed, stage)
    learned = _learn(codes, seed, stage)
    estimates: dict[str, Found] = {}
    for part, rows in data.parts.items():
        found = {**quick[part], "log_likelihood": _likelihood(model, rows, part, samples, examples, seed, stage)}
        if part in codes:
            found |= _describe(codes[part], part, derive_seed(seed, "assess", part), stage)
        if part in codes and learned is not None:
            found |= _describe_fitted(codes[part], part, learned, derive_seed(seed, "assess", part), stage)
        estimates[part] = found
    return replace(quick, estimates=estimates)


def assess_information(model: VAE, data: Data, *, seed: int = 0, stage: Stage | None = None) -> dict[str, Found]:
    """Measures how much information the codes of each part carry: of what :func:`assess` reports two, to the digit.

        mutual_information_lower ≤ I_q(x;z) ≤ mutual_information

    The former is capped at log N, the latter needs 100 training examples. The rate is another upper end.

    Args:
        model: What to measure.
        data: Its parts.
        seed: Of everything that is drawn.
        stage: Told what is measured, and of its progress.

    Returns:
        Estimates by part, of 16 examples or more, and name.
    """
    stage = stage or _unseen
    codes = _collect(model, data, seed, stage)
    learned = _learn(codes, seed, stage)
    estimates: dict[str, Found] = {}
    for part, own in codes.items():
        scores = _score(own, part, derive_seed(seed, "assess", part), stage)
        estimates[part] = {"mutual_information_lower": mixture_information(scores)}
        if learned is not None:
            estimates[part]["mutual_information"] = density_information(learned.unseen_of(own, part), learned.density)
    return estimates


@dataclass(frozen=True)
class _Learned:
    """What was learned from one half of the training codes, ``seen``, and the other half."""

    seen: Codes
    unseen: Codes
    density: FittedDensity

    def unseen_of(self, codes: Codes, part: str) -> Codes:
        """Returns those of a part's codes that nothing learned from."""
        return self.unseen if part == "train" else codes


def _collect(model: VAE, data: Data, seed: int, stage: Stage) -> dict[str, Codes]:
    """Returns the codes of every part that has enough of them."""
    advance = stage("codes", sum(map(len, data.parts.values())))
    return {
        part: collect_codes(model, rows, part=part, seed=seed, advance=advance)
        for part, rows in data.parts.items()
        if len(rows) >= LEAST
    }


def _learn(codes: dict[str, Codes], seed: int, stage: Stage) -> _Learned | None:
    """Returns what one half of the training codes teaches; None where they are too few."""
    if len(codes.get("train", ())) < LEAST_TO_FIT:
        return None
    seen, unseen = codes["train"].split(0.5, seed=seed)
    return _Learned(seen, unseen, fit_density(seen, seed=seed, advance=stage("a density fitted to q(z)", 1000)))


def _likelihood(
    model: VAE, rows: Examples, part: str, samples: int, examples: int, seed: int, stage: Stage
) -> Estimate:
    """Estimates the log-likelihood on so many of the examples, in the order of the data."""
    index = random_order(len(rows), seed)[:examples].sort().values
    advance = stage(f"log-likelihood, {part}", len(index))
    return log_likelihood(
        model, rows.pick(index), samples=samples, seed=derive_seed(seed, "assess", part), advance=advance
    )


def _score(codes: Codes, part: str, seed: int, stage: Stage) -> MixtureScores:
    scored = min(len(codes), SCORED)
    return score_mixture(codes, scored=scored, seed=seed, advance=stage(f"mixture of posteriors, {part}", scored))


def _describe(codes: Codes, part: str, seed: int, stage: Stage) -> Found:
    """Returns what a part's codes tell by themselves."""
    compared = min(len(codes), COMPARED)
    scores = _score(codes, part, seed, stage)
    interval = information_interval(codes, scores)
    test = mmd_test(
        codes.shuffled(seed).pick(torch.arange(compared)),
        mmd(kernel="imq"),
        block=max(2, min(BLOCK, compared // LEAST_BLOCKS)),
        seed=seed,
        advance=stage(f"mmd against the prior, {part}", compared),
    )
    return {
        "mutual_information_lower": interval.lower,
        "mutual_information_upper": interval.upper,
        "active_units": active_units(codes),
        "kl_to_prior_upper": kl_to_prior_by_mixture(codes, scores),
        "mmd_imq": test.squared_mmd,
        "mmd_imq_p_value": test.p_value,
        **{f"{DIMENSION}{dimension}": rate for dimension, rate in enumerate(rate_per_dimension(codes))},
    }


def _describe_fitted(codes: Codes, part: str, learned: _Learned, seed: int, stage: Stage) -> Found:
    """Returns what needs something that was fitted to other codes."""
    codes, density = learned.unseen_of(codes, part), learned.density
    advance = stage(f"total correlation, {part}", codes.latent_dim)
    found = {
        "mutual_information": density_information(codes, density),
        "kl_to_prior": kl_to_prior(codes, density),
        "total_correlation": total_correlation(codes, density, seed=seed, advance=advance),
    }
    lesson = learned.seen.pick(torch.arange(min(len(learned.seen), COMPARED)))
    if lesson.labels is not None and codes.labels is not None and 1 < len(lesson.labels.unique()) <= len(lesson) / 5:
        stage(f"linear probe, {part}", 1)
        found["linear_probe"] = linear_probe(lesson, codes)
    return found


def _unseen(what: str, steps: int) -> Advance:
    return lambda count: None
