"""The figure of a front: which lines and markers, on which axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

import lagvae as lv
from fronts_to_draw import PROBLEMS, amortised, dedicated
from lagvae.report.front_figure import draw_front, write_front_figure
from lagvae.report.front_page import page_content, write_front_page
from lagvae.report.published_points import published_points


def markers(axes: Axes, label: str) -> np.ndarray:
    (found,) = [one for one in axes.collections if one.get_label() == label]
    return np.asarray(found.get_offsets())


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_panel_for_each_part_with_rate_over_neg_elbo() -> None:
    figure = draw_front(amortised("digits"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training data", "Test data"]
    assert figure.axes[0].get_xlabel() == "−ELBO (nats per example)"
    assert figure.axes[0].get_ylabel() == "information, as the rate (nats)"


def test_the_line_goes_through_the_members_without_divergence() -> None:
    front = amortised("digits")
    for axes, part in zip(draw_front(front).axes, front.parts, strict=True):
        (line,) = [one for one in axes.lines if one.get_gid() == "line γ = 0"]
        drawn = np.asarray(line.get_xydata())
        (members,) = [np.asarray(one.get_offsets()) for one in axes.collections if one.get_gid() == "members"]
        own = [index for index, point in enumerate(front.points) if not point.gamma]
        np.testing.assert_allclose(members, front.values(part, ("neg_elbo", "rate"))[own])
        assert max(np.abs(drawn - member).sum(1).min() for member in members) < 1e-9  # every 12th of the line's points
        assert len(drawn) > 100
        assert len([one for one in axes.lines if one.get_gid() == "line γ > 0"]) == 3
    assert labels(draw_front(front)) == ["one network, γ = 0", "the same network, γ > 0"]


@pytest.mark.parametrize("is_saturated", [False, True])
def test_the_interval_of_the_information_stands_under_each_member_that_is_shown(is_saturated: bool) -> None:
    front = amortised("mnist", gammas=(10.0,))
    like = front.points[0].estimates["train"]["rate"]
    ends = {"mutual_information_lower": replace(like, value=3.0, is_saturated=is_saturated)}
    lines = {}
    for value in (5.0, 1e3):  # the rate is the upper end where a density says less
        upper = replace(like, value=value)
        points = [
            replace(p, estimates={part: {**f, **ends, "mutual_information": upper} for part, f in p.estimates.items()})
            for p in front.points
        ]
        figure = draw_front(replace(front, points=tuple(points)))
        shown = [one for one in figure.axes[0].lines if one.get_linestyle() == (":" if is_saturated else "-")]
        lines[value] = np.array([one.get_xydata() for one in shown if one.get_gid() is None])
    values = front.values("train", ("neg_elbo", "rate"))
    values = values[values[:, 1] < figure.axes[0].get_ylim()[1]]
    assert len(values) == len(front.points) - 2  # whose rates are far above the published ones
    for value, drawn in lines.items():
        np.testing.assert_allclose(drawn[:, :, 0], np.stack([values[:, 0]] * 2, axis=1))
        np.testing.assert_allclose(drawn[:, 0, 1], 3.0)
        np.testing.assert_allclose(drawn[:, 1, 1], np.minimum(values[:, 1], value))
    ending = ", lower end capped" if is_saturated else ""
    assert labels(figure)[1] == f"interval of the information{ending}"
    assert labels(draw_front(front))[1] == "InfoVAE, as published"


def test_published_points_lie_under_a_front_on_mnist_alone() -> None:
    figure = draw_front(amortised("mnist"))
    assert labels(figure)[-2:] == ["InfoVAE, as published", "LagVAE, as published"]
    for axes, part in zip(figure.axes, ("train", "test"), strict=True):
        for method in ("LagVAE", "InfoVAE"):
            told = [(p.neg_elbo, p.rate) for p in published_points("mnist") if (p.part, p.method) == (part, method)]
            np.testing.assert_allclose(markers(axes, f"{method}, as published"), told)
            assert all(axes.get_xlim()[0] < x < axes.get_xlim()[1] for x, _ in told)
    assert published_points("fashion-mnist") == ()


def test_the_published_points_are_those_of_the_paper() -> None:
    found = published_points("mnist")
    count = {
        key: sum((p.part, p.method) == key for p in found)
        for key in [(part, method) for part in ("train", "test") for method in ("LagVAE", "InfoVAE")]
    }
    assert count == {("train", "LagVAE"): 26, ("train", "InfoVAE"): 22, ("test", "LagVAE"): 26, ("test", "InfoVAE"): 27}
    assert (found[0].neg_elbo, found[0].rate) == (82.78, 24.1)


def test_runs_are_markers_by_direction_and_hollow_where_a_bound_is_missed(tmp_path: Path) -> None:
    front = dedicated()
    assert [point.problem.split()[0] for point in front.points[:3]] == [text.split()[0] for text in PROBLEMS]
    figure = draw_front(front)
    assert sorted(labels(figure)) == ["max mi", "max mi, a bound missed", "min mi"]
    train = figure.axes[0]
    values = front.values("train", ("neg_elbo", "rate"))
    np.testing.assert_allclose(markers(train, "max mi"), values[:1])
    np.testing.assert_allclose(markers(train, "max mi, a bound missed"), values[1:2])
    full, hollow, other = (
        next(one for one in train.collections if one.get_label() == label)
        for label in ("max mi", "max mi, a bound missed", "min mi")
    )
    assert len(hollow.get_facecolor()) == 0
    assert tuple(hollow.get_edgecolor()[0]) == tuple(full.get_facecolor()[0]) != tuple(other.get_facecolor()[0])
    assert tuple(full.get_facecolor()[0]) == to_rgba("#0f7b8a")


def test_it_is_written_as_pdf_and_png_and_twice_alike(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.pdf", "a.png", "b.pdf")]
    write_front_figure(amortised(), *paths)
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[0].read_bytes() == paths[2].read_bytes()
    with Image.open(paths[1]) as picture:
        assert picture.size == (1420, 660)
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*a\.what, got .*not supported"):
        write_front_figure(amortised(), tmp_path / "a.what")


def test_a_front_without_measurements_is_refused() -> None:
    front = replace(amortised(), points=())
    with pytest.raises(lv.CheckpointError, match="expected a front with points that were measured, got none"):
        draw_front(front)


def test_a_front_that_fell_apart_is_drawn_and_says_so(tmp_path: Path) -> None:
    front = replace(amortised(), surface=None, network=None, status=lv.Status.DIVERGED, message="fell apart")
    write_front_figure(front, tmp_path / "front.png", tmp_path / "front.pdf")
    write_front_page(front, tmp_path / "report.html")
    assert "fell apart" in (tmp_path / "report.html").read_text()


def test_runs_that_diverged_are_no_points(tmp_path: Path) -> None:
    front = dedicated(tmp_path / "front")
    far = {
        part: {name: replace(one, value=1e7) for name, one in found.items()}
        for part, found in front.points[0].estimates.items()
    }
    points = (replace(front.points[0], status="diverged", estimates=far), *front.points[1:])
    figure = draw_front(replace(front, points=points))
    assert figure.axes[0].get_xlim()[1] < 1e6
    content = page_content(replace(front, points=points))
    assert [member["isSolution"] for member in content["members"]] == [False, True, True, False]
    assert 0 not in content["tracks"][0]["stops"]
