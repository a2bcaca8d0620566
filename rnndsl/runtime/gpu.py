"""What the models of costs know of the device at hand, as far as PyTorch tells; and whether Triton interprets kernels in place of one."""

import functools
import os
from dataclasses import replace
from typing import Any

import torch

from rnndsl.devices import USUAL, Device, of_architecture, of_gpu


def interpreted() -> bool:
    """Whether Triton runs kernels in its interpreter, on a CPU: TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


@functools.cache
def device_of(device: torch.device) -> Device:
    """What the model knows of a device; that of the usual one where it is not a GPU."""
    if device.type != "cuda":
        usual = of_architecture(USUAL)
        return replace(usual, name="interpreter") if interpreted() else usual
    found = torch.cuda.get_device_properties(device)
    architecture = getattr(found, "gcnArchName", "").split(":")[0] if torch.version.hip else f"sm_{found.major}{found.minor}"
    return of_gpu(found.name, architecture, _told(found))


def _told(found: Any) -> dict[str, float]:
    """What a driver tells of a GPU, as far as this version of torch passes it on."""
    told = {"processors": found.multi_processor_count, "warp": getattr(found, "warp_size", None)}
    told["shared"] = getattr(found, "shared_memory_per_multiprocessor", None)
    told["registers"] = getattr(found, "regs_per_multiprocessor", None)
    clock, memory, width = (getattr(found, n, 0) for n in ("clock_rate", "memory_clock_rate", "memory_bus_width"))  # kHz, kHz, bits
    told["clock"] = clock * 1e3
    told["bandwidth"] = 2 * memory * 1e3 * width / 8  # both edges of the clock
    return {n: float(v) for n, v in told.items() if v}
