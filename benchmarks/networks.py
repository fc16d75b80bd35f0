"""Which networks? neg_elbo on MNIST after equal processor time, an ordinary VAE with the settings' defaults.

Every network first takes a few timed steps; then each is trained for as many epochs as fit into the processor time
that the original's networks take for theirs. One thread, so that processor time is what the work costs on a busy
machine.

    python benchmarks/networks.py --epochs 15
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

import lagvae as lv
from lagvae.problem.presets import vae
from lagvae.settings import Settings
from lagvae.training.build import build_session

RESULTS = Path(__file__).parent / "results" / "networks.md"
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp, softplus (the original's)": {"activation": "softplus"},
    "mlp, gelu": {"activation": "gelu"},
    "residual, gelu": {"network": "residual", "activation": "gelu"},
    "convolutional, gelu": {"network": "convolutional", "activation": "gelu"},
}
WARM, TIMED = 5, 25


def step_seconds(data: lv.Data, changes: dict[str, Any]) -> float:
    """Returns the median processor time of a step."""
    session = build_session(vae(), data, Settings().replace(**changes))
    times = []
    for _ in range(WARM + TIMED):
        began = time.process_time()
        session.take_step()
        times.append(time.process_time() - began)
    return sorted(times[WARM:])[TIMED // 2]


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of the original's networks")
    parser.add_argument("--only", default=None, help="a word in the name of the networks to train")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = lv.open_data("mnist")
    rows = []
    reference = step_seconds(data, {"activation": "softplus"})
    for name, changes in NETWORKS.items():
        if options.only and options.only not in name:
            continue
        seconds = step_seconds(data, changes)
        epochs = max(1, round(options.epochs * reference / seconds))
        began = time.process_time()
        solution = lv.fit(vae(), data, epochs=epochs, progress=False, **changes)
        spent = time.process_time() - began
        weights = sum(weight.numel() for weight in solution.model.parameters())
        assert solution.evaluation is not None
        train, test = (solution.evaluation[part]["neg_elbo"] for part in ("train", "test"))
        cells = [name, f"{weights / 1e6:.2f} M", f"{1e3 * seconds:.1f}", epochs, f"{spent:.0f}"]
        rows.append(
            [*cells, f"{train.value:.2f} ± {train.standard_error:.2f}", f"{test.value:.2f} ± {test.standard_error:.2f}"]
        )
        print(*rows[-1], sep=" | ", flush=True)
    head = ["networks", "weights", "ms per step", "epochs", "processor seconds", "neg_elbo, train", "neg_elbo, test"]
    table = [" | ".join(map(str, row)) for row in (head, ["---"] * len(head), *rows)]
    text = f"{__doc__.splitlines()[0]}\n\n" + "\n".join(f"| {row} |" for row in table)
    RESULTS.write_text(f"# Networks\n\n{text}\n")


if __name__ == "__main__":
    main()
