"""A number that a referee accepts: with its error, its bias and its method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A measured quantity.

    Attributes:
        value: The estimate.
        standard_error: Of ``value``, for examples drawn independently.
        unit: What it counts: ``nats per example``, ``MMD²``.
        bias: On which side of the truth the estimator errs: ``none``, ``upper`` (it reads high,
            an upper bound) or ``lower``.
        method: How it was computed.
        examples: How many examples it rests on.
        samples: How many draws per example, components or chains, where the method has such a number.
        is_saturated: Whether the method's cap is near, so that the truth may lie far beyond ``value``.
    """

    value: float
    standard_error: float
    unit: str
    bias: Literal["none", "upper", "lower"]
    method: str
    examples: int
    samples: int | None = None
    is_saturated: bool = False

    @staticmethod
    def of_mean(
        samples: Float[Tensor, " samples"],
        *,
        unit: str,
        bias: Literal["none", "upper", "lower"],
        method: str,
        examples: int,
    ) -> Estimate:
        """Returns the mean of independent samples and its standard error s/√n (NaN for a single one)."""
        samples = samples.double()
        error = samples.std() / len(samples) ** 0.5 if len(samples) > 1 else torch.tensor(float("nan"))
        return Estimate(float(samples.mean()), float(error), unit, bias, method, examples)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields in plain types."""
        return asdict(self)

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Estimate:
        """Reads back what ``as_dict`` returns, by way of JSON, which has no NaN; ``samples`` may be None in earnest."""
        numbers = {name: math.nan for name in ("value", "standard_error") if fields[name] is None}
        return Estimate(**{**fields, **numbers})

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.standard_error:.2g} {self.unit}"
