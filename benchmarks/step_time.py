"""What a training step costs, and what bfloat16 costs.

    python benchmarks/step_time.py               the arms in turn, in one process: medians and ratios
    python benchmarks/step_time.py --accuracy    30 epochs of the VAE in float32 and bfloat16, three seeds

Every arm takes the original's step: batch 250, networks 784-1024-1024-64, softplus, D + R + mmd, Adam, binarising
afresh. Results go to ``benchmarks/results/step_time.json`` and ``step_time.md``; ``--accuracy`` resumes.

pythae is measured where it is installed: ``pip install --no-deps pythae==0.1.2 pydantic pydantic-core
annotated-types typing-inspection`` into the environment that runs this file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import lagvae as lv
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rules import build_rule
from lagvae.model.vae import mlp_vae
from lagvae.settings import Settings
from lagvae.streams import Streams
from lagvae.training.hardware import keep_freed_memory, pick_dtype
from lagvae.training.optimization import build_optimizer
from lagvae.training.session import Session

RESULTS = Path(__file__).parent / "results"
BATCH, EVENT, HIDDEN, LATENT = 250, 784, 1024, 64
PROBLEM = "max mi s.t. neg_elbo <= 86, mmd <= 5e-4"

Step = Callable[[Tensor], None]
"""Takes one step on the raw batch; the session of ``lagvae`` picks its own."""


def lagvae_arm(data: lv.Data, precision: str) -> Step:
    """The step that ``fit`` takes."""
    problem, settings = lv.Problem.parse(PROBLEM), Settings().replace(precision=precision)
    streams = Streams(0)
    model = mlp_vae(data.train.event_shape, generator=streams.initial_weights)
    session = Session(
        model=model,
        lagrangian=Lagrangian(problem),
        rule=build_rule(problem, settings.dual),
        optimizer=build_optimizer(model.parameters(), settings.primal),
        examples=data.train,
        streams=streams,
        settings=settings.primal,
        dtype=pick_dtype(settings.execution.precision, torch.device("cpu")),
    )
    keep_freed_memory()  # as fit does

    def step(raw: Tensor) -> None:
        session.take_step()

    return step


def networks() -> tuple[nn.Module, nn.Module]:
    """The original's networks, as an ordinary user writes them."""
    encoder = nn.Sequential(
        nn.Linear(EVENT, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, 2 * LATENT)
    )
    decoder = nn.Sequential(
        nn.Linear(LATENT, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, EVENT)
    )
    return encoder, decoder


def binarise(raw: Tensor) -> Tensor:
    return (raw.flatten(1).float() / 255 > torch.rand(len(raw), EVENT)).float()


def plain_arm() -> Step:
    """The same loss in plain float32 PyTorch."""
    encoder, decoder = networks()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
        return torch.exp(-squared / LATENT**2)

    def step(raw: Tensor) -> None:
        x = binarise(raw)
        mean, log_std = encoder(x).chunk(2, dim=-1)
        z = mean + log_std.exp() * torch.randn_like(mean)
        distortion = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") / len(x)
        rate = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum() / len(x)
        w = torch.randn_like(z)
        mmd = kernel(z, z).mean() + kernel(w, w).mean() - 2 * kernel(z, w).mean()
        optimizer.zero_grad()
        (2 * distortion + rate + 100 * mmd).backward()
        optimizer.step()

    return step


def pythae_arm() -> Step:
    """Times INFOVAE_MMD of pythae with the same networks and optimiser.

    Raises:
        ImportError: It is not installed.
    """
    from pythae.models import INFOVAE_MMD, INFOVAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    encoder, decoder = networks()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_std = self.network(x).chunk(2, dim=-1)
            return ModelOutput(embedding=mean, log_covariance=2 * log_std)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    config = INFOVAE_MMD_Config(input_dim=(EVENT,), latent_dim=LATENT, reconstruction_loss="bce")
    model = INFOVAE_MMD(config, Encoder(), Decoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(raw: Tensor) -> None:
        loss = model({"data": binarise(raw)}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def floor_arm() -> Step:
    """The matrix products alone, forward and backward, in bfloat16, and one fused Adam step."""
    encoder, decoder = networks()
    weights = [*encoder.parameters(), *decoder.parameters()]
    for weight in weights:
        weight.grad = torch.randn_like(weight) * 1e-3
    optimizer = torch.optim.Adam(weights, lr=1e-3, fused=True)
    products = []
    for layer in [*encoder, *decoder]:
        if isinstance(layer, nn.Linear):
            w = layer.weight.detach().bfloat16()
            x = torch.randn(BATCH, layer.in_features).bfloat16()
            gradient = torch.randn(BATCH, layer.out_features).bfloat16()
            products.append((w, x, gradient, bool(products)))

    @torch.no_grad()
    def step(raw: Tensor) -> None:
        for w, x, gradient, needs_input_gradient in products:
            F.linear(x, w)
            gradient.mT @ x
            if needs_input_gradient:
                gradient @ w
        optimizer.step()

    return step


ARMS: dict[str, Callable[[lv.Data], Step]] = {
    "lagvae": lambda data: lagvae_arm(data, "auto"),
    "lagvae, float32": lambda data: lagvae_arm(data, "float32"),
    "plain PyTorch, float32": lambda data: plain_arm(),
    "floor: bfloat16 products + fused Adam": lambda data: floor_arm(),
    "pythae 0.1.2 INFOVAE_MMD": lambda data: pythae_arm(),
}


def measure(names: list[str], rounds: int, block: int) -> dict[str, float]:
    """Times arms in turn in this process and returns the median of each, in milliseconds."""
    data = lv.open_data("mnist")
    steps: dict[str, Step] = {}
    for name in names:
        try:
            steps[name] = ARMS[name](data)
        except ImportError as error:
            print(f"{name} is left out: {error}. This file's first lines say how to install it.", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            repeats = 2 if name.startswith("pythae") else block
            for index in torch.randint(len(data.train), (repeats, BATCH)):
                raw = data.train.gather(index)
                began = time.perf_counter()
                step(raw)
                if turn > 0:  # the first turn warms up
                    times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def measure_alone(rounds: int, block: int) -> dict[str, float]:
    """Times every arm in processes of its own, in turn, three times: the median of their medians.

    In one process the arms share what the C library has learned about memory, which helps pythae most.
    """
    found: dict[str, list[float]] = {}
    for _ in range(3):
        for name in ARMS:
            command = [sys.executable, __file__, "--arm", name, "--rounds", str(rounds), "--block", str(block)]
            output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if output:
                found.setdefault(name, []).append(output[name])
    return {name: statistics.median(medians) for name, medians in found.items()}


def measure_accuracy(epochs: int, seeds: int) -> dict[str, dict[str, float]]:
    """Trains the VAE in both precisions, seed by seed; finished runs are kept, so that it resumes."""
    path = RESULTS / "bfloat16_accuracy.json"
    found: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(seeds):
        for precision in ("bfloat16", "float32"):
            key = f"{precision}, seed {seed}, {epochs} epochs"
            if key in found:
                continue
            solution = lv.fit(lv.vae(), "mnist", epochs=epochs, seed=seed, precision=precision, activation="softplus")
            assert solution.evaluation is not None
            found[key] = {
                f"{part} {kind}": getattr(solution.evaluation[part]["neg_elbo"], kind)
                for part in ("train", "test")
                for kind in ("value", "standard_error")
            }
            path.write_text(json.dumps(found, indent=2) + "\n")
            print(key, found[key])
    return found


def hardware() -> str:
    """Names the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"


def write_report() -> str:
    """Writes ``step_time.md`` from the results that are there, and returns it."""
    lines = ["# Step time, and what bfloat16 costs", ""]
    timing = RESULTS / "step_time.json"
    if timing.exists():
        content = json.loads(timing.read_text())
        medians, alone = content["milliseconds"], content["milliseconds_alone"]
        ours, floor = medians["lagvae"], medians["floor: bfloat16 products + fused Adam"]
        lines += [
            f"`python benchmarks/step_time.py` on {content['hardware']}, {content['date']}; medians.",
            "",
            "| arm | ms, arms in turn in one process | times lagvae's | times the floor | ms, alone | times lagvae's |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {name} | {ms:.2f} | {ms / ours:.2f} | {ms / floor:.2f}"
                f" | {alone[name]:.2f} | {alone[name] / alone['lagvae']:.2f} |"
                for name, ms in medians.items()
            ),
            "",
        ]
    accuracy = RESULTS / "bfloat16_accuracy.json"
    if accuracy.exists():
        found = json.loads(accuracy.read_text())
        lines += [
            "`python benchmarks/step_time.py --accuracy`: neg_elbo of the VAE (nats per example, ± one standard error"
            " of the evaluation), networks trained in either precision, evaluated in float32.",
            "",
            "| run | train | test |",
            "| --- | ---: | ---: |",
            *(
                f"| {name} | {r['train value']:.2f} ± {r['train standard_error']:.2f}"
                f" | {r['test value']:.2f} ± {r['test standard_error']:.2f} |"
                for name, r in found.items()
            ),
            "",
        ]
        for part in ("train", "test"):
            by = {p: [r[f"{part} value"] for k, r in found.items() if k.startswith(p)] for p in ("bfloat16", "float32")}
            pairs = list(zip(by["bfloat16"], by["float32"], strict=False))
            if pairs:
                cost = statistics.mean(low - full for low, full in pairs)
                lines.append(f"bfloat16 minus float32, mean over {len(pairs)} seeds, {part}: {cost:+.3f} nats.")
    text = "\n".join(lines).rstrip() + "\n"
    (RESULTS / "step_time.md").write_text(text)
    return text


def main() -> None:
    """Measures what is asked for, and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--arm", help="time one arm in this process and print JSON")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if options.arm:
        print(json.dumps(measure([options.arm], options.rounds, options.block)))
        return
    if options.accuracy:
        measure_accuracy(options.epochs, options.seeds)
    else:
        content = {
            "hardware": hardware(),
            "date": datetime.date.today().isoformat(),
            "milliseconds": measure(list(ARMS), options.rounds, options.block),
            "milliseconds_alone": measure_alone(options.rounds, options.block),
        }
        (RESULTS / "step_time.json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_report())


if __name__ == "__main__":
    main()
