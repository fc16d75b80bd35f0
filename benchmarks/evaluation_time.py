"""What the evaluation costs, beside what it may cost on two cores.

    python benchmarks/evaluation_time.py likelihood        K = 1000 draws for 1,000 images, original networks: 60 s
    python benchmarks/evaluation_time.py mixture           60,000 codes of 64 dimensions, each under all: 60 s, 2 GiB
    python benchmarks/evaluation_time.py evaluate          everything that ``lagvae evaluate`` measures on MNIST: 2 min
    python benchmarks/evaluation_time.py likelihood --bfloat16     the same with the networks in bfloat16

One measurement a process, so that the peak of memory is its own. Weights are untrained: they cost what trained ones
cost. Seconds of the processor (of all threads together) stand beside those of the clock, which other work on the
machine stretches most. A line is added to ``results/evaluation_time.jsonl``; the page is
``results/evaluation_time.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from step_time import RESULTS, hardware

import lagvae as lv
from lagvae.evaluation.assess import assess
from lagvae.evaluation.codes import Codes
from lagvae.evaluation.density.aggregate import score_mixture
from lagvae.evaluation.latent.information import mixture_information
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.vae import mlp_vae

Measured = dict[str, Any]
LIMITS = {"likelihood": 60, "mixture": 60, "evaluate": 120}
"""Seconds of the clock on two cores."""
GIB = 2**30


def likelihood(device: str, *, bfloat16: bool) -> Measured:
    """Importance sampling with K = 1000 draws for each of 1,000 images."""
    model = mlp_vae((1, 28, 28), generator=torch.Generator().manual_seed(0)).to(device)
    examples = lv.open_data("mnist").test.subset(0, 1000)
    with torch.autocast(device, torch.bfloat16) if bfloat16 else contextlib.nullcontext():
        lv.log_likelihood(model, examples.subset(0, 10), samples=100)  # warms up
        found, seconds = timed(lambda: lv.log_likelihood(model, examples, samples=1000))
    return {**seconds, "precision": "bfloat16" if bfloat16 else "float32", "value": found.value}


def mixture(device: str, *, codes: int = 60_000, latent: int = 64, bfloat16: bool = False) -> Measured:
    """The mutual information by the mixture of all posteriors, every code scored."""
    generator = torch.Generator().manual_seed(0)
    mean, log_std = (torch.randn(codes, latent, generator=generator) * 0.5 for _ in range(2))
    posterior = DiagonalGaussian(mean.to(device), (log_std - 1).to(device))
    held = Codes(posterior, posterior.at(torch.randn(codes, latent, generator=generator).to(device)))
    found, seconds = timed(lambda: mixture_information(score_mixture(held)))
    return {**seconds, "codes": codes, "dimensions": latent, "value": found.value}


def evaluate(device: str, *, bfloat16: bool = False) -> Measured:
    """Everything that ``lagvae evaluate`` measures on MNIST, with its defaults."""
    data = lv.open_data("mnist")
    model = mlp_vae((1, 28, 28), generator=torch.Generator().manual_seed(0)).to(device)
    problem = lv.Problem.parse("max mi s.t. neg_elbo <= 100, mmd <= 5e-4")
    stages: list[tuple[str, float]] = []

    def stage(what: str, steps: int) -> Callable[[int], None]:
        stages.append((what, time.process_time()))
        return lambda count: None

    _, seconds = timed(lambda: assess(model, problem, data, stage=stage))
    ends = [began for _, began in stages[1:]] + [time.process_time()]
    shares = {what: round(end - began, 1) for (what, began), end in zip(stages, ends, strict=True)}
    return {**seconds, "processor_seconds_by_stage": shares}


MEASURES: dict[str, Callable[..., Measured]] = {"likelihood": likelihood, "mixture": mixture, "evaluate": evaluate}


def timed(run: Callable[[], Any]) -> tuple[Any, Measured]:
    """Returns what ``run`` returns, and its seconds by the clock and by the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    found = run()
    return found, {
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
    }


def page(records: list[Measured]) -> str:
    """Returns the latest record of each measurement as a page."""
    lines = [
        "# What the evaluation costs",
        "",
        "`python benchmarks/evaluation_time.py likelihood|mixture|evaluate`. The limit is in seconds of the clock on",
        "two cores; seconds of the processor are of all threads together, and grow less with other work on the machine",
        "than those of the clock. Peak memory is the whole process's, PyTorch and data included.",
        "",
        "| what | limit, s | processor, s | clock, s | load | peak memory, GiB | hardware | date |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    latest = {(record["what"], record.get("precision", "float32")): record for record in records}
    for (what, precision), record in latest.items():
        name = what if precision == "float32" else f"{what}, {precision}"
        lines.append(
            f"| {name} | {LIMITS[what]} | {record['processor_seconds']} | {record['seconds']} | {record['load'][0]} |"
            f" {record['peak_gib']:.2f} | {record['hardware']} | {record['date']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures once, prints the record and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="networks in bfloat16 (likelihood)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = MEASURES[options.what](options.device, bfloat16=options.bfloat16)
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    record = {
        "what": options.what,
        **found,
        "peak_gib": round(peak / GIB, 3),
        "load": [round(load, 1) for load in os.getloadavg()],
        "hardware": torch.cuda.get_device_name() if options.device == "cuda" else hardware(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps(record, indent=2))
    path = RESULTS / "evaluation_time.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    (RESULTS / "evaluation_time.md").write_text(page(records))


if __name__ == "__main__":
    main()
