"""Sequences whose time is divided over ranks, as stacks and blocks see them: the part that a rank has, and what its neighbours have beside it."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from rnndsl.nn.ragged import EndToEnd, Padded, Whole, end_to_end, padded
from rnndsl.runtime.ranks.line import RankError, check_modes, known
from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD, FromLast, Opened, Shard, make_anew
from rnndsl.runtime.ranks.wire import wire_of
from rnndsl.runtime.sharded import as_it_is


@as_it_is
def part_of(shards: Any, batch: int, steps: int, lengths: Any, cu_seqlens: Any, has_state: bool, device: torch.device) -> "Part":
    """The part that a rank has of sequences. steps: its own; lengths, cu_seqlens: of the whole sequences, the same on every rank, one of them or none. Raises
    what `ragged.padded` and `end_to_end` raise of all steps; ValueError where both are given, a row is not alone, or there is a state, which sequences inside a
    row cannot be given; RankError where ranks differ in them."""
    if cu_seqlens is not None and (lengths is not None or has_state or batch != 1):
        raise ValueError("cu_seqlens: over ranks expected a batch of one, in which sequences stand end to end, no lengths and no state")
    check_modes()
    wire = wire_of(shards)
    mine = torch.tensor([steps, torch.is_grad_enabled(), batch, _digest(lengths), _digest(cu_seqlens)])
    said = [t.tolist() for (t,) in wire.gather((wire.begun(),), [mine], "before a call of a stack")]
    for i, what in enumerate(("batch", "lengths", "cu_seqlens"), 2):
        r = next((r for r, one in enumerate(said) if one[i] != said[0][i]), None)
        if r is not None:
            raise known(RankError(f"ranks do not fit one another: {what} differ on rank 0 and rank {r}; they are those of whole sequences, the same on all"))
    shard = Shard(shards, device, [int(one[0]) for one in said], any(one[1] for one in said))
    total = sum(shard.steps)
    if lengths is not None:
        return PaddedPart(shard, padded(lengths, batch, total, device).lengths)
    if cu_seqlens is not None:
        return EndToEndPart(shard, end_to_end(cu_seqlens, total, device).borders)
    return Part(shard, batch)


def _digest(numbers: Any) -> int:
    """A number that depends on all of `numbers`."""
    return 0 if numbers is None else 1 + zlib.crc32(repr(torch.as_tensor(numbers).tolist()).encode())


class Part(Whole):
    """A rank's part of whole rows. offset: the number of its first step."""

    def __init__(self, shard: Shard, count: int):
        Whole.__init__(self, count, shard.steps[shard.rank])
        self.shard, self.shards, self.offset = shard, shard.shards, sum(shard.steps[: shard.rank])

    def turned(self, x: Tensor) -> Tensor:
        return x.flip(1)  # and so are ranks, by `over`

    def over(self, backward: bool) -> dict[str, Any]:
        # against time the state is left on the first rank, and wanted on the last
        return {"group": replace(self.shards, is_turned=True, final_state="all", positions=None) if backward else self.shards}

    @as_it_is
    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        own = self._against(reset) if backward else reset
        marks = self._marks(backward)
        own = marks if own is None else own if marks is None else own | marks
        return own if own is None or not backward else self.turned(own)

    def _marks(self, backward: bool) -> Tensor | None:
        """Before which steps, in the order of time, another sequence begins, bool [B, T]."""
        return None

    def _against(self, reset: Tensor | None) -> Tensor | None:
        """Of resets before steps in time those before steps against it, in the order of time: what lies before step t + 1 lies before step t. None where no
        rank has any."""
        shard = self.shard
        first = torch.zeros(self._rows, dtype=torch.bool) if reset is None or not self.steps else reset[:, 0]
        found = shard.wire.gather((*shard.tag(), FORWARD), [first.to(shard.device), torch.tensor(reset is not None)], "handing resets to the rank before")
        if not any(bool(has) for _, has in found):
            return None
        behind = next((found[r][0] for r in range(shard.rank + 1, shard.size) if shard.steps[r]), torch.zeros_like(found[0][0]))
        own = torch.zeros(self._rows, self.steps, dtype=torch.bool, device=shard.device) if reset is None else reset
        return torch.cat([own[:, 1:], behind.unsqueeze(1)], 1)[:, : self.steps]

    @property
    def _rows(self) -> int:
        return self.count

    @as_it_is
    def beside(self, x: Tensor, before: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        shard, past = self.shard, before.shape[1]
        before = before.to(x.dtype)
        (found,) = shard.recorded(_Before, torch.cat([before, x], 1)[:, x.shape[1] :], before)
        own = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device) if reset is None else reset
        last = nn.functional.pad(own, (past, 0))[:, own.shape[1] :]
        said = shard.wire.gather((*shard.tag(), FORWARD), [last, torch.tensor(reset is not None)], "handing resets to the next rank")
        if not any(bool(has) for _, has in said):
            return found, None, None
        resets = torch.zeros_like(last)
        for r, low, high in _sources(shard, past, shard.rank):
            resets[:, low:high] = said[r][0][:, past - (high - low) :]
        return found, resets, own

    @as_it_is
    def kept(self, values: Tensor) -> Tensor | None:
        """Of what stands at the end of each sequence, right on the rank where that is: on the ranks that are to have it; None on others."""
        if self.shards.final_state == "all":
            (values,) = self.shard.recorded(FromLast, values)
        return values if self._has_state else None

    @property
    def _has_state(self) -> bool:
        return self.shards.final_state == "all" or self.shard.rank == self.shard.size - 1

    @as_it_is
    def attached(self, y: Tensor) -> Tensor:
        (found,) = self.shard.attached([y])
        return found

    @as_it_is
    def runner(self, *modules: nn.Module | None) -> Callable[..., Any]:
        params = list({id(p): p for m in modules if m is not None for p in m.parameters() if p.requires_grad}.values())
        if not self.shards.reduce or not self.shard.grads or not params:
            return super().runner(*modules)
        if any(isinstance(p, torch.distributed.tensor.DTensor) for p in params):
            raise ValueError("group: parts of a block are sharded by themselves; have FSDP2 shard whole blocks, or leave all sums of gradients to it: rnndsl.Shards(group, reduce=False)")
        opened = dict(zip(map(id, params), self.shard.recorded(Opened, len(params), *params), strict=True))

        def run(module: nn.Module, *given: Any) -> Any:
            return functional_call(module, {n: opened[id(p)] for n, p in module.named_parameters() if id(p) in opened}, given)

        return run

    @as_it_is
    def total(self, count: Tensor) -> Tensor:
        shard = self.shard
        return torch.stack([n for (n,) in shard.wire.gather((*shard.tag(), FORWARD), [count], "counting")]).sum(0)


class PaddedPart(Part, Padded):
    """A rank's part of sequences with padding behind. until: how long they are in all."""

    def __init__(self, shard: Shard, until: Tensor):
        Part.__init__(self, shard, until.shape[0])
        Padded.__init__(self, (until - self.offset).clamp(0, self.steps), self.steps)
        self.until = until

    def resets(self, reset: Tensor | None, backward: bool) -> Tensor | None:
        return super().resets(None if reset is None else reset & self.real, backward)

    def _marks(self, backward: bool) -> Tensor | None:
        # against time padding comes first
        return ~self.real | (self.time + self.offset == self.until.unsqueeze(1) - 1) if backward else ~self.real

    @as_it_is
    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        rows = torch.arange(self.count, device=self.until.device)
        return _collected(self, after, before, rows, torch.zeros_like(self.until) if backward else self.until - 1, self.until == 0, backward)

    @as_it_is
    def kept(self, values: Tensor) -> Tensor | None:
        found = _of_owners(self, [values], self.until - 1, self.until == 0)
        return found[0] if self._has_state else None


class EndToEndPart(Part, EndToEnd):
    """A rank's part of one row of sequences. borders: of all steps."""

    def __init__(self, shard: Shard, borders: Tensor):
        Part.__init__(self, shard, borders.shape[0] - 1)
        self.borders = borders

    @property
    def _rows(self) -> int:
        return 1

    def _marks(self, backward: bool) -> Tensor | None:
        here = torch.arange(self.offset, self.offset + self.steps, device=self.borders.device)
        return torch.isin(here, self.borders[1:] - 1 if backward else self.borders[:-1]).unsqueeze(0)

    def ends(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(self.borders[1:]), (self.borders[1:] - self.offset).clamp(0, self.steps)

    @as_it_is
    def ended(self, after: Sequence[Tensor], before: Sequence[Tensor], backward: bool) -> list[Tensor]:
        at = self.borders[:-1] if backward else self.borders[1:] - 1
        return _collected(self, after, before, torch.zeros_like(at), at, self.borders.diff() == 0, backward)

    @as_it_is
    def kept(self, values: Tensor) -> Tensor | None:
        found = _of_owners(self, [values], self.borders[1:] - 1, self.borders.diff() == 0)
        return found[0] if self._has_state else None


def _collected(part: Part, after: Sequence[Tensor], before: Sequence[Tensor], rows: Tensor, at: Tensor, is_empty: Tensor, backward: bool) -> list[Tensor]:
    """Of states [B, T, ...] of all ranks those of row and step, [N, ...]; what there was before, where there is no step."""
    here, shard = at - part.offset, part.shard
    begun = [b.requires_grad for b in before]
    if any(begun) and shard.shards.reduce and shard.grads:  # of params, on every rank
        summed = iter(shard.recorded(Opened, sum(begun), *(b for b in before if b.requires_grad)))
        before = [next(summed) if has else b for b, has in zip(before, begun, strict=True)]
    picked = []
    for a, b in zip((part.turned(a) for a in after) if backward else after, before, strict=True):
        found = a[rows, here.clamp(0, a.shape[1] - 1)] if a.shape[1] else a.new_zeros((rows.shape[0], *a.shape[2:]))
        picked.append(torch.where(is_empty.reshape(-1, *[1] * (found.dim() - 1)), b.to(a.dtype), found))
    return _of_owners(part, picked, at, is_empty)


def _of_owners(part: Part, values: Sequence[Tensor], at: Tensor, is_empty: Tensor) -> list[Tensor]:
    """Values [N, ...], each row as the rank has it that has a step; rank 0 has those of no step."""
    borders = torch.tensor(part.shard.steps, device=at.device).cumsum(0)
    owner = torch.where(is_empty, 0, torch.searchsorted(borders, at, right=True).clamp(max=part.shard.size - 1))
    return list(part.shard.recorded(_OfOwners, owner, *values))


class _OfOwners(torch.autograd.Function):
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


class _Before(torch.autograd.Function):
    """What comes before a rank's steps, [B, past, ...]. last: the last of what it has itself, which is of use as far as it has steps, on rank 0 all of it;
    before: what rank 0 was given."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, last: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shard, ctx.tag = shard, shard.tag()
        ctx.save_for_backward(anchor)
        said = shard.wire.gather((*ctx.tag, FORWARD), [last], "handing inputs to the next rank")
        found, past = before.clone(), before.shape[1]
        for r, low, high in _sources(shard, past, shard.rank):
            found[:, low:high] = said[r][0][:, past - (high - low) :]
        return found, anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
        make_anew(ctx)
        shard, past = ctx.shard, grad.shape[1]
        said = shard.wire.gather((*ctx.tag, BACKWARD), [grad], "handing gradients of inputs to the rank before")
        of_last = torch.zeros_like(grad)
        for rank in range(shard.rank + 1, shard.size):
            for r, low, high in _sources(shard, past, rank):
                if r == shard.rank:
                    of_last[:, past - (high - low) :] += said[rank][0][:, low:high]
        return None, None, of_last, torch.zeros_like(grad) if shard.rank else grad


def _sources(shard: Shard, past: int, rank: int) -> list[tuple[int, int, int]]:
    """Of the `past` steps before a rank's own, which ranks have them: (rank, from, to)."""
    found, high = [], past
    for r in reversed(range(rank)):
        low = high - min(high, past if r == 0 else shard.steps[r])
        if low < high:
            found.append((r, low, high))
        high = low
    return found
