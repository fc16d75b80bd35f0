"""What training a solved member further is worth: the dual rule goes on from its weights and multipliers.

    lagvae front --data mnist --out fronts/mnist         the front, if it is not there
    python benchmarks/polish.py --front fronts/mnist     trains what is missing; resumes

Problems are solved on the front and *polished* for some epochs (``front.solve(problem, polish=3)``). A *gain* is how
much better the objective is on the training data than the solved member's (of ``max mi`` the distortion), minus the
price of what the bound is missed by: positive where polishing was worth it. Results: ``results/polish.md`` and
``polish_runs.jsonl``, which is of one front: another one wants a file of its own.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from held_out import hardware
from runs import Cache, Record, Run

if TYPE_CHECKING:
    import lagvae as lv

RESULTS = Path(__file__).parent / "results"
PROBLEMS = (
    "max mi s.t. neg_elbo <= 96",
    "max mi s.t. neg_elbo <= 100",
    "min mi s.t. neg_elbo <= 96",
    "min mi s.t. neg_elbo <= 100",
    "min distortion s.t. rate == 15",
    "min neg_elbo",
)
EPOCHS = (3, 10)
NAMES = ("distortion", "rate", "neg_elbo")


def asked() -> list[Run]:
    """Returns what is polished, and for how long."""
    return [Run(problem, settings=(("polish", epochs),)) for epochs in EPOCHS for problem in PROBLEMS]


def polish(run: Run, folder: Path) -> Record:
    """Solves a problem on the front, polishes what was found, and measures both on the training data."""
    import torch

    import lagvae as lv
    from lagvae.front.amortised.front import AmortisedFront

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    front = lv.load_front(folder)
    if not isinstance(front, AmortisedFront):
        raise SystemExit(f"{folder} holds runs, not one network; lagvae front --data mnist --out {folder}")
    solved = front.solve(run.problem)
    polished = front.solve(run.problem, polish=dict(run.settings)["polish"], progress=False)
    weights = {term.name: weight for term, weight in solved.problem.objective.surrogate().items()}
    (before, loss), (after, lower) = (measure(one, weights) for one in (solved, polished))
    missed = sum(solved.prices[name] * violation for name, violation in polished.violations.items())
    return {
        "status": str(polished.status),
        "before": before,
        "after": after,
        "violations": polished.violations,
        "gain": loss - lower - missed,
        "seconds": round(polished.seconds, 1),
        "front_steps": front.steps,
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
    }


def measure(solution: lv.Solution, weights: dict[str, float]) -> tuple[dict[str, float], float]:
    """Returns what stands in the page of the training data, and the weighted sum that the objective minimises."""
    assert solution.evaluation is not None
    found = {name: solution.evaluation["train"][name].value for name in NAMES}
    return found, sum(weight * found[name] for name, weight in weights.items())


def page(cache: Cache) -> Iterator[str]:
    """Yields the page."""
    about = cache[asked()[0]]
    yield f"# Polishing\n\n{__doc__.split(chr(10), 1)[1].strip(chr(10))}\n"
    yield f"MNIST, a front of {about['front_steps']:,} steps; {about['hardware']}, {about['date']}.\n"
    yield "| problem | epochs | status | neg_elbo, before | rate | neg_elbo, after | rate | violation | gain |"
    yield f"|{' --- |' * 3}{' ---: |' * 6}"
    for run in asked():
        record = cache[run]
        numbers = [f"{record[when][name]:.2f}" for when in ("before", "after") for name in ("neg_elbo", "rate")]
        violation = ", ".join(f"{value:+.2f}" for value in record["violations"].values()) or "–"
        cells = (run.problem, dict(run.settings)["polish"], record["status"], *numbers, violation)
        yield f"| {' | '.join(map(str, cells))} | {record['gain']:+.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--front", type=Path, default=Path("fronts/mnist"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each; 1: one with every thread")
    arguments = parser.parse_args()
    cache = Cache(RESULTS / "polish_runs.jsonl")
    cache.fill(asked(), jobs=arguments.jobs, work=partial(polish, folder=arguments.front))
    text = "\n".join(page(cache)) + "\n"
    (RESULTS / "polish.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
