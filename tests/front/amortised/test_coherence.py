"""A front that fell apart does not pass for one that is trained."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import lagvae as lv
from lagvae.evaluation.estimate import Estimate
from lagvae.front.amortised.coherence import find_collapse, find_incoherence
from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.point import FrontPoint

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)


def estimate(value: float) -> Estimate:
    return Estimate(value=value, standard_error=0.1, unit="nats", bias="none", method="", examples=100)


def member(beta: float, distortion: float, rate: float, gamma: float = 0.0) -> FrontPoint:
    found = {"distortion": estimate(distortion), "rate": estimate(rate)}
    return FrontPoint("", status="feasible", beta=beta, gamma=gamma, estimates={"train": found})


def on_the_curve(beta: float, gamma: float = 0.0) -> FrontPoint:
    """Of D = 100 - 20 log R, where D + β R is least at R = 20 / β."""
    rate = 20 / beta
    return member(beta, 100 - 20 * math.log(rate), rate, gamma)


NOWHERE = [math.inf] * len(BETAS)
"""Of members that reach nothing without a code."""


def test_a_front_of_the_best_members_holds_together() -> None:
    assert find_incoherence([on_the_curve(beta) for beta in BETAS], NOWHERE) == ""


def test_members_that_are_all_lost_are_beaten_by_no_code_at_all() -> None:
    lost = [member(beta, 20.0, 1e6) for beta in BETAS]
    assert find_incoherence(lost, NOWHERE) == ""  # as good as each other
    message = find_incoherence(lost, [60.0] * len(BETAS))
    assert message.startswith("the member of β = 10 is 1e+07 nats worse at its own weights than another, or than with")


@pytest.mark.parametrize(
    ("lower", "allowed"), [(-100.0, 1687.0), (0.0, 1000.0)], ids=["ten times the loss", "a thousand nats"]
)
def test_how_much_worse_a_member_may_be(lower: float, allowed: float) -> None:
    curve = [on_the_curve(beta) for beta in BETAS]
    points = [member(b, p.value("distortion", "train") - lower, 20 / b) for b, p in zip(BETAS, curve, strict=True)]
    others = [*points[:2], *points[3:]]
    best = min(point.value("distortion", "train") + point.value("rate", "train") for point in others)
    for excess, holds in ((0.99 * allowed, True), (1.01 * allowed, False)):
        worse = member(1.0, best + excess - 20.0, 20.0)
        assert (find_incoherence([*points[:2], worse, *points[3:]], NOWHERE) == "") == holds


@pytest.mark.parametrize("rate", [1e7, math.inf, math.nan])
def test_an_end_whose_rate_grew_without_limit_is_named(rate: float) -> None:
    points = [member(0.1, 20.0, rate), *map(on_the_curve, BETAS[1:])]
    message = find_incoherence(points, NOWHERE)
    assert message.startswith("the member of β = 0.1 is ")
    assert message.endswith("try a lower learning_rate")


def test_members_that_pay_for_a_divergence_are_left_out() -> None:
    assert find_incoherence([*map(on_the_curve, BETAS), member(1.0, 500.0, 500.0, gamma=1e4)], NOWHERE) == ""


def test_codes_that_gain_less_than_a_tenth_of_a_nat_are_worth_nothing() -> None:
    points = [member(1.0, 50.0, 50.0, gamma=1e4), member(0.1, 20.0, 5.0), member(1.0, 22.0, 0.5)]
    assert find_collapse(points, [20.61, 30.0]) == ""  # 20 + 0.1 * 5, and a tenth
    message = find_collapse(points, [30.0, 20.59])
    assert "at β = 0.1, its lowest, it is no better than without them (rate 5 nats); try a lower" in message
    assert find_collapse([member(0.1, 20.0, math.nan)], [30.0]) != ""


def test_nothing_is_solved_on_a_front_that_fell_apart(
    trained_front: AmortisedFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained_front.folder is not None
    assert find_incoherence(trained_front.points, [math.inf] * 11) == ""
    copied = tmp_path / "front"
    shutil.copytree(trained_front.folder, copied)
    fallen = replace(trained_front, folder=copied, status=lv.Status.DIVERGED, message="it fell", surface=None)
    fallen.write()
    assert json.loads((copied / "front.json").read_text())["status"] == "diverged"
    with pytest.raises(lv.ProblemError, match="got it fell; try training it again so"):
        lv.load_front(copied).solve("min neg_elbo")  # type: ignore[union-attr]
    monkeypatch.setattr("lagvae.front.amortised.fit.find_incoherence", lambda points, blind: "it fell")
    front = lv.fit_front("digits", epochs=1, divergence="none", hidden=(8,), latent_dim=2, progress=False)
    assert (front.status, front.message) == (lv.Status.DIVERGED, "it fell")
    assert len(front.points) == 11


def test_a_front_that_really_diverges_says_so(tmp_path: Path) -> None:
    settings = {"hidden": (32,), "latent_dim": 4, "batch_size": 100, "epochs": 20, "progress": False}
    front = lv.fit_front("digits", divergence="none", optimizer="sgd", learning_rate=0.1, out=tmp_path, **settings)
    assert front.status is lv.Status.DIVERGED
    assert "try a lower learning_rate" in front.message
    held = lv.fit_front("digits", divergence="none", **settings)
    assert (held.status, held.message) == (lv.Status.FEASIBLE, "trained; solve problems on it")
    collapsed = lv.fit_front("digits", divergence="none", learning_rate=0.1, **settings)
    assert collapsed.message.startswith("trained, but codes are worth nothing to it: at β = 0.1")
