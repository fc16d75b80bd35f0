"""Where to compute, and in which precision."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import torch

from lagvae.errors import SettingError, expected
from lagvae.settings import Precision


def pick_device(name: str = "auto") -> torch.device:
    """Returns the device of that name; ``auto`` is the graphics processor with most free memory, else the processor.

    Raises:
        SettingError: There is no such device here.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
        return torch.device("cuda", max(range(len(free)), key=free.__getitem__))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    usable = device.type == "cpu" or (
        device.type == "cuda" and torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    )
    if not usable:
        present = ["auto", "cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise SettingError(expected("a device of this machine", got=f"'{name}'", fix=" or ".join(present)))
    return device


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Returns the networks' dtype: bfloat16 on request, or for ``auto`` where ``device`` multiplies it natively."""
    if precision == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` has bfloat16 matrix instructions (emulation is slower than float32)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _processor_has_bfloat16()


@functools.cache
def _processor_has_bfloat16() -> bool:
    # The kernel's own list is the same for every torch version; elsewhere the answer is no,
    # and --precision bfloat16 remains.
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def keep_freed_memory() -> None:
    """Makes the C library keep what a step frees, instead of returning it to the kernel and faulting it in again.

    glibc raises its thresholds to the size of the largest mapped block that was freed, up to 32 MB: one such
    block, freed at once, takes a third off the time of a step on a processor.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def networks_in(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Returns a context in which networks compute in ``dtype``; float32 leaves everything as it is."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def describe(device: torch.device) -> str:
    """Returns the device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"processor, {threads} thread{'s' if threads > 1 else ''}"
