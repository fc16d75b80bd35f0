"""A record as named numbers, and a configuration as named values: what every tracker is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lagvae.storage.folder import NAMED


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns a record's numbers by names with a slash: ``terms/rate``, ``multiplier/mmd``, ``price/mmd``, ..."""
    found = {f"terms/{name}": value for name, value in record["terms"].items()}
    found |= {f"held_out/{name}": value for name, value in record.get("held_out", {}).items()}
    for name, constraint in record["constraints"].items():
        found[f"violation/{name}"] = constraint["violation"]
        found[f"multiplier/{name}"] = constraint["multiplier"]
        found[f"price/{name}"] = constraint["price"]
    found |= {name: record[name] for name in ("beta", "gamma") if record[name] is not None}
    found |= {f"weight/{name}": value for name, value in record["weights"].items()}
    return {**found, "learning_rate": record["learning_rate"], "steps_per_second": record["steps_per_second"]}


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns a configuration's problem, data and settings by name, as text; settings without their sections."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if name not in NAMED:
            flat |= value if isinstance(value, Mapping) else {name: value}
    return {name: _text(value) for name, value in flat.items()}


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
