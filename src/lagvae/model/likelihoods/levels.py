"""The 256 levels of a byte, each with a probability of its own: 8-bit images."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected
from lagvae.model.likelihoods.likelihood import bounded

LEVELS = 256
HIGHEST = LEVELS - 1


class Categorical:
    """A probability for each of the 256 levels: log p(x|z) = Σ_d log softmax(l_d)[byte_d].

    It says nothing of which levels are neighbours, and takes 256 outputs of the decoder for a dimension: for small
    images. x is byte/255.
    """

    name = "categorical"
    parameters_per_dimension = LEVELS

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Returns byte/255."""
        return raw.to(generator.device) / HIGHEST

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch outputs"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats: a log-probability, at most 0."""
        scores = self._logits(parameters).log_softmax(-2)
        return scores.gather(-2, _levels(x).unsqueeze(-2)).squeeze(-2).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z]."""
        values = torch.linspace(0, 1, LEVELS, device=parameters.device)
        return torch.einsum("...ld,l->...d", self._logits(parameters).softmax(-2), values)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""
        probabilities = self._logits(parameters).softmax(-2).movedim(-2, -1)
        drawn = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator)
        return drawn.reshape(probabilities.shape[:-1]) / HIGHEST

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError unless the values are bytes."""
        _check_bytes(examples, name, scores=self.name)

    @staticmethod
    def _logits(parameters: Tensor) -> Tensor:
        """Returns [..., level, dimension]."""
        return parameters.float().unflatten(-1, (LEVELS, -1))


class DiscretisedLogistic:
    """A logistic distribution on the line, of which every level holds what lies nearest to it.

        P(byte = v|z) = σ((x + ½δ - μ)/s) - σ((x - ½δ - μ)/s),    x = v/255, δ = 1/255

    with all that lies beyond at the two ends. Two outputs of the decoder for a dimension: μ - ½, and log s + 2, kept in
    (-7, 3). x is byte/255.

    Source: [Kingma2016], with σ the logistic function; [Salimans2017], section 2.1.
    """

    name = "discretised_logistic"
    parameters_per_dimension = 2

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Float[Tensor, "batch *event"]:
        """Returns byte/255."""
        return raw.to(generator.device) / HIGHEST

    def log_prob(
        self, parameters: Float[Tensor, "*stack batch outputs"], x: Float[Tensor, "*stack batch event"]
    ) -> Float[Tensor, "*stack batch"]:
        """Returns log p(x|z), summed over the dimensions of x, in nats: a log-probability, at most 0."""
        centre, log_scale = self._split(parameters)
        inverse = torch.exp(-log_scale)
        above, below = (x + 0.5 / HIGHEST - centre) * inverse, (x - 0.5 / HIGHEST - centre) * inverse
        # σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b)): no difference of numbers that are nearly 1.
        under_upper = F.logsigmoid(above).where(x < 1 - 0.5 / HIGHEST, 0.0)
        over_lower = F.logsigmoid(-below).where(x > 0.5 / HIGHEST, 0.0)
        is_inside = (x < 1 - 0.5 / HIGHEST) & (x > 0.5 / HIGHEST)
        width = torch.log(-torch.expm1(-inverse / HIGHEST)).where(is_inside, 0.0)
        return (under_upper + over_lower + width).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns E[x|z] = 1/255 Σ_v P(byte ≥ v)."""
        centre, log_scale = self._split(parameters)
        inverse, total = torch.exp(-log_scale), torch.zeros_like(centre)
        for level in range(HIGHEST):
            total += torch.sigmoid((centre - (level + 0.5) / HIGHEST) * inverse)
        return total / HIGHEST

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws x ~ p(x|z)."""
        centre, log_scale = self._split(parameters)
        u = torch.rand(centre.shape, generator=generator, device=centre.device).clamp(1e-7, 1 - 1e-7)
        return ((centre + log_scale.exp() * u.logit()).clamp(0, 1) * HIGHEST).round() / HIGHEST

    def check(self, examples: Examples, *, name: str) -> None:
        """Raises DataError unless the values are bytes."""
        _check_bytes(examples, name, scores=self.name)

    @staticmethod
    def _split(parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Returns μ and log s."""
        shift, log_scale = parameters.float().chunk(2, dim=-1)
        return 0.5 + shift, bounded(log_scale, 5.0) - 2.0


def _levels(x: Tensor) -> Tensor:
    return (x * HIGHEST).round().long()


def _check_bytes(examples: Examples, name: str, *, scores: str) -> None:
    if not examples.is_uint8:
        raise DataError(
            expected(
                f"bytes in {name}, of which {scores} scores the 256 levels",
                got="floats",
                fix="x.astype(np.uint8) of values in 0..255, or --likelihood continuous_bernoulli",
            )
        )
