"""What a figure or a page draws of a front: its members in series, and the lines through them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lagvae.evaluation.questions import CONSTRAINT, DIMENSION
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.front import Front
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE

LINE = 121
"""Members that a line goes through."""


def members_between(front: Front, count: int) -> Iterator[tuple[FrontPoint, VAE | None]]:
    """Yields members with γ = 0 between the measured ones of an amortised front, evenly in log β; none of others.

    Args:
        front: Any.
        count: About how many.
    """
    if not isinstance(front, AmortisedFront) or front.network is None or front.surface is None:
        return
    surface = front.surface
    each = max(0, round(count / (len(surface.betas) - 1)))  # in every gap
    for low, high in zip(surface.betas, surface.betas[1:], strict=False):
        for beta in np.geomspace(low, high, each + 2)[1:-1].tolist():
            found = {part: surface.estimates(part, beta=beta, gamma=surface.gammas[0]) for part in surface.parts}
            point = FrontPoint(
                problem=f"min distortion + {beta:.4g}*rate",
                status=str(front.status),
                message="between measured members, interpolated",
                beta=beta,
                gamma=0.0,
                estimates=found,
            )
            yield point, front.model_at(beta=beta)


def names_of(front: Front) -> tuple[str, ...]:
    """Returns the quantities that some point measures, those of every day first, constraints' and dimensions' not."""
    first = ("neg_elbo", "rate", "distortion", "mmd_biased", "mmd_unbiased")
    found = dict.fromkeys(name for point in front.points for part in point.estimates.values() for name in part)
    others = [name for name in found if name not in first and not name.startswith((CONSTRAINT, DIMENSION))]
    return (*(name for name in first if name in found), *others)


def series_of(front: Front, point: FrontPoint) -> str:
    """Returns what a point is coloured by: its γ in an amortised front, else its objective."""
    if isinstance(front, AmortisedFront):
        return f"γ = {_round(point.gamma or 0.0)}"
    return point.problem.split(" s.t. ")[0].replace("mutual_information", "mi")


def lines_of(front: Front, part: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns series → (``LINE``, names): an amortised front's splines through its members; nothing of others."""
    if not isinstance(front, AmortisedFront) or front.surface is None:
        return {}
    surface = front.surface
    log_betas = np.linspace(math.log(surface.betas[0]), math.log(surface.betas[-1]), LINE)
    values = np.stack([surface.values(name, part, log_betas, np.log(surface.gammas)) for name in names], axis=-1)
    return {f"γ = {_round(g if k else 0.0)}": values[:, k] for k, g in enumerate(surface.gammas)}


def constrained(point: FrontPoint, part: str) -> tuple[str, dict[str, float]] | None:
    """Returns the problem with bounds that a member's weights solve, and its multipliers.

    With β < 1 the member that minimises D + β R + γ mmd maximises the information, with β > 1 it minimises it,

        max mi s.t. D + R <= a, mmd <= b:    λ = β / (1 - β),    μ = γ (1 + λ)
        min mi s.t. D + R <= a, mmd <= b:    λ = 1 / (β - 1),    μ = γ λ

    where a and b are what it measures itself. The bounds are rounded up.

    Args:
        point: A member of an amortised front.
        part: Of the data, on which it measures a and b.
    """
    reached = point.value("neg_elbo", part)
    if point.beta is None or not math.isfinite(reached):
        return None
    gamma, bound = point.gamma or 0.0, math.ceil(reached * 100) / 100
    bounds, multipliers = [f"neg_elbo <= {bound:.2f}"], {}
    if abs(math.log(point.beta)) < 1e-6:
        head, bounds, divergence = "min neg_elbo", [], gamma
    elif point.beta < 1:
        head, multipliers["neg_elbo"] = "max mi", point.beta / (1 - point.beta)
        divergence = gamma * (1 + multipliers["neg_elbo"])
    else:
        head, multipliers["neg_elbo"] = "min mi", 1 / (point.beta - 1)
        divergence = gamma * multipliers["neg_elbo"]
    if gamma > 0 and (found := point.value("mmd_biased", part)) > 0:
        measured = point.divergence(estimator="biased")
        bounds, multipliers["mmd"] = [*bounds, f"{measured} <= {_round_up(found):g}"], divergence
    return head + (f" s.t. {', '.join(bounds)}" if bounds else ""), multipliers


def _round(gamma: float) -> str:
    """Returns γ in at most two significant digits: 0, 220, 4600, 1e5."""
    if gamma < 1e4:
        return f"{float(f'{gamma:.2g}'):g}"
    return f"{gamma:.2g}".replace("e+0", "e")


def _round_up(bound: float) -> float:
    """Returns a positive bound in three digits, not below itself."""
    digit = 10.0 ** (math.floor(math.log10(bound)) - 2)
    return float(f"{math.ceil(bound / digit - 1e-9) * digit:.3g}")
