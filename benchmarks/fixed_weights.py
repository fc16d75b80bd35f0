"""The grid that a person would search: fixed weights, and the best that it holds for each problem."""

from __future__ import annotations

from runs import Run

BETAS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 5.5, 10.0)
MMD_WEIGHTS = (0.0, 1e4)


def grid_runs(data: str = "mnist", seed: int = 0, **settings: object) -> list[Run]:
    """Returns the runs of the grid: β × mmd off and on × constant and warmed up from 0."""
    order = sorted(BETAS, key=lambda beta: abs(beta - 1.0) if beta >= 1 else abs(1 / beta - 1.0))
    changed = tuple(sorted(settings.items()))
    return [
        Run(weighted_problem(beta, gamma), dual, data, seed, changed)
        for gamma in MMD_WEIGHTS
        for dual in ("fixed", "warmup")
        for beta in order
    ]


def weighted_problem(beta: float, gamma: float) -> str:
    """Returns min D + β R + γ mmd."""
    mmd = f" + {gamma:g}*mmd" if gamma else ""
    return f"min distortion + {beta:g}*rate{mmd}"
