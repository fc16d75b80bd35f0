"""What a training step costs, and what bfloat16 costs.

    python benchmarks/step_time.py               the arms in turn, in one process: medians and ratios
    python benchmarks/step_time.py --accuracy    30 epochs of the VAE in float32 and bfloat16, three seeds

Every arm takes the original's step: batch 250, networks 784-1024-1024-64, softplus, D + R + mmd, Adam, binarising
afresh. Two times are taken of each step: by the clock, and of the processor, all threads together. On a machine that
others use as well only the latter, with OMP_NUM_THREADS=1, means something. Results go to
``benchmarks/results/step_time.json`` and ``step_time.md``; ``--accuracy`` resumes.

pythae and cooper are measured where they are installed: ``pip install --no-deps pythae==0.1.2 pydantic pydantic-core
annotated-types typing-inspection cooper-optim==1.0.1`` into the environment that runs this file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import lagvae as lv
from lagvae.settings import Settings
from lagvae.training.build import build_session
from lagvae.training.steps.hardware import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
BATCH, EVENT, HIDDEN, LATENT = 250, 784, 1024, 64
PROBLEM = "max mi s.t. neg_elbo <= 86, mmd <= 5e-4"

Step = Callable[[Tensor], None]
"""Takes one step on the raw batch; the session of ``lagvae`` picks its own."""


def lagvae_arm(data: lv.Data, precision: str = "auto", activation: str = "softplus") -> Step:
    """The step that ``fit`` takes."""
    settings = Settings().replace(precision=precision, activation=activation, device="cpu")
    session = build_session(lv.Problem.parse(PROBLEM), data, settings)
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


def measure_terms(encoder: nn.Module, decoder: nn.Module, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distortion, rate and mmd, as an ordinary user writes them."""
    x = binarise(raw)
    mean, log_std = (part.float() for part in encoder(x).chunk(2, dim=-1))
    z = mean + log_std.exp() * torch.randn_like(mean)
    distortion = F.binary_cross_entropy_with_logits(decoder(z).float(), x, reduction="sum") / len(x)
    rate = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum() / len(x)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
        return torch.exp(-squared / LATENT**2)

    w = torch.randn_like(z)
    return distortion, rate, kernel(z, z).mean() + kernel(w, w).mean() - 2 * kernel(z, w).mean()


def plain_arm() -> Step:
    """The same loss in plain float32 PyTorch."""
    encoder, decoder = networks()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def step(raw: Tensor) -> None:
        distortion, rate, mmd = measure_terms(encoder, decoder, raw)
        optimizer.zero_grad()
        (2 * distortion + rate + 100 * mmd).backward()
        optimizer.step()

    return step


def cooper_arm(*, in_bfloat16: bool = False) -> Step:
    """The same problem in cooper's words: simultaneous updates of weights and multipliers.

    Args:
        in_bfloat16: Whether the user thought of autocast for the networks.

    Raises:
        ImportError: It is not installed.
    """
    import cooper

    encoder, decoder = networks()

    class MaximalInformation(cooper.ConstrainedMinimizationProblem):
        def __init__(self) -> None:
            super().__init__()
            self.neg_elbo, self.mmd = (
                cooper.Constraint(
                    constraint_type=cooper.ConstraintType.INEQUALITY,
                    multiplier=cooper.multipliers.DenseMultiplier(init=torch.ones(1)),
                )
                for _ in range(2)
            )

        def compute_cmp_state(self, raw: Tensor) -> cooper.CMPState:
            with torch.autocast("cpu", torch.bfloat16) if in_bfloat16 else nullcontext():
                distortion, rate, mmd = measure_terms(encoder, decoder, raw)
            violations = {self.neg_elbo: distortion + rate - 86, self.mmd: 1e4 * (mmd - 5e-4)}
            states = {constraint: cooper.ConstraintState(violation=value) for constraint, value in violations.items()}
            return cooper.CMPState(loss=distortion, observed_constraints=states)

    problem = MaximalInformation()
    optimizer = cooper.optim.SimultaneousOptimizer(
        cmp=problem,
        primal_optimizers=torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3),
        dual_optimizers=torch.optim.SGD(problem.dual_parameters(), lr=1e-4, maximize=True),
    )

    def step(raw: Tensor) -> None:
        optimizer.roll(compute_cmp_state_kwargs={"raw": raw})

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
    "lagvae": lagvae_arm,
    "lagvae, GELU": lambda data: lagvae_arm(data, activation="gelu"),
    "lagvae, float32": lambda data: lagvae_arm(data, "float32"),
    "floor: bfloat16 products + fused Adam": lambda data: floor_arm(),
    "plain PyTorch, float32": lambda data: plain_arm(),
    "cooper-optim 1.0.1, float32": lambda data: cooper_arm(),
    "cooper-optim 1.0.1, bfloat16": lambda data: cooper_arm(in_bfloat16=True),
    "pythae 0.1.2 INFOVAE_MMD": lambda data: pythae_arm(),
}

Times = dict[str, list[float]]
"""By arm, in milliseconds: by the clock, and of the processor."""


def measure(names: list[str], rounds: int, block: int) -> Times:
    """Times arms in turn in this process, and returns the medians over their steps."""
    data = lv.open_data("mnist")
    steps: dict[str, Step] = {}
    for name in names:
        try:
            steps[name] = ARMS[name](data)
        except ImportError as error:
            print(f"{name} is left out: {error}. This file's first lines say how to install it.", file=sys.stderr)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            repeats = 2 if name.startswith("pythae") else block
            for index in torch.randint(len(data.train), (repeats, BATCH)):
                raw = data.train.gather(index)
                began = time.perf_counter(), time.process_time()
                step(raw)
                if turn > 0:  # the first turn warms up
                    times[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return {name: [1e3 * statistics.median(each) for each in zip(*found, strict=True)] for name, found in times.items()}


def measure_alone(rounds: int, block: int, repeats: int) -> Times:
    """Times every arm in processes of its own, in turn, so many times: the median of their medians.

    In one process the arms share what the C library has learned about memory, which helps pythae most.
    """
    found: dict[str, list[list[float]]] = {}
    for _ in range(repeats):
        for name in ARMS:
            command = [sys.executable, __file__, "--arm", name, "--rounds", str(rounds), "--block", str(block)]
            output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if output:
                found.setdefault(name, []).append(output[name])
    return {name: [statistics.median(each) for each in zip(*runs, strict=True)] for name, runs in found.items()}


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
    return f"{model}, threads: {torch.get_num_threads()}, PyTorch {torch.__version__}"


def write_report() -> str:
    """Writes ``step_time.md`` from the results that are there, and returns it."""
    lines = ["# Step time, and what bfloat16 costs", ""]
    timing = RESULTS / "step_time.json"
    if timing.exists():
        content = json.loads(timing.read_text())
        together, alone = content["milliseconds"], content["milliseconds_alone"]
        ours, floor = together["lagvae"], together["floor: bfloat16 products + fused Adam"]
        lines += [
            f"`python benchmarks/step_time.py` on {content['hardware']}, {content['date']}; medians, ms a step."
            f" The load of the machine was {content['load']:.1f} on {content['cores']} cores: where it is more than the"
            " threads leave free, only the processor's time counts.",
            "",
            "| arm | clock | processor | times lagvae's | times the floor | processor, alone | times lagvae's |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {name} | {clock:.2f} | {used:.2f} | {used / ours[1]:.2f} | {used / floor[1]:.2f}"
                f" | {alone[name][1]:.2f} | {alone[name][1] / alone['lagvae'][1]:.2f} |"
                for name, (clock, used) in together.items()
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
    parser.add_argument("--alone", type=int, default=3, help="how many processes of its own each arm gets")
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
            "load": os.getloadavg()[1],
            "cores": os.cpu_count(),
            "milliseconds": measure(list(ARMS), options.rounds, options.block),
            "milliseconds_alone": measure_alone(options.rounds, options.block, options.alone),
        }
        (RESULTS / "step_time.json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_report())


if __name__ == "__main__":
    main()
