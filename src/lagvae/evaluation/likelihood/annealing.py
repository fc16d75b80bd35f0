"""log p(x) by annealed importance sampling: below it from the start, above it from the posterior's end.

Where the encoder is a poor proposal, importance sampling from it reads far too low however many draws it takes.
Annealing walks from the start to the posterior in many small steps instead, and on data that the model itself has
made it walks back too: the truth lies between the two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.errors import SettingError, ShapeError, expected, nearest
from lagvae.evaluation.estimate import Estimate
from lagvae.evaluation.likelihood.hamiltonian import TARGET_ACCEPTANCE, Path, State, transition
from lagvae.evaluation.likelihood.importance import ImportanceWeights, summarise
from lagvae.evaluation.visits import LARGEST_BLOCK, check_count, evaluating, prepared_blocks, rows_at_once
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.likelihoods.likelihood import count_parameters
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed

Advance = Callable[[int], None]
"""Called with the number of examples just done."""

Start = Literal["prior", "posterior"]
Spacing = Literal["sigmoidal", "linear"]

PILOT_CHAINS = 4
"""How many chains find the step sizes."""

SIGMOID_WIDTH = 4.0
"""δ of the sigmoidal schedule [Grosse2015]: temperatures are densest at both ends."""


@dataclass(frozen=True)
class Annealing:
    """How chains walk.

    Attributes:
        temperatures: T, how many steps of β lead from 0 to 1. The gap to log p(x) falls like 1/T.
        chains: M, how many walk side by side for each example.
        leapfrogs: How many leapfrogs make a move, of which there is one per temperature.
        spacing: ``"sigmoidal"`` β_t ∝ σ(δ (2t/T - 1)) with δ = 4, from 0 to 1, or ``"linear"`` β_t = t/T.

    Raises:
        SettingError: A number is no positive whole one, or the spacing is unknown.

    An example costs T · M · ``leapfrogs`` gradients of the decoder, and a pilot a few chains more.
    """

    temperatures: int = 1000
    chains: int = 16
    leapfrogs: int = 10
    spacing: Spacing = "sigmoidal"

    def __post_init__(self) -> None:
        check_count(self.temperatures, "temperature")
        check_count(self.chains, "chain")
        check_count(self.leapfrogs, "leapfrog")
        if self.spacing not in ("sigmoidal", "linear"):
            fix = nearest(str(self.spacing), ["sigmoidal", "linear"])
            raise SettingError(expected("a known spacing of temperatures", got=repr(self.spacing), fix=fix))

    def betas(self) -> list[float]:
        """Returns β_0 = 0 < β_1 < ... < β_T = 1."""
        steps = torch.linspace(0, 1, self.temperatures + 1, dtype=torch.float64)
        if self.spacing == "linear":
            return steps.tolist()
        curve = torch.sigmoid(SIGMOID_WIDTH * (2 * steps - 1))
        return ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()

    def block(self, model: VAE, event_shape: tuple[int, ...]) -> int:
        """Returns how many examples to anneal at once."""
        rows = rows_at_once(event_shape, model.device, each=count_parameters(model.likelihood))
        return max(1, min(LARGEST_BLOCK, rows // self.chains))


@dataclass(frozen=True)
class Bracket:
    """The log-likelihood of a model's own data, from both sides.

    Attributes:
        lower: By chains from the start. Bias: lower.
        upper: By chains from an exact sample of the posterior. Bias: upper.
        gap: Mean of upper - lower over the same examples: on average no less than the error of either.
    """

    lower: Estimate
    upper: Estimate
    gap: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in plain types."""
        return asdict(self)


def annealed_log_likelihood(
    model: VAE,
    examples: Examples,
    *,
    annealing: Annealing | None = None,
    start: Start = "prior",
    seed: int = 0,
    advance: Advance | None = None,
) -> Estimate:
    """Estimates the log-likelihood E log p(x) by annealed importance sampling with Hamiltonian moves.

        log p̂(x) = log (1/M) Σ_m Π_t f_{β_t}(z_{t-1}) / f_{β_{t-1}}(z_{t-1}),    z_t ~ a move that keeps f_{β_t}

    f_β goes from the start to p(z) p(x|z) along s(z)^(1-β) (p(z) p(x|z))^β. Every product has the mean p(x) exactly,
    so that E log p̂ ≤ log p(x). For that, step sizes may not depend on the chains that they move: they are tuned to
    an acceptance of 65 %, for each example and temperature, by pilot chains with noise of their own.

    Args:
        model: Whose p(x).
        examples: Of one part of a data set; grey ones are binarised afresh, once.
        annealing: How chains walk.
        start: s, the prior p(z) or the encoder's q(z|x). A good encoder is nearer; a poor one may miss a mode.
        seed: Of binarisation, chains and moves.
        advance: Told how many examples are done.

    Returns:
        The mean over examples, in nats per example. Bias: lower. Standard error s/√N over examples. ``samples`` are
        the chains; ``is_saturated`` where their weights are degenerate (the same rule as for importance sampling).

    Raises:
        SettingError: ``start`` is unknown.

    Source: [Neal2001], with the moves and schedule of [Wu2017].
    """
    annealing = annealing or Annealing()
    streams = Streams(derive_seed(seed, "annealed_log_likelihood"), model.device)
    values, sizes = [], []
    with evaluating(model), torch.no_grad():
        for x in prepared_blocks(model, examples, annealing.block(model, examples.event_shape), streams):
            path = make_path(model, x, start)
            found = climb(path, annealing, streams.posterior, tune(path, annealing, streams.posterior))
            values.append(found.log_mean.cpu())
            sizes.append(found.effective_sample_size.cpu())
            if advance is not None:
                advance(len(x))
    return _summarise(torch.cat(values), torch.cat(sizes), annealing, start)


def bracket_log_likelihood(
    model: VAE,
    *,
    size: int = 100,
    event_shape: Sequence[int] | None = None,
    annealing: Annealing | None = None,
    start: Start = "prior",
    seed: int = 0,
    advance: Advance | None = None,
) -> Bracket:
    """Encloses E log p(x) on data that the model itself has made, for which a sample of the posterior is known.

        z* ~ p(z), x ~ p(x|z*):    E log p̂_lower(x) ≤ log p(x) ≤ E log p̂_upper(x)

    Chains from the start bound from below (:func:`annealed_log_likelihood`). z* is an exact draw from p(z|x): chains
    that start there and walk the same temperatures and moves backwards estimate 1/p(x) without bias, hence log p(x)
    from above. Where the bracket is narrow, the same annealing can be trusted on data like the model's own.

    Args:
        model: Whose p(x).
        size: How many examples to make.
        event_shape: Shape of an example: ``data.train.event_shape``. That of the decoder's output if none is given.
        annealing: How chains walk, in both directions.
        start: Where the walk up begins.
        seed: Of the data, chains and moves.
        advance: Told how many examples are done.

    Returns:
        Lower and upper estimates and their gap, in nats per example, with standard errors over examples.

    Raises:
        SettingError: ``size`` is no positive whole number, or ``start`` is unknown.
        ShapeError: The networks do not fit examples of ``event_shape``, or of the decoder's own.

    Source: [Grosse2015], section 3; for decoders, [Wu2017].
    """
    check_count(size, "example")
    annealing = annealing or Annealing()
    streams = Streams(derive_seed(seed, "bracket_log_likelihood"), model.device)
    lower, upper, sizes, sizes_above = [], [], [], []
    with evaluating(model), torch.no_grad():
        shape = _checked_shape(model, event_shape)
        for index in torch.arange(size).split(annealing.block(model, shape)):
            z = torch.randn(len(index), model.latent_dim, device=model.device, generator=streams.prior)
            x = model.simulate(model.prior.place(z), streams.binarisation).reshape(len(z), *shape)
            path = make_path(model, x, start)
            step_sizes = tune(path, annealing, streams.posterior)
            below = climb(path, annealing, streams.posterior, step_sizes)
            above = _collect(-anneal_back(path, z, annealing, streams.posterior, step_sizes))
            lower.append(below.log_mean.cpu())
            sizes.append(below.effective_sample_size.cpu())
            upper.append(-above.log_mean.cpu())
            sizes_above.append(above.effective_sample_size.cpu())
            if advance is not None:
                advance(len(index))
    found, found_above = torch.cat(lower), torch.cat(upper)
    return Bracket(
        lower=_summarise(found, torch.cat(sizes), annealing, start),
        upper=_summarise(found_above, torch.cat(sizes_above), annealing, start, is_reversed=True),
        gap=Estimate.of_mean(
            found_above - found,
            unit="nats per example",
            bias="upper",
            method="upper less lower end of a bidirectional bracket",
            examples=size,
        ),
    )


def _checked_shape(model: VAE, event_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Returns the shape of an example that both networks take."""
    if event_shape is not None:
        model.check_shapes(event_shape)
        return tuple(event_shape)
    nowhere = torch.zeros(1, model.latent_dim, device=model.device)
    shape = tuple(model.simulate(nowhere, torch.Generator(model.device)).shape[1:])
    try:
        model.check_shapes(shape)
    except ShapeError as error:
        got = f"a decoder that puts out {shape}, which the encoder does not take"
        fix = "event_shape=data.train.event_shape"
        raise ShapeError(expected("two networks for one shape of examples", got=got, fix=fix)) from error
    return shape


def make_path(model: VAE, x: Float[Tensor, "batch *event"], start: Start) -> Path:
    """Returns the path from the prior or from q(z|x) to the posterior of prepared examples."""
    encoder = model.prior.pull_back(model.posterior(x))
    if start == "posterior":
        return Path(model, x, start=encoder, encoder=encoder)
    if start != "prior":
        raise SettingError(expected("a known start", got=repr(start), fix=nearest(str(start), ["prior", "posterior"])))
    nothing = torch.zeros_like(encoder.mean)
    return Path(model, x, start=DiagonalGaussian(nothing, nothing), encoder=encoder)


def tune(path: Path, annealing: Annealing, generator: torch.Generator) -> Float[Tensor, "temperatures batch"]:
    """Returns a step size for each temperature and example, found by pilot chains that nothing else depends on."""
    state = path.sample_start(PILOT_CHAINS, generator)
    log_size = torch.full_like(state.log_likelihood[0], -0.5 * math.log(annealing.leapfrogs))
    found = []
    for beta in annealing.betas()[1:]:
        found.append(log_size.exp())
        state, acceptance = transition(
            path, state, beta=beta, step_size=found[-1], steps=annealing.leapfrogs, generator=generator
        )
        log_size = log_size + 0.2 * (acceptance.mean(0) - TARGET_ACCEPTANCE)
    return torch.stack(found)


def anneal(
    path: Path,
    annealing: Annealing,
    generator: torch.Generator,
    step_sizes: Float[Tensor, "temperatures batch"],
) -> Iterator[tuple[State, Float[Tensor, "chains batch"]]]:
    """Walks up, and yields where the chains are and their log-weights at each β_0 ... β_T.

    At each of them, chains and weights together stand for f_β: Σ w g(z) / Σ w estimates the mean of g, and the mean
    of w is without bias for ∫ f_β.
    """
    betas = annealing.betas()
    state = path.sample_start(annealing.chains, generator)
    log_weights = torch.zeros_like(state.log_likelihood, dtype=torch.float64)
    yield state, log_weights
    for before, beta, step_size in zip(betas, betas[1:], step_sizes, strict=False):
        log_weights = log_weights + (beta - before) * path.log_ratio(state)
        state, _ = transition(
            path, state, beta=beta, step_size=step_size, steps=annealing.leapfrogs, generator=generator
        )
        yield state, log_weights


def climb(
    path: Path, annealing: Annealing, generator: torch.Generator, step_sizes: Float[Tensor, "temperatures batch"]
) -> ImportanceWeights:
    """Walks all the way up, and returns the chains' weights for p(x)."""
    ((_, log_weights),) = deque(anneal(path, annealing, generator, step_sizes), maxlen=1)
    return _collect(log_weights)


def anneal_back(
    path: Path,
    z: Float[Tensor, "batch latent"],
    annealing: Annealing,
    generator: torch.Generator,
    step_sizes: Float[Tensor, "temperatures batch"],
) -> Float[Tensor, "chains batch"]:
    """Walks down from exact samples z ~ p(z|x), and returns log-weights with E exp(-log_weight) = 1/p(x)."""
    betas = annealing.betas()
    state = path.at(z.expand(annealing.chains, *z.shape))
    log_weights = torch.zeros_like(state.log_likelihood, dtype=torch.float64)
    for step in reversed(range(annealing.temperatures)):
        state, _ = transition(
            path,
            state,
            beta=betas[step + 1],
            step_size=step_sizes[step],
            steps=annealing.leapfrogs,
            generator=generator,
        )
        log_weights = log_weights + (betas[step + 1] - betas[step]) * path.log_ratio(state)
    return log_weights


def _collect(log_weights: Float[Tensor, "chains batch"]) -> ImportanceWeights:
    weights = ImportanceWeights()
    weights.add(log_weights)
    return weights


def _summarise(
    values: Tensor, effective_sample_size: Tensor, annealing: Annealing, start: Start, *, is_reversed: bool = False
) -> Estimate:
    walked = "back from exact samples of the posterior to" if is_reversed else "from"
    return summarise(
        values,
        effective_sample_size,
        samples=annealing.chains,
        method=f"annealed importance sampling, {annealing.chains} chains {walked} the {start},"
        f" {annealing.temperatures} {annealing.spacing} temperatures of {annealing.leapfrogs} leapfrogs",
        bias="upper" if is_reversed else "lower",
    )
