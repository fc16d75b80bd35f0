"""What every member of a front measures: tabulated on a grid of weights, interpolated in between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from lagvae.evaluation.estimate import Estimate
from lagvae.front.amortised.family import Family
from lagvae.front.bounds import tabulated_as
from lagvae.terms.elbo import Distortion, Rate, distortion, neg_elbo, rate
from lagvae.terms.mmd import MMD, mmd
from lagvae.terms.term import Term

Array = np.ndarray
FEWEST = 5
"""Members along log β under which nothing is said of the splines between them."""
Parts = Mapping[str, Mapping[str, Estimate]]
"""Part → name → estimate."""


@dataclass(frozen=True)
class Surface:
    """Estimates of every tabulated quantity as functions of (log β, log γ).

    Cubic splines along log β, of a quantity or of its logarithm, whichever is nearer to members that are left out: the
    rate of dimensions that die falls by orders of magnitude. Monotone ones along log γ, over which a divergence does.
    neg_elbo is the sum of its parts. All members are measured on the same examples with the same random numbers: the
    errors of neighbours are alike.

    Between members the standard error holds what interpolation may be off by: an eighth of what splines are off by at
    the next members where these are left out (a sixteenth, were all smooth), as a parabola between them.

    Attributes:
        family: Its rectangle.
        betas: The grid's β, ascending.
        gammas: The grid's γ, ascending; one where there is no divergence.
        measured: What the members measure, β by β, γ by γ within.
        divergence: Which mmd they measure.
    """

    family: Family
    betas: tuple[float, ...]
    gammas: tuple[float, ...]
    measured: tuple[Parts, ...]
    divergence: MMD = mmd

    def values(
        self, name: str, part: str, log_betas: Float[Array, " m"], log_gammas: Float[Array, " k"]
    ) -> Float[Array, "m k"]:
        """Returns the estimates of a quantity at every pair of a log β and a log γ."""
        if name == neg_elbo.name and {distortion.name, rate.name} <= set(self.names):
            parts = (self.values(part_of.name, part, log_betas, log_gammas) for part_of in (distortion, rate))
            return sum(parts, np.zeros(()))
        known = self._grid(part, name)
        if not np.isfinite(known).all():
            return np.full((len(log_betas), len(log_gammas)), math.nan)
        return _across(np.log(self.gammas), _along(np.log(self.betas), known, log_betas), log_gammas)

    def estimates(self, part: str, *, beta: float, gamma: float) -> dict[str, Estimate]:
        """Returns name → estimate of the member at (β, γ)."""
        at = np.array([math.log(beta)]), np.array([math.log(gamma)])
        found = {}
        nearest = self._nearest(beta, gamma)[part]
        for name in self.names_of(part):
            like = nearest[name]
            found[name] = replace(
                like,
                value=float(self.values(name, part, *at)[0, 0]),
                standard_error=math.hypot(self._sampling_error(name, part, *at), self._between(name, part, *at)),
                method=f"{like.method}; interpolated along the front",
            )
        return found

    def _grid(self, part: str, name: str, *, errors: bool = False) -> Float[Array, "betas gammas"]:
        found = [member[part].get(name) for member in self.measured]
        values = [math.nan if one is None else one.standard_error if errors else one.value for one in found]
        return np.array(values, dtype=float).reshape(len(self.betas), len(self.gammas))

    def _sampling_error(self, name: str, part: str, log_beta: Array, log_gamma: Array) -> float:
        """Returns the standard error of members nearby."""
        errors = self._grid(part, name, errors=True)
        if not np.isfinite(errors).all():  # an error of what was measured on one example is none
            return math.nan
        nodes = np.log(self.betas)
        gap = int(_gaps(nodes, log_beta)[0])
        share = (log_beta[0] - nodes[gap]) / (nodes[gap + 1] - nodes[gap])
        nearby = (1 - share) * errors[[gap]] + share * errors[[gap + 1]]
        return float(_across(np.log(self.gammas), nearby, log_gamma)[0, 0])

    def _between(self, name: str, part: str, log_beta: Array, log_gamma: Array) -> float:
        """Returns what interpolating along log β may be off by; 0 at a member's own β."""
        known, nodes = self._grid(part, name), np.log(self.betas)
        if len(nodes) < FEWEST or not np.isfinite(known).all():
            return 0.0
        gap = int(_gaps(nodes, log_beta)[0])
        off = _off(nodes, known)[[gap]]
        if (known > 0).all():
            off = np.minimum(off, _off(nodes, known, by_logarithm=True)[[gap]])
        share = (log_beta[0] - nodes[gap]) / (nodes[gap + 1] - nodes[gap])
        return float(_across(np.log(self.gammas), off, log_gamma)[0, 0]) / 8 * 4 * share * (1 - share)

    def name_of(self, term: Term) -> str:
        """Returns the name under which a term is tabulated, if it is."""
        return tabulated_as(term, self.divergence)

    def weight_of_divergence(self, gamma: float) -> float:
        """Returns γ, and 0 at the lowest, which is as good as none."""
        return gamma if gamma > 1.001 * self.gammas[0] else 0.0

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the data that were measured."""
        return tuple(self.measured[0])

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities that were, of every member."""
        return self.names_of(self.parts[0])

    def names_of(self, part: str) -> tuple[str, ...]:
        """Returns the quantities that were measured of every member on a part."""
        first, *others = (member[part] for member in self.measured)
        return tuple(name for name in first if all(name in other for other in others))

    def _nearest(self, beta: float, gamma: float) -> Parts:
        """Returns what the member measures that is nearest to (β, γ)."""
        row, column = (
            int(np.abs(np.log(known) - math.log(at)).argmin())
            for known, at in ((self.betas, beta), (self.gammas, gamma))
        )
        return self.measured[row * len(self.gammas) + column]


def _along(betas: Array, known: Float[Array, "n k"], at: Float[Array, " m"]) -> Float[Array, "m k"]:
    """Returns splines through what is known along log β, or through its logarithms, whichever fit a gap better."""
    from scipy.interpolate import CubicSpline  # not at import: it changes warning filters

    linear = CubicSpline(betas, known, axis=0)(at)
    if len(betas) < FEWEST or not (known > 0).all():
        return linear
    gaps = _gaps(betas, at)
    is_log = _off(betas, known, by_logarithm=True)[gaps] < _off(betas, known)[gaps]
    return np.where(is_log, np.exp(CubicSpline(betas, np.log(known), axis=0)(at)), linear)


def _off(betas: Array, known: Float[Array, "n k"], *, by_logarithm: bool = False) -> Float[Array, "gaps k"]:
    """Returns by how much splines miss the ends of each gap, where these are left out."""
    from scipy.interpolate import CubicSpline

    found = np.zeros_like(known)
    for index in range(1, len(betas) - 1):
        others = np.delete(np.arange(len(betas)), index)
        rest = np.log(known[others]) if by_logarithm else known[others]
        there = CubicSpline(betas[others], rest, axis=0)(betas[index])
        found[index] = np.abs((np.exp(there) if by_logarithm else there) - known[index])
    return np.maximum(found[1:], found[:-1])


def _gaps(betas: Array, at: Array) -> Array:
    """Returns the index of the gap between neighbours that each place lies in."""
    return np.clip(np.searchsorted(betas, at), 1, len(betas) - 1) - 1


def _across(gammas: Array, known: Float[Array, "m g"], at: Float[Array, " k"]) -> Float[Array, "m k"]:
    """Returns monotone splines along log γ, or what does not depend on it."""
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(gammas, known, axis=1)(at) if len(gammas) > 1 else np.repeat(known, len(at), axis=1)


def family_column(term: Term) -> int | None:
    """Returns which weight multiplies the term: 0 of distortion, 1 of rate, 2 of the divergence; None of others."""
    return next((column for column, kind in enumerate((Distortion, Rate, MMD)) if isinstance(term, kind)), None)
