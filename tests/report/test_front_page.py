"""What a front's page holds: every point, every picture, and nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lagvae as lv
from fronts_to_draw import amortised, dedicated, images
from lagvae.front.front import Front
from lagvae.problem.problem import Problem
from lagvae.report.front_page import write_front_page
from lagvae.report.members import constrained, members_between
from lagvae.report.sprites import encode, pick_examples


def content(front: Front, folder: Path) -> dict[str, Any]:
    write_front_page(front, folder / "page.html")
    page = (folder / "page.html").read_text("utf-8")
    (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(found))


def pixels(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as picture:
        return np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)


def test_every_point_is_there_with_its_numbers(tmp_path: Path) -> None:
    front = amortised()
    found = content(front, tmp_path)
    members = [member for member in found["members"] if not member["between"]]
    assert [member["problem"] for member in members] == [point.problem for point in front.points]
    for member, point in zip(members, front.points, strict=True):
        for part in ("train", "test"):
            for name in ("neg_elbo", "rate", "distortion", "mmd_biased", "mmd_unbiased"):
                told = member["values"][part][name]
                assert told == pytest.approx([point.value(name, part), 0.1], rel=1e-5)
    flags = front.non_dominated("test").tolist()
    assert [member["best"]["test"] for member in members] == flags
    assert found["quantities"][0] == {"name": "neg_elbo", "label": "−ELBO", "unit": "nats"}
    assert len(found["published"]["points"]) == 101
    assert content(amortised("digits"), tmp_path)["published"]["points"] == []


def test_an_estimate_at_its_cap_is_marked(tmp_path: Path) -> None:
    front = amortised()
    like = front.points[0].estimates["train"]["rate"]
    low = {"mutual_information_lower": replace(like, value=4.7, is_saturated=True)}
    estimates = {part: {**found, **low} for part, found in front.points[0].estimates.items()}
    front = replace(front, points=(replace(front.points[0], estimates=estimates), *front.points[1:]))
    found = content(front, tmp_path)
    assert found["quantities"][-1] == {"name": "mutual_information_lower", "label": "information, from", "unit": "nats"}
    values = found["members"][0]["values"]["test"]
    assert values["mutual_information_lower"] == [4.7, 0.1, True]
    assert len(values["rate"]) == 2
    assert "mutual_information_lower" not in found["members"][1]["values"]["test"]


def test_members_between_measured_ones_fill_the_slider(tmp_path: Path) -> None:
    found = content(amortised(), tmp_path)
    (track, *others) = found["tracks"]
    betas = [found["members"][index]["beta"] for index in track["stops"]]
    assert len(betas) == 11 + 40
    assert betas == sorted(betas, reverse=True)
    assert [len(other["stops"]) for other in others] == [11, 11, 11]
    member = next(found["members"][index] for index in track["stops"] if found["members"][index]["between"])
    rate = 20 * math.log(5 / member["beta"])
    assert member["values"]["train"]["rate"][0] == pytest.approx(rate, rel=1e-3)


def test_lines_are_the_surfaces_splines(tmp_path: Path) -> None:
    found = content(amortised(), tmp_path)
    line = found["lines"]["train"]["γ = 0"]
    expected = 50 + 100 * np.exp(-np.array(line["rate"]) / 20)
    np.testing.assert_allclose(line["distortion"], expected, atol=0.1)
    assert list(found["lines"]["test"]) == found["series"]


def test_every_picture_decodes(tmp_path: Path) -> None:
    found = content(amortised(), tmp_path)["pictures"]
    assert (found["tile"], found["columns"], found["sampleRows"]) == ([8, 8], 8, 2)
    assert len(found["sprites"]) == 44 + 40
    assert pixels(found["originals"]).shape == (8, 64)
    assert {pixels(sprite).shape for sprite in found["sprites"]} == {(24, 64)}


def test_pictures_are_what_the_models_draw(tmp_path: Path) -> None:
    front = amortised(gammas=(10.0,))
    found = content(front, tmp_path)["pictures"]
    assert front.data is not None
    model = front.model_at(beta=float(front.points[3].beta or 0))
    examples = pick_examples(front.data.test)
    rebuilt, samples = lv.reconstructions(model, examples, rows=1)[1], model.sample(16)
    drawn = pixels(found["sprites"][3]).astype(float) / 255
    side_by_side = torch.cat([rebuilt, samples]).reshape(3, 8, 8, 8).permute(0, 2, 1, 3).reshape(24, 64)
    np.testing.assert_allclose(drawn, side_by_side.numpy(), atol=4.5 / 255)


@pytest.mark.parametrize(
    ("event_shape", "shape"), [((28, 28), (28, 28)), ((3, 40, 20), (28, 14, 3)), ((1, 2, 4), (2, 4))]
)
def test_a_picture_is_reduced_and_keeps_its_colours(event_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    grid = torch.zeros(1, 2, *event_shape)
    grid[0, 1] = 1.0
    if len(event_shape) == 3 and event_shape[0] == 3:
        grid[0, 1, 1:] = 0.0
    found = pixels(encode(grid))
    assert found.shape == (shape[0], 2 * shape[1], *shape[2:])
    assert (found[:, : shape[1]] == 0).all()
    assert (found[:, shape[1] :] == ([255, 0, 0] if shape[2:] else 255)).all()
    dimmed = pixels(encode(grid, (0.0, 2.0)))  # one black and one white for all pictures of a page
    assert 125 < dimmed.max() < 130


def test_examples_of_every_class_are_shown_first() -> None:
    data = images()
    assert pick_examples(data.test).labels is not None
    shuffled = data.test.pick(torch.tensor([9, 9, 1, 4, 4, 0]))
    labels = pick_examples(shuffled).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 4, 9, 9, 4]


def test_nothing_comes_from_outside(tmp_path: Path) -> None:
    write_front_page(amortised(), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert re.findall(r"""(?:src|href|url|import|fetch)\s*[=(]?\s*["'(]?\s*https?:""", page) == []
    assert re.findall(r"https?://[^\"'\s]+", page) == ["http://www.w3.org/2000/svg"]  # SVG's name, which is not loaded
    assert re.findall(r"<(?:link|script|img|iframe)[^>]*(?:src|href)=\"(?!data:)", page) == []
    assert not re.search(r"/\*(STYLE|SCRIPT|CONTENT)\*/", page)
    assert "default-src 'none'" in page


def test_the_page_stays_small(tmp_path: Path) -> None:
    """Noise of 28 x 28 pixels compresses worst: no pictures of anything are larger."""
    front = amortised(event_shape=(1, 28, 28))
    write_front_page(front, tmp_path / "page.html")
    assert 200_000 < (tmp_path / "page.html").stat().st_size < 3_000_000


def test_runs_that_missed_or_failed_are_kept_and_marked(tmp_path: Path) -> None:
    found = content(dedicated(tmp_path / "front"), tmp_path)
    assert [member["status"] for member in found["members"]] == ["feasible", "infeasible", "feasible", "failed"]
    assert [member["picture"] for member in found["members"]] == [0, 1, 2, None]
    assert found["members"][3]["values"] == {}
    assert found["members"][3]["best"] == {"train": False, "test": False}
    assert found["series"] == ["max mi", "min mi"]
    (track,) = found["tracks"]
    assert sorted(track["stops"]) == [0, 1, 2]
    assert found["members"][1]["load"] == "front.solution_at(1)"
    assert found["members"][1]["violations"]["neg_elbo"] > 10
    assert "out of memory <b>" not in (tmp_path / "page.html").read_text("utf-8")  # nothing in the data is markup


def test_a_front_that_is_read_back_draws_the_same(tmp_path: Path) -> None:
    front = dedicated(tmp_path / "front")
    again = replace(front, solutions=())
    one, other = (content(found, tmp_path)["pictures"]["sprites"] for found in (front, again))
    assert one == other
    assert [again.model_of(index) is None for index in range(4)] == [False, False, False, True]
    assert list(members_between(front, 40)) == []


def test_the_page_does_without_what_is_not_at_hand(tmp_path: Path) -> None:
    front = amortised()
    assert content(replace(front, data=None), tmp_path)["pictures"] is None
    lost = content(replace(front, network=None), tmp_path)
    assert lost["pictures"] is None
    assert len(lost["members"]) == len(front.points)
    assert content(amortised(event_shape=(64,)), tmp_path)["pictures"] is None  # no images
    assert content(replace(front, points=(), surface=None), tmp_path)["members"] == []


@pytest.mark.parametrize(("beta", "gamma"), [(0.5, 0.0), (0.5, 1e3), (4.0, 0.0), (4.0, 1e3), (1.0, 1e3), (1.0, 0.0)])
def test_a_members_constrained_problem_weighs_as_its_own_loss_does(beta: float, gamma: float) -> None:
    """Objective + Σ λ · constraint is a multiple of D + β R + γ mmd."""
    point = replace(amortised().points[0], beta=beta, gamma=gamma)
    found = constrained(point, "train")
    assert found is not None
    problem, multipliers = Problem.parse(found[0]), found[1]
    weights = {str(term): weight for term, weight in problem.objective.surrogate().items()}
    for name, bounded in problem.constraints.items():
        for term, weight in bounded.quantity.surrogate().items():
            weights[str(term)] = weights.get(str(term), 0.0) + multipliers[name] * weight
        assert bounded.bound >= point.value({"mmd": "mmd_biased"}.get(name, name), "train")
    assert weights["rate"] / weights["distortion"] == pytest.approx(beta)
    assert weights.get("mmd", 0.0) / weights["distortion"] == pytest.approx(gamma)


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"expected to write .*absent.*got No such file"):
        write_front_page(amortised(gammas=(10.0,)), tmp_path / "absent" / "page.html")
