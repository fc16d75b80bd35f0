"""What can go wrong, by whom it is mended.

Every message has three beats: *expected* ..., *got* ..., *try* ....
:func:`expected` writes them, so that they read alike everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LagvaeError(Exception):
    """Base of every error that lagvae raises on purpose."""


class ProblemError(LagvaeError, ValueError):
    """The problem (objective, constraints, bounds) cannot be meant as written."""


class DataError(LagvaeError, ValueError):
    """The examples are missing, damaged, or outside what the likelihood can score."""


class ShapeError(LagvaeError, ValueError):
    """Two shapes that have to agree do not."""


class SettingError(LagvaeError, ValueError):
    """A setting's name or value is not one that is known."""


class CheckpointError(LagvaeError, RuntimeError):
    """A run's folder cannot be written, read, or continued as asked."""


class SolveError(LagvaeError, RuntimeError):
    """An optimisation ended without a usable solution, and the caller asked for an exception."""


class ProblemWarning(UserWarning):
    """The problem is well formed, but probably not what is meant."""


class DamageWarning(UserWarning):
    """A file is damaged or left over, and something older stands in for it."""


def expected(what: str, *, got: object, fix: str) -> str:
    """Returns the three beats of a message in one line: expected, got, try."""
    return f"expected {what}, got {got}; try {fix}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``'known'`` nearest to ``name`` as a suggestion, or the list of all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"'{close[0]}'" if close else "one of " + ", ".join(names)
