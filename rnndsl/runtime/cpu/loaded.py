"""The kernels of a cell, built and opened: for given sizes, hyperparameters and dtype."""

import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rnndsl.runtime import build
from rnndsl.runtime.cpu.kernels import Kernel, Kernels
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.statics import Outer

_LEAST_TERMS = 32  # of a sum that is kept
TYPES = {torch.float32: "float", torch.float64: "double"}  # what kernels are made for


@dataclass(frozen=True)
class Loaded:
    """One recurrence, ready to be called."""

    kernel: Kernel
    forward: Any
    backward: Any
    outers: tuple[Outer, ...]
    shapes: tuple[tuple[int, ...], ...]  # of what follows
    further: tuple[tuple[int, ...], tuple[int, ...]]  # entries of the streams, and of the statics, that only what follows reads
    saves: tuple[int, ...]  # entries that a step has of each product that is saved for the backward pass, 0 of one that is computed again
    hypers: Any  # double*
    segment: int  # how many steps lie between states from which those of all can be made again; 1 where they cannot


@dataclass(frozen=True)
class LoadedStep:
    """The function of one step, ready to be called."""

    function: Any
    hypers: Any
    shapes: tuple[tuple[int, ...], ...]  # of the outputs


_steps: dict[tuple, LoadedStep] = {}


def source_of(kernels: Kernels, sizes: dict[str, int], dtype: torch.dtype, one_step: bool = False) -> str:
    """The C++ text of a cell's kernels at given sizes and dtype: of its sweeps over time, or of a single step, so that who needs one waits for one."""
    constants = [f"constexpr long {kernels.sizes[n]} = {v};" for n, v in sizes.items()]
    return "\n".join([f"using T = {TYPES[dtype]};", *constants, *["#define ONE_STEP"] * one_step, kernels.source])


def load(cls: Any, name: str, sizes: dict, hypers: dict, dtype: torch.dtype) -> Loaded:
    """The kernels of a class's recurrence; builds them where they are not built yet. Raises what `build.load` does."""
    kernels: Kernels = cls._kernels["cpu"]
    library = build.load(source_of(kernels, sizes, dtype), cls.__name__)
    kernel = kernels.kernels[name]
    forward, backward = (function_of(library, f"{kernel.name}_{direction}") for direction in ("forward", "backward"))
    outers = _outers(table(library, f"{kernel.name}_outers"))
    saves = _saves(table(library, f"{kernel.name}_saves"))
    shapes, read = _shapes(table(library, f"{kernel.name}_shapes")), table(library, f"{kernel.name}_further")
    further = _row(read), _row(read)
    segment = next(table(library, f"{kernel.name}_segment")) if kernel.segments else 1
    return Loaded(kernel, forward, backward, outers, shapes, further, saves, doubles(hypers), segment)


def function_of(library: ctypes.CDLL, name: str, further: Sequence[Any] = ()) -> Any:
    """A function of a library that takes kernel.h's Call, and further arguments of these types. Raises BuildFailed where the library lacks it."""
    found = _symbol(library, name)
    found.argtypes, found.restype = [ctypes.c_char_p, *further], None
    return found


def _symbol(library: ctypes.CDLL, name: str) -> Any:
    try:
        return getattr(library, name)
    except AttributeError:
        hint = "remove it, and it is built again"
        raise build.BuildFailed(f"the library of a kernel lacks `{name}`; it was made by another compiler, or is damaged: {library._name}; {hint}") from None


def doubles(hypers: dict[str, float]) -> Any:
    """Hyperparameters as a kernel takes them."""
    return (ctypes.c_double * max(1, len(hypers)))(*hypers.values())


def table(library: ctypes.CDLL, name: str) -> Iterator[int]:
    """The numbers of a table in a library; its first one says how many entries follow, of as many numbers as its reader knows."""
    numbers = ctypes.cast(_symbol(library, name), ctypes.POINTER(ctypes.c_int64))
    return (numbers[i] for i in itertools.count())


def _row(read: Iterator[int]) -> tuple[int, ...]:
    return tuple(next(read) for _ in range(next(read)))


def _shapes(read: Iterator[int]) -> tuple[tuple[int, ...], ...]:
    return tuple(_row(read) for _ in range(next(read)))


def _outers(read: Iterator[int]) -> tuple[Outer, ...]:
    """The outer products that a table tells of."""
    found = []
    for _ in range(next(read)):
        index, first, rounds, further, common, left, right, rank = (next(read) for _ in range(8))
        sizes, order = ([next(read) for _ in range(rank)] for _ in range(2))
        found.append(Outer(index, first, rounds, further, common, left, right, tuple(sizes), tuple(order), next(read)))
    return tuple(found)


def _saves(read: Iterator[int]) -> tuple[int, ...]:
    """The products that a table tells of. An entry costs as much to keep as a few terms: short sums are computed again, all are where
    RNNDSL_RECOMPUTE is set."""
    pairs = [(next(read), next(read)) for _ in range(next(read))]
    least = float("inf") if os.environ.get("RNNDSL_RECOMPUTE", "0") not in ("", "0") else _LEAST_TERMS
    return tuple(entries if terms >= least else 0 for entries, terms in pairs)


def step_of(layer: Layer, dtype: torch.dtype) -> LoadedStep:
    """The function of one step of a layer; builds it where it is not built yet. Raises what `build.load` does."""
    kernels: Kernels = type(layer)._kernels["cpu"]
    key = (kernels.digest, layer._header_text, dtype)
    if key not in _steps:
        library = build.load(source_of(kernels, layer._sizes, dtype, one_step=True), f"{type(layer).__name__}_step")
        assert kernels.step is not None
        name = kernels.step.name
        read = table(library, f"{name}_shapes")
        shapes = tuple(tuple(next(read) for _ in range(next(read))) for _ in kernels.step.outputs)
        _steps[key] = LoadedStep(function_of(library, name), doubles(layer._hypers), shapes)
    return _steps[key]
