"""Calls of kernels: their arguments in the layout of kernel.h's Call, and the threads that they get."""

import ctypes
import os
import struct
from array import array
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

_CPU = torch.device("cpu")
SMALL = 1 << 15  # values of a call below which one thread does all


def rows(t: Tensor, lead: int) -> Tensor:
    """A tensor, or a copy, that a kernel can read: the axes after the first `lead` lie one behind the other, and what lies there are its
    entries, no others of which torch notes that a sign is to be turned, or that they are all zero."""
    if t.is_neg() or t.is_conj() or t._is_zerotensor():
        t = t.clone() if t._is_zerotensor() else t.resolve_conj().resolve_neg()
    if t.is_contiguous():
        return t
    expected = 1
    for size, stride in zip(reversed(t.shape[lead:]), reversed(t.stride()[lead:]), strict=True):
        if size != 1 and stride != expected:
            return t.contiguous()
        expected *= size
    return t


def require_readable(t: Tensor, dtypes: Container[torch.dtype], device: torch.device) -> int:
    """The address of a tensor. Raises RuntimeError unless what lies there, on a device, are its entries as they are, of one of these dtypes."""
    address = t.data_ptr()  # of a tensor that has none it raises RuntimeError
    if t.dtype not in dtypes or t.device != device or t.is_neg() or (address == 0 and t.numel()):
        raise RuntimeError(f"a kernel on {device} cannot read a tensor {list(t.shape)} of {t.dtype} on {t.device}: its entries do not lie there")
    return address


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


def call(function: Any, hypers: Any, batch: int, steps: int, work: int, arrays: list[int], reset: Tensor | None) -> None:
    """Calls a kernel with its arguments in the layout of kernel.h's Call; `arrays` are pointer and two strides each."""
    buffer = array("q", arrays)
    masked = (0, 0, 0) if reset is None else strided([reset], 2, torch.bool)
    function(struct.pack("=9q", batch, steps, threads(work), _team, ctypes.addressof(hypers), buffer.buffer_info()[0], *masked))


def values_of(first: Sequence[Tensor], lags: Sequence[int]) -> tuple[int, int]:
    """The batch, and how many values of states a step has."""
    return first[0].shape[0], sum(f.numel() for f, lag in zip(first, lags, strict=True) if lag == 1)
