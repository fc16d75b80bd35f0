"""Importing lagvae changes nothing. Each check runs in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys

# Other packages change things when they are imported: they are imported first, and what is left is lagvae's doing.
# The environment is replaced by a mapping that remembers what it is asked for.
WATCH = """
import json, logging, os, random, sys, warnings
import matplotlib, numpy, PIL.Image, rich.console, rich.progress, safetensors.torch, tensorboard, torch, tyro, yaml
import torch.utils.tensorboard

class Recorder(type(os.environ)):
    asked = set()
    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)

plain = os.environ
os.environ = Recorder(plain._data, plain.encodekey, plain.decodekey, plain.encodevalue, plain.decodevalue)

def state():
    return {
        "torch's random numbers": bytes(torch.get_rng_state().numpy()),
        "numpy's random numbers": repr(numpy.random.get_state()),
        "python's random numbers": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "float32 products": torch.get_float32_matmul_precision(),
        "root handlers": (list(logging.root.handlers), logging.root.level),
        "environment": dict(plain),
        "warnings": list(warnings.filters),
        "excepthook": sys.excepthook,
    }

seen = []
for action in json.loads(sys.argv[1]):
    before = state()
    Recorder.asked.clear()
    exec(action)
    read = Recorder.asked & {"DATA_PREFIX", "EXP_LOG_PATH"}
    after = state()
    seen.append([what for what in before if before[what] != after[what]] + sorted(read))
print(json.dumps(seen))
"""
ACTIONS = {
    "torch.rand(1)": "torch's random numbers",
    "numpy.random.rand()": "numpy's random numbers",
    "random.random()": "python's random numbers",
    "torch.set_num_threads(torch.get_num_threads() + 1)": "threads",
    "torch.set_default_dtype(torch.float64)": "default dtype",
    "torch.set_grad_enabled(False)": "gradients",
    "torch.use_deterministic_algorithms(True)": "deterministic",
    "torch.backends.cudnn.benchmark = True": "cudnn",
    "torch.set_float32_matmul_precision('high')": "float32 products",
    "logging.basicConfig()": "root handlers",
    "os.environ['LAGVAE'] = '1'": "environment",
    "warnings.simplefilter('ignore')": "warnings",
    "sys.excepthook = print": "excepthook",
    "os.environ.get('DATA_PREFIX')": "DATA_PREFIX",
    "os.getenv('EXP_LOG_PATH')": "EXP_LOG_PATH",
}


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def watch(actions: list[str]) -> list[list[str]]:
    """Returns, for each action, what it changed and which of the original's variables it read."""
    return json.loads(run(WATCH, json.dumps(actions)))


def test_importing_every_public_name_changes_and_reads_nothing() -> None:
    touch = "import lagvae\nfor name in lagvae.__all__: getattr(lagvae, name)"
    assert watch([touch]) == [[]]


def test_what_is_optional_is_not_imported() -> None:
    optional = [
        "mlflow",
        "wandb",
        "lightning",
        "anndata",
        "pandas",
        "pyarrow",
        "huggingface_hub",
        "torch.utils.tensorboard",
    ]
    touch = "import lagvae\nfor name in lagvae.__all__: getattr(lagvae, name)\nimport lagvae.cli.main, sys\n"
    code = f"print(*[name for name in {optional} if name in sys.modules])"
    assert run(touch + code) == ""
    assert run(touch + "import torch.utils.tensorboard\n" + code) == "torch.utils.tensorboard"


def test_the_watch_sees_every_change() -> None:
    for seen, (action, what) in zip(watch(list(ACTIONS)), ACTIONS.items(), strict=True):
        assert what in seen, action


def test_importing_alone_is_light() -> None:
    heavy = ["torch", "numpy", "matplotlib", "rich", "tensorboard", "yaml", "tyro"]
    code = f"import sys, lagvae\nprint(*[name for name in {heavy} if name in sys.modules])"
    assert run(code) == ""
    assert "torch" in run(code.replace("lagvae", "lagvae.model.vae"))
