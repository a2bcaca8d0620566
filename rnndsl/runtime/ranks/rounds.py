"""A recurrence over ranks in rounds: each rank runs its shard from a guessed state, and says what it leaves and the Jacobian of that.

A rank is a lane of multiple shooting (Danieli et al., arXiv 2510.21450, has Newton's method over time; Bellen and Zennaro 1989 the shooting): a round gathers
what all ranks say, and corrects the states at all borders at once. Where the recurrence is affine one round is exact. Else rounds go on until no border has
a gap above the tolerance; after k rounds the first k + 1 ranks are exact, so there are fewer rounds than ranks. Backwards the recurrence is linear: one round.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD, Shard
from rnndsl.runtime.ranks.units import Units, jacobian, product, pulled

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}  # of a gap at a border, in units of 1 + the state there

_NOTHING: Any = None  # in place of a tensor


@dataclass
class Solved:
    """How it went: corrections of the states at borders, and the largest gap that was left."""

    rounds: int = 0
    gap: float = 0.0


@dataclass(frozen=True)
class Sweep:
    """A shard run from a state. before, after: that and what is left, [B, units, entries]; inputs, outputs: of its
    graph."""

    before: Tensor
    after: Tensor
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    counts: tuple[int, ...]  # of outputs: states of all steps, what is left, what follows, and states at the beginning


@dataclass(frozen=True)
class Task:
    """A recurrence of a call. local: what runs it on one rank."""

    shard: Shard
    units: Units
    local: Callable[[Call], Results]
    call: Call
    solved: Solved

    @property
    def groups(self) -> tuple[Sequence[Tensor], ...]:
        """What gradients flow to, but for the state at the beginning."""
        return self.call.streams, self.call.statics, self.call.initial, *(self.call.further or ((), ()))

    @property
    def emptied(self) -> "Task":
        """The same without the tensors of `groups`, which activation checkpointing may want to be rid of."""
        streams, statics, initial, *further = ([_NOTHING] * len(g) for g in self.groups)
        call = self.call._replace(streams=streams, statics=statics, initial=initial, first=(), guess=(), further=self.call.further and (further[0], further[1]))
        return replace(self, call=call)

    def sweep(self, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> Sweep:
        """Runs the shard from a state. wanted: which tensors gradients may be asked of."""
        with torch.enable_grad():
            own = before.detach().requires_grad_()
            inputs = tuple(t.detach().requires_grad_(w) for t, w in zip(tensors, wanted, strict=True))
            left = iter(inputs)
            streams, statics, initial, *further = (list(islice(left, len(g))) for g in self.groups)
            first = self.units.unpacked(own)
            call = self.call._replace(streams=streams, statics=statics, first=first, initial=initial, further=self.call.further and (further[0], further[1]))
            found = self.local(call)
            outputs = (*chain.from_iterable(found), *first)
            return Sweep(own, self.units.packed(found[1]), inputs, outputs, (*map(len, found), len(first)))


def shot(shard: Shard, units: Units, local: Callable[[Call], Results], call: Call, solved: Solved) -> tuple[Results, tuple[Tensor, ...]]:
    """The results of a recurrence on this rank, and what its first step saw. local: what runs it on one rank; call: `first` is right on rank 0."""
    counts: list[int] = []
    task = Task(shard, units, local, call, solved)
    found = shard.recorded(_Shot, task, counts, shard.tag(), len(call.first), *call.first, *chain.from_iterable(task.groups))
    left = iter(found)
    sequences, finals, follows, first = (tuple(islice(left, n)) for n in counts)
    return (sequences, finals, follows), first


class _Shot(torch.autograd.Function):
    """A recurrence over ranks; `counts` takes how many results there are of each kind, and states at the beginning behind them."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, task: Task, counts: list[int], tag: tuple[int, ...], fields: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        first, rest = tensors[:fields], tensors[fields:]
        wanted = ctx.needs_input_grad[6 + fields :]
        ctx.task, ctx.tag, ctx.wanted, ctx.fields = task.emptied, tag, wanted, fields
        ctx.is_kept = torch._C._autograd._top_saved_tensors_default_hooks(True) is None  # none wants what is saved elsewhere, or made anew
        # what is made anew in the backward pass needs nothing kept for it; without hooks, autograd notices what is changed in place before
        with nullcontext() if ctx.is_kept else saved_tensors_hooks(lambda t: t, lambda t: t):
            sweep = _solved(task, task.units.packed(first), rest, wanted, tag)
        ctx.sweep = sweep if ctx.is_kept and shard.grads else None
        if not ctx.is_kept:
            ctx.save_for_backward(sweep.before.detach(), *rest)
        counts.extend(sweep.counts)
        return *(o.detach() for o in sweep.outputs), anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        task, grads = ctx.task, grads[:-1]
        again = torch._C._autograd._get_current_graph_task_keep_graph()
        if ctx.is_kept and ctx.sweep is None:
            raise RuntimeError("a second backward pass over ranks: the first one was not told to retain the graph")
        sweep = ctx.sweep or task.sweep(*_parted(ctx.saved_tensors), ctx.wanted)
        ctx.sweep = sweep if ctx.is_kept and again else None
        shard: Shard = task.shard
        own = pulled(sweep.outputs, [sweep.before], grads)[0]
        found = shard.wire.gather((*ctx.tag, 0, BACKWARD), [own, jacobian(sweep.after, sweep.before)], "solving for gradients over ranks")
        behind = torch.zeros_like(own)  # what the rank behind hands back
        for c, matrix in reversed(found[shard.rank + 1 :]):
            behind = c + product(matrix.transpose(-1, -2), behind)
        inputs = [i for i in sweep.inputs if i.requires_grad]
        first, *given = pulled([*sweep.outputs, sweep.after], [sweep.before, *inputs], [*grads, behind], keep=again)
        left = iter(given)
        of_rest = [next(left) if i.requires_grad else None for i in sweep.inputs]
        of_first = task.units.unpacked(first) if shard.rank == 0 else [None] * ctx.fields
        return None, None, None, None, None, None, *of_first, *of_rest


def _parted(saved: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    return saved[0], saved[1:]


def _solved(task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> Sweep:
    """The shard, run from the state that the ranks before leave."""
    shard, solved = task.shard, task.solved
    tolerance = TOLERANCE[given.dtype]
    sweep = task.sweep(given, tensors, wanted)
    while solved.rounds < shard.size - 1:  # then every rank has begun with what the one before leaves, exactly
        k = 2 * solved.rounds
        if solved.rounds:
            found = shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after], "comparing states at borders")
            solved.gap = max((_gap(a[1], b[0]) for a, b in pairwise(found)), default=0.0)
            if solved.gap <= tolerance:
                return sweep
            maps = shard.wire.gather((*tag, k + 1, FORWARD), [jacobian(sweep.after, sweep.before)], "gathering the maps of shards")
            said = [(*states, *matrix) for states, matrix in zip(found, maps, strict=True)]
        else:
            said = [tuple(s) for s in shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after, jacobian(sweep.after, sweep.before)], "gathering the maps of shards")]
        start = said[0][0]
        for r in range(shard.rank):
            start = corrected(said[r], start, not shard.steps[r])
        solved.rounds += 1
        if not torch.equal(start, sweep.before):
            sweep = task.sweep(start, tensors, wanted)
    solved.gap = 0.0
    return sweep


def corrected(said: Sequence[Tensor], start: Tensor, is_empty: bool) -> Tensor:
    """What a shard leaves from another start than that from which it was run; where that is not finite, what it has left."""
    before, after, matrix = said
    if is_empty:
        return start
    moved = after + product(matrix, torch.where(start == before, 0.0, start - before))
    return torch.where(moved.isfinite(), moved, after)


def _gap(left: Tensor, taken: Tensor) -> float:
    """The largest difference between what a rank leaves and what the next one took; infinite where one is not a number."""
    gap = torch.where(left == taken, 0.0, (left - taken).abs() / (1 + left.abs()))
    return float(gap.nan_to_num(float("inf"), float("inf")).amax()) if gap.numel() else 0.0
