"""A recurrence that crosses the borders between ranks in rounds, as autograd sees it: one function of all that it reads."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from rnndsl.runtime.backend import Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.ranks.shard import Shard
from rnndsl.runtime.ranks.sweeps import Solved, Sweep, Task
from rnndsl.runtime.ranks.units import Units


class Rounds(Protocol):
    """How a shard finds the state that it begins with, and the gradient of what it leaves."""

    def solved(self, task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> list[Sweep]:
        """The shard, run from the state that the ranks before leave, one piece behind the other. given: right on rank 0."""

    def again(self, task: Task, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Sweep]:
        """The same, from a state that is right."""

    def pulled(self, task: Task, pieces: list[Sweep], grads: Sequence[Tensor | None], tag: tuple[int, ...], keep: bool) -> tuple[Tensor, list[Tensor | None]]:
        """The gradients of the state at the beginning and of all that gradients are asked of. grads: of `joined`, None where nothing depends on them."""


def crossed(way: Rounds, shard: Shard, units: Units, local: Callable[[Call], Results], call: Call, solved: Solved) -> tuple[Results, tuple[Tensor, ...]]:
    """The results of a recurrence on this rank, and what its first step saw. local: what runs it on one rank; call: `first` is right on rank 0."""
    counts: list[int] = []
    task = Task(shard, units, local, call, solved)
    found = shard.recorded(_Crossed, way, task, counts, shard.tag(), len(call.first), *call.first, *chain.from_iterable(task.groups))
    left = iter(found)
    sequences, finals, follows, first = (tuple(islice(left, n)) for n in counts)
    return (sequences, finals, follows), first


class _Crossed(torch.autograd.Function):
    """`counts` takes how many results there are of each kind, and states at the beginning behind them."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, way: Rounds, task: Task, counts: list[int], tag: tuple[int, ...], fields: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        first, rest = tensors[:fields], tensors[fields:]
        wanted = ctx.needs_input_grad[7 + fields :]
        ctx.way, ctx.task, ctx.tag, ctx.wanted, ctx.fields = way, task.emptied, tag, wanted, fields
        ctx.is_kept = is_kept()
        ctx.set_materialize_grads(False)  # what nothing reads costs kernels nothing
        # what is made anew in the backward pass needs nothing kept for it; without hooks, autograd notices what is changed in place before
        with nullcontext() if ctx.is_kept else saved_tensors_hooks(lambda t: t, lambda t: t):
            pieces = way.solved(task, task.units.packed(first), rest, wanted, tag)
        ctx.pieces = pieces if ctx.is_kept and shard.grads else None
        if not ctx.is_kept:
            ctx.save_for_backward(pieces[0].before.detach(), *rest)
        counts.extend(pieces[0].counts)
        return *joined(pieces), anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        task, way = ctx.task, ctx.way
        again = torch._C._autograd._get_current_graph_task_keep_graph()
        if ctx.is_kept and ctx.pieces is None:
            raise RuntimeError("a second backward pass over ranks: the first one was not told to retain the graph")
        pieces = ctx.pieces
        if pieces is None:
            before, *rest = ctx.saved_tensors
            with torch.enable_grad():
                pieces = way.again(task, before, rest, ctx.wanted)
        ctx.pieces = pieces if ctx.is_kept and again else None
        first, of_rest = way.pulled(task, pieces, grads[:-1], ctx.tag, again)
        of_first = task.units.unpacked(first) if task.shard.rank == 0 else [None] * ctx.fields
        return None, None, None, None, None, None, None, *of_first, *of_rest


def is_kept() -> bool:
    """Whether what is saved for the backward pass is known to stay as it is: nobody saves it elsewhere, or makes it anew."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # PyTorch 2.8
    return top is not None and top(True) is None


def joined(pieces: Sequence[Sweep]) -> list[Tensor]:
    """The outputs of pieces, one behind the other: what has steps joined, what is left by the last, states at the beginning of the first."""
    if len(pieces) == 1:
        return [o.detach() for o in pieces[0].outputs]
    found: list[Tensor] = []
    for kind, outputs in zip(kinds(pieces[0]), zip(*(p.outputs for p in pieces), strict=True), strict=True):
        found.append((outputs[-1] if kind == 1 else outputs[0] if kind == 3 else torch.cat(outputs, 1)).detach())
    return found


def kinds(sweep: Sweep) -> list[int]:
    """Of each output of a sweep, which of the kinds it is that `counts` counts."""
    return [kind for kind, n in enumerate(sweep.counts) for _ in range(n)]
