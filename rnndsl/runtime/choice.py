"""Which backend runs a layer's recurrences; what may be asked for."""

import os
import warnings
from typing import Any

import torch

from rnndsl.runtime.backend import BACKENDS, Backend
from rnndsl.runtime.reference import REFERENCE
from rnndsl.runtime.traced import constant_in_graphs

SCHEDULES = ("auto", "sequential", "newton", "chunked")
TILES = ("rows", "channels", "ahead", "lanes", "lane_steps", "warps", "together", "stages", "graph")
_COUNTS = {"lane_steps": 1, "ahead": 1, "stages": 0, "graph": 0}  # those that need be no power of two, and their least


def check_backend(cls: type, backend: Any) -> None:
    """Raises ValueError for what is no backend, or one that cannot run a class."""
    known = ("auto", *BACKENDS)
    if backend not in known:
        raise ValueError(f"backend: expected one of {', '.join(known)}, got {backend!r}")
    why = None if backend == "auto" else BACKENDS[backend].refusal(cls)
    if why is not None:
        raise ValueError(f"backend: {backend!r} cannot run this cell: {why}; use 'auto' or 'reference'")


def check_schedule(schedule: Any) -> None:
    """Raises ValueError for what is no schedule."""
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")


def check_tiles(tiles: Any) -> None:
    """Raises TypeError or ValueError for what a kernel cannot be cut by."""
    if not isinstance(tiles, dict):
        raise TypeError(f"tiles: expected numbers by name, {{\"channels\": 32}}, got {tiles!r}")
    for name, n in tiles.items():
        if name not in TILES:
            raise ValueError(f"tiles: expected some of {', '.join(TILES)}, got {name!r}")
        if isinstance(n, bool) or not isinstance(n, int) or n < _COUNTS.get(name, 1) or (name not in _COUNTS and n & (n - 1)):
            raise ValueError(f"tiles: {name}: expected {'a whole number' if name in _COUNTS else 'a power of two'}, got {n!r}")


def backend_for(layer: Any, name: str, device: torch.device, shape: tuple[int, int]) -> Backend:
    """What runs a recurrence of a layer on a device, for so many sequences and steps: of those that `auto` takes there, the first that has the
    schedule that was asked for. Raises ValueError where the backend that was asked for does not run there."""
    if layer._backend != "auto":
        backend = BACKENDS[layer._backend]
        problem = backend.misplaced(device)
        if problem is not None:
            raise ValueError(f"backend: {problem}; use 'auto'")
        return backend
    if reference_wanted():
        return REFERENCE
    asked = sorted(BACKENDS.values(), key=lambda backend: layer._schedule not in ("auto", *backend.schedules))
    for backend in asked:
        if backend.taken(layer, name, device, shape):
            return backend
    return REFERENCE


@constant_in_graphs
def reference_wanted() -> bool:
    """Whether the backend `auto` is the reference because RNNDSL_BACKEND says so. Raises ValueError for another RNNDSL_BACKEND than auto or
    reference."""
    wish = os.environ.get("RNNDSL_BACKEND", "auto")
    if wish not in ("auto", "reference"):
        raise ValueError(f"RNNDSL_BACKEND: expected auto or reference, got {wish!r}")
    return wish == "reference"


_said: set[tuple[type, str]] = set()


def say_once(cls: type, text: str, above: int = 4) -> None:
    """A warning that a class gives once; it names the line of the call that is so many above this one."""
    if (cls, text) not in _said:
        _said.add((cls, text))
        warnings.warn(text, stacklevel=above + 1)


def say_schedule(cls: type, name: str, how: str, why: str) -> None:
    """A warning that a recurrence does not run by the schedule that was asked for; none while torch.compile looks on."""
    if not torch.compiler.is_compiling():
        say_once(cls, f"schedule: {cls.__name__}: `{name}` runs {how}, with the same numbers: {why}", above=5)
