"""Runs a script of examples/ in a process of its own, with a small set of random bytes in the place of MNIST.

python runner.py SCRIPT [OPTIONS OF THE SCRIPT ...]
"""

from __future__ import annotations

import runpy
import sys

import torch

import lagvae as lv
from lagvae.data.examples import Examples


def tiny_mnist(source: object, **_: object) -> lv.Data:
    assert source == "mnist" or isinstance(source, lv.Data)
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Examples((torch.rand(count, 1, 28, 28, generator=generator).square() * 255).to(torch.uint8))
        for count in (500, 250)
    )
    return source if isinstance(source, lv.Data) else lv.Data("mnist", train, test)


if __name__ == "__main__":
    torch.set_num_threads(1)
    lv.__dict__["open_data"] = tiny_mnist
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = script.rpartition("/")[0]
    runpy.run_path(script, run_name="__main__")
