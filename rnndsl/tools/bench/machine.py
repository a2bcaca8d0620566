"""What a benchmark ran on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from rnndsl.version import VERSION


def machine() -> dict[str, Any]:
    """The processor, its cores, the threads that PyTorch uses, what other programs do (programs running, over a minute), and versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rnndsl": VERSION,
    }


def processor() -> str:
    """The processor's model, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
