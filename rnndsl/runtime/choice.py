"""What runs a layer's recurrences: the backend, the schedule, the tiles, and the plan that says so."""

import os
import warnings
from dataclasses import dataclass
from typing import Any

import torch

BACKENDS = ("auto", "reference", "cpu", "triton")
SCHEDULES = ("auto", "sequential", "newton")
TILES = ("channels", "ahead", "lanes", "lane_steps", "warps")
KERNELS: dict[str, Any] = {}  # the backends with generated kernels; each puts itself here
_OF_DEVICE = {"cpu": "cpu", "cuda": "triton"}  # the backend that `auto` takes


@dataclass(frozen=True)
class Plan:
    """What runs one recurrence, and why. channels: of all rows together; forward, backward: how the kernels are cut, on the Triton backend."""

    recurrence: str
    backend: str
    schedule: str  # sequential, newton, exact scan
    why: str
    channels: int | None = None
    forward: Any = None
    backward: Any = None

    def __str__(self) -> str:
        lines = [f"{self.recurrence}: {self.schedule} on {self.backend}; {self.why}"]
        if self.forward is not None:
            lines += [f"  {self.channels:,} channels in all", f"  forward   {self.forward}", f"  backward  {self.backward}"]
        return "\n".join(lines)


def check_backend(cls: Any, backend: Any) -> None:
    """Raises ValueError for what is no backend, or one that cannot run a class."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    why = no_kernels(cls, backend) if backend in ("cpu", "triton") else None
    if why is not None:
        raise ValueError(f"backend: {backend!r} cannot run this cell: {why}; use 'auto' or 'reference'")


def no_kernels(cls: Any, backend: str) -> str | None:
    """Why a backend with kernels cannot run a class; None where it can."""
    kernels = cls._kernels if backend == "cpu" else cls._triton
    if kernels is None:
        return "a standalone module has no kernels"
    return KERNELS[backend].unavailable(kernels)


def check_schedule(schedule: Any) -> None:
    """Raises ValueError for what is no schedule."""
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")


def check_tiles(tiles: dict[str, int]) -> None:
    """Raises ValueError for what a kernel cannot be cut by."""
    for name, n in tiles.items():
        if name not in TILES:
            raise ValueError(f"tiles: expected some of {', '.join(TILES)}, got {name!r}")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1 or (name != "lane_steps" and name != "ahead" and n & (n - 1)):
            raise ValueError(f"tiles: {name}: expected {'a whole number' if name in ('lane_steps', 'ahead') else 'a power of two'}, got {n!r}")


def backend_for(layer: Any, name: str, device: torch.device) -> str | None:
    """The backend whose kernels run a recurrence of a layer, None for plain PyTorch. Raises ValueError where the one asked for does not run there."""
    if layer.backend == "reference":
        return None
    if layer.backend == "auto":
        backend = _OF_DEVICE.get(device.type)
        if backend is None or (layer._kernels if backend == "cpu" else layer._triton) is None or _reference_wanted():
            return None
        return backend if KERNELS[backend].chosen(type(layer), name) else None
    problem = KERNELS[layer.backend].misplaced(device)
    if problem is not None:
        raise ValueError(f"backend: {problem}; use 'auto'")
    return layer.backend


@torch.compiler.assume_constant_result
def _reference_wanted() -> bool:
    """Whether the backend `auto` is the reference because RNNDSL_BACKEND says so. Raises ValueError for another RNNDSL_BACKEND than auto or
    reference."""
    wish = os.environ.get("RNNDSL_BACKEND", "auto")
    if wish not in ("auto", "reference"):
        raise ValueError(f"RNNDSL_BACKEND: expected auto or reference, got {wish!r}")
    return wish == "reference"


def plan_of(layer: Any, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
    """What would run a recurrence of a layer, for a call of these sizes, device and dtype."""
    backend = backend_for(layer, name, kind["device"])
    if backend == "triton":
        return KERNELS[backend].plan_for(layer, name, batch, steps, kind["device"], kind["dtype"])
    return Plan(name, backend or "reference", "sequential", "step by step" if backend is None else "kernels in C++")


_said: set[tuple[type, str]] = set()


def say_once(cls: type, text: str) -> None:
    """A warning that a class gives once."""
    if (cls, text) not in _said:
        _said.add((cls, text))
        warnings.warn(text, stacklevel=5)
