"""What a decoder could compress to: its whole curve of rate against distortion, from one annealing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.evaluation.likelihood.annealing import Annealing, anneal, make_path, tune
from lagvae.evaluation.likelihood.importance import ImportanceWeights, is_degenerate
from lagvae.evaluation.visits import check_count, evaluating, prepared_blocks
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed


@dataclass(frozen=True)
class RateDistortion:
    """Points (rate, distortion) that codes q_β(z|x) ∝ p(z) p(x|z)^β reach: no encoder takes part.

    On average they lie on or above the rate-distortion curve of prior and decoder. At β = 1,
    distortion + rate is the negative log-likelihood, from above. All in nats per example, float64.

    Attributes:
        beta: Inverse temperatures, from 0.
        distortion: Means over examples of E[-log p(x|z)].
        rate: Means over examples of KL(q_β(z|x) ‖ p(z)), from above.
        distortion_error: Standard errors over examples.
        rate_error: Standard errors over examples.
        is_saturated: Where the chains' weights are degenerate, so that the curve may lie far below.
        examples: How many examples.
        annealing: How the chains walked.
    """

    beta: Float[Tensor, " points"]
    distortion: Float[Tensor, " points"]
    rate: Float[Tensor, " points"]
    distortion_error: Float[Tensor, " points"]
    rate_error: Float[Tensor, " points"]
    is_saturated: Bool[Tensor, " points"]
    examples: int
    annealing: Annealing

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in plain types."""
        return {k: v.tolist() if isinstance(v, Tensor) else v for k, v in asdict(self).items()}


def rate_distortion(
    model: VAE,
    examples: Examples,
    *,
    annealing: Annealing | None = None,
    points: int = 21,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> RateDistortion:
    """Traces rate against distortion of a prior and decoder, with one annealing from the prior.

        D(β) = E_x E_q_β [-log p(x|z)],    R(β) = E_x KL(q_β(z|x) ‖ p(z)) = E_x [-β D_β(x) - log Z_β(x)],
        q_β(z|x) = p(z) p(x|z)^β / Z_β(x)

    q_β minimises R + β D over all encoders. At each temperature of the walk, the chains and their weights stand for
    q_β: self-normalised, D is without bias for a code that takes one chain by its weight, and R is on average no
    less than that code's rate. So each point is one that can be reached.

    Args:
        model: Whose p(z) and p(x|z).
        examples: Of one part of a data set; grey ones are binarised afresh, once.
        annealing: How chains walk.
        points: How many points, evenly spaced among the temperatures, β = 0 and β = 1 among them.
        seed: Of binarisation, chains and moves.
        advance: Told how many examples are done.

    Raises:
        SettingError: ``points`` is under 2.

    Source: [Huang2020], sections 4 and 5, with log p(x|z) as the distortion.
    """
    check_count(points, "points", least=2)
    annealing = annealing or Annealing()
    betas = annealing.betas()
    wanted = sorted({round(step) for step in torch.linspace(0, annealing.temperatures, points).tolist()})
    streams = Streams(derive_seed(seed, "rate_distortion"), model.device)
    found: dict[int, list[Tensor]] = {step: [] for step in wanted}
    with evaluating(model), torch.no_grad():
        for x in prepared_blocks(model, examples, annealing.block(model, examples.event_shape), streams):
            path = make_path(model, x, "prior")
            step_sizes = tune(path, annealing, streams.posterior)
            for step, (state, log_weights) in enumerate(anneal(path, annealing, streams.posterior, step_sizes)):
                if step in found:
                    weights = ImportanceWeights()
                    weights.add(log_weights)
                    shares = log_weights.softmax(0)
                    distortion = -(shares * state.log_likelihood).sum(0)
                    rate = -betas[step] * distortion - weights.log_mean
                    found[step].append(torch.stack([distortion, rate, weights.effective_sample_size]).cpu())
            if advance is not None:
                advance(len(x))
    per_example = torch.stack([torch.cat(found[step], dim=1) for step in wanted])  # points, quantities, examples
    distortion, rate, effective = per_example.unbind(1)
    root = len(examples) ** 0.5
    return RateDistortion(
        beta=torch.tensor([betas[step] for step in wanted], dtype=torch.float64),
        distortion=distortion.mean(1),
        rate=rate.mean(1),
        distortion_error=distortion.std(1) / root,
        rate_error=rate.std(1) / root,
        is_saturated=torch.tensor([is_degenerate(sizes) for sizes in effective]),
        examples=len(examples),
        annealing=annealing,
    )
