"""Dtypes: what belongs to what, and which holds what."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_COMPLEX = {
    torch.float16: torch.complex32,
    torch.bfloat16: torch.complex64,
    torch.float32: torch.complex64,
    torch.float64: torch.complex128,
}
_REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}
HALF = (torch.bfloat16, torch.float16)
NUMBERS = frozenset((*_COMPLEX, *_REAL))  # what inputs hold; PyTorch promotes no float8


def complex_of(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision (complex64 for bfloat16, which has none)."""
    return _COMPLEX.get(dtype, dtype)


def real_of(dtype: torch.dtype) -> torch.dtype:
    """The real dtype of the same precision."""
    return _REAL.get(dtype, dtype)


def widest_dtype(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    """The narrowest dtype that holds the values of all."""
    first, *others = dtypes
    for dtype in others:
        first = first if dtype is first else torch.promote_types(first, dtype)
    return first


def cast_to(t: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in a dtype; the tensor itself where it has it."""
    return t if t.dtype is dtype else t.to(dtype)


def widened(t: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor as arithmetic takes it: a half one in `dtype`, any other as it is."""
    return t.to(dtype) if t.dtype in HALF else t


def dtype_of_products(computed: torch.dtype, inputs: Sequence[torch.dtype], held: set[torch.dtype], device: torch.device) -> torch.dtype:
    """In which dtype a call takes its products of params and sequences, computing all else in `computed`.

    That of autocast, where it is on; else that of half inputs which are all of one dtype, as long as params and consts (`held`) have no other half
    one. What is computed in float64 has its products there too.
    """
    if computed != torch.float32:
        return computed
    if _has_autocast(device):
        return torch.get_autocast_dtype(device.type)
    halves = {*inputs, *(d for d in held if d in HALF)}
    return inputs[0] if inputs and inputs[0] in HALF and len(halves) == 1 else computed


def without_autocast(device: torch.device) -> Any:
    """A context in which torch's operations keep the dtypes that they are given."""
    return torch.autocast(device.type, enabled=False) if _has_autocast(device) else contextlib.nullcontext()


def _has_autocast(device: torch.device) -> bool:
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def is_narrower(dtype: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values of a dtype are values of a wanted one too: of the same kind (complex, real, whole), and no wider."""
    kinds = [(d.is_complex, d.is_floating_point, d is torch.bool) for d in (dtype, wanted)]
    return kinds[0] == kinds[1] and (dtype in NUMBERS or not dtype.is_floating_point) and torch.promote_types(dtype, wanted) == wanted
