"""What every member of a front measures: tabulated on a grid of weights, interpolated in between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from lagvae.evaluation.estimate import Estimate
from lagvae.front.amortised.family import Family
from lagvae.front.bounds import tabulated_as
from lagvae.terms.elbo import Distortion, Rate
from lagvae.terms.mmd import MMD, mmd
from lagvae.terms.term import Term

Array = np.ndarray
Parts = Mapping[str, Mapping[str, Estimate]]
"""Part → name → estimate."""


@dataclass(frozen=True)
class Surface:
    """Estimates of every tabulated quantity as functions of (log β, log γ).

    Cubic splines along log β; monotone ones along log γ, over which a divergence falls by orders of magnitude. All
    members are measured on the same examples with the same random numbers: the errors of neighbours are alike.

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
        return self._interpolate([found[part][name].value for found in self.measured], log_betas, log_gammas)

    def estimates(self, part: str, *, beta: float, gamma: float) -> dict[str, Estimate]:
        """Returns name → estimate of the member at (β, γ)."""
        at = np.array([math.log(beta)]), np.array([math.log(gamma)])
        found = {}
        for name, like in self.measured[0][part].items():
            errors = [member[part][name].standard_error for member in self.measured]
            found[name] = replace(
                like,
                value=float(self.values(name, part, *at)[0, 0]),
                standard_error=float(self._interpolate(errors, *at)[0, 0]),
                method=f"{like.method}; interpolated along the front",
            )
        return found

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
        """The quantities that were."""
        return tuple(next(iter(self.measured[0].values())))

    def _interpolate(self, values: Sequence[float], log_betas: Array, log_gammas: Array) -> Array:
        from scipy.interpolate import CubicSpline, PchipInterpolator  # not at import: it changes warning filters

        grid = np.array(values, dtype=float).reshape(len(self.betas), len(self.gammas))
        if not np.isfinite(grid).all():  # an error of what was measured on one example is none
            return np.full((len(log_betas), len(log_gammas)), math.nan)
        along_beta = CubicSpline(np.log(self.betas), grid, axis=0)(log_betas)
        if len(self.gammas) == 1:
            return np.repeat(along_beta, len(log_gammas), axis=1)
        return PchipInterpolator(np.log(self.gammas), along_beta, axis=1)(log_gammas)


def family_column(term: Term) -> int | None:
    """Returns which weight multiplies the term: 0 of distortion, 1 of rate, 2 of the divergence; None of others."""
    return next((column for column, kind in enumerate((Distortion, Rate, MMD)) if isinstance(term, kind)), None)
