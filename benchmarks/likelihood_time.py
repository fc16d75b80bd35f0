"""What importance sampling costs: K = 1000 draws for 1,000 images with the original's networks.

    python benchmarks/likelihood_time.py                  on all cores; a line is added to results/likelihood_time.jsonl
    python benchmarks/likelihood_time.py --bfloat16       the same with the networks in bfloat16

Weights are untrained: they cost what trained ones cost. Seconds of the processor are reported beside those of the
clock, which other work on the machine stretches.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import time

import torch
from step_time import RESULTS, hardware

import lagvae as lv
from lagvae.model.vae import mlp_vae


def main() -> None:
    """Measures once, prints the record and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = mlp_vae((1, 28, 28), generator=torch.Generator().manual_seed(0)).to(options.device)
    examples = lv.open_data("mnist").test.subset(0, options.examples)
    precision = torch.autocast(options.device, torch.bfloat16) if options.bfloat16 else contextlib.nullcontext()
    with precision:
        lv.log_likelihood(model, examples.subset(0, 10), samples=100)  # warms up
        wall, processor = time.perf_counter(), time.process_time()
        found = lv.log_likelihood(model, examples, samples=options.samples)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    record = {
        "examples": options.examples,
        "samples": options.samples,
        "precision": "bfloat16" if options.bfloat16 else "float32",
        "seconds": round(wall, 1),
        "processor_seconds": round(processor, 1),
        "load": [round(load, 1) for load in os.getloadavg()],
        "device": torch.cuda.get_device_name() if options.device == "cuda" else hardware(),
        "date": datetime.date.today().isoformat(),
        "value": found.value,
    }
    print(json.dumps(record, indent=2))
    with (RESULTS / "likelihood_time.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
