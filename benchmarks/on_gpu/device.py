"""What a run measures on. All that is asked of CUDA stands here, so that a dry run replaces nothing else."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from rnndsl.tiles import Device
from rnndsl.tools.tune.timer import Timer, timer_of

KINDS = ("cuda", "emulated", "cpu")
LEAD = 4e-3  # seconds for which the GPU is kept busy before a call, so that what Python does for one that starts few kernels is not counted


class Gpu:
    """The current GPU."""

    kind, backends = "cuda", ("FlashRNN, cuda_fused", "FlashRNN, cuda", "FlashRNN, triton_fused")

    def __init__(self) -> None:
        self.device = self._device()
        self.timer = self._timer()

    def _device(self) -> torch.device:
        return torch.device("cuda", torch.cuda.current_device())

    def _timer(self) -> Timer:
        return timer_of(self.device, LEAD)

    def target(self) -> tuple[str, Any, int]:
        """What kernels are compiled for: backend, architecture, lanes of a warp."""
        from triton.runtime.driver import driver

        found = driver.active.get_current_target()
        return found.backend, found.arch, found.warp_size

    def model(self) -> Device:
        """What kernels are cut by."""
        from rnndsl.runtime.gpu import device_of

        return device_of(self.device)

    def about(self) -> dict[str, Any]:
        """What it is."""
        p = torch.cuda.get_device_properties(self.device)
        return {
            "gpu": p.name, "capability": f"{p.major}.{p.minor}", "memory": p.total_memory, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}, "model": asdict(self.model()),
        }  # fmt: skip

    def synchronize(self) -> None:
        """Waits. Raises what the GPU has to say of kernels that failed."""
        torch.cuda.synchronize(self.device)

    def spin(self, cycles: int) -> None:
        """Keeps it busy for so many cycles."""
        torch.cuda._sleep(cycles)

    def peak(self, call: Callable[[], object]) -> int | None:
        """Bytes that a call holds at most beyond those held before."""
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call()
        self.synchronize()
        return torch.cuda.max_memory_allocated(self.device) - before

    def faults(self) -> dict[str, Any]:
        """By kernel, what is known to have gone wrong in launches since `launches` was asked."""
        return {}

    def launches(self) -> dict[str, int]:
        """What was counted of launches since this was asked last."""
        return {}


class Processor(Gpu):
    """A CPU, where Triton's interpreter runs kernels. Its times say nothing."""

    kind, backends = "cpu", ("FlashRNN, vanilla",)

    def _device(self) -> torch.device:
        return torch.device("cpu")

    def about(self) -> dict[str, Any]:
        return {"gpu": None}

    def synchronize(self) -> None: ...

    def spin(self, cycles: int) -> None:
        time.sleep(cycles / 2e9)

    def peak(self, call: Callable[[], object]) -> int | None:
        call()
        return None


class Emulated(Processor):
    """A CPU, where tests/ptx runs the compiled kernels of a GPU and watches them. Its times say nothing."""

    kind = "emulated"

    def __init__(self, launches: Any) -> None:
        self._launches = launches
        super().__init__()

    def about(self) -> dict[str, Any]:
        return {"gpu": None, "emulated": f"sm_{self.target()[1]}"}

    def faults(self) -> dict[str, Any]:
        return self._launches.wrong

    def launches(self) -> dict[str, int]:
        found = self._launches.counts()
        self._launches.clear()
        return found


@contextmanager
def opened(kind: str) -> Iterator[Gpu]:
    """The device of a kind, one of KINDS. Raises RuntimeError where there is no GPU."""
    if kind == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU here; --device emulated --tiny runs through everything in an emulator, --device cpu in Triton's interpreter")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, for everybody
    if kind != "emulated":
        yield {"cuda": Gpu, "cpu": Processor}[kind]()
        return
    from triton import knobs

    from tests.ptx.launches import emulated

    with emulated("sm_90") as launches:
        knobs.cache.dir = os.environ["TRITON_CACHE_DIR"]  # that of this run, as on a GPU
        yield Emulated(launches)
