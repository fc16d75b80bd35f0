"""Has training run away? No code may cost far more than what it is worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lagvae.data.examples import Examples
from lagvae.evaluation.evaluate import Evaluation
from lagvae.model.vae import VAE
from lagvae.problem.problem import Problem
from lagvae.streams import Streams, derive_seed
from lagvae.training.record import Record

NATS, TIMES = 1000.0, 10.0
"""How much worse than another a loss may be: so many nats, or so many times what is at stake."""
BLIND = 1000
"""Training examples on which a model is tried without a code."""


class Lookout:
    """Watches the lines of a run's log for an objective that leaves all that it was before.

        f_t - min_s f_s ≤ max(1000 nats, 10 |D_1 + R_1|, 10 |D_s + R_s|),    f = w_D D + w_R R

    with the objective's weights of distortion and rate, the larger of them 1, and s where f was least. What has grown
    without limit can keep every bound and need not be infinite anywhere; it does not come back. A single step may be as
    bad as it likes: one example that costs millions of nats has not undone the model. A rate that no one asked to be
    small may be as large as it likes (``min distortion``).

    Args:
        problem: What is solved.
        history: The lines so far.
    """

    def __init__(self, problem: Problem, history: Sequence[Record] = ()) -> None:
        self._problem = problem
        self._first: Record | None = None
        self._best: Record | None = None
        for record in history:
            self.find_runaway(record)

    def find_runaway(self, record: Record, last_steps: Sequence[tuple[float, float]] = ()) -> str:
        """Says that the objective ran away by this line, the log's next one; "" where it did not.

        Args:
            record: The line, means over its steps.
            last_steps: Distortion and rate of its last few: the best of them has to have run away as well.
        """
        self._first = self._first or record
        if self._best is None or self._value(record) < self._value(self._best):
            self._best = record
        value, best = self._value(record), self._value(self._best)
        stake = max(abs(sum(_distortion_and_rate(line))) for line in (self._first, self._best))
        newest = (_objective(self._problem, *step) for step in last_steps)
        if not is_beaten(min([value, *newest]) - best, stake=stake):
            return ""
        since, now = self._best["step"], record["step"]
        return f"the objective ran away: {best:.4g} nats at step {since}, {value:.3g} at step {now}"

    def _value(self, record: Record) -> float:
        return _objective(self._problem, *_distortion_and_rate(record))


def find_runaway(problem: Problem, evaluation: Evaluation, *, blind: float) -> str:
    """Says that a trained model is far worse at its own objective than without a code; "" where it is not.

        f - w_D D⁰ ≤ max(1000 nats, 10 |D⁰|)

    with f and w as :class:`Lookout` has them, and D⁰ of codes drawn from the prior, whose rate is 0. It finds what ran
    away before the log's first line.

    Args:
        problem: What was solved.
        evaluation: Of the model; the training data's is judged.
        blind: D⁰, by :func:`blind_distortion`.
    """
    distortion, rate = (evaluation["train"][name].value for name in ("distortion", "rate"))
    if not is_beaten(_objective(problem, distortion - blind, rate), stake=blind):
        return ""
    values = f"a distortion of {distortion:.3g} and a rate of {rate:.3g} nats"
    return f"the objective ran away: {values}, where a code at random has a distortion of {blind:.3g}"


def is_beaten(excess: float, *, stake: float) -> bool:
    """Whether a loss is worse than another by more than training could still mend; not finite is too."""
    return not excess <= max(NATS, TIMES * abs(stake))


@torch.no_grad()
def blind_distortion(model: VAE, examples: Examples, *, seed: int, batch_size: int = 250) -> float:
    """Returns D⁰ = E_q(x)p(z) [-log p(x|z)]: what a model reaches with codes that know nothing of x, at no rate.

    Args:
        model: Whose decoder, likelihood and prior.
        examples: Their first thousand are scored.
        seed: Of binarisation and codes.
        batch_size: How many at a time.
    """
    streams = Streams(derive_seed(seed, "blind"), model.device)
    was_training = model.training
    model.eval()
    total = 0.0
    chosen = torch.arange(min(len(examples), BLIND))
    for index in chosen.split(batch_size):
        x = model.likelihood.prepare(examples.gather(index).to(model.device), streams.binarisation)
        z = model.prior.place(streams.prior_sample(torch.empty(len(index), model.latent_dim, device=model.device)))
        total -= float(model.likelihood.log_prob(model.decoder(z).flatten(1), x.flatten(1)).sum())
    model.train(was_training)
    return total / len(chosen)


def _objective(problem: Problem, distortion: float, rate: float) -> float:
    """Returns what the objective makes of distortion and rate, the larger of its weights being 1."""
    weights: dict[str, float] = {}
    for term, weight in problem.objective.surrogate().items():
        weights[term.name] = weights.get(term.name, 0.0) + weight
    pairs = [(weights.get("distortion", 0.0), distortion), (weights.get("rate", 0.0), rate)]
    largest = max(abs(weight) for weight, _ in pairs)
    return sum(weight / largest * value for weight, value in pairs if weight)


def _distortion_and_rate(record: Record) -> tuple[float, float]:
    distortion, rate, *_ = record["terms"].values()  # whatever their estimators, they are the first two
    return distortion, rate
