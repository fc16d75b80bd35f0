"""encode(): the code of every example of a run's data, or of other data."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from lagvae.data.dataset import Part, open_data, read_whole
from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected
from lagvae.evaluation.visits import evaluating, prepared_blocks
from lagvae.storage.folder import RunFolder
from lagvae.streams import Streams, derive_seed
from lagvae.training.load import check_shape, reopen_data
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
    parts = _pick(solution, data, part, progress=progress)
    streams = Streams(derive_seed(seed, "codes", part), model.device)
    means = []
    with staged_progress(show=progress) as stage, evaluating(model):
        advance = stage("encoding", sum(map(len, parts)))
        for examples in parts:
            check_shape(solution, examples.event_shape)
            model.check_shapes(examples.event_shape)
            model.likelihood.check(examples, name="the data")
            for x in prepared_blocks(model, examples, BLOCK, streams):
                means.append(model.posterior(x).mean.cpu())
                advance(len(x))
    labels = [examples.labels for examples in parts]
    known = None if any(each is None for each in labels) else torch.cat([each for each in labels if each is not None])
    return torch.cat(means).numpy(), None if known is None else known.cpu().numpy()


def _pick(solution: Solution, data: Part | None, part: str, *, progress: bool) -> list[Examples]:
    """Returns the examples to encode."""
    own = RunFolder(solution.folder).read_config()["data"] if solution.folder is not None else ""
    source: Part = own if data is None else data
    if part == "all" and not (isinstance(source, str) and source == ""):
        if data is None:
            reopen_data(solution, progress=progress)  # says so where they are others by now
        return read_whole(source, progress=progress)
    opened = reopen_data(solution, progress=progress) if data is None else open_data(data, progress=progress)
    if part == "all":  # arrays in memory, which were split when they were opened
        return list(opened.parts.values())
    if part not in opened.parts:
        raise DataError(expected(f"a part of the data: {', '.join(opened.parts)}", got=part, fix="--part all"))
    return [opened.parts[part]]
