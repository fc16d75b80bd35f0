"""Settings of fronts that train in seconds."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "hidden": (32,),
    "latent_dim": 4,
    "batch_size": 100,
    "log_every": 5,
    "device": "cpu",
    "precision": "float32",
    "progress": False,
}
