"""The page in a real browser: hover, click, slide, switch axes, sort, copy, by events as a hand makes them.

A script at the end of the page acts on it and leaves what it saw in the document, which chromium prints.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lagvae as lv
from fronts_to_draw import amortised, dedicated
from lagvae.front.front import Front
from lagvae.report.front_page import write_front_page

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
HANDS = Path(__file__).parent / "hands"
pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium on PATH: apt-get install chromium")


def act(front: Front, script: str, folder: Path) -> dict[str, Any]:
    """Opens the page in a browser, runs a script on it, and returns what it saw."""
    path = folder / "page.html"
    write_front_page(front, path)
    tools, acts, leave = ((HANDS / f"{name}.js").read_text("utf-8") for name in ("hands", script, "leave"))
    acts = f"addEventListener('load', async () => {{ try {{ {acts} }} catch (error) {{ fail(error); }} {leave} }});"
    hands = f"<script>{tools}{acts}</script></body>"
    path.write_text(path.read_text("utf-8").replace("</body>", hands), "utf-8")
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=60000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    found = re.search(r'<pre id="saw">(.*?)</pre>', answer.stdout, re.DOTALL)
    assert found, answer.stdout[-2000:]
    return dict(json.loads(unescape(found[1])))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return act(amortised(), "amortised", tmp_path_factory.mktemp("amortised"))


@pytest.fixture(scope="module")
def seen_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dedicated")
    front = replace(dedicated(folder / "front"), status=lv.Status.STOPPED, message="interrupted")
    return act(front, "dedicated", folder)


def test_nothing_fails_and_nothing_is_loaded(seen: dict[str, Any], seen_runs: dict[str, Any]) -> None:
    assert seen["errors"] == seen_runs["errors"] == []
    assert seen["loaded"] == seen_runs["loaded"] == []
    assert seen["unnamed"] == []
    assert seen["wide"]  # nothing sticks out


def test_the_front_is_drawn(seen: dict[str, Any]) -> None:
    assert seen["title"] == "Front · mnist"
    assert seen["summary"].startswith("44 points from one network · ")
    assert (seen["points"], seen["rows"], seen["lines"]) == (44, 44, 4)
    assert seen["best"] == int(amortised().non_dominated("train").sum())
    assert seen["published"] == 48


def test_a_front_that_did_not_reach_its_end_says_so(seen_runs: dict[str, Any]) -> None:
    assert seen_runs["summary"].startswith("stopped: interrupted · 4 points ")


def test_hover_tells_problem_weights_and_multipliers(seen: dict[str, Any]) -> None:
    point = amortised().points[8]
    assert point.beta is not None
    assert not seen["tipBeyond"]
    assert seen["hit"]
    assert seen["tipShown"]
    assert seen["tipGone"]
    lines = seen["tip"].splitlines()
    assert lines[0] == point.problem
    assert lines[1].startswith("solves max mi s.t. neg_elbo <= ")
    assert f"{point.value('rate', 'train'):.2f} ± 0.10 nats" in seen["tip"]
    assert f"{point.beta / (1 - point.beta):.3g} nats/nat" in seen["tip"]


def test_click_shows_a_points_pictures(seen: dict[str, Any]) -> None:
    point, clicked = amortised().points[4], seen["clicked"]
    assert (clicked["chosen"], clicked["problem"]) == (4, point.problem)
    assert clicked["samples"] != clicked["rebuilt"]
    assert seen["pictures"][0] == seen["pictures"][1]
    assert seen["pictures"][2][1] > 1.9 * seen["pictures"][0][1]
    assert seen["load"] == f"front.model_at(beta={point.beta:.6g})"


def test_the_slider_changes_pictures_and_bound(seen: dict[str, Any]) -> None:
    slid = seen["slid"]
    assert len({stop["samples"] for stop in slid}) == len({stop["rebuilt"] for stop in slid}) == len(slid)
    assert len({stop["originals"] for stop in slid}) == 1  # of the same examples
    assert len({stop["out"] for stop in slid}) == len(slid)
    assert slid[0]["solves"].startswith("solves min mi s.t. neg_elbo <= ")
    assert slid[-1]["solves"].startswith("solves max mi s.t. neg_elbo <= ")
    assert (seen["left"], seen["home"], seen["right"]) == (49, 0, 1)
    assert seen["track"] == {"series": "γ = 1e4", "max": 10}


def test_axes_and_parts_switch(seen: dict[str, Any]) -> None:
    assert seen["axis"] == {
        "label": ["−ELBO, nats per example", "MMD², biased, nats per example"], "moved": True, "published": 0,
    }  # fmt: skip
    assert (seen["turned"], seen["publishedOnTest"], seen["unpublished"]) == (48, 53, 0)
    front = amortised()
    for part in ("train", "test"):
        assert seen[part] == f"{front.points[0].value('neg_elbo', part):.2f} ± 0.10"
    assert seen["note"].startswith("Measured on test.")


def test_the_axes_numbers_are_those_of_their_even_ticks(seen: dict[str, Any]) -> None:
    assert len(seen["labelled"]) == 8
    for numbers in seen["labelled"]:  # 82.5, 85, 87.5, not 83, 85, 88
        gaps = np.diff(numbers)
        assert len(gaps) >= 2
        assert gaps == pytest.approx(np.full(len(gaps), gaps[0]), rel=1e-6)


def test_the_table_sorts_and_is_copied(seen: dict[str, Any]) -> None:
    assert seen["ascending"]
    assert seen["descending"]
    assert seen["focus"]
    assert seen["sort"] == "ascending"
    assert seen["rowChosen"]
    lines = [line.split("\t") for line in seen["copied"].splitlines()]
    assert len(lines) == 45
    assert {len(line) for line in lines} == {len(lines[0])}
    column = lines[0].index("information (rate) (nats)")
    rates = [float(line[column]) for line in lines[1:]]
    assert rates == sorted(rates, reverse=True)
    assert sorted(line[1] for line in lines[1:]) == sorted(point.problem for point in amortised().points)
    assert seen["said"] == "copied, tab-separated"
    best = int(amortised().non_dominated("test").sum())
    assert seen["onlyBest"] == [best, best]


def test_dragging_enlarges_and_a_double_click_goes_back(seen: dict[str, Any]) -> None:
    assert seen["selection"] == 1
    assert seen["zoomed"]
    assert seen["back"]
    assert seen["all"]
    assert seen["dark"]


def test_runs_that_missed_a_bound_or_failed_are_marked(seen_runs: dict[str, Any]) -> None:
    assert sorted(seen_runs["marks"]) == [[0, False], [1, True], [2, False]]
    assert [status for _, status in seen_runs["rows"]] == ["feasible", "infeasible", "feasible", "failed"]
    assert seen_runs["rows"][3][0] == "min mi s.t. neg_elbo <= 400"
    assert seen_runs["hidden"]
    assert "infeasible: missed 'neg_elbo <= 10' by " in seen_runs["tip"]
    assert "violation of neg_elbo" in seen_runs["tip"]
    assert "multiplier of neg_elbo" in seen_runs["tip"]
    assert seen_runs["chosen"]["problem"] == "max mutual_information s.t. neg_elbo <= 10"
    assert "infeasible" in seen_runs["chosen"]["eyebrow"]
    assert seen_runs["chosen"]["pictures"]
    assert seen_runs["chosen"]["load"].startswith("front.solution_at(")
    assert "violation of neg_elbo" in seen_runs["chosen"]["numbers"]
    assert seen_runs["failed"]["eyebrow"].endswith("failed")
    assert seen_runs["failed"]["solves"] == "out of memory <b>"
    assert not seen_runs["failed"]["pictures"]
    assert seen_runs["failed"]["why"].startswith("No pictures: this run left no model")
    assert (seen_runs["last"], seen_runs["lastAgain"]) == (3, 3)  # what was not measured stands at the end
    assert seen_runs["slid"] in (0, 1, 2)
