"""Sequences of different lengths whose time is divided over ranks: what a rank has of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnndsl.nn.ragged import EndToEnd, Padded, Whole, end_to_end, padded
from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD, Shard, make_anew
from rnndsl.runtime.ranks.wire import wire_of


def part_of(shards: Any, batch: int, steps: int, lengths: Any, cu_seqlens: Any, device: torch.device) -> Whole:
    """The part that a rank has of sequences. steps: its own; lengths, cu_seqlens: of the whole sequences, the same on every rank, one of them or none. Raises
    what `ragged.padded` and `end_to_end` raise of all steps, and ValueError for what a block gives."""
    if isinstance(lengths, Whole):
        raise ValueError("group: blocks and language models run in one process; their convolutions would look over borders between ranks")
    wire = wire_of(shards.group)
    wire.calls += 1
    each = [int(n) for (n,) in wire.gather((wire.calls,), [torch.tensor(steps)], "before a call of a stack")]
    offset, total = sum(each[: wire.rank]), sum(each)
    if lengths is not None:
        return PaddedPart(shards, each, padded(lengths, batch, total, device).lengths, offset)
    if cu_seqlens is not None:
        return EndToEndPart(shards, each, end_to_end(cu_seqlens, total, device).borders, offset)
    return Whole(batch, steps)


class PaddedPart(Padded):
    """A rank's part of sequences with padding behind. until: how long they are in all; offset: the number of the rank's first step."""

    def __init__(self, shards: Any, each: list[int], until: Tensor, offset: int):
        steps = each[wire_of(shards.group).rank]
        super().__init__((until - offset).clamp(0, steps), steps)
        self.shards, self.each, self.until, self.offset = shards, each, until, offset

    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        return _collected(self, after, before, torch.arange(self.count, device=self.until.device), self.until - 1, self.until == 0)


class EndToEndPart(EndToEnd):
    """A rank's part of one row of sequences. borders: of all steps; offset: the number of the rank's first step."""

    def __init__(self, shards: Any, each: list[int], borders: Tensor, offset: int):
        super().__init__(borders, each[wire_of(shards.group).rank])
        self.shards, self.each, self.offset = shards, each, offset

    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        here = torch.arange(self.offset, self.offset + self.steps, device=self.borders.device)
        begins = torch.isin(here, self.borders[:-1]).unsqueeze(0)
        return begins if reset is None else begins | reset

    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        at = self.borders[1:] - 1
        return _collected(self, after, before, torch.zeros_like(at), at, self.borders.diff() == 0)


def _collected(part: Any, after: Sequence[Tensor], before: Sequence[Tensor], rows: Tensor, at: Tensor, is_empty: Tensor) -> list[Tensor]:
    """Of states [B, T, ...] of all ranks those of row and step, [N, ...]; what rank 0 had before, where there is no step."""
    wire = wire_of(part.shards.group)
    wire.calls += 1
    shard = Shard(part.shards, after[0].device, part.each, any(a.requires_grad for a in after))
    here = at - part.offset
    picked = []
    for a, b in zip(after, before, strict=True):
        found = a[rows, here.clamp(0, a.shape[1] - 1)] if a.shape[1] else a.new_zeros((rows.shape[0], *a.shape[2:]))
        empty = is_empty.reshape(-1, *[1] * (found.dim() - 1))
        picked.append(torch.where(empty, b.to(a.dtype), found))
    borders = torch.tensor(part.each, device=at.device).cumsum(0)
    owner = torch.where(is_empty, 0, torch.searchsorted(borders, at, right=True).clamp(max=shard.size - 1))
    return list(shard.recorded(_Collected, owner, *picked))


class _Collected(torch.autograd.Function):
    """Of each row the values of the rank that has it, on all ranks. owner: int64 [N], that rank."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, owner: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.shard, ctx.owner, ctx.tag = shard, owner, shard.tag()
        ctx.save_for_backward(anchor)
        found = [torch.stack(v) for v in zip(*shard.wire.gather((*ctx.tag, FORWARD), values, "collecting states"), strict=True)]
        rows = torch.arange(owner.shape[0], device=owner.device)
        results = [f[owner, rows] for f in found]
        ctx.mark_non_differentiable(*(r for r in results if not (r.is_floating_point() or r.is_complex())))
        return *results, anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        make_anew(ctx)
        found = ctx.shard.wire.gather((*ctx.tag, BACKWARD), grads[:-1], "collecting the gradients of states")
        mine = ctx.owner == ctx.shard.rank
        of_values = []
        for each in zip(*found, strict=True):
            total = sum(each[1:], each[0])
            of_values.append(torch.where(mine.reshape(-1, *[1] * (total.dim() - 1)), total, torch.zeros_like(total)))
        return None, None, None, *of_values
