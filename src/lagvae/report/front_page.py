"""The front as a page to explore: one HTML file that needs no network."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from lagvae.front.amortised.front import AmortisedFront
from lagvae.front.front import Front
from lagvae.front.point import FrontPoint
from lagvae.model.vae import VAE
from lagvae.report.members import constrained, lines_of, members_between, names_of, series_of
from lagvae.report.pictures import Limits, is_picture
from lagvae.report.published_points import SOURCE, X, Y, published_points
from lagvae.report.sprites import COLUMNS, SAMPLE_ROWS, draw_member, draw_originals, pick_examples, tile_shape
from lagvae.storage.files import to_plain, write_whole

BETWEEN = 40
"""Members between the measured ones for the slider to stop at, as far as there is room."""
ROOM = 2_200_000
"""Characters that pictures may take."""

LABELS = {
    "neg_elbo": "−ELBO",
    "rate": "information (rate)",
    "distortion": "distortion",
    "mmd_biased": "MMD², biased",
    "mmd_unbiased": "MMD², unbiased",
    "mutual_information_lower": "information, from",
    "mutual_information": "information, to",
}
"""Quantities as the page names them; others by their own names."""


def write_front_page(front: Front, path: Path) -> None:
    """Writes the page: the front, a slider along it, what each member draws, and a table.

    Pictures need ``front.data``, models need the front's network or the runs' folders; the page does without what is
    not at hand.

    Raises:
        CheckpointError: The file cannot be written.
    """
    folder = resources.files("lagvae").joinpath("report/page")
    page, style, script = (folder.joinpath(name).read_text("utf-8") for name in ("front.html", "front.css", "front.js"))
    content = json.dumps(to_plain(page_content(front)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Nothing in the data may end the script element that holds them.
    filled = {"/*STYLE*/": style, "/*SCRIPT*/": script, "/*CONTENT*/": content.replace("<", "\\u003c")}
    for mark, text in filled.items():
        page = page.replace(mark, text, 1)
    write_whole(path, page.encode())


def page_content(front: Front) -> dict[str, Any]:
    """Returns all that the page shows, in plain types; numbers that are not there are NaN."""
    members, pictures = _members(front)
    names = names_of(front)
    series = list(dict.fromkeys(member["series"] for member in members))
    return {
        "data": front.data_name,
        "method": front.method,
        "status": str(front.status),
        "message": front.message,
        "seconds": front.seconds,
        "steps": front.steps,
        "epochs": front.settings.primal.epochs,
        "parts": list(front.parts),
        "quantities": [{"name": name, "label": LABELS.get(name, name), "unit": _unit(front, name)} for name in names],
        "isAmortised": isinstance(front, AmortisedFront),
        "series": series,
        "members": members,
        "lines": {
            part: {
                label: {name: [_short(value) for value in line[:, column]] for column, name in enumerate(names)}
                for label, line in lines_of(front, part, names).items()
            }
            for part in front.parts
        },
        "tracks": _tracks(front, members, series),
        "published": {
            "source": SOURCE,
            "x": X,
            "y": Y,
            "points": [[p.part, p.method, p.neg_elbo, p.rate] for p in published_points(front.data_name)],
        },
        "pictures": pictures,
    }


def _members(front: Front) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Returns every point, then the members between them; and their pictures, where examples are images."""
    shape = front.data.train.event_shape if front.data is not None else ()
    examples = pick_examples(front.data.test) if front.data is not None and is_picture(shape) else None
    flags = {part: front.non_dominated(part).tolist() for part in front.parts}
    sprites: list[str] = []
    originals: tuple[str, Limits] | None = None
    members = []

    def add(point: FrontPoint, model: VAE | None, **more: Any) -> None:
        nonlocal originals
        picture = None
        if examples is not None and model is not None:
            originals = originals or draw_originals(model, examples)
            picture = len(sprites)
            sprites.append(draw_member(model, examples, originals[1]))
        members.append({**_as_member(front, point), "picture": picture, **more})

    for index, point in enumerate(front.points):
        add(point, front.model_of(index), best={part: found[index] for part, found in flags.items()}, between=False)
    count = BETWEEN
    if sprites:
        each = sum(map(len, sprites)) / len(sprites)
        count = max(0, min(BETWEEN, int((ROOM - each * len(sprites)) / each)))
    for point, model in members_between(front, count):
        add(point, model, best={}, between=True)
    if originals is None or examples is None:
        return members, None
    return members, {
        "tile": tile_shape(examples.event_shape),
        "columns": min(COLUMNS, len(examples)),
        "sampleRows": SAMPLE_ROWS,
        "originals": originals[0],
        "sprites": sprites,
    }


def _as_member(front: Front, point: FrontPoint) -> dict[str, Any]:
    member: dict[str, Any] = {
        "problem": point.problem,
        "status": point.status,
        "message": point.message,
        "isSolution": point.is_solution,
        "beta": point.beta,
        "gamma": point.gamma,
        "series": series_of(front, point),
        "multipliers": point.multipliers,
        "violations": point.violations,
        "seconds": point.seconds,
        "solves": None,
        "values": {
            part: {
                name: [_short(found.value), _short(found.standard_error), *([True] if found.is_saturated else [])]
                for name, found in estimates.items()
                if name in names_of(front)
            }
            for part, estimates in point.estimates.items()
        },
        "load": "" if point.folder is None else f"front.solution_at({front.points.index(point)})",
    }
    if isinstance(front, AmortisedFront):
        part = front.judged()
        if (found := constrained(point, part)) is not None:
            problem, multipliers = found
            member["solves"] = {"problem": problem, "multipliers": multipliers, "part": part}
        weights = f"beta={point.beta:.6g}" + (f", gamma={point.gamma:.6g}" if point.gamma else "")
        member["load"] = f"front.model_at({weights})"
    return member


def _tracks(front: Front, members: list[dict[str, Any]], series: list[str]) -> list[dict[str, Any]]:
    """Returns the ways that the slider can go: along β for every γ of an amortised front, along the rate of others."""
    if isinstance(front, AmortisedFront):
        return [
            {
                "label": name,
                "stops": sorted(
                    (index for index, member in enumerate(members) if member["series"] == name),
                    key=lambda index: -members[index]["beta"],
                ),
            }
            for name in series
        ]

    def rate(index: int) -> float:
        if not members[index]["isSolution"]:
            return math.nan
        for part in front.parts:
            if "rate" in members[index]["values"].get(part, {}):
                return float(members[index]["values"][part]["rate"][0])
        return math.nan

    rates = {index: rate(index) for index in range(len(members))}
    stops = sorted((index for index, value in rates.items() if math.isfinite(value)), key=lambda index: rates[index])
    return [{"label": "all runs", "stops": stops}] if stops else []


def _unit(front: Front, name: str) -> str:
    for point in front.points:
        for estimates in point.estimates.values():
            if name in estimates:
                return estimates[name].unit.replace("nats per example", "nats")
    return ""


def _short(value: float) -> float:
    """Returns a number in six digits: more is noise, and half the page."""
    return float(f"{value:.6g}")
