"""Points that others have published, to lay over a front on the same data."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

X, Y = "neg_elbo", "rate"
"""The axes that the published points have values on."""
SOURCE = "Zhao, Song, Ermon (UAI 2018), read off the figure"


@dataclass(frozen=True)
class PublishedPoint:
    """One point of the figure of [LagVAE].

    Attributes:
        part: ``train`` or ``test``.
        method: ``LagVAE`` or ``InfoVAE``.
        neg_elbo: -ELBO in nats, to ±0.1.
        rate: What the axis "mutual information" reads like, in nats, to ±0.3.
    """

    part: str
    method: str
    neg_elbo: float
    rate: float


def published_points(data_name: str) -> tuple[PublishedPoint, ...]:
    """Returns the published points on a data set; none but on ``mnist``.

    Source: [LagVAE]; digitised, see the README beside the file.
    """
    if data_name != "mnist":
        return ()
    text = resources.files("lagvae").joinpath("report/published/zhao2018_figure_points.csv").read_text("utf-8")
    return tuple(
        PublishedPoint(
            row["split"],
            row["method"],
            float(row["consistency_minus_elbo_nats"]),
            float(row["mutual_information_nats"]),
        )
        for row in csv.DictReader(text.splitlines())
    )
