"""What the machine can do: the bytes that a recurrence must move, and how fast they can be copied."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LARGE = 1 << 28  # bytes of a copy that no cache holds


def stored_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes that hold the tensors; an axis along which a tensor repeats itself counts once."""
    total = 0
    for t in tensors:
        count = 1
        for size, stride in zip(t.shape, t.stride(), strict=True):
            count *= size if stride else min(size, 1)
        total += count * t.element_size()
    return total


def moved_bytes(streams: Sequence[Tensor], states: Sequence[Tensor], direction: str) -> int:
    """Bytes that a recurrence must move at least.

    Forward, each stream is read and each state sequence written. Backward, both are read again with the gradients of the
    state sequences, and the gradients of the streams are written. `both` is the sum. What does not grow with time is left out.
    """
    read, written = stored_bytes(streams), stored_bytes(states)
    forward = read + written
    return forward if direction == "forward" else forward + (read + written + written + read)


def copy_call(moved: int, device: torch.device) -> Callable[[], object]:
    """A copy that moves so many bytes: half of them are read, half are written."""
    source = torch.ones(max(moved // 2, 4) // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
