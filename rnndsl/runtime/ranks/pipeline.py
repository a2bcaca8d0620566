"""A recurrence over ranks as a pipeline: a rank goes on from the state of the rank before, over slices of the batch, so that ranks work side by side.

It is exact for every cell. Of n slices and R ranks, a rank is idle for R - 1 of n + R - 1 turns, behind each of which all ranks meet. Backwards it runs in
reverse, slice by slice.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD, Shard, make_anew

_SLICES = 4  # for each rank: then a rank is idle for a fifth of its time at most


def slices_of(batch: int, ranks: int) -> int:
    """Into how many slices a batch is cut."""
    return max(1, min(batch, _SLICES * ranks))


def piped(shard: Shard, local: Callable[[Call], Results], call: Call) -> tuple[Results, tuple[Tensor, ...]]:
    """The results of a recurrence on this rank, and what its first step saw. local: what runs it on one rank; call: `first` is right on rank 0."""
    batch = call.first[0].shape[0]
    n = slices_of(batch, shard.size)
    slices = [rows_of(call, k * batch // n, (k + 1) * batch // n) for k in range(n)]
    found: list[Results] = []
    begins: list[Sequence[Tensor]] = []
    tag, first = shard.tag(), slices[0].first
    for turn in range(n + shard.size - 1):
        k = turn - shard.rank  # the slice whose turn it is here
        if 0 <= k < n:
            begins.append(first)
            found.append(local(slices[k]._replace(first=first)))
        if turn == n + shard.size - 2:
            break
        given = found[k][1] if 0 <= k < n and shard.rank < shard.size - 1 else ()
        coming = slices[k + 1].first if 0 <= k + 1 < n else ()
        wanted = coming if shard.rank else ()
        handed = shard.recorded(_HandedOn, (*tag, turn), len(given), *given, *(f.detach() for f in wanted))
        first = handed if shard.rank else coming
    joined = tuple(tuple(map(_behind, zip(*group, strict=True))) for group in zip(*found, strict=True))
    return joined, tuple(map(_behind, zip(*begins, strict=True)))  # type: ignore[return-value]


def _behind(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def rows_of(call: Call, low: int, high: int) -> Call:
    """Some sequences of a call."""
    if (low, high) == (0, call.first[0].shape[0]):
        return call
    further = None if call.further is None else ([s[low:high] for s in call.further[0]], call.further[1])
    return call._replace(
        streams=[s[low:high] for s in call.streams],
        first=[f[low:high] for f in call.first],
        reset=None if call.reset is None else call.reset[low:high],
        guess=[None if g is None else g[low:high] for g in call.guess],
        further=further,
    )


class _HandedOn(torch.autograd.Function):
    """What the rank before leaves, where it has left something, while this one gives what it has left to the next. count: of its tensors; behind these are
    some like those that it wants."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, tag: tuple[int, ...], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.shard, ctx.tag, ctx.device = shard, tag, anchor.device
        ctx.save_for_backward(anchor)
        ctx.given = [torch.empty(t.shape, dtype=t.dtype, device="meta") for t in tensors[:count]]
        found = shard.wire.hand_on((*tag, FORWARD), tensors[:count], tensors[count:], 1, "handing states to the next rank")
        return *found, anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        make_anew(ctx)
        like = [torch.empty_like(t, device=ctx.device) for t in ctx.given]
        found = ctx.shard.wire.hand_on((*ctx.tag, BACKWARD), grads[:-1], like, -1, "handing gradients to the rank before")
        return None, None, None, None, *found, *(None for _ in grads[:-1])
