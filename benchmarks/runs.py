"""Cached runs: what a benchmark asks for, trained once, several side by side, a line of JSON each."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lagvae as lv
    from lagvae.settings import Settings

Record = dict[str, Any]


ORIGINAL: dict[str, Any] = {"activation": "softplus", "learning_rate": 1e-3}
"""The original's activation, and the learning rate that these runs were begun with."""


@dataclass(frozen=True)
class Run:
    """What is trained: everything that its results depend on.

    Attributes:
        problem: Its text.
        dual: A dual rule by name; "warmup" for fixed weights that grow from 0 over the first third.
        data: A named data set, or what others are told apart by.
        seed: Of the run.
        settings: Other settings than the defaults, sorted by name; and ``network="convolutional"``. Where none
            are named and no preset is, ``ORIGINAL``.
    """

    problem: str
    dual: str = "forecast"
    data: str = "mnist"
    seed: int = 0
    settings: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def key(self) -> str:
        """What the cache knows it by."""
        return json.dumps(asdict(self) | {"settings": dict(self.settings)}, sort_keys=True)


def train(run: Run, source: Any = None) -> Record:
    """Trains and evaluates; returns the final estimates on every part and the way there.

    Args:
        run: What to train.
        source: The data that ``run.data`` describes, where that is no name.
    """
    import torch

    import lagvae as lv

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    began = time.monotonic()
    problem, settings, parts = _asked(run)
    data = run.data if source is None else source
    solution = lv.fit(problem, data, settings=settings, progress=False, **parts)
    return _record(solution, time.monotonic() - began)


def train_together(runs: Sequence[Run], device: str) -> Iterator[tuple[Run, Record]]:
    """Trains runs of like terms, networks and lengths as one stack; yields each and its record, with the device's name.

    Args:
        runs: On the same data.
        device: Where; a stack of the original's networks is for a graphics processor.
    """
    import lagvae as lv
    from lagvae.training.fit import fitting
    from lagvae.training.loop import Company
    from lagvae.training.outcome.solution import Solution
    from lagvae.training.steps.hardware import describe, pick_device
    from lagvae.training.together import finish_together

    began = time.monotonic()
    data, company = lv.open_data(runs[0].data, progress=False), Company(len(runs))
    asked = [_asked(run, device=device) for run in runs]
    fittings = [fitting(problem, data, settings, company=company, **parts) for problem, settings, parts in asked]
    for place, ended in finish_together(fittings, company, asked[0][1].output):
        if not isinstance(ended, Solution):
            raise ended
        seconds = (time.monotonic() - began) / len(runs)
        yield runs[place], {**_record(ended, seconds), "device": describe(pick_device(device)), "stack": len(runs)}


def _asked(run: Run, **changes: Any) -> tuple[lv.Problem, Settings, dict[str, Any]]:
    """Returns a run's problem, its settings, and what settings cannot say."""
    import torch

    import lagvae as lv
    from lagvae.duality.rule import DualRule
    from lagvae.settings import Settings, preset

    class WarmUp(DualRule):
        """Fixed multipliers, reached linearly over the first third of the run."""

        def __init__(self, problem: lv.Problem, multipliers: list[float]) -> None:
            super().__init__(problem, torch.tensor(multipliers))
            self.final = self.multipliers.clone()

        def update(self, violations: torch.Tensor, *, progress: float) -> None:
            self.multipliers.copy_(self.final * min(1.0, 3 * progress))

    problem = lv.Problem.parse(run.problem)
    options: dict[str, Any] = dict(run.settings)
    begun = preset(options.pop("preset")) if "preset" in options else Settings().replace(**ORIGINAL)
    parts: dict[str, Any] = {}
    if options.pop("network", "mlp") == "convolutional":
        parts["model"] = convolutional_vae(options.pop("latent_dim"), seed=run.seed)
    if run.dual == "warmup":
        # "min distortion + 2*rate + 10*mmd", as bounds of 0 on what is weighted beside the distortion.
        weights = {t: w for t, w in problem.objective.quantity.items if t.name != "distortion"}
        problem = lv.Problem(lv.Minimize(lv.distortion), [1.0 * term <= 1e-9 for term in weights])
        parts["dual"] = partial(WarmUp, multipliers=list(weights.values()))
    elif run.dual != "fixed":
        options["dual"] = run.dual
    return problem, begun.replace(**options, seed=run.seed, **changes), parts


def _record(solution: lv.Solution, seconds: float) -> Record:
    """Returns what is kept of a run that ended."""
    evaluation = solution.evaluation
    if evaluation is None:
        return {"status": str(solution.status), "message": solution.message}
    return {
        "status": str(solution.status),
        "values": {
            part: {name: [estimate.value, estimate.standard_error] for name, estimate in found.items()}
            for part, found in evaluation.estimates.items()
        },
        "violations": solution.violations,
        "multipliers": solution.multipliers,
        "steps": solution.step,
        "seconds": round(seconds, 1),
        "trace": {
            "step": [record["step"] for record in solution.history],
            **{
                name: [float(f"{record['constraints'][name]['violation']:.5g}") for record in solution.history]
                for name in solution.problem.names
            },
        },
    }


def convolutional_vae(latent_dim: int, *, seed: int) -> lv.VAE:
    """Returns a small VAE of 28 × 28 images: two convolutions with stride down, two up."""
    import torch
    from torch import nn

    import lagvae as lv

    torch.manual_seed(seed)
    encoder = nn.Sequential(
        nn.Flatten(),
        nn.Unflatten(-1, (1, 28, 28)),
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 2 * latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 32 * 49),
        nn.GELU(),
        nn.Unflatten(-1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        nn.Flatten(),
    )
    return lv.VAE(encoder, decoder, latent_dim=latent_dim)


def stacks_of(runs: Iterable[Run], size: int) -> Iterator[list[Run]]:
    """Yields the runs in groups that can be trained as one, of at most ``size``."""
    from lagvae.front.dedicated.stacking import group_alike

    runs = list(runs)
    groups: dict[Any, list[Run]] = {}
    for run, alike in zip(runs, group_alike([str(_asked(run)[0]) for run in runs]), strict=True):
        groups.setdefault((run.data, run.settings, alike), []).append(run)
    for group in groups.values():
        for first in range(0, len(group), size):
            yield group[first : first + size]


class Cache:
    """Results by run, in a file of one JSON line each; interrupted work goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.records[json.dumps(entry["run"], sort_keys=True)] = entry["result"]

    def add(self, run: Run, result: Record) -> None:
        """Appends a result."""
        self.records[run.key] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"run": json.loads(run.key), "result": result}, separators=(",", ":")) + "\n")

    def __contains__(self, run: Run) -> bool:
        return run.key in self.records

    def __getitem__(self, run: Run) -> Record:
        return self.records[run.key]

    def get(self, run: Run) -> Record | None:
        """Returns the run's result, if it is there."""
        return self.records.get(run.key)

    def fill(
        self,
        runs: Iterable[Run],
        *,
        jobs: int,
        work: Callable[[Run], Record] = train,
        device: str = "cpu",
        stack: int = 32,
        say: Callable[[str], None] = print,
    ) -> None:
        """Trains what is missing, ``jobs`` at a time with one thread each (or one with all threads).

        On a graphics processor as stacks of up to ``stack`` runs that differ in problem, rule and seed alone.
        """
        missing = [run for run in dict.fromkeys(runs) if run not in self]
        if not missing:
            return
        if device != "cpu":
            for together in stacks_of(missing, stack):
                for run, record in train_together(together, device):
                    self.add(run, record)
                    say(f"{run.dual} seed {run.seed} {run.problem}: {record['status']}")
            return
        if jobs > 1:
            os.environ["OMP_NUM_THREADS"] = "1"
        began, done = time.monotonic(), 0
        # Spawned, not forked: torch's threads do not survive a fork.
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(work, run): run for run in missing}
            for future in as_completed(waiting):
                run = waiting[future]
                self.add(run, future.result())
                done += 1
                left = (time.monotonic() - began) / done * (len(missing) - done) / 60
                say(f"{done}/{len(missing)} {run.dual} seed {run.seed} {run.problem} (left {left:.0f} min)")
