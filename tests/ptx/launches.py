"""Runs every launch of a Triton kernel through the emulator: to Triton it is a GPU like another.

    with emulated("sm_90", noise=2) as launches:
        layer(x)  # on a CPU, backend="triton"
    assert not launches.wrong

Triton itself binds and specialises the arguments (types, divisibility by 16, constants equal to 1), compiles, and keeps kernels; all
that is ours is the driver, which runs the PTX where another would load it onto a device."""

import contextlib
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from tests.ptx.kernel import WRONG, PtxKernel, Report
from tests.ptx.native import folder

MOST_SHARED = {80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448}  # bytes of a program


@dataclass
class Launch:
    """One launch: the kernel's name, its grid, its constants by name, and what was seen."""

    name: str
    grid: tuple[int, int, int]
    constants: dict[str, Any]
    warps: int
    report: Report


@dataclass
class Launches:
    """What ran: settings that may be changed between launches, and a report of each. `edit` gives another text in place of a kernel's PTX."""

    noise: int = 0
    seed: int = 0
    watch: bool = True
    max_steps: int = 200_000_000
    edit: Callable[[str], str] | None = None
    all: list[Launch] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, dict[str, Any]]:
        """Faults by kernel, with where the first was; empty where all is well."""
        found: dict[str, dict[str, Any]] = {}
        for launch in self.all:
            if launch.report.wrong:
                said = found.setdefault(launch.name, {"first": launch.report.first})
                for name, count in launch.report.wrong.items():
                    said[name] = said.get(name, 0) + count
        return found

    def counts(self) -> dict[str, int]:
        """Sums over all launches, and how many there were."""
        total = Counter({"launches": len(self.all)})
        for launch in self.all:
            total.update(launch.report.counts)
        return {name: count for name, count in total.items() if name not in WRONG or count}

    def clear(self) -> None:
        self.all.clear()


@functools.lru_cache(maxsize=512)
def _kernel(ptx: str) -> PtxKernel:
    return PtxKernel(ptx)


class _Driver:
    """What Triton asks of a device."""

    def __init__(self, target: str, launches: Launches) -> None:
        from triton.backends.compiler import GPUTarget

        capability = int(target.removeprefix("sm_"))
        self.target, self.launches = GPUTarget("cuda", capability, 32), launches
        properties = {"max_shared_mem": MOST_SHARED[capability], "multiprocessor_count": 4, "warpSize": 32}
        self.utils = SimpleNamespace(get_device_properties=lambda device: properties, load_binary=self._load)

    def is_active(self) -> bool:
        return True

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> str:
        """Triton keeps kernels by device: each target has its own."""
        return f"emulated sm_{self.target.arch}"

    def get_current_stream(self, device: Any) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        return torch.cpu

    def _load(self, name: str, binary: bytes, shared: int, device: Any) -> tuple[None, Any, int, int, int]:
        """Module, function, registers, spills, most threads. The function is the kernel with the shared memory that it asks for."""
        return None, (_kernel(binary.decode()), shared), 0, 0, 1024

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """A launcher of one compiled kernel."""
        kinds = dict(source.signature)

        def launch(x: int, y: int, z: int, stream: int, function: Any, packed: Any, said: Any, enter: Any, leave: Any, *given: Any) -> None:
            (kernel, shared), run = function, active()
            passed = [value for value, kind in zip(given, kinds.values(), strict=True) if kind != "constexpr"]
            constants = {name: value for (name, kind), value in zip(kinds.items(), given, strict=True) if kind == "constexpr"}
            if run.edit is not None:
                kernel = _kernel(run.edit(kernel.text))
            report = kernel((x, y, z), passed, shared, run.seed, run.noise, run.watch, run.max_steps)
            run.all.append(Launch(source.fn.__name__, (x, y, z), constants, metadata.num_warps, report))

        return launch


_ACTIVE: list[Launches] = []


def active() -> Launches:
    """What collects the launches now. Raises RuntimeError outside of `emulated`."""
    if not _ACTIVE:
        raise RuntimeError("a kernel that was compiled for the emulator is launched outside of `emulated`")
    return _ACTIVE[-1]


def _ptx_is_the_binary(self: Any, ptx: str, *_: Any) -> bytes:
    """In place of the assembler."""
    return ptx.encode()


@contextlib.contextmanager
def emulated(target: str = "sm_90", noise: int = 0, seed: int = 0, watch: bool = True, max_steps: int = 200_000_000) -> Iterator[Launches]:
    """Triton kernels are compiled for a target and run by the emulator, those of layers with backend="triton" on CPU tensors too. What
    PyTorch leaves uninitialised is NaN, so that a kernel that reads it shows. All is as before at the exit.
    Raises RuntimeError where Triton was asked to interpret kernels: then nothing compiles them."""
    from triton import knobs
    from triton.backends.nvidia.compiler import CUDABackend
    from triton.runtime.driver import driver

    from rnndsl.runtime import gpu

    if gpu.interpreted():
        raise RuntimeError("TRITON_INTERPRET is set: kernels are interpreted, not compiled; start Python without it")
    launches = Launches(noise, seed, watch, max_steps)
    before = driver._active, CUDABackend.make_cubin, gpu.interpreted, knobs.cache.dir
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    driver._active, CUDABackend.make_cubin, gpu.interpreted = _Driver(target, launches), _ptx_is_the_binary, lambda: True
    knobs.cache.dir = str(folder() / "triton")  # apart from binaries that are real
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is empty with NaN
    gpu.device_of.cache_clear()
    _ACTIVE.append(launches)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
            yield launches
    finally:
        _ACTIVE.pop()
        driver._active, CUDABackend.make_cubin, gpu.interpreted, knobs.cache.dir = before
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        gpu.device_of.cache_clear()
