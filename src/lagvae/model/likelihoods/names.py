"""The likelihoods by name, and which of them fits the data."""

from __future__ import annotations

from dataclasses import dataclass

from lagvae.data.examples import Examples
from lagvae.data.moments import extent
from lagvae.errors import SettingError, expected, nearest
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.likelihoods.continuous_bernoulli import ContinuousBernoulli
from lagvae.model.likelihoods.counts import NegativeBinomial, Poisson
from lagvae.model.likelihoods.gaussian import FixedGaussian, LearnedGaussian, OptimalGaussian
from lagvae.model.likelihoods.levels import Categorical, DiscretisedLogistic
from lagvae.model.likelihoods.likelihood import Likelihood

_PLAIN = {kind.name: kind for kind in (Bernoulli, ContinuousBernoulli, Categorical, DiscretisedLogistic)}
_SHAPED = {kind.name: kind for kind in (LearnedGaussian, OptimalGaussian, FixedGaussian, Poisson, NegativeBinomial)}

COLOURS = 3


@dataclass(frozen=True)
class Choice:
    """A likelihood by its name, and why it was picked.

    Attributes:
        name: What the setting ``likelihood`` takes.
        reason: What the data are, in a few words.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"likelihood: {self.name}, for {self.reason}"


def build_likelihood(name: str, event_shape: tuple[int, ...], *, noise: float = 1.0) -> Likelihood:
    """Builds a likelihood for examples of a shape.

    Args:
        name: As in the setting ``likelihood``, but for ``auto``, which needs the data.
        event_shape: Shape of one example.
        noise: σ of ``fixed_gaussian``, in standard deviations of the data.

    Raises:
        SettingError: There is no likelihood of that name.
    """
    if name in _PLAIN:
        return _PLAIN[name]()
    if name == FixedGaussian.name:
        return FixedGaussian(tuple(event_shape), noise)
    if name in _SHAPED:
        return _SHAPED[name](tuple(event_shape))
    raise SettingError(expected("a likelihood", got=f"'{name}'", fix=nearest(name, [*_PLAIN, *_SHAPED])))


def choose_likelihood(examples: Examples) -> Choice:
    """Picks the likelihood that training examples ask for by their type, range and shape.

    ================================================  ==========================
    values                                            likelihood
    ================================================  ==========================
    bytes, three colours                              ``discretised_logistic``
    other bytes; floats in [0, 1] but for the next    ``bernoulli``
    floats in [0, 1], three colours                   ``continuous_bernoulli``
    whole numbers ≥ 0, some over 1                    ``negative_binomial``
    other numbers                                     ``optimal_gaussian``
    ================================================  ==========================

    Images of floats in 0..255 are bytes that were converted: ``bernoulli``, which asks for them divided by 255.
    """
    shape = examples.event_shape
    is_image, has_colours = len(shape) > 1, len(shape) == 3 and shape[0] == COLOURS
    if examples.is_uint8:
        if has_colours:
            return Choice("discretised_logistic", "bytes in three colours")
        return Choice("bernoulli", "bytes, whose intensities are the probabilities of bits")
    found = extent(examples)
    where = f"{found.low:g}..{found.high:g}"
    if found.low >= 0 and found.high <= 1:
        if has_colours and not found.is_whole:
            return Choice("continuous_bernoulli", "floats in [0, 1] in three colours")
        return Choice("bernoulli", "bits" if found.is_whole else "floats in [0, 1], the probabilities of bits")
    if is_image and found.low >= 0 and found.high <= 255:
        return Choice("bernoulli", f"bytes as floats in {where}")
    if found.is_whole and found.low >= 0:
        return Choice("negative_binomial", f"counts in {where}")
    return Choice("optimal_gaussian", f"numbers in {where}")
