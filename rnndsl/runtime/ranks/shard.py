"""One call of a layer over ranks, as one of them sees it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnndsl.runtime.ranks.line import Line
from rnndsl.runtime.ranks.options import Shards
from rnndsl.runtime.ranks.wire import Wire, wire_of

FORWARD, BACKWARD = 0, 1  # of tags


class Shard:
    """A call. steps: those of each rank; grads: whether any rank asks for gradients; then each takes part in the backward pass.

    Autograd runs backwards what a rank has recorded, the last first. What a rank gives to others is recorded in the same order on every rank, and what is
    recorded leaves a token, which all results of the call depend on: so each rank does the same in its backward pass, whatever its loss reads.
    """

    def __init__(self, shards: Shards, device: torch.device, steps: list[int], grads: bool):
        self.shards, self.device, self.steps, self.grads = shards, device, steps, grads
        self.wire: Wire = wire_of(shards)
        self.rank, self.size, self.call = self.wire.rank, self.wire.size, self.wire.line.calls
        self.passed = 0
        self.seen: Any = {}  # what rank 0 has seen of the layer's earlier calls, by which ways are chosen
        self.anchor = torch.zeros((), dtype=torch.float32, device=device, requires_grad=grads)  # what is recorded depends on it
        self.tokens: list[Tensor] = []

    def tag(self) -> tuple[int, int]:
        """What the next thing that crosses borders is known by."""
        self.passed += 1
        return self.call, self.passed

    def before(self, rank: int) -> int | None:
        """The last rank with steps before one; None where there is none."""
        return next((r for r in reversed(range(rank)) if self.steps[r]), None)

    def recorded(self, function: Any, *arguments: Any) -> Any:
        """The results of an autograd function of a shard, a token of which is kept."""
        *found, token = function.apply(self, self.anchor, *arguments)
        if self.grads:
            self.tokens.append(token)
        return found

    def opened(self, values: Sequence[Tensor], further: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Params and consts as the call uses them. further: what else gradients may be asked of."""
        if not self.grads:
            return tuple(values)
        places = [i for i, v in enumerate(values) if v.requires_grad]
        given = [*(values[i] for i in places), *(t for t in further if t.requires_grad)]
        found = dict(zip(places, self.recorded(Opened, len(places), *given), strict=True))
        (self.anchor,) = self.tokens
        return tuple(found.get(i, v) for i, v in enumerate(values))

    def attached(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Results of the call, which depend on all that was recorded."""
        if not self.tokens:
            return tuple(values)
        places = [i for i, v in enumerate(values) if v.is_floating_point() or v.is_complex()]
        found = dict(zip(places, _Attached.apply(self.wire.line, len(places), *(values[i] for i in places), *self.tokens), strict=True))
        return tuple(found.get(i, v) for i, v in enumerate(values))


def make_anew(ctx: Any) -> None:
    """Has activation checkpointing, where it is at work, run forwards again now: on every rank before anything is sent backwards, since that is sent forwards
    once more too, and ranks would wait for each other."""
    _ = ctx.saved_tensors


class _Attached(torch.autograd.Function):
    """Values as they are, which depend on tokens. Its backward pass is the first of the call's. Raises RuntimeError in one that is to have a graph."""

    @staticmethod
    def forward(ctx: Any, line: Line, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.line, ctx.tokens = line, len(tensors) - count
        return tuple(t.detach() for t in tensors[:count])  # no views: they may be changed in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        torch.autograd.Variable._execution_engine.queue_callback(_Ended(ctx.line))  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # here, where a backward pass comes to the layer, before anything is sent
            raise RuntimeError("group: a backward pass over ranks has no graph of its own, so there are no second derivatives (create_graph=True); a layer in one process has them")
        return None, None, *grads, *(grads[0].new_zeros((), dtype=torch.float32) for _ in range(ctx.tokens))


class _Ended:
    """Called at the end of a backward pass, which lets go of it in any case: so the others hear of one that fails, whoever is to blame."""

    def __init__(self, line: Line):
        self.line, self.errors, self.has_ended = line, line.errors, False

    def __call__(self) -> None:
        self.has_ended = True

    def __del__(self) -> None:
        if not self.has_ended and self.errors == self.line.errors:
            self.line.failed("its backward pass raised an error")


class Handed(torch.autograd.Function):
    """What the last rank with steps before this one leaves; on rank 0, what it was given."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, last: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shard, ctx.tag = shard, shard.tag()
        ctx.save_for_backward(anchor)
        mine = last if shard.steps[shard.rank] else first
        found = shard.wire.gather((*ctx.tag, FORWARD), [mine], "handing values to the next rank")
        source = source_of(shard, shard.rank)
        return (first.clone() if source is None else found[source][0]), anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
        make_anew(ctx)
        shard = ctx.shard
        found = shard.wire.gather((*ctx.tag, BACKWARD), [grad], "handing gradients to the rank before")
        theirs = [g for r, (g,) in enumerate(found) if source_of(shard, r) == shard.rank]
        total = sum(theirs[1:], theirs[0]) if theirs else torch.zeros_like(grad)
        has = bool(shard.steps[shard.rank])
        first = torch.zeros_like(grad) if shard.rank else grad + total if not has else grad
        return None, None, total if has else None, first


def source_of(shard: Shard, rank: int) -> int | None:
    """Whose value a rank is handed: that of the last one with steps before it, else that of rank 0, which has its own."""
    return None if rank == 0 else (shard.before(rank) or 0)


class FromLast(torch.autograd.Function):
    """The values of the last rank, on all."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.shard, ctx.tag = shard, shard.tag()
        ctx.save_for_backward(anchor)
        found = shard.wire.gather((*ctx.tag, FORWARD), values, "handing out the final state")
        ctx.mark_non_differentiable(*(f for f in found[-1] if not (f.is_floating_point() or f.is_complex())))
        return *found[-1], anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        make_anew(ctx)
        shard, given = ctx.shard, list(grads[:-1])
        found = shard.wire.gather((*ctx.tag, BACKWARD), given, "collecting the gradients of the final state")
        is_last = shard.rank == shard.size - 1
        return None, None, *(sum(g[1:], g[0]) if is_last else torch.zeros_like(g[0]) for g in zip(*found, strict=True))


class Opened(torch.autograd.Function):
    """Params as they are, whose gradients are summed over the ranks where that is wanted. Its token depends on all that gradients may be asked of, so that
    whoever asks for those of some, by torch.autograd.grad, has what crosses borders run too."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.shard, ctx.tag, ctx.further = shard, shard.tag(), len(tensors) - count
        ctx.save_for_backward(anchor)
        return *(v.view_as(v) for v in tensors[:count]), anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        make_anew(ctx)
        of_values: Sequence[Tensor] = grads[:-1]
        if of_values and ctx.shard.shards.reduce:
            of_values = ctx.shard.wire.summed((*ctx.tag, BACKWARD), of_values, "summing the gradients of params")
        return None, None, None, *of_values, *(None for _ in range(ctx.further))
