from __future__ import annotations

import re
import time

import pytest

from lagvae.errors import ProblemError
from lagvae.problem.problem import Problem

REFUSED = [
    # Rewarding a loss or a divergence.
    ("max distortion", "expected distortion to be kept down, got 'max distortion', which rewards it; try the other"),
    ("max neg_elbo", "expected distortion to be kept down, got 'max neg_elbo', which rewards it"),
    ("min rate - distortion", "expected distortion to be kept down"),
    ("min distortion - 0.999*mmd", "expected mmd to be kept down"),
    ("max mi + mmd s.t. neg_elbo <= 86", "expected mmd to be kept down"),
    ("min rate s.t. mmd >= 1e-4", "expected an upper bound on mmd, got 'mmd >= 0.0001', which rewards it; try 'mmd <="),
    ("min rate s.t. mmd == 1e-4", "expected an upper bound on mmd, got 'mmd == 0.0001', which rewards it"),
    ("min rate s.t. neg_elbo >= 80", "expected an upper bound on distortion, got 'neg_elbo >= 80', which rewards it"),
    ("min rate s.t. rate - 2*distortion <= 5", "expected an upper bound on distortion"),
    # Nothing keeps it from infinity.
    ("min distortion - 0.5*rate", "expected something that limits rate"),
    ("min distortion - rate s.t. distortion <= 80", "expected something that limits rate"),
    ("max rate", "expected something that limits rate, got 'max rate', which is unbounded; try a constraint such as"),
    ("max rate s.t. distortion <= 80", "expected something that limits rate"),
    ("max rate s.t. rate >= 80", "expected something that limits rate"),
    # No certificate.
    ("min rate s.t. mi >= 5", "expected an upper bound on mutual_information .*, got .* >= 5'; try 'rate >= 5'"),
    ("min rate s.t. mi == 5", "expected an upper bound on mutual_information .*, got .* == 5'; try 'rate == 5'"),
    ("min rate s.t. -mi <= -5", "expected an upper bound on mutual_information .*, got '-mutual_information <= -5'"),
    ("min rate s.t. neg_elbo - mi <= 50", "expected an upper bound on mutual_information"),
    # A constant.
    ("min rate s.t. 0 <= 5", "expected a term in each constraint, got '0 <= 5'"),
    ("min rate s.t. rate - rate <= 5", "expected a term in each constraint, got '0 <= 5'"),
    # Twice.
    ("min rate s.t. neg_elbo <= 5, neg_elbo <= 6", "one bound on each side .*'neg_elbo <= 5' and 'neg_elbo <= 6'"),
    ("min rate s.t. rate == 5, rate <= 6", "expected one bound on each side of a quantity"),
    ("min rate s.t. rate >= 5, rate == 6", "expected one bound on each side of a quantity"),
    ("min rate s.t. rate + distortion <= 5, distortion + rate <= 6", "expected one bound on each side of a quantity"),
    ("min rate s.t. neg_elbo <= 5, neg_elbo <= best + 4", "one bound on each side .*'neg_elbo <= best + 4'; try one"),
    ("min rate s.t. rate <= best, rate == 5", "expected one bound on each side of a quantity"),
    # The same, relative to best.
    ("min rate s.t. mmd >= best - 1e-4", "got 'mmd >= best - 0.0001', which rewards it; try 'mmd <= best"),
    ("min rate s.t. mi >= best", "expected an upper bound on mutual_information .*; try 'rate >= best', or"),
    ("min rate s.t. 0 <= best + 1", "expected a term in each constraint, got '0 <= best + 1'"),
    # Contradictions.
    ("min rate s.t. rate <= -1", "got 'rate <= -1', contradicting what the term can be; try a wider bound"),
    ("min rate s.t. 2*rate <= -1", "contradicting what the term can be"),
    ("min rate s.t. mi <= -1", "contradicting what the term can be"),
    ("min rate s.t. mmd <= -1e-4", "contradicting what the term can be"),
    ("min rate s.t. rate <= 5, rate >= 6", "got 'rate >= 6', contradicting 'rate <= 5'"),
    ("min rate s.t. rate >= 6, 2*rate <= 10", "got '2*rate <= 10', contradicting 'rate >= 6'"),
    ("min rate s.t. mi <= 5, rate >= 6", "got 'rate >= 6', contradicting 'mutual_information <= 5'"),
    (
        "min rate s.t. distortion == 60, rate >= 30, neg_elbo <= 86",
        "got 'neg_elbo <= 86', contradicting 'distortion == 60' and 'rate >= 30'",
    ),
    ("min rate s.t. rate <= 5, mmd <= best, rate >= 6", "got 'rate >= 6', contradicting 'rate <= 5'; try"),
    ("min rate s.t. distortion == 90, neg_elbo <= 86", "got 'neg_elbo <= 86', contradicting 'distortion == 90'"),
    ("min rate s.t. distortion == 90, neg_elbo == 86", "got 'neg_elbo == 86', contradicting 'distortion == 90'"),
]  # fmt: skip

ACCEPTED = [
    "max mi",
    "max mi - rate",
    "min distortion - 0.5*rate s.t. rate <= 30",
    "min distortion + 1.5*rate - 0.5*rate",
    "max rate s.t. rate <= 80",
    "max rate s.t. neg_elbo <= 80",
    "max rate s.t. mi <= 80",
    "min rate s.t. mi <= 5",
    "min rate s.t. 2*mi + rate <= 5",
    "min rate s.t. mmd <= 0",
    "min rate s.t. neg_elbo == 80",
    "min distortion s.t. distortion == 80",
    "min rate s.t. rate <= 6, rate >= 5",
    "min rate s.t. rate <= 5, rate >= 5",
    "min rate s.t. rate <= 5, rate(estimator=one_sample) <= 4",
    "min rate s.t. distortion == 60, rate >= 20, neg_elbo <= 86",
    "min rate s.t. distortion == 60, rate >= 26, neg_elbo <= 86",
    "min rate s.t. distortion <= 90, neg_elbo <= 86",
    "min rate s.t. neg_elbo <= -5",
    "min rate s.t. distortion <= -5",
    "min 0 s.t. mmd <= 1e-4, mmd(kernel=imq) <= 1e-2",
    "min rate s.t. rate <= best - 1000, rate >= 6",
    "min rate s.t. mmd <= best - 5",
    "max rate s.t. neg_elbo <= best + 4",
    "min neg_elbo s.t. rate >= best - 2, rate <= best + 1",
    "max rate s.t. neg_elbo(estimator=one_sample) <= 100",
    "max rate s.t. -rate >= -30",
    "min neg_elbo s.t. distortion == 54321.1, rate == 20.3, neg_elbo == 54341.4",
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ProblemError, match=pattern):
        Problem.parse(text)


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_can_be_meant_is_accepted(text: str) -> None:
    problem = Problem.parse(text)
    assert Problem.parse(str(problem)) == problem


def test_many_bounds_on_the_same_terms_are_checked_at_once() -> None:
    """Without leaving out what is implied, every term would square the number of inequalities."""
    bounds = [f"{i % 3}*distortion + {1 + i}*rate + {100 + i}*mmd <= {200 + i}" for i in range(12)]
    began = time.perf_counter()
    Problem.parse(f"min distortion s.t. {', '.join(bounds)}, rate >= 3")
    assert time.perf_counter() - began < 2
    with pytest.raises(ProblemError, match="contradicting"):
        Problem.parse(f"min distortion s.t. {', '.join(bounds)}, rate >= 300")
