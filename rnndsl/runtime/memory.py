"""Tensors as memory that a kernel reads."""

from collections.abc import Container, Sequence

import torch
from torch import Tensor


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


def addresses(tensors: Sequence[Tensor]) -> list[int]:
    """Those of tensors that look as others of which `require_readable` has been asked: class, dtype, device and signs are theirs. Raises RuntimeError
    for one whose memory was freed."""
    found = [t.data_ptr() for t in tensors]
    if 0 in found and any(a == 0 and t.numel() for a, t in zip(found, tensors, strict=True)):
        raise RuntimeError("a kernel cannot read a tensor whose memory was freed")
    return found


def extent(t: Tensor) -> tuple[int, int]:
    """Where the entries of a new dense tensor begin and end, for what is said of that memory and reads none of it."""
    begin = t.data_ptr()
    return begin, begin + t.numel() * t.element_size()
