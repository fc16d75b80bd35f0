"""Ranges in a problem's text: ``neg_elbo <= 86:95:1`` is ten problems."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from lagvae.errors import ProblemError, expected
from lagvae.problem.problem import Problem
from lagvae.terms.algebra import format_number

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})\s*:\s*({_NUMBER})")
MOST = 10_000
"""Problems that one text may stand for."""


def expand_ranges(text: str) -> list[str]:
    """Returns the problems that a text stands for, in the order of its ranges: the last one runs fastest.

    Args:
        text: A problem, of whose bounds any may be ``first:last:step``; the last is included where a step meets it.

    Raises:
        ProblemError: A step does not lead from first to last, there are too many problems, or what a text stands for
            is no problem.
    """
    choices = [_numbers(match) for match in _RANGE.finditer(text)]
    if math.prod(map(len, choices)) > MOST:
        raise ProblemError(expected(f"at most {MOST:,} problems", got=f"more in '{text}'", fix="larger steps"))
    between = _RANGE.split(text)[:: _RANGE.groups + 1]
    texts = ["".join(_interleave(between, chosen)) for chosen in itertools.product(*choices)]
    return [str(Problem.parse(one)) for one in texts]


def _numbers(match: re.Match[str]) -> list[str]:
    first, last, step = map(float, match.groups())
    if step == 0 or (last - first) * step < 0 or not math.isfinite(first + last + step):
        raise ProblemError(expected("a range first:last:step", got=f"'{match[0]}'", fix="86:95:1, or 95:86:-1"))
    count = math.floor((last - first) / step * (1 + 1e-12) + 1e-9) + 1
    if count > MOST:
        raise ProblemError(expected(f"at most {MOST:,} problems", got=f"'{match[0]}'", fix="a larger step"))
    # Twelve digits: 0.1 + 2 · 0.1 is written 0.3.
    return [format_number(float(f"{first + index * step:.12g}")) for index in range(count)]


def _interleave(between: Sequence[str], chosen: Sequence[str]) -> list[str]:
    return [part for pair in itertools.zip_longest(between, chosen, fillvalue="") for part in pair]
