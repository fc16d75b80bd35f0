"""A trained model in three plain files, to send, share or pickle: no optimiser, no log, no pickle inside.

config.yaml         what was asked for, as in a run's folder
model.safetensors   the weights
evaluation.json     what came out, as in a run's folder
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save

from lagvae.data.named.registry import is_named
from lagvae.errors import CheckpointError, LagvaeError, expected
from lagvae.model.vae import VAE
from lagvae.storage.files import CHECKSUM, checksum, to_plain, unseal
from lagvae.training.load import build_solution
from lagvae.training.outcome.solution import Solution

CONFIG, WEIGHTS, RESULT = "config.yaml", "model.safetensors", "evaluation.json"
FILES = (CONFIG, WEIGHTS, RESULT)


def pack(solution: Solution) -> dict[str, bytes]:
    """Returns the content of the three files by name. The path of the data, which others do not have, stays behind.

    Raises:
        CheckpointError: The solution knows nothing of what was asked for.
    """
    if solution.config is None:
        raise CheckpointError(expected("a solution of fit or load", got="one of a probe", fix="lv.fit"))
    config = dict(solution.config)
    config["data"] = config["data"] if is_named(config["data"]) else ""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in solution.model.state_dict().items()}
    files = {
        CONFIG: yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=100).encode(),
        WEIGHTS: save(weights),
    }
    result = to_plain({**solution.as_dict(), "sha256": {name: _sha256(content) for name, content in files.items()}})
    return {**files, RESULT: json.dumps({**result, CHECKSUM: checksum(result)}, indent=2).encode()}


def unpack(files: Mapping[str, bytes], *, model: VAE | None = None) -> Solution:
    """Returns the solution that :func:`pack` was given, without its log and its data.

    Args:
        files: The content of the three files by name.
        model: A model of one's own making, where it was given to ``fit``; its weights are replaced.

    Raises:
        CheckpointError: A file is missing or damaged, or the weights are of another model.
    """
    missing = [name for name in FILES if name not in files]
    if missing:
        raise CheckpointError(
            expected(f"{', '.join(FILES)}", got=f"no {missing[0]}", fix="the folder of a saved model")
        )
    try:
        content = unseal(json.loads(files[RESULT]))
        for name, digest in content.pop("sha256").items():
            if _sha256(files[name]) != digest:
                raise ValueError(f"another {name} than was saved")
        config, weights = yaml.safe_load(files[CONFIG]), load(files[WEIGHTS])
        multipliers = [math.nan if one is None else one for one in content["multipliers"].values()]
        return build_solution(config, weights, multipliers, content, model=model, where="the saved model")
    except LagvaeError:
        raise
    except (yaml.YAMLError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError(expected("the files of a saved model", got=reason, fix="saving it again")) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
