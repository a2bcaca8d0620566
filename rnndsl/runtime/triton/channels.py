"""What a generated file of Triton kernels says of a recurrence whose channels do not meet. Needs no triton."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from rnndsl.tiles import Work


@dataclass(frozen=True)
class Access:
    """Which entry of an array a channel reads: number `offset` + Σ stride · position, over some axes of the grid of channels.

    `direct`: a gradient was put where its entry was read; else there is one a channel, to be added up.
    """

    array: int
    axes: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]
    direct: bool

    def add(self, gradient: Tensor, channels: Tensor, lead: int) -> None:
        """Adds gradients of channels [*lead, *grid] to that of the array, contiguous [*lead, ...], in a fixed order."""
        grid = channels.shape[lead:]
        others = [lead + k for k in range(len(grid)) if k not in self.axes]
        total = channels.sum(others) if others else channels
        entries = prod(gradient.shape[lead:])
        outer = [entries * prod(gradient.shape[i + 1 : lead]) for i in range(lead)]
        gradient.as_strided(total.shape, (*outer, *self.strides), gradient.storage_offset() + self.offset).add_(total)


@dataclass(frozen=True)
class Channels:
    """The kernels of a recurrence whose channels do not meet, and how they are called.

    grid: the axes of its states. forms: how many real arrays each stream, static and carried value is. lags: of each slot;
    nearer: the slot that one further back was a step ago, else -1. boxes: bounds
    that a slot never leaves once all are inside, if the hyperparameters that it `assumes` have their defaults. `streams` and `statics` are the
    accesses that have gradients; `work` counts operations and special functions of each function.
    """

    family: str
    grid: tuple[int, ...]
    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    lags: tuple[int, ...]
    nearer: tuple[int, ...]
    boxes: tuple[tuple[float, float], ...]
    assumes: tuple[str, ...]
    own: tuple[int, int]  # how many streams and statics, first among them, the recurrence reads; the others are for what follows it
    follows: tuple[int, ...]  # how many real arrays each value is that follows
    stream_arrays: tuple[int, ...]
    static_arrays: tuple[int, ...]
    streams: tuple[Access, ...]
    statics: tuple[Access, ...]
    work: dict[str, tuple[int, int]]
    sequential: Any
    sequential_back: Any
    parallel: Any = None
    parallel_back: Any = None

    @property
    def count(self) -> int:
        """Channels of one row."""
        return prod(self.grid)

    @property
    def is_exact(self) -> bool:
        return self.family != "nonlinear"

    @property
    def costs(self) -> Work:
        """What the model of devices knows of them."""
        return Work(self.parallel is not None, self.is_exact, len(self.lags), len(self.streams), self.work)

    @property
    def boxed(self) -> list[int]:
        """The slots that have bounds."""
        return [i for i, box in enumerate(self.boxes) if box != (float("-inf"), float("inf"))]

    def covers(self, array: int, shape: Sequence[int]) -> bool:
        """Whether gradients put where they were read fill a stream's array of this shape."""
        direct = [a for a in self.streams if a.array == array]
        return all(a.direct for a in direct) and len(direct) * self.count == prod(shape)


def zeros_or_empty(t: Tensor, is_filled: bool, sums: torch.dtype) -> Tensor:
    """A contiguous tensor like another, to be filled, or to be added to: then of the dtype of sums."""
    return torch.empty(t.shape, dtype=t.dtype, device=t.device) if is_filled else torch.zeros(t.shape, dtype=sums, device=t.device)
