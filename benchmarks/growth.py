"""How time and memory grow: with the batch, the data, the latent size, and the number of models.

    python benchmarks/growth.py          every part in turn, about ten minutes on one core
    python benchmarks/growth.py mmd      one of: mmd, features, data, latent, models

Every row is measured in a process of its own, whose peak memory it reports, without what it held before the measured
work. Results go to ``benchmarks/results/growth.json`` and ``growth.md``; rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lagvae as lv
from lagvae.model.draw import Draw
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.settings import Settings
from lagvae.terms.mmd import mmd
from lagvae.training.build import build_session, settle_likelihood

RESULTS = Path(__file__).parent / "results"
LATENT, GIB, MIB = 64, 2**30, 2**20
BATCHES = (250, 1000, 4000, 16000, 64000)

Row = dict[str, Any]


def resident(kind: str) -> int:
    """Returns this process's memory in bytes: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def forget_peak() -> int:
    """Makes the peak what is resident now, and returns it."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def median_milliseconds(work: Callable[[], object], *, least: int = 3, seconds: float = 3.0) -> float:
    """Returns the median processor time of some repeats, the first one left out: others use the machine too."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < until and len(times) < 100):
        began = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - began))
    return statistics.median(times)


def draw_of(z: torch.Tensor) -> Draw:
    """A draw with these codes, for a term that looks at nothing else."""
    nothing = torch.zeros(len(z), 1)
    posterior = DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z))
    return Draw(nothing, posterior, z, nothing, Bernoulli(), lambda: torch.randn_like(z), lambda samples: draw_of(z))


def measure_mmd(batch: int, features: int, latent: int = LATENT) -> Row:
    """The mmd and its gradient."""
    term = mmd(features=features) if features else mmd
    z = torch.randn(batch, latent, requires_grad=True)
    small = torch.randn(16, latent, requires_grad=True)
    term.measure(draw_of(small)).backward()
    before = forget_peak()

    def work() -> None:
        term.measure(draw_of(z)).backward()

    work()
    return {"bytes": resident("VmHWM") - before, "ms": median_milliseconds(work)}


def measure_features(features: int, kernel: str, latent: int) -> Row:
    """The relative error against the exact MMD² in closed form, of a q(z) near the prior, over the frequencies."""
    generator = torch.Generator()
    inner = mmd(kernel=kernel).kernel_in(latent)
    std = torch.full((latent,), 0.9, dtype=torch.float64)

    def squared_mmd(seed: int) -> float:
        omega, weight = inner.frequencies(features, generator.manual_seed(seed))
        squares = omega.square()
        gap = torch.exp(-0.5 * squares @ std.square()) - torch.exp(-0.5 * squares.sum(-1))
        return float(weight @ gap.square())

    found = [squared_mmd(seed) for seed in range(200)]
    exact = exact_squared_mmd(kernel, latent, 0.9)
    errors = [value / exact - 1 for value in found]
    return {"exact": exact, "bias": statistics.mean(errors), "spread": statistics.pstdev(errors)}


def exact_squared_mmd(kernel: str, latent: int, std: float) -> float:
    """MMD² of N(0, std² I) from N(0, I), by the Gaussian integral of the kernel's mixture."""

    def expectation(inverse: np.ndarray, variance: float) -> np.ndarray:
        return (1 + 2 * inverse * variance) ** (-latent / 2)  # E exp(-inverse ‖u‖²), u ~ N(0, variance I)

    if kernel == "imq":
        inverse, weight = mmd(kernel="imq").kernel_in(latent)._mixture()  # type: ignore[union-attr]
    else:
        g = latent**2 / 2 if kernel == "zhao2018" else float(latent)
        inverse, weight = np.array([1 / (2 * g)]), np.array([1.0])
    within, cross, prior = (expectation(inverse, v) for v in (2 * std**2, 1 + std**2, 2.0))
    return float(weight @ (within + prior - 2 * cross))


def measure_data(gibibytes: float, dtype: str) -> Row:
    """Opens a sparse file, fingerprints it, has its likelihood chosen, builds a session and trains on it."""
    width = 784
    size = np.dtype(dtype).itemsize
    count = int(gibibytes * GIB) // (width * size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        with path.open("wb") as file:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + count * width * size)
        before = forget_peak()
        row: Row = {"examples": count}

        def timed(name: str, work: Callable[[], Any]) -> Any:
            began = time.process_time()
            found = work()
            row[name] = time.process_time() - began
            return found

        data = timed("open", lambda: lv.open_data(path))
        timed("fingerprint", data.fingerprint)
        settings = Settings().replace(hidden=(64,), latent_dim=8, device="cpu")
        settings, _ = timed("likelihood", lambda: settle_likelihood(settings, data))
        session = timed("build", lambda: build_session(lv.vae(), data, settings))
        timed("order", lambda: session.batches.index(0))
        row["opened bytes"] = resident("VmHWM") - before
        row["ms"] = median_milliseconds(session.take_step, seconds=10)
        row["bytes"] = resident("VmHWM") - before
    return row


def measure_latent(latent: int) -> Row:
    """A step of the original's network but for the latent size; mmd among it."""
    settings = Settings().replace(latent_dim=latent, precision="float32", device="cpu")
    values = torch.randint(0, 256, (2000, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = lv.open_data(values.numpy())
    before = forget_peak()
    settings, _ = settle_likelihood(settings, data)
    session = build_session(lv.Problem.parse("max mi s.t. neg_elbo <= 500, mmd <= 1"), data, settings)
    weights = sum(weight.numel() for weight in session.model.parameters())
    return {"weights": weights, "ms": median_milliseconds(session.take_step), "bytes": resident("VmHWM") - before}


def measure_models(models: int) -> Row:
    """A dedicated front of so many points, one epoch each of digits: the process that trains it, points and all."""
    high = 40 + models - 1
    before = forget_peak()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        lv.fit_front(
            "digits",
            [f"max mi s.t. neg_elbo <= 40:{high}:1"] if models > 1 else ["max mi s.t. neg_elbo <= 40"],
            method="dedicated",
            out=Path(folder) / "front",
            epochs=2,
            hidden=(256,),
            latent_dim=8,
            progress=False,
            device="cpu",
        )
    return {"seconds": time.process_time() - began, "bytes": resident("VmHWM") - before}


def rows() -> dict[str, dict[str, Any]]:
    """Returns name → part, function and arguments of every row."""
    found: dict[str, dict[str, Any]] = {}
    for batch in BATCHES:
        for features in (0, 1024):
            if features or batch <= 16000:
                found[f"mmd batch {batch} features {features}"] = {"call": "measure_mmd", "of": [batch, features]}
    for kernel in ("zhao2018", "imq"):
        for latent in (10, 64):
            for features in (64, 1024):
                name = f"features {features} {kernel} latent {latent}"
                found[name] = {"call": "measure_features", "of": [features, kernel, latent]}
    for gibibytes, dtype in ((2, "uint8"), (20, "uint8"), (20, "float32")):
        found[f"data {gibibytes} GiB {dtype}"] = {"call": "measure_data", "of": [gibibytes, dtype]}
    for latent in (16, 64, 256, 1024):
        found[f"latent {latent}"] = {"call": "measure_latent", "of": [latent]}
    for models in (1, 4, 16):
        found[f"models {models}"] = {"call": "measure_models", "of": [models]}
    return found


def hardware() -> str:
    """Names the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    bfloat16 = " with bfloat16" if any("bf16" in line for line in lines) else ""
    return f"one core of an {model}{bfloat16}, PyTorch {torch.__version__}"


def measure(parts: list[str]) -> dict[str, Any]:
    """Measures what is not there yet, row by row."""
    path = RESULTS / "growth.json"
    content = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    content |= {"hardware": hardware(), "date": datetime.date.today().isoformat()}
    for name in rows():
        if name.split()[0] not in parts or name in content["rows"]:
            continue
        command = [sys.executable, __file__, "--row", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        content["rows"][name] = json.loads(output.splitlines()[-1])
        path.write_text(json.dumps(content, indent=2) + "\n")
        print(name, content["rows"][name], flush=True)
    return content


def write_report(content: dict[str, Any]) -> str:
    """Writes ``growth.md`` from the rows that are there, and returns it."""
    found: dict[str, Row] = content["rows"]
    lines = ["# How time and memory grow", ""]
    lines += [
        f"`python benchmarks/growth.py` on {content['hardware']}, {content['date']}. Each row in a process of its"
    ]
    lines += ["own; times are of the processor; memory is the peak beyond what the process held before.", ""]

    def table(title: str, header: str, body: list[str]) -> None:
        if not body:
            return  # not measured yet
        columns = header.count("|") - 1
        lines.extend([f"## {title}", "", header, "|" + " ---: |" * columns, *body, ""])

    def per(name: str) -> tuple[str, str]:
        row = found.get(name)
        return ("", "") if row is None else (f"{row['ms']:.3g}", f"{row['bytes'] / MIB:,.0f}")

    body = [
        f"| {batch:,} | "
        + " | ".join((*per(f"mmd batch {batch} features 0"), *per(f"mmd batch {batch} features 1024")))
        + " |"
        for batch in BATCHES
    ]
    header = "| batch | exact, ms | exact, MiB | 1024 features, ms | 1024 features, MiB |"
    table(f"mmd and its gradient, {LATENT} latent dimensions", header, body)
    body = [
        f"| {name.split()[2]} | {name.split()[4]} | {name.split()[1]} | {row['exact']:.3g} | {row['bias']:+.2%}"
        f" ± {row['spread'] / math.sqrt(200):.2%} | {row['spread']:.1%} |"
        for name, row in found.items()
        if name.startswith("features")
    ]
    header = "| kernel | latent | features | exact MMD² | mean error | spread of one set of frequencies |"
    table("features against the exact MMD² of N(0, 0.81 I), 200 sets of frequencies", header, body)
    body = [
        f"| {name.removeprefix('data ')} | {row['examples']:,} | {row['open']:.2f} | {row['fingerprint']:.2f} |"
        f" {row['likelihood']:.2f} | {row['build']:.2f} | {row['order']:.2f} | {row['ms']:.1f} |"
        f" {row['opened bytes'] / MIB:,.0f} | {row['bytes'] / MIB:,.0f} |"
        for name, row in found.items()
        if name.startswith("data")
    ]
    header = (
        "| file | examples | open, s | fingerprint, s | likelihood, s | build, s | order of a pass, s | step, ms |"
        " MiB when built | MiB when trained |"
    )
    table("a file that is larger than memory (sparse, 784 values an example, batch 250)", header, body)
    body = [
        f"| {name.split()[1]} | {row['weights']:,} | {row['ms']:.1f} | {row['bytes'] / MIB:,.0f} |"
        for name, row in found.items()
        if name.startswith("latent")
    ]
    table("a step of the original's network, float32", "| latent | weights | step, ms | MiB |", body)
    body = [
        f"| {name.split()[1]} | {row['seconds']:.1f} | {row['seconds'] / int(name.split()[1]):.2f} |"
        f" {row['bytes'] / MIB:,.0f} |"
        for name, row in found.items()
        if name.startswith("models")
    ]
    table("a dedicated front, one point after another", "| points | s | s per point | MiB |", body)
    text = "\n".join(lines).rstrip() + "\n"
    (RESULTS / "growth.md").write_text(text)
    return text


def main() -> None:
    """Measures what is asked for, and prints the report."""
    parts = ["mmd", "features", "data", "latent", "models"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all if none is given")
    parser.add_argument("--row", help="measure one row in this process and print JSON")
    options = parser.parse_args()
    if options.row:
        torch.set_num_threads(1)
        row = rows()[options.row]
        print(json.dumps(globals()[row["call"]](*row["of"])))
        return
    print(write_report(measure(options.parts or parts)))


if __name__ == "__main__":
    main()
