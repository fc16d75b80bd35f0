"""The codes of a whole part of a data set: what every estimate of information and divergence rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.errors import ShapeError, expected
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.prior import Prior, StandardNormal
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed

Advance = Callable[[int], None]
"""Called with the number of examples, or of codes, just done."""


@dataclass(frozen=True)
class Codes:
    """Posteriors q(z|x_i) of N examples, and one z_i ~ q(z|x_i) of each.

    Attributes:
        posterior: One diagonal Gaussian per example.
        z: One sample of each.
        labels: int64 ``[N]``, or None.
        prior: p(z).
    """

    posterior: DiagonalGaussian
    z: Float[Tensor, "codes latent"]
    labels: Int64[Tensor, " codes"] | None = None
    prior: Prior = field(default_factory=StandardNormal)

    def __post_init__(self) -> None:
        shapes = [tuple(part.shape) for part in (self.posterior.mean, self.posterior.log_std, self.z)]
        if len(set(shapes)) > 1 or self.z.ndim != 2 or len(self.z) < 2:
            raise ShapeError(
                expected(
                    "mean, log_std and z of one shape [codes, latent], of two codes or more",
                    got=f"{shapes[0]}, {shapes[1]} and {shapes[2]}",
                    fix="collect_codes(model, examples)",
                )
            )

    def __len__(self) -> int:
        return len(self.z)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.z.shape[1]

    @cached_property
    def log_posterior(self) -> Float[Tensor, " codes"]:
        """The log-density log q(z_i|x_i) in float64, in nats."""
        return self._in_double().log_prob(self.z.double())

    @cached_property
    def log_prior(self) -> Float[Tensor, " codes"]:
        """The log-density log p(z_i) in float64, in nats."""
        return self.prior.log_prob(self.z.double()).detach()

    @property
    def how_rates(self) -> str:
        """How :attr:`rates` are known."""
        return "closed form" if isinstance(self.prior, StandardNormal) else "one draw of each code"

    @cached_property
    def rates(self) -> Float[Tensor, " codes"]:
        """KL(q(z|x_i) ‖ p(z)), float64, in nats: in closed form, or from z_i without bias where p(z) allows none."""
        return self.prior.rate(self._in_double(), self.z.double()).detach()

    @cached_property
    def standard_z(self) -> Float[Tensor, "codes latent"]:
        """The codes in the coordinates in which p(z) is N(0, I)."""
        return self.prior.standardise(self.z)[0].detach()

    def pick(self, index: Int64[Tensor, " picked"]) -> Codes:
        """Returns the codes at ``index``."""
        index = index.to(self.z.device)
        posterior = DiagonalGaussian(self.posterior.mean[index], self.posterior.log_std[index])
        labels = None if self.labels is None else self.labels[index.to("cpu")]
        return Codes(posterior, self.z[index], labels, self.prior)

    def shuffled(self, seed: int) -> Codes:
        """Returns the codes in random order: neighbours in a file are often alike."""
        return self.pick(random_order(len(self), seed))

    def split(self, share: float, *, seed: int = 0) -> tuple[Codes, Codes]:
        """Splits the codes at random into ``share`` of them, to fit a density on, and the rest, to score it on.

        Raises:
            ShapeError: A side would hold fewer than two codes.
        """
        first = round(share * len(self))
        order = random_order(len(self), derive_seed(seed, "split"))
        return self.pick(order[:first]), self.pick(order[first:])

    def _in_double(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.posterior.mean.double(), self.posterior.log_std.double())


@torch.no_grad()
def collect_codes(
    model: VAE,
    examples: Examples,
    *,
    part: str,
    seed: int = 0,
    batch_size: int = 1000,
    advance: Advance | None = None,
) -> Codes:
    """Encodes every example once, binarised afresh, in the order of the data.

    Memory: 3 N·d float32, on the model's device; the examples are read batch by batch, so a memory
    map stays one.

    Args:
        model: Whose encoder to use, in evaluation mode; it is left as it was.
        examples: One part of a data set.
        part: Its name, ``train`` or ``test``. Each part has noise of its own: with the same noise in
            both, a test code lies next to the train code of its number wherever posteriors are wide.
        seed: Of binarisation and posterior noise.
        batch_size: Examples per pass; it decides neither the posteriors' law nor z's.
        advance: Told of progress, in examples.
    """
    streams = Streams(derive_seed(seed, "codes", part), model.device)
    means, log_stds, samples = [], [], []
    was_training = model.training
    model.eval()
    for index in torch.arange(len(examples)).split(batch_size):
        raw = examples.gather(index).to(model.device)
        posterior = model.posterior(model.likelihood.prepare(raw, streams.binarisation))
        noise = torch.randn(posterior.mean.shape, generator=streams.posterior, device=posterior.mean.device)
        means.append(posterior.mean)
        log_stds.append(posterior.log_std)
        samples.append(posterior.at(noise))
        if advance is not None:
            advance(len(index))
    model.train(was_training)
    posterior = DiagonalGaussian(torch.cat(means), torch.cat(log_stds))
    labels = None if examples.labels is None else examples.labels.cpu()
    return Codes(posterior, torch.cat(samples), labels, model.prior)


def random_order(size: int, seed: int) -> Int64[Tensor, " size"]:
    """Returns a permutation that depends on ``seed`` alone, on the processor."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive_seed(seed, "order of codes")))
