"""How do arrays and tensors of any dtype become Examples?"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from lagvae.data.checks import check_finite
from lagvae.data.examples import Examples
from lagvae.data.mapped import is_mapped, open_map
from lagvae.errors import DataError, ProblemWarning, expected

EXACT = 2**24
"""float32 holds every integer up to here."""


def build_examples(
    values: np.ndarray | Tensor, labels: np.ndarray | Tensor | None = None, *, where: str = "the array"
) -> Examples:
    """Builds Examples from an array, converting what has one meaning and refusing the rest.

    bool becomes 0/255, and other floats become float32. Of images, other integers in 0..255 become uint8; in a table
    [N, columns] integers of any other dtype than uint8 mean themselves and become float32: counts, say. Nothing is
    copied that need not be: an array or tensor that has its dtype already is shared, and a memory map stays one.

    Args:
        values: ``[N, *event_shape]``.
        labels: Integers ``[N]``, or None.
        where: What the values are called in messages, e.g. the file they come from.

    Raises:
        DataError: for an empty array, one without an event shape, a dtype with no meaning here, integers outside
            0..255 in images, integers that float32 cannot tell apart, NaN or infinity, or labels that do not fit.
    """
    _check_shape(tuple(values.shape), where)
    kept = _keep_map(values, where) if is_mapped(values) else _convert(_as_tensor(values, where), where)
    examples = Examples(kept, None if labels is None else _convert_labels(labels, len(values), where))
    check_finite(examples, name=where)
    return examples


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) < 2:
        raise DataError(
            expected(
                f"an array [N, *event_shape] of two or more dimensions in {where}",
                got=f"shape {list(shape)}",
                fix="x[:, None] if every example is one number; labels go into a TensorDataset(x, y)",
            )
        )
    if 0 in shape:
        raise DataError(
            expected(
                f"at least one example of at least one value in {where}",
                got=f"shape {list(shape)}",
                fix="an array that is not empty",
            )
        )


def _keep_map(values: np.memmap, where: str) -> np.memmap:
    """Returns a read-only view of a memory map, whose values have to be usable as they lie in the file."""
    if values.dtype not in (np.uint8, np.float32):
        raise DataError(
            expected(
                f"uint8 or float32 in {where}, which is mapped and not loaded",
                got=values.dtype,
                fix="saving it again as x.astype(np.float32) or x.astype(np.uint8)",
            )
        )
    return open_map(values)


def _as_tensor(values: np.ndarray | Tensor, where: str) -> Tensor:
    """Returns ``values`` as a tensor of the same meaning, without a graph."""
    if isinstance(values, Tensor):
        return values.detach()
    if values.dtype.kind not in "buif":
        raise DataError(_meaningless(values.dtype, where))
    if values.dtype.kind == "f":
        # What float32 cannot hold becomes infinite, and is then refused by its index and not by a warning here.
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False)
    native = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    # torch would warn that it cannot promise to leave a read-only array alone.
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def _convert(values: Tensor, where: str) -> Tensor:
    """Returns a tensor of any dtype as the uint8 or float32 one that means the same."""
    if values.dtype == torch.bool:
        return values.to(torch.uint8) * 255
    if values.dtype.is_floating_point:
        return values.to(torch.float32)
    if values.dtype.is_complex or values.is_quantized:
        raise DataError(_meaningless(values.dtype, where))
    return _convert_integers(values, where)


def _convert_integers(values: Tensor, where: str) -> Tensor:
    # torch has no minimum for uint16..uint64, so the range is taken in int64 and a wrapped uint64 shows as negative.
    wide = values if values.dtype == torch.uint8 else values.to(torch.int64)
    low, high = (int(bound) for bound in wide.aminmax())
    if values.dim() == 2 and values.dtype != torch.uint8:
        is_wrapped = values.dtype == torch.uint64 and low < 0
        if is_wrapped or max(-low, high) > EXACT:
            raise DataError(
                expected(
                    f"integers within ±{EXACT}, which float32 holds exactly, in {where}",
                    got=f"{values.dtype} values in {low}..{high}",
                    fix="x.astype(np.float32), rounded, or smaller numbers",
                )
            )
        return wide.to(torch.float32)
    if low < 0 or high > 255:
        raise DataError(
            expected(
                f"integers in 0..255, which mean 0..1, in {where}",
                got=f"{values.dtype} values in {low}..{high}",
                fix="scaling them to 0..1 as float32",
            )
        )
    if high == 1:
        warnings.warn(
            expected(
                f"integers in 0..255, which mean 0..1, in {where}",
                got="0 and 1 only, so that 1 means an intensity of 1/255",
                fix="bool or float32 if bits are meant",
            ),
            ProblemWarning,
            stacklevel=2,
        )
    return wide.to(torch.uint8)


def _convert_labels(labels: np.ndarray | Tensor, count: int, where: str) -> Tensor:
    """Returns labels as int64 ``[count]``, or refuses them."""
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    if given.shape != (count,) or given.dtype.kind not in "iub":
        raise DataError(
            expected(
                f"{count} integer labels for {where}",
                got=f"{given.dtype} of shape {list(given.shape)}",
                fix="one integer for each example, or no labels",
            )
        )
    return torch.from_numpy(given.astype(np.int64))


def _meaningless(dtype: object, where: str) -> str:
    return expected(
        f"numbers (bool, integers in 0..255, floats) in {where}", got=f"dtype {dtype}", fix="x.astype(np.float32)"
    )
