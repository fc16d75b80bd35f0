"""Which points of a front are dominated, and how much of the plane it covers. Less is better in both coordinates."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray


def non_dominated(points: Float[Array, "n 2"]) -> Bool[Array, " n"]:
    """Returns which points no other one is at least as good as in both coordinates, and better in one."""
    return ~dominated(points, by=points)


def dominated(points: Float[Array, "n 2"], *, by: Float[Array, "m 2"], margin: float = 0.0) -> Bool[Array, " n"]:
    """Returns which points are dominated by another set.

    Args:
        points: To judge.
        by: The others.
        margin: By how much in *both* coordinates; 0 asks for at least as good in both, and better in one.
    """
    gain = points[:, None, :] - by[None, :, :]
    if margin > 0:
        return np.asarray((gain > margin).all(-1).any(-1))
    return np.asarray(((gain >= 0).all(-1) & (gain > 0).any(-1)).any(-1))


def hypervolume(points: Float[Array, "n 2"], *, reference: tuple[float, float]) -> float:
    """Returns the area that the points dominate up to a reference point, in the product of the coordinates' units.

    Points beyond the reference count for nothing. Exact, by slices. Source: [Zitzler1999].
    """
    inside = points[(points < np.array(reference)).all(-1)]
    area, lowest = 0.0, reference[1]
    for first, second in inside[np.lexsort((inside[:, 1], inside[:, 0]))]:
        if second < lowest:
            area += (reference[0] - first) * (lowest - second)
            lowest = second
    return float(area)
