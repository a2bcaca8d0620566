"""Memory of large results, kept for later calls.

To touch new memory for the first time can take longer than the kernel that fills it, and after a training step the C library gives what was
freed back to the system. So the storage of a large result is kept, and used again once nothing else refers to it.
"""

import itertools
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1 << 20  # bytes; smaller results are left to PyTorch
LARGEST = 512 << 20  # bytes that are kept in all
# Bytes. A step reads and writes the same place of many arrays. Where these places are equal within a page, they contend for the same
# lines of the cache, and a load waits for a store that it has nothing to do with: so each result begins elsewhere in its first page.
_PAGE, _APART = 4096, 384



@dataclass(frozen=True)
class Room:
    """Memory of one size; a result begins at byte `start` of it."""

    storage: torch.UntypedStorage
    size: int
    start: int

    def references(self) -> tuple[int, int]:
        """How many refer to the memory: tensors and what was made of them, and Python objects that hold the storage itself."""
        return _use_count(self.storage._cdata), sys.getrefcount(self.storage)  # type: ignore[misc]


_kept: "OrderedDict[int, Room]" = OrderedDict()  # by address, the one used last at the end
_made = itertools.count()
_lock = threading.Lock()
_use_count = getattr(torch._C, "_storage_Use_Count", None)
_IDLE = Room(torch.UntypedStorage(1), 1, 0).references() if _use_count is not None else (0, 0)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A new tensor on the CPU, its entries not set; a large one may lie in memory that an earlier result has left."""
    size = math.prod(shape) * dtype.itemsize
    if _use_count is None or not SMALLEST <= size <= LARGEST // 4:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu")
    whole = _rounded(size)
    with _lock, torch.inference_mode(False), torch.no_grad():
        room = _idle_room(whole) or _new_room(whole)
        strides = torch.empty(tuple(shape), device="meta").stride()
        return torch.empty(0, dtype=dtype, device="cpu").set_(room.storage, room.start // dtype.itemsize, tuple(shape), strides)


def clear() -> None:
    """Gives back what is kept and not in use."""
    with _lock:
        _kept.clear()  # what is in use lives as long as its tensors


def _rounded(size: int) -> int:
    """A size of which there are few: eight between a power of two and the next."""
    unit = 1 << max(0, size.bit_length() - 4)
    return -(-size // unit) * unit


def _idle_room(size: int) -> Room | None:
    for address, room in _kept.items():
        if room.size == size and room.references() == _IDLE:
            _kept.move_to_end(address)
            return room
    return None


def _new_room(size: int) -> Room:
    """Makes a room and keeps it; those used longest ago make way, in use or not: they are then freed with their tensors."""
    room = Room(torch.UntypedStorage(size + _PAGE), size, next(_made) * _APART % _PAGE)
    _kept[room.storage.data_ptr()] = room
    while sum(r.size for r in _kept.values()) > LARGEST:
        _kept.popitem(last=False)
    return room
