"""What the original's two scripts share: where they log, and what ``--test`` prints."""

import os
from pathlib import Path

import lagvae as lv


def log_folder(run: str) -> Path:
    """Returns the run's folder below EXP_LOG_PATH, or below runs/ where that is not set; says which."""
    base = os.environ.get("EXP_LOG_PATH")
    folder = Path(base or "runs") / run
    print(f"run folder: {folder}" + ("" if base else " (EXP_LOG_PATH says where else)"))
    if not os.environ.get("DATA_PREFIX"):
        print("data: the user's cache (DATA_PREFIX says where else)")
    return folder


def print_means(solution: lv.Solution, data: lv.Data) -> None:
    """Prints what the original printed, as means over train and test: rate, nll, mmd (times 10,000), multipliers."""
    evaluation = lv.evaluate(solution, data, quick=True)
    for part in ("train", "test"):
        found = evaluation[part]
        rate, nll, mmd = (found[name].value for name in ("rate", "distortion", "mmd_biased"))
        print(f"{part:5}  rate {rate:.3f}  nll {nll:.3f}  -elbo {rate + nll:.3f}  mmd {1e4 * mmd:.3f}")
    lambdas = {name: value * (1e-4 if name == "mmd" else 1) for name, value in solution.multipliers.items()}
    for position, (name, value) in enumerate(lambdas.items(), start=1):
        print(f"lambda{position} ({name})  {value:.4f}")
    print(f"status {solution.status}")
