"""Measures a model on whole data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lagvae.data.dataset import Data
from lagvae.data.examples import Examples
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.questions import CONSTRAINT, by_question
from lagvae.model.draw import Draw
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.streams import Streams, derive_seed
from lagvae.terms.algebra import WeightedSum
from lagvae.terms.elbo import distortion, neg_elbo, rate
from lagvae.terms.importance import NegIwae
from lagvae.terms.mmd import MMD, mmd
from lagvae.terms.term import PerExampleTerm, Term

Advance = Callable[[int], None]
"""Called with the number of examples just done."""

LEAST_BATCHES = 8
"""How many batches a quantity that is none of an example's is measured on, at least."""


@dataclass(frozen=True)
class Evaluation:
    """Estimates by part and name, and what they mean for the problem's bounds.

    Attributes:
        problem: The problem whose constraints were measured.
        estimates: ``estimates["test"]["neg_elbo"]`` is an :class:`Estimate`.
    """

    problem: Problem
    estimates: dict[str, dict[str, Estimate]]

    def __getitem__(self, part: str) -> dict[str, Estimate]:
        return self.estimates[part]

    @property
    def judged(self) -> str:
        """The part that bounds are to hold on: ``held_out`` where there is one, else ``train``."""
        return "held_out" if "held_out" in self.estimates else "train"

    def violations(self, part: str | None = None) -> dict[str, float]:
        """Returns name → violation (≤ 0 is feasible) of every constraint, on the judged part if none is named."""
        found = self.estimates[part or self.judged]
        return {
            name: constraint.violation(found[_constraint_key(name)].value)
            for name, constraint in self.problem.constraints.items()
        }

    def missed(self, part: str | None = None) -> list[str]:
        """Returns the names of the constraints that are not met within their tolerance."""
        found = self.estimates[part or self.judged]
        return [
            name
            for name, constraint in self.problem.constraints.items()
            if not constraint.is_met_by(found[_constraint_key(name)].value, slack=constraint.tolerance)
        ]

    def is_feasible(self, part: str | None = None) -> bool:
        """Whether every constraint is met within its tolerance."""
        return not self.missed(part)

    def by_question(self, part: str) -> dict[str, dict[str, Estimate]]:
        """Returns question → name → estimate of a part, in the order in which a reader asks."""
        found = self.estimates[part]
        return {question: {name: found[name] for name in names} for question, names in by_question(found).items()}

    def as_dict(self) -> dict[str, Any]:
        """Returns everything in plain types: the body of ``evaluation.json`` and of ``estimates.json``."""
        names = list(dict.fromkeys(name for found in self.estimates.values() for name in found))
        return {
            "problem": str(self.problem),
            "questions": by_question(names),
            "estimates": {
                part: {name: estimate.as_dict() for name, estimate in found.items()}
                for part, found in self.estimates.items()
            },
            "violations": {part: self.violations(part) for part in self.estimates},
            "feasible": {part: self.is_feasible(part) for part in self.estimates},
        }


def evaluate_model(
    model: VAE,
    problem: Problem,
    data: Data,
    *,
    batch_size: int = 250,
    seed: int = 0,
    advance: Advance | None = None,
) -> Evaluation:
    """Measures a model on every part of a data set, in float32, binarising afresh.

    Reported for each part: distortion, rate and neg_elbo (per example; standard error s/√N), mmd
    biased and unbiased in the problem's kernel, and every constrained quantity as the problem
    states it. An mmd is the mean over batches of ``batch_size`` examples in random order, so that
    a biased one carries the same bias as in training; its standard error is over batches. Where there are
    under eight, examples are visited again in other orders for the value, and the error is over eight smaller
    batches that share none: right for a mean over examples, up to three times too large for the mmd of a
    q(z) close to p(z).

    Args:
        model: What to measure.
        problem: Whose constraints to check.
        data: Its parts.
        batch_size: Examples per mmd; the one trained with, to compare with its bound.
        seed: Of binarisation, posterior noise, prior samples and order.
        advance: Told of progress.

    Returns:
        Estimates by part and name.
    """
    quantities = _quantities(problem)
    was_training = model.training
    model.eval()
    estimates = {}
    for part, examples in data.parts.items():
        streams = Streams(derive_seed(seed, "evaluation", part), model.device)
        found = _measure(model, examples, quantities.values(), batch_size, streams, advance or (lambda _: None))
        size = min(batch_size, len(examples))
        estimates[part] = {name: _estimate(one, *found[one], len(examples), size) for name, one in quantities.items()}
    model.train(was_training)
    return Evaluation(problem, estimates)


def divergence_of(problem: Problem) -> MMD:
    """Returns the mmd that is reported of a problem's model: the one it bounds, or weighs; the original's, if none."""
    sums = (*(constraint.quantity for constraint in problem.subject_to), problem.objective.quantity)
    return next((term for quantity in sums for term, _ in quantity.items if isinstance(term, MMD)), mmd)


def _constraint_key(name: str) -> str:
    return f"{CONSTRAINT}{name}"


def _quantities(problem: Problem) -> dict[str, WeightedSum]:
    """Returns name → sum of measurable terms for everything that is reported."""
    divergence = divergence_of(problem)
    reported: dict[str, Term] = {
        "distortion": distortion,
        "rate": rate,
        "neg_elbo": neg_elbo,
        "mmd_biased": replace(divergence, estimator="biased"),
        "mmd_unbiased": replace(divergence, estimator="unbiased"),
    }
    quantities = {name: WeightedSum(term.surrogate(1.0)) for name, term in reported.items()}
    for name, constraint in problem.constraints.items():
        quantities[_constraint_key(name)] = WeightedSum(constraint.quantity.surrogate())
    return quantities


def _is_per_example(quantity: WeightedSum) -> bool:
    return all(isinstance(term, PerExampleTerm) for term, _ in quantity.items)


@torch.inference_mode()
def _measure(
    model: VAE,
    examples: Examples,
    quantities: Iterable[WeightedSum],
    batch_size: int,
    streams: Streams,
    advance: Advance,
) -> dict[WeightedSum, tuple[Tensor, Tensor]]:
    """Returns, for each quantity, its values per example, or per whole batch where it is none of an example's.

    Beside them stands what its error is read from: the same, or values of smaller batches without an example in common.
    A quantity that is asked for under several names is measured once.
    """
    size = min(batch_size, len(examples))
    examples = examples.to(model.device)
    # A few whole batches say little about their own spread: then the examples are visited again in other orders.
    passes = math.ceil(LEAST_BATCHES / (len(examples) // size))
    samples: dict[WeightedSum, list[Tensor]] = {quantity: [] for quantity in quantities}
    apart: dict[WeightedSum, list[Tensor]] = {quantity: [] for quantity in samples if not _is_per_example(quantity)}

    def draw_of(index: Tensor) -> Draw:
        raw = examples.gather(index).to(model.device)  # a memory map stays where it is
        return model.draw(model.likelihood.prepare(raw, streams.binarisation), streams)

    for visit in range(passes):
        # In random order: neighbours in a file are often alike (one writer's digits), and an mmd sees it.
        order = examples.beside_values(streams.data_order(visit, len(examples)))
        for index in order.split(size):
            draw = draw_of(index)
            for quantity, collected in samples.items():
                is_wanted = visit == 0 if _is_per_example(quantity) else len(index) == size
                if is_wanted:
                    collected.append(_values(quantity, draw))  # nothing waits for the device in between
            if visit == 0:
                advance(len(index))
    if passes > 1 and len(examples) >= 2 * LEAST_BATCHES:
        order = examples.beside_values(streams.data_order(passes, len(examples)))
        for index in order.split(len(examples) // LEAST_BATCHES)[:LEAST_BATCHES]:
            draw = draw_of(index)
            for quantity, collected in apart.items():
                collected.append(_values(quantity, draw))
    values = {quantity: torch.cat(collected).cpu() for quantity, collected in samples.items()}
    spread = {quantity: torch.cat(collected).cpu() for quantity, collected in apart.items() if collected}
    return {quantity: (found, spread.get(quantity, found)) for quantity, found in values.items()}


def _values(quantity: WeightedSum, draw: Draw) -> Tensor:
    """Returns the sum's value per example, or the one value of the batch."""
    per_example = _is_per_example(quantity)
    values = [
        weight * (term.per_example(draw) if per_example else term.measure(draw).reshape(1))  # type: ignore[attr-defined]
        for term, weight in quantity.items
    ]
    return torch.stack(values).sum(0)


def _estimate(quantity: WeightedSum, samples: Tensor, spread: Tensor, examples: int, batch_size: int) -> Estimate:
    if _is_per_example(quantity):
        draws = max((term.samples for term, _ in quantity.items if isinstance(term, NegIwae)), default=1)
        method = f"mean over examples, {'one' if draws == 1 else draws} z each"
        return Estimate.of_mean(samples, unit="nats per example", bias="none", method=method, examples=examples)
    biased = any(term.floor(latent_dim=8, batch_size=2) > 0 for term, _ in quantity.items)
    (first, _), *others = quantity.items
    again = ", examples visited more than once" if len(samples) * batch_size > examples else ""
    found = Estimate.of_mean(
        samples,
        unit="MMD²" if isinstance(first, MMD) and not others else "as stated",
        bias="upper" if biased else "none",
        method=f"mean over {len(samples)} batches of {batch_size} of {quantity}{again}",
        examples=min(examples, len(samples) * batch_size),
    )
    return found if spread is samples else replace(found, standard_error=_error(spread))


def _error(samples: Tensor) -> float:
    """Returns s/√n."""
    return float(samples.double().std() / len(samples) ** 0.5)
