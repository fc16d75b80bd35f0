r"""The figure of the paper, from one run: mutual information against consistency, beside the published points.

    python benchmarks/zhao2018/figure.py                    the page and the pictures of what is there
    python benchmarks/zhao2018/figure.py --train --epochs 510 --beta 0.17 4.4 --weight-decay 0.03 --out DIR
    python benchmarks/zhao2018/figure.py --train --device cuda --beta 0.3 4 --epochs 1752 --batch-size 500 \
        --learning-rate 3e-3 --out DIR

The second and the third train a front first, or go on with it, on a processor and on a graphics processor, and then
measure the information of its members, which takes minutes more. What is not named is as in every front without a
divergence (``FRONT_RECIPE``). The recipe has changed since the graphics processor's was run: to have its numbers again,
check out the commit of its date.

The original's networks on MNIST. Where the paper has 26 LagVAE and 30 InfoVAE runs of 1.1 million steps each, this is
one modulated network. The published axis "mutual information" reads like the rate. Compared is neg_elbo at a
published point's own rate: below 0 the front lies outside the published curve. An upright line under a member is the
interval of its mutual information, up to a density fitted to its codes; the lower end, a mixture of all posteriors, is
capped at log N, 10.9 nats on train and 9.2 on test, and says no more of members that carry more. Results:
``results.md``, and in ``processor/`` and ``graphics/`` ``front.json`` with every member, ``figure.png`` and
``figure.pdf``; the points are those that ``lagvae report`` lays under any front on MNIST.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from held_out import hardware  # noqa: E402 (a neighbour's, one folder up)

TAKEN = ("epochs", "batch_size", "learning_rate", "optimizer", "weight_decay")
KINDS = {"graphics": "On a graphics processor", "processor": "On two cores"}


def train(out: Path, device: str, beta: tuple[float, float], gain: float, **changes: Any) -> None:
    """Trains the front, or goes on with it, and copies what the page needs."""
    import lagvae as lv
    from lagvae.settings import FrontSettings, Settings

    # The original's activation, and its widths as they come.
    settings = Settings().replace(activation="softplus", device=device, log_every=500, **changes)
    family = FrontSettings(divergence="none", beta_low=beta[0], beta_high=beta[1], gain=gain)
    front = lv.fit_front("mnist", front=family, settings=settings, out=out, resume=(out / "config.yaml").exists())
    if not front.points:
        raise SystemExit(front.message)
    front.measure_information(progress=True)
    folder = HERE / ("processor" if device == "cpu" else "graphics")
    shutil.copy(out / "front.json", folder / "front.json")
    about = {
        **{name: getattr(front.settings.primal, name) for name in TAKEN},
        "beta": beta,
        "gain": gain,
        "hardware": hardware(device),
        "date": datetime.date.today().isoformat(),
    }
    (folder / "about.json").write_text(json.dumps(about) + "\n")


def draw(kind: str) -> None:
    """Draws a front's members, whose network need not be here."""
    from lagvae.front.amortised.family import Family
    from lagvae.front.amortised.fit import surface_of
    from lagvae.front.amortised.front import AmortisedFront
    from lagvae.front.point import FrontPoint
    from lagvae.report.front_figure import write_front_figure
    from lagvae.settings import Settings
    from lagvae.training.outcome.solution import Status

    content = read(kind, "front.json")
    points = tuple(map(FrontPoint.from_dict, content["points"]))
    family = Family(beta=(float(points[0].beta or 0), float(points[-1].beta or 0)), share=0.0)
    front = AmortisedFront(
        points=points,
        status=Status(content["status"]),
        message=content["message"],
        settings=Settings(),
        data_name=content["data"],
        seconds=content["seconds"],
        steps=content["steps"],
        surface=surface_of(points, family),
    )
    write_front_figure(front, HERE / kind / "figure.png", HERE / kind / "figure.pdf")


def curve_of(content: dict[str, Any], part: str) -> tuple[CubicSpline, tuple[float, float]]:
    """Returns the front's neg_elbo at a rate, through its members, and the rates that it has."""
    from scipy.interpolate import CubicSpline

    members = [point["estimates"][part] for point in content["points"] if not point["gamma"]]
    rate, neg_elbo = (np.array([found[name]["value"] for found in members]) for name in ("rate", "neg_elbo"))
    order = np.argsort(rate)
    return CubicSpline(rate[order], neg_elbo[order]), (float(rate.min()), float(rate.max()))


def compare(content: dict[str, Any], part: str) -> list[tuple[float, float, float]]:
    """Returns (rate, published neg_elbo, the front's at that rate) of every published LagVAE point in reach."""
    from lagvae.report.published_points import published_points

    curve, (low, high) = curve_of(content, part)
    points = sorted((p.rate, p.neg_elbo) for p in published_points("mnist") if p.part == part and p.method == "LagVAE")
    return [(r, x, float(curve(r))) for r, x in points if low <= r <= high]


def information(content: dict[str, Any], part: str) -> Iterator[str]:
    """Yields a row of the interval of each member's information; a star where its lower end is at its cap."""
    for point in content["points"]:
        found = point["estimates"][part]
        if "mutual_information" in found:
            low, fitted, rate = (found[name] for name in ("mutual_information_lower", "mutual_information", "rate"))
            cells = f"≥ {low['value']:.2f}{'*' if low['is_saturated'] else ''} | ≤ {fitted['value']:.1f}"
            yield f"| {point['beta']:.2f} | {cells} | ≤ {rate['value']:.1f} |"


def read(kind: str, name: str) -> dict[str, Any]:
    """Returns what a file of a kind of machine says."""
    content: dict[str, Any] = json.loads((HERE / kind / name).read_text())
    return content


def page() -> Iterator[str]:
    """Yields the page."""
    yield f"# The figure of the paper\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield "The 26 LagVAE and 30 InfoVAE runs beside it: [dedicated.md](dedicated.md), where they were run.\n"
    for kind, title in KINDS.items():
        yield from section(kind, title)


def section(kind: str, title: str) -> Iterator[str]:
    """Yields one front's part of the page."""
    content, about = (read(kind, name) for name in ("front.json", "about.json"))
    low, high = about["beta"]
    yield f"## {title}\n"
    decay = "" if about.get("weight_decay") is None else f", a decay of {about['weight_decay']:g}"
    how = f"batches of {about['batch_size']} at {about['learning_rate']:g} ({about.get('optimizer', 'adam')}{decay})"
    yield (
        f"β from {low:g} to {high:g}, {about['epochs']} epochs of {how}, {content['steps']:,} steps, "
        f"{content['seconds'] / 60:.0f} min of training; {about['hardware']}, {about['date']}.{about.get('note', '')}\n"
    )
    yield f"![figure]({kind}/figure.png)\n"
    for part in ("train", "test"):
        found = compare(content, part)
        gaps = np.array([ours - theirs for _, theirs, ours in found])
        yield f"**{part}**: {len(found)} published points in reach, {np.sum(gaps <= 0)} of them on or inside the front;"
        ends = f"{gaps.min():+.1f} to {gaps.max():+.1f}, median {np.median(gaps):+.1f}"
        yield f"the front's neg_elbo minus theirs: {ends}.\n"
        yield "| rate | neg_elbo, published | neg_elbo, front | difference |"
        yield "| --- | --- | --- | --- |"
        for rate, theirs, ours in found:
            yield f"| {rate:.1f} | {theirs:.1f} | {ours:.1f} | {ours - theirs:+.1f} |"
        yield ""
        if rows := list(information(content, part)):
            yield "| β | information: mixture | fitted density | rate |"
            yield "| --- | --- | --- | --- |"
            yield from rows
            yield ""


def main() -> None:
    from lagvae.settings import FrontSettings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train the front, or go on with it")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--optimizer", help="a front's own if none is given")
    parser.add_argument("--weight-decay", type=float, help="a front's own if none is given")
    parser.add_argument(
        "--beta",
        type=float,
        nargs=2,
        default=(FrontSettings.beta_low, FrontSettings.beta_high),
        help="lowest and highest weight of the rate",
    )
    parser.add_argument("--gain", type=float, default=FrontSettings.gain, help="how fast members part")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("fronts/zhao2018"))
    arguments = parser.parse_args()
    if arguments.train:
        changes = {name: getattr(arguments, name) for name in TAKEN}
        train(arguments.out, arguments.device, tuple(arguments.beta), arguments.gain, **changes)
    for kind in KINDS:
        draw(kind)
    text = "\n".join(page()) + "\n"
    (HERE / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
