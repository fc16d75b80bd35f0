"""encode(): the code of every example of a run's data, or of other data."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lagvae.data.dataset import Part, open_data, read_whole
from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected
from lagvae.evaluation.visits import evaluating, prepared_blocks
from lagvae.streams import Streams, derive_seed
from lagvae.training.load import fit_to, reopen_data
from lagvae.training.outcome.solution import Solution
from lagvae.training.progress import staged_progress

PartName = Literal["all", "train", "held_out", "test"]
BLOCK = 1000
"""Examples that are encoded at once."""


@torch.no_grad()
def encode(
    solution: Solution, data: Part | None = None, *, part: PartName = "all", seed: int = 0, progress: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the mean of q(z|x) for every example, and the labels where there are any.

    Args:
        solution: What ``fit`` or ``load`` returned.
        data: As for ``fit``, but for a pair; the run's own if none are given.
        part: ``all`` is every example in the order of the file, those that were kept for test in their places; train,
            then test, where the data have both parts themselves.
        seed: Of the bits that a Bernoulli likelihood draws grey values as: codes are of bits, as in training.
        progress: Whether to show a bar on a terminal.

    Returns:
        float32 ``[examples, latent]``, and int64 ``[examples]`` or None.

    Raises:
        DataError: The data have no such part or are no longer at hand, or the likelihood cannot score them.
        ShapeError: The networks do not fit the data.
    """
    model = solution.model
    parts, order = _pick(solution, data, part, progress=progress)
    parts = fit_to(solution, parts)
    streams = Streams(derive_seed(seed, "codes", part), model.device)
    means = []
    with staged_progress(show=progress) as stage, evaluating(model):
        advance = stage("encoding", sum(map(len, parts)))
        for examples in parts:
            model.check_shapes(examples.event_shape)
            model.likelihood.check(examples, name="the data")
            for x in prepared_blocks(model, examples, BLOCK, streams):
                means.append(model.posterior(x).mean.cpu())
                advance(len(x))
    labels = [examples.labels.cpu() for examples in parts if examples.labels is not None]
    place = slice(None) if order is None else order.argsort()
    return torch.cat(means)[place].numpy(), torch.cat(labels)[place].numpy() if len(labels) == len(parts) else None


def _pick(solution: Solution, data: Part | None, part: str, *, progress: bool) -> tuple[list[Examples], Tensor | None]:
    """Returns the examples to encode, and where each of them stood; None where they are in order."""
    if data is not None and part == "all":
        return read_whole(data, progress=progress), None
    opened = reopen_data(solution, progress=progress) if data is None else open_data(data, progress=progress)
    if part == "all":
        return list(opened.parts.values()), opened.order
    if part not in opened.parts:
        raise DataError(expected(f"a part of the data: {', '.join(opened.parts)}", got=part, fix="--part all"))
    return [opened.parts[part]], None
