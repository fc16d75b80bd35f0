"""Bounds on unseen data: MNIST, trained until it overfits, with the bound measured on what it trains on and beside it.

    python benchmarks/held_out.py            # trains what is missing, prints the table, writes results/held_out.md
    python benchmarks/held_out.py --seeds 3

The data are the first 20,000 images of MNIST, binarised once: as many bits as there are, to be learned by heart.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from pathlib import Path

from runs import Cache, Record, Run, train

RESULTS = Path(__file__).parent / "results"
EXAMPLES = 20_000
BOUND = 105.0
SHARES = (0.0, 0.2)
SETTINGS = {"hidden": (512, 512), "activation": "gelu", "epochs": 100}


def benchmark_runs(seeds: int) -> list[Run]:
    """Returns each seed's run without and with a held-out share, by the default dual rule."""
    from lagvae.settings import DualSettings

    return [
        Run(
            problem=f"max mi s.t. neg_elbo <= {BOUND:g}",
            dual=DualSettings().dual,
            data=f"mnist, first {EXAMPLES}, binarised once",
            seed=seed,
            settings=tuple(sorted({**SETTINGS, "held_out": share}.items())),
        )
        for seed in range(seeds)
        for share in SHARES
    ]


def train_on_bits(run: Run) -> Record:
    """Trains on images that are binarised once, so that every epoch shows the same bits."""
    import torch

    import lagvae as lv
    from lagvae.data.examples import binarise

    mnist, generator = lv.open_data("mnist", progress=False), torch.Generator().manual_seed(0)
    parts = (mnist.train.subset(0, EXAMPLES), mnist.test)
    first, test = (binarise(part.gather(torch.arange(len(part))), generator).bool() for part in parts)
    return {**train(run, source=(first, test)), "hardware": hardware(), "date": datetime.date.today().isoformat()}


def hardware(device: str = "cpu") -> str:
    """Names the processor, or the graphics processor."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = next((line.split(": ")[1] for line in text.splitlines() if line.startswith("model name")), "a processor")
    return f"{os.cpu_count()} cores, {model}{' with AVX512-BF16' if 'avx512_bf16' in text.split() else ''}"


def table(runs: list[Run], cache: Cache) -> list[str]:
    """Returns neg_elbo on every part, and what the test set is off the bound by, as lines of Markdown."""
    lines = [
        "| bound measured on | seed | train | held out | test | test - bound | multiplier |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        if (result := cache.get(run)) is None:
            continue
        share = dict(run.settings)["held_out"]
        where = f"{share:.0%} held out" if share else "the training data"
        if "values" not in result:
            lines.append(f"| {where} | {run.seed} | {result['message']} | | | | |")
            continue
        values = {part: found["neg_elbo"] for part, found in result["values"].items()}
        cells = [
            f"{values[p][0]:.2f} ± {values[p][1]:.2g}" if p in values else "" for p in ("train", "held_out", "test")
        ]
        beyond, multiplier = values["test"][0] - BOUND, result["multipliers"]["neg_elbo"]
        lines.append(f"| {where} | {run.seed} | {' | '.join(cells)} | {beyond:+.2f} | {multiplier:.2f} |")
    return lines


def report(runs: list[Run], cache: Cache, command: str) -> str:
    """Returns the page of results."""
    settings = f"networks of {SETTINGS['hidden']}, {SETTINGS['epochs']} epochs, dual rule {runs[0].dual}"
    last = cache[runs[0]]
    return "\n".join(
        [
            "# Bounds on unseen data",
            "",
            f"`{command}` on {last['hardware']}, {last['date']}: `{runs[0].problem}` on {runs[0].data}; {settings}.",
            "neg_elbo in nats per example, ± one standard error over the examples of the part.",
            "",
            *table(runs, cache),
            "",
        ]
    )


def main() -> None:
    """Trains what is missing, each run a line of held_out.jsonl, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, a thread each")
    options = parser.parse_args()
    runs, cache = benchmark_runs(options.seeds), Cache(RESULTS / "held_out.jsonl")
    cache.fill(runs, jobs=options.jobs, work=train_on_bits)
    page = report(runs, cache, shlex.join(["python", "benchmarks/held_out.py", *sys.argv[1:]]))
    (RESULTS / "held_out.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
