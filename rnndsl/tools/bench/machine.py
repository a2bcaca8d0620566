"""What a benchmark ran on."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rnndsl.version import VERSION

LOOK = 0.3  # seconds for which other programs are watched


def machine() -> dict[str, Any]:
    """The processor, its cores, the threads that PyTorch uses, how many cores other programs keep busy, and versions."""
    import torch

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "busy": busy(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _triton(),
        "rnndsl": VERSION,
    }


def _triton() -> str | None:
    """Triton's version, without loading it; None where it is not installed."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def busy() -> float | None:
    """How many cores other programs keep busy while this one sleeps; None where the system does not tell."""
    try:
        before = _ticks()
        time.sleep(LOOK)
        after = _ticks()
    except (OSError, ValueError):
        return None
    total, idle = after[0] - before[0], after[1] - before[1]
    return round((os.cpu_count() or 1) * (1 - idle / total), 2) if total else 0.0


def _ticks() -> tuple[int, int]:
    """Of all cores since the start of the system: all, and idle (waiting for disks included)."""
    ticks = [int(t) for t in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def processor() -> str:
    """The processor's model, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
