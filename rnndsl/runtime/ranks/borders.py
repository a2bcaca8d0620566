"""What the first step of a shard sees: the state that the rank before leaves, asked for where it is needed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD, Handed, Shard, make_anew


class Border:
    """One field of the state at the beginning of a shard. given: what the call was given, which is right on rank 0; found: what is right here, where it
    is known."""

    def __init__(self, shard: Shard, given: Tensor):
        self.shard, self.given = shard, given
        self.found: Tensor | None = None

    def before(self, sequence: Tensor) -> Tensor:
        """What the first step sees of a sequence [B, T, ...] one step late, [B, ...]."""
        if self.found is None:
            last = sequence[:, -1] if sequence.shape[1] else self.given
            (self.found,) = self.shard.recorded(Handed, last.to(self.given.dtype), self.given)
        return self.found

    def count(self, reset: Tensor | None, steps: int) -> Tensor:
        """The number of the first step, [B], where the field counts steps from the last reset on."""
        if self.found is None:
            here = torch.arange(1, steps + 1, device=self.given.device)
            at = torch.zeros_like(self.given) if reset is None or not steps else torch.where(reset, here, 0).amax(1)
            after = torch.where(at > 0, steps + 1 - at, steps)
            shard = self.shard
            ends = shard.wire.gather((*shard.tag(), FORWARD), [at > 0, after, self.given], "counting steps")
            count = ends[0][2]
            for r in range(shard.rank):
                is_new, left, _ = ends[r]
                count = torch.where(is_new, left, count + left)
            self.found = count
        return self.found


class Borders(tuple[Border, ...]):
    """The state at the beginning of a shard, field by field."""

    shard: Shard

    @staticmethod
    def of(shard: Shard, given: Sequence[Tensor]) -> "Borders":
        found = Borders(Border(shard, g) for g in given)
        found.shard = shard
        return found

    def once(self, drawn: Tensor) -> Tensor:
        """What is drawn once a sequence: as rank 0 has drawn it."""
        (found,) = self.shard.recorded(_FromFirst, drawn)
        return found


class _FromFirst(torch.autograd.Function):
    """The values of rank 0, on all."""

    @staticmethod
    def forward(ctx: Any, shard: Shard, anchor: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shard, ctx.tag = shard, shard.tag()
        ctx.save_for_backward(anchor)
        return shard.wire.gather((*ctx.tag, FORWARD), [value], "drawing noise once")[0][0], anchor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
        make_anew(ctx)
        found = ctx.shard.wire.gather((*ctx.tag, BACKWARD), [grad], "collecting the gradients of noise")
        return None, None, sum((g for (g,) in found[1:]), found[0][0]) if ctx.shard.rank == 0 else torch.zeros_like(grad)
