"""How much information a front's points carry: measured afterwards, point by point, and then a part of the front."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lagvae as lv
from fronts_to_draw import amortised, dedicated
from lagvae.evaluation.assess import assess_information
from lagvae.evaluation.density import autoregressive
from lagvae.front import front as room
from lagvae.front.amortised.front import AmortisedFront
from small_fronts import SMALL

NAMES = ("mutual_information_lower", "mutual_information")


@pytest.fixture(autouse=True)
def few_steps() -> Iterator[None]:
    """What an estimate is worth is tested beside its estimator: here hardly any fit will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoregressive, "STEPS", 20)
        yield


def interrupt_after(count: int, patch: pytest.MonkeyPatch) -> None:
    done = []

    def measure(*given: Any, **options: Any) -> Any:
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(1)
        return assess_information(*given, **options)

    patch.setattr(room, "assess_information", measure)


def test_every_member_has_it_and_those_between() -> None:
    front = amortised(gammas=(10.0,))
    front.measure_information(seed=3)
    for point, before in zip(front.points, amortised(gammas=(10.0,)).points, strict=True):
        assert front.data is not None
        assert point.beta is not None
        alone = assess_information(front.model_at(beta=point.beta), front.data, seed=3)
        for part, found in point.estimates.items():
            assert found == {**before.estimates[part], **alone[part]}
            assert list(alone[part]) == list(NAMES)
    assert front.surface is not None
    low, high = (point.estimates["train"][NAMES[0]].value for point in front.points[3:5])
    betas = [point.beta or 0.0 for point in front.points[3:5]]
    between = front.surface.estimates("train", beta=math.sqrt(betas[0] * betas[1]), gamma=10.0)[NAMES[0]]
    assert abs(between.value - (low + high) / 2) < max(0.2, abs(low - high))
    solved = front.solve("min distortion + rate").evaluation
    assert solved is not None
    assert set(NAMES) <= set(solved["test"])


def test_a_flag_between_members_is_the_nearest_ones() -> None:
    surface = amortised(gammas=(10.0,)).surface
    assert surface is not None
    flagged = tuple(
        {part: {n: replace(e, is_saturated=index < 5) for n, e in found.items()} for part, found in member.items()}
        for index, member in enumerate(surface.measured)
    )
    surface = replace(surface, measured=flagged)
    near = [surface.estimates("train", beta=surface.betas[5] * f, gamma=10.0)["rate"].is_saturated for f in (0.7, 1.0)]
    assert near == [True, False]


def test_what_was_measured_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**SMALL, "epochs": 2, "divergence": "none"}
    lv.fit_front("digits", out=tmp_path / "front", **options)
    front = lv.load_front(tmp_path / "front")
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            front.measure_information()
    again = lv.load_front(tmp_path / "front")
    assert [point.has_information for point in again.points] == [True] * 2 + [False] * 9
    again.solve("min distortion + rate")  # a quantity that some members lack is none of the surface's
    assert f"train {NAMES[0]}" in again.rows()[0]
    first = again.points[0].estimates
    with monkeypatch.context() as patch:
        interrupt_after(9, patch)
        again.measure_information()
    whole = lv.load_front(tmp_path / "front")
    assert all(point.has_information for point in whole.points)
    assert whole.points[0].estimates == first
    assert isinstance(whole, AmortisedFront)
    assert whole.surface is not None
    assert set(NAMES) <= set(whole.surface.names)
    resumed = lv.fit_front("digits", out=tmp_path / "front", resume=True, **options)
    assert resumed.points == whole.points
    (tmp_path / "front" / "front.json").write_text("{}")  # damaged, its members are measured again
    resumed = lv.fit_front("digits", out=tmp_path / "front", resume=True, **options)
    assert [point.has_information for point in resumed.points] == [False] * 11


def test_runs_have_it_too_and_points_that_failed_are_left_out(tmp_path: Path) -> None:
    front = dedicated(tmp_path / "front")
    front.measure_information()
    assert [point.has_information for point in front.points] == [True, True, True, False]
    assert f"test {NAMES[1]}" in front.rows()[0]
    evaluation = lv.evaluate(front.solution_at(0), samples=2, examples=4)
    assert front.points[0].estimates["train"][NAMES[0]] == evaluation["train"][NAMES[0]]
    resumed = dedicated(tmp_path / "front", resume=True)
    assert [point.estimates for point in resumed.points[1:]] == [point.estimates for point in front.points[1:]]


def test_without_data_or_models_it_says_what_to_give() -> None:
    with pytest.raises(lv.DataError, match=r"the front's data to measure on, got none; try load_front\(folder, data="):
        replace(amortised(), data=None).measure_information()
    with pytest.raises(
        lv.ProblemError, match=r"points whose codes can be looked at, got .*; try load_front\(folder, model"
    ):
        replace(amortised(), network=None).measure_information()
