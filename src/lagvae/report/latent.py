"""What the decoder makes of codes: of examples, between two of them, and along one dimension at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.data.examples import Examples
from lagvae.errors import DataError, expected
from lagvae.evaluation.codes import collect_codes, random_order
from lagvae.evaluation.latent.units import rate_per_dimension
from lagvae.evaluation.visits import check_count, evaluating
from lagvae.model.vae import VAE
from lagvae.streams import Streams, derive_seed

Grid = Float[Tensor, "rows columns *event"]

COLUMNS = 8
"""Reconstructions beside each other."""
RANGE = 3.0
"""How far a traversal goes from 0, in standard deviations of the prior."""
RANKED = 1000
"""Examples whose codes tell which dimensions are the most active."""


def reconstructions(model: VAE, examples: Examples, *, rows: int = 8, seed: int | None = None) -> Grid:
    """Returns examples as the likelihood scores them (binarised), and below each row E[x|z] at z = E[z|x].

    Args:
        model: Encoder and decoder.
        examples: Of one part of a data set.
        rows: Rows of examples, as far as there are enough; each is followed by its reconstructions.
        seed: Which examples; the first ones if None.

    Raises:
        SettingError: ``rows`` is no positive whole number.
    """
    check_count(rows, "rows")
    columns = min(COLUMNS, len(examples))
    x = _prepared(model, examples, min(rows, len(examples) // columns) * columns, seed)
    with evaluating(model):
        rebuilt = model.decode(model.encode(x)).reshape(x.shape)
    return torch.stack([part.unflatten(0, (-1, columns)) for part in (x, rebuilt)], 1).flatten(0, 1)


def interpolations(model: VAE, examples: Examples, *, rows: int = 8, columns: int = 10, seed: int | None = 0) -> Grid:
    """Returns, in each row, the way from one example's code to another's: E[x|z] on an arc between their means.

        z_t = (sin((1-t)ω) z_0 + sin(tω) z_1) / sin ω,    cos ω = z_0·z_1 / (‖z_0‖ ‖z_1‖),    t = 0 ... 1

    In many dimensions p(z) lies in a thin shell; an arc stays in it where a straight line would pass under it.

    Args:
        model: Encoder and decoder.
        examples: Of one part of a data set; the ends are two of them each.
        rows: How many pairs, as far as there are enough.
        columns: Steps of the way, both ends among them.
        seed: Which examples; the first ones if None.

    Raises:
        SettingError: ``rows`` is no positive whole number, or ``columns`` no two.

    Source: [White2016].
    """
    check_count(rows, "rows")
    check_count(columns, "columns", least=2)
    _check_enough(examples)
    x = _prepared(model, examples, max(1, min(rows, len(examples) // 2)) * 2, seed)
    with evaluating(model):
        first, second = model.encode(x).unflatten(0, (-1, 2)).unbind(1)
        way = torch.linspace(0, 1, columns, device=first.device)
        return _decode(model, _arc(first, second, way), x)


def traversals(model: VAE, examples: Examples, *, rows: int = 8, columns: int = 11, seed: int | None = 0) -> Grid:
    """Returns, in each row, one example's code with one dimension moved from -3 to 3: E[x|z].

    The rows are the dimensions of the highest rate E KL(q(z_d|x) ‖ p(z_d)), from the highest down. Under a learned
    prior they are those of the coordinates in which it is N(0, I), by the variance of the codes there.

    Args:
        model: Encoder and decoder.
        examples: Of one part of a data set; up to 1000 of them rank the dimensions.
        rows: How many dimensions, as far as there are so many.
        columns: Steps of the way.
        seed: Which examples, one of which is taken apart; the first ones if None.

    Raises:
        SettingError: ``rows`` is no positive whole number, or ``columns`` no two.
    """
    check_count(rows, "rows")
    check_count(columns, "columns", least=2)
    _check_enough(examples)
    x = _prepared(model, examples, 1, seed)
    with evaluating(model):
        start = model.prior.standardise(model.encode(x))[0]
        ranked = most_active(model, examples, seed=seed or 0)[:rows]
        codes = start.repeat(len(ranked), columns, 1)
        values = torch.linspace(-RANGE, RANGE, columns, device=start.device)
        for row, dimension in enumerate(ranked):
            codes[row, :, dimension] = values.to(codes)
        return _decode(model, model.prior.place(codes), x)


def most_active(model: VAE, examples: Examples, *, seed: int = 0) -> list[int]:
    """Returns the dimensions of the code from the highest rate to the lowest, as up to 1000 examples show them.

    Where the prior is learned it is from the highest variance of the standardised codes: rates by dimension are none.
    """
    index = random_order(len(examples), seed)[:RANKED]
    codes = collect_codes(model, examples.pick(index), part="test", seed=seed)
    rates = [rate.value for rate in rate_per_dimension(codes)] or codes.standard_z.var(0).tolist()
    return sorted(range(len(rates)), key=lambda dimension: -rates[dimension])


def _check_enough(examples: Examples) -> None:
    if len(examples) < 2:
        raise DataError(expected("two examples or more in that part of the data", got=len(examples), fix="more data"))


def _prepared(model: VAE, examples: Examples, count: int, seed: int | None) -> Tensor:
    """Returns so many examples as the likelihood scores them."""
    order = torch.arange(len(examples)) if seed is None else random_order(len(examples), seed)
    raw = examples.gather(order[:count]).to(model.device)
    return model.likelihood.prepare(raw, Streams(derive_seed(seed or 0, "pictures"), model.device).binarisation)


def _decode(model: VAE, codes: Float[Tensor, "rows columns latent"], x: Tensor) -> Grid:
    return model.decode(codes.flatten(0, 1)).reshape(*codes.shape[:2], *x.shape[1:])


def _arc(
    first: Float[Tensor, "rows latent"], second: Float[Tensor, "rows latent"], way: Float[Tensor, " columns"]
) -> Float[Tensor, "rows columns latent"]:
    """Returns points on the arc between two codes; on the straight line where they have one direction."""
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=1).clamp(-1, 1)
    angle = cosine.arccos()[:, None]
    is_straight = angle.sin() < 1e-3
    sine = angle.sin().where(~is_straight, 1.0)
    before = torch.where(is_straight, 1 - way, ((1 - way) * angle).sin() / sine)
    after = torch.where(is_straight, way.expand_as(before), (way * angle).sin() / sine)
    return before[..., None] * first[:, None] + after[..., None] * second[:, None]
