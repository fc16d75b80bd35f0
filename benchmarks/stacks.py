"""What training many models as one is worth: models x steps per second, and the ratio to one by one.

    python benchmarks/stacks.py                     digits, hidden 128, 256, 1024; stacks of 1, 4, 8, 16
    python benchmarks/stacks.py --device cuda       MNIST, the original's networks; stacks of 1, 8, 26, 56

The problem is ``max mi s.t. neg_elbo <= 30, mmd <= 5e-3``, bounds a little apart, another seed each. Rounds of all arms
take turns in one process; a figure is the arm's fastest round. On a graphics processor steps are recorded as graphs;
one by one is eager there, and one model recorded is an arm of its own. On a processor the clock is the process's own,
in one thread: other work on the machine does not count. Rows go to ``benchmarks/results/stacks_rows.jsonl`` as they
are made, so that it resumes, and to ``stacks.md``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import lagvae as lv
from lagvae.settings import Settings
from lagvae.training.build import build_session
from lagvae.training.steps.session import Session
from lagvae.training.steps.stack import StackSession

RESULTS = Path(__file__).parent / "results"
ROWS = RESULTS / "stacks_rows.jsonl"
ROUNDS = 4
LAYERS = ((784, 1024), (1024, 1024), (1024, 128), (64, 1024), (1024, 1024), (1024, 784))
"""Of the original's networks."""
WEIGHTS = sum(inputs * units + units for inputs, units in LAYERS)
FLOPS = 6 * 250 * sum(inputs * units for inputs, units in LAYERS)
"""Of a step: a product forwards, two backwards."""
CPU = [
    {"data": "digits", "hidden": [width, width], "latent_dim": 16, "batch_size": batch, "precision": precision}
    for width, batch, precision in (
        (128, 100, "bfloat16"),
        (128, 100, "float32"),
        (128, 250, "bfloat16"),
        (128, 250, "float32"),
        (256, 100, "bfloat16"),
        (1024, 100, "bfloat16"),
    )
]
CUDA = [{"data": "mnist", "precision": precision} for precision in ("float32", "bfloat16")]
SIZES = {"cpu": (1, 4, 8, 16), "cuda": (1, 8, 26, 56)}


def sessions(count: int, device: str, data: str, **settings: Any) -> list[Session]:
    opened = lv.open_data(data, progress=False)
    bound, mmd = (30.0, 5e-3) if data == "digits" else (86.0, 5e-4)
    return [
        build_session(
            lv.Problem.parse(f"max mi s.t. neg_elbo <= {bound + 0.5 * place}, mmd <= {mmd}"),
            opened,
            Settings().replace(device=device, seed=place, epochs=10_000, **settings),
        )
        for place in range(count)
    ]


def arms(case: dict[str, Any], device: str) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Yields name, number of models and a step of each arm."""
    yield "one by one", 1, sessions(1, device, **case, capture=False)[0].take_step
    if device == "cuda":
        yield "recorded", 1, sessions(1, device, **case)[0].take_step
    for size in SIZES[device]:
        yield f"stack of {size}", size, StackSession(sessions(size, device, **case)).take_step


def measure(case: dict[str, Any], device: str, *, seconds: float) -> dict[str, float]:
    """Returns arm → models x steps per second."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    made = list(arms(case, device))
    best = dict.fromkeys((name for name, _, _ in made), 0.0)
    for turn in range(ROUNDS + 1):
        for name, models, step in made:
            began, steps = clock(), 0
            while clock() - began < (seconds if turn else seconds / 2) or steps < 2:
                step()
                steps += 1
                if device == "cuda" and steps % 20 == 0:
                    torch.cuda.synchronize()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first round warms up
                best[name] = max(best[name], models * steps / (clock() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each arm in each round")
    parser.add_argument("--most", type=int, default=99, help="rows to make in this call")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{_processor()}, one thread"
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    cases = CUDA if options.device == "cuda" else CPU
    waiting = [case for case in cases if not any((row["device"], row["case"]) == (where, case) for row in rows)]
    for case in waiting[: options.most]:
        found = measure(case, options.device, seconds=options.seconds)
        made: dict[str, Any] = {"torch": torch.__version__, "date": datetime.date.today().isoformat()}
        if options.device == "cuda":
            made["peaks"] = device_peaks(case["precision"])
        rows.append({"device": where, "case": case, "models_x_steps_per_second": found, **made})
        with ROWS.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(f"{case}: {found}", flush=True)
    (RESULTS / "stacks.md").write_text(report(rows))


def report(rows: list[dict[str, Any]]) -> str:
    """Returns the page: for each device models x steps per second, and in brackets the ratio to one by one."""
    text = ["# Many models as one", ""]
    for device in dict.fromkeys(row["device"] for row in rows):
        own = [row for row in rows if row["device"] == device]
        stacks = list(dict.fromkeys(name for row in own for name in row["models_x_steps_per_second"]))[1:]
        made = f"PyTorch {own[0]['torch']}, {own[-1]['date']}"
        text += [f"`python benchmarks/stacks.py` on {device}, {made}. Models x steps per second, and in brackets the"]
        text += ["ratio to one model after another.", ""]
        text += [f"| data | hidden | batch | networks | one by one | {' | '.join(stacks)} |"]
        text += [f"| --- | ---: | ---: | --- | ---: |{' ---: |' * len(stacks)}"]
        for row in own:
            case, found = row["case"], row["models_x_steps_per_second"]
            alone = found["one by one"]
            cells = [f"{found[n]:,.0f} ({found[n] / alone:.2f})" if n in found else "" for n in stacks]
            start = [case["data"], case.get("hidden", [1024])[0], case.get("batch_size", 250), case["precision"]]
            text += [f"| {' | '.join(map(str, [*start, f'{alone:,.0f}', *cells]))} |"]
        text += ["", *shares([row for row in own if "peaks" in row])]
    return "\n".join(text)


def shares(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the table of what the steps make of the device: matrix products, and what Adam has to move."""
    if not rows:
        return
    yield "Shares of the device's own peaks, measured in the same call: of a product of 8,192 x 8,192 matrices, by the"
    yield "networks' products (5.85 GFLOP a step); and of a large copy, by the 28 bytes per weight that Adam moves."
    yield ""
    yield "| networks | models | ms per step | TFLOP/s | of the peak | Adam's TB/s | of the peak |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        for name, pace in row["models_x_steps_per_second"].items():
            models = int(name.removeprefix("stack of ")) if name.startswith("stack") else 1
            flops, moved = pace * FLOPS / 1e12, pace * WEIGHTS * 28 / 1e12
            matrix, memory = row["peaks"]["matrix"] / 1e12, row["peaks"]["memory"] / 1e12
            cells = (f"{1000 * models / pace:.3f}", f"{flops:.1f}", f"{flops / matrix:.0%}", f"{moved:.2f}")
            yield f"| {row['case']['precision']} | {name} | {' | '.join(cells)} | {moved / memory:.0%} |"
    yield ""


def device_peaks(precision: str) -> dict[str, float]:
    """Returns the FLOP/s of a large matrix product and the bytes/s of a large copy, reads and writes together."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    source = torch.randn(1 << 30, device="cuda")
    target = torch.empty_like(source)

    def seconds(work: Callable[[], object]) -> float:
        times = []
        for _ in range(8):
            torch.cuda.synchronize()
            began = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return min(times)

    return {
        "matrix": 2 * 8192**3 / seconds(lambda: a @ b),
        "memory": 2 * 4 * source.numel() / seconds(lambda: target.copy_(source)),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


if __name__ == "__main__":
    main()
