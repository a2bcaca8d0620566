"""Dtypes: what belongs to what, and which holds what."""

from collections.abc import Sequence

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


def is_narrower(dtype: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values of a dtype are values of a wanted one too: of the same kind (complex, real, whole), and no wider."""
    kinds = [(d.is_complex, d.is_floating_point, d is torch.bool) for d in (dtype, wanted)]
    return kinds[0] == kinds[1] and torch.promote_types(dtype, wanted) == wanted
