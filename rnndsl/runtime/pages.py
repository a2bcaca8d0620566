"""New memory in large pages. The first write to a page costs a microsecond, whatever its size: a recurrence that fills a few MB in less than a
millisecond would wait longer for its pages than it computes."""

import ctypes
import mmap
from collections.abc import Sequence

from torch import Tensor

from rnndsl.runtime.memory import extent

_LARGE = 1 << 21  # bytes of a large page
_FROM = 1 << 20  # a tensor of fewer bytes is left alone


def _find_advice() -> "ctypes._NamedFuncPointer | None":
    """The function that tells a system how memory will be used; None where there is none, or where it has no large pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        advice = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
    advice.argtypes, advice.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    return advice


_advise = _find_advice()


def new_empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """`like.new_empty(shape)` for which the system is asked for large pages. It may decline: a hint cannot fail."""
    made = like.new_empty(shape)
    if _advise is not None and type(made) is Tensor and made.device.type == "cpu" and made.numel() * made.element_size() >= _FROM:
        begin, end = extent(made)
        first = begin // _LARGE * _LARGE
        _advise(first, (end - first + _LARGE - 1) // _LARGE * _LARGE, mmap.MADV_HUGEPAGE)
    return made
