"""A recurrence over ranks as a pipeline: a rank goes on from the state of the rank before, over slices of the batch, so that ranks work side by side.

It is exact for every cell. Of n slices and R ranks, a rank is idle for R - 1 of n + R - 1 turns. Backwards it runs in reverse, slice by slice.
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
    found: list[Results] = []
    begins: list[Sequence[Tensor]] = []
    tag = shard.tag()
    for k in range(n):
        part = rows_of(call, k * batch // n, (k + 1) * batch // n)
        first = part.first
        if shard.rank:
            first = shard.recorded(_Received, (*tag, k), *(f.detach() for f in first))
        here = local(part._replace(first=first))
        if shard.rank < shard.size - 1:
            shard.recorded(_Sent, (*tag, k), *here[1])
        found.append(here)
        begins.append(first)
    shard.wire.flush("sending states to the next rank")
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


class _Received(torch.autograd.Function):
    """The state that the rank before leaves."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, tag: tuple[int, ...], *like: Tensor) -> tuple[Tensor, ...]:
        ctx.shard, ctx.tag = shard, tag
        ctx.save_for_backward(anchor)
        return *shard.wire.receive((*ctx.tag, FORWARD), like, shard.rank - 1, "waiting for the state of the rank before"), anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        make_anew(ctx)
        shard = ctx.shard
        shard.wire.send((*ctx.tag, BACKWARD), grads[:-1], shard.rank - 1, "sending gradients to the rank before")
        if ctx.tag[-1] == 0:  # the last to be run
            shard.wire.flush("sending gradients to the rank before")
        return None, None, None, *(None for _ in grads[:-1])


class _Sent(torch.autograd.Function):
    """The state that is left, to the next rank."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, tag: tuple[int, ...], *finals: Tensor) -> tuple[Tensor]:
        ctx.shard, ctx.tag = shard, tag
        ctx.save_for_backward(anchor)
        ctx.like = [torch.empty(f.shape, dtype=f.dtype, device="meta") for f in finals]
        ctx.device = finals[0].device
        shard.wire.send((*ctx.tag, FORWARD), finals, shard.rank + 1, "sending states to the next rank")
        return (anchor.new_zeros(()),)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple:
        make_anew(ctx)
        like = [torch.empty_like(f, device=ctx.device) for f in ctx.like]
        found = ctx.shard.wire.receive((*ctx.tag, BACKWARD), like, ctx.shard.rank + 1, "waiting for the gradients of the next rank")
        return None, None, None, *found
