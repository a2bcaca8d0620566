"""Calls of kernels: their arguments in the layout of kernel.h's Call, and the threads that they get."""

import ctypes
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.lags import kept
from rnndsl.runtime.memory import addresses, require_readable

_CPU = torch.device("cpu")
SMALL = 1 << 15  # values of a call below which one thread does all


def strided(tensors: Sequence[Tensor], lead: int, dtype: torch.dtype) -> list[int]:
    """Of each tensor, one behind the other: pointer, and strides of its first `lead` axes, batch and time; 0 for one that is not there.

    The only place where an address leaves Python for a kernel in C++. Raises RuntimeError for a tensor that cannot be read at one.
    """
    found: list[int] = []
    for t in tensors:
        address = require_readable(t, (dtype,), _CPU)
        found += (address, *t.stride()[:lead], *(0, 0)[lead:])
    return found


def _find_team() -> int:
    """The address of GNU OpenMP's function that starts a team, if PyTorch has brought it along; else 0."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value or 0
    except (AttributeError, OSError):
        return 0


def _forget_team() -> None:
    """A child has no threads of its parent's team, but would wait for them."""
    global _team
    _team = 0


_team = _find_team()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def threads(work: int) -> int:
    """How many threads a call of so many values gets."""
    return torch.get_num_threads() if work >= SMALL else 1


def invoke(function: Any, hypers: Any, batch: int, steps: int, work: int, arrays: list[int], reset: Tensor | None, every: int = 1) -> None:
    """Calls a kernel with its arguments in the layout of kernel.h's Call; `arrays` are pointer and two strides each."""
    buffer = array("q", arrays)
    masked = (0, 0, 0) if reset is None else strided([reset], 2, torch.bool)
    function(struct.pack("=10q", batch, steps, threads(work), _team, ctypes.addressof(hypers), buffer.buffer_info()[0], *masked, every))


@dataclass(frozen=True)
class Prepared:
    """A step, for tensors that lie as others did: at other addresses, with the same strides. arrays: of those others, as `invoke` takes them."""

    function: Any
    hypers: Any
    batch: int
    work: int
    arrays: list[int]

    def __call__(self, tensors: Sequence[Tensor]) -> None:
        """Raises RuntimeError for a tensor that has no memory."""
        arrays = self.arrays.copy()
        arrays[::3] = addresses(tensors)
        invoke(self.function, self.hypers, self.batch, 1, self.work, arrays, None)


def values_of(first: Sequence[Tensor], lags: Sequence[int]) -> tuple[int, int]:
    """The batch, and how many values of states a step has."""
    return first[0].shape[0], sum(f.numel() for f in first[: kept(lags)])
