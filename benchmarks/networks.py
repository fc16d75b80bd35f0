"""Which networks? neg_elbo on MNIST after equal processor time, an ordinary VAE at a learning rate of 1e-3.

    python benchmarks/networks.py                what is cached, as a table; nothing is trained
    python benchmarks/networks.py --train        trains what is missing, a line as each ends; resumes

A network's steps and the original's are timed in turn; then it is trained for as many epochs as fit into the processor
time that the original's networks take for theirs. One thread, so that processor time is what the work costs on a busy
machine. Results: ``benchmarks/results/networks.md``, runs in ``networks_runs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import lagvae as lv
from lagvae.problem.presets import vae
from lagvae.settings import Settings
from lagvae.training.build import build_session
from lagvae.training.steps.session import Session

RESULTS = Path(__file__).parent / "results"
ORIGINAL: dict[str, Any] = {"activation": "softplus"}
NETWORKS: dict[str, dict[str, Any]] = {
    "perceptrons, softplus (the original's)": ORIGINAL,
    "perceptrons, GELU": {"activation": "gelu"},
    "residual, GELU": {"network": "residual", "activation": "gelu"},
    "convolutional, GELU": {"network": "convolutional", "activation": "gelu"},
    "perceptrons of 512, GELU": {"hidden": (512, 512), "activation": "gelu"},
    "residual, 3 layers of 512, GELU": {"network": "residual", "hidden": (512, 512, 512), "activation": "gelu"},
}
SEEDS = (0, 1)
WARM, TIMED = 5, 25

Row = dict[str, Any]


def step_seconds(*sessions: Session) -> list[float]:
    """Returns the median processor time of a step of each, measured in turn."""
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(WARM + TIMED):
        for session, taken in zip(sessions, times, strict=True):
            began = time.process_time()
            session.take_step()
            taken.append(time.process_time() - began)
    return [statistics.median(taken[WARM:]) for taken in times]


def train(name: str, seed: int, budget: int, data: lv.Data) -> Row:
    """Trains one network for the time of ``budget`` epochs of the original's."""
    changes = {"learning_rate": 1e-3, **NETWORKS[name]}
    sessions = [build_session(vae(), data, Settings().replace(**each)) for each in (ORIGINAL, changes)]
    reference, mine = step_seconds(*sessions)
    ratio = 1.0 if NETWORKS[name] is ORIGINAL else mine / reference
    epochs = max(1, round(budget / ratio))
    began = time.process_time()
    solution = lv.fit(vae(), data, epochs=epochs, seed=seed, progress=False, **changes)
    assert solution.evaluation is not None
    return {
        "name": name,
        "seed": seed,
        "budget": budget,
        "ratio": ratio,
        "epochs": epochs,
        "seconds": time.process_time() - began,
        "weights": sum(weight.numel() for weight in solution.model.parameters()),
        "neg_elbo": {part: solution.evaluation[part]["neg_elbo"].value for part in ("train", "test")},
    }


def read(path: Path) -> list[Row]:
    """Returns the rows that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: list[Row]) -> Iterator[str]:
    """Yields the page."""
    yield f"# Networks\n\n{(__doc__ or '').strip()}\n"
    budget = " or ".join(str(each) for each in sorted({row["budget"] for row in rows}))
    yield f"After the processor time of {budget} epochs of the original's. A step's time is a share of the original's;"
    yield "nats per example, means over seeds. One thread of an AMD EPYC with bfloat16, cores shared, 2026-11-25.\n"
    yield "| networks | weights | time per step | epochs | neg_elbo, train | neg_elbo, test | spread, test | seeds |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name in NETWORKS:
        mine = [row for row in rows if row["name"] == name]
        if not mine:
            continue
        train, test = ([row["neg_elbo"][part] for row in mine] for part in ("train", "test"))
        yield (
            f"| {name} | {mine[0]['weights'] / 1e6:.2f} M | {statistics.mean(row['ratio'] for row in mine):.2f} |"
            f" {' and '.join(dict.fromkeys(str(row['epochs']) for row in mine))} | {statistics.mean(train):.2f} |"
            f" {statistics.mean(test):.2f} | {f'{max(test) - min(test):.2f}' if len(mine) > 1 else '-'} | {len(mine)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--epochs", type=int, default=10, help="of the original's networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cache = RESULTS / "networks_runs.jsonl"
    rows = [row for row in read(cache) if row["budget"] == arguments.epochs]
    data = lv.open_data("mnist") if arguments.train else None
    for seed in SEEDS:
        for name in NETWORKS:
            if data is None or any((row["name"], row["seed"]) == (name, seed) for row in rows):
                continue
            rows.append(train(name, seed, arguments.epochs, data))
            with cache.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    page = "\n".join(table(rows)) + "\n"
    (RESULTS / "networks.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
