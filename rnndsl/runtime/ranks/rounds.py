"""A recurrence over ranks in rounds: each rank runs its shard from a guessed state, and says what it leaves and the Jacobian of that.

A rank is a lane of multiple shooting (Danieli et al., arXiv 2510.21450, has Newton's method over time; Bellen and Zennaro 1989 the shooting): a round gathers
what all ranks say, and corrects the states at all borders at once. Where the recurrence is affine one round is exact. Else rounds go on until no border has
a gap above the tolerance; after k rounds the first k + 1 ranks are exact, so there are fewer rounds than ranks. Backwards the recurrence is linear: one round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD
from rnndsl.runtime.ranks.sweeps import TOLERANCE, Sweep, Task, gap_between
from rnndsl.runtime.ranks.units import jacobian, product, pulled


@dataclass(frozen=True)
class ByMaps:
    """Rounds that correct states at borders by the maps of shards, which are one piece each. is_affine: whether a map is the same whatever state a shard begins with, so
    that the backward pass needs no other."""

    is_affine: bool

    def solved(self, task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> list[Sweep]:
        with torch.enable_grad():
            sweep = _solved(task, given, tensors, wanted, tag)
        return [sweep if self.is_affine else replace(sweep, map=None)]

    def again(self, task: Task, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Sweep]:
        return [task.sweep(before, tensors, wanted)]

    def pulled(self, task: Task, pieces: list[Sweep], grads: Sequence[Tensor], tag: tuple[int, ...], keep: bool) -> tuple[Tensor, list[Tensor | None]]:
        (sweep,), shard = pieces, task.shard
        own = pulled(sweep.outputs, [sweep.before], grads)[0]
        found = shard.wire.gather((*tag, 0, BACKWARD), [own, jacobian(sweep.after, sweep.before, task.units.alike) if sweep.map is None else sweep.map], "solving for gradients over ranks")
        behind = torch.zeros_like(own)  # what the rank behind hands back
        for c, matrix in reversed(found[shard.rank + 1 :]):
            behind = c + product(matrix.transpose(-1, -2), behind)
        inputs = [i for i in sweep.inputs if i.requires_grad]
        first, *given = pulled([*sweep.outputs, sweep.after], [sweep.before, *inputs], [*grads, behind], keep=keep)
        left = iter(given)
        return first, [next(left) if i.requires_grad else None for i in sweep.inputs]


def _solved(task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> Sweep:
    """The shard, run from the state that the ranks before leave."""
    shard, solved = task.shard, task.solved
    tolerance = TOLERANCE[given.dtype]
    sweep = task.sweep(given, tensors, wanted)
    while solved.rounds < shard.size - 1:  # then every rank has begun with what the one before leaves, exactly
        k = 2 * solved.rounds
        if solved.rounds:
            found = shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after], "comparing states at borders")
            solved.gap = max((gap_between(a[1], b[0]) for a, b in pairwise(found)), default=0.0)
            if solved.gap <= tolerance:
                return sweep
            own = jacobian(sweep.after, sweep.before, task.units.alike)
            maps = shard.wire.gather((*tag, k + 1, FORWARD), [own], "gathering the maps of shards")
            said = [(*states, *matrix) for states, matrix in zip(found, maps, strict=True)]
        else:
            own = jacobian(sweep.after, sweep.before, task.units.alike)
            said = [tuple(s) for s in shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after, own], "gathering the maps of shards")]
        start = said[0][0]
        for r in range(shard.rank):
            start = corrected(said[r], start, not shard.steps[r])
        solved.rounds += 1
        solved.forgets = all(bool((m.abs() <= tolerance).all()) for (_, _, m), steps in zip(said, shard.steps, strict=True) if steps)
        sweep = replace(sweep if torch.equal(start, sweep.before) else task.sweep(start, tensors, wanted), map=own)
    solved.gap = 0.0
    return sweep


def corrected(said: Sequence[Tensor], start: Tensor, is_empty: bool) -> Tensor:
    """What a shard leaves from another start than that from which it was run; where that is not finite, what it has left."""
    before, after, matrix = said
    if is_empty:
        return start
    moved = after + product(matrix, torch.where(start == before, 0.0, start - before))
    return torch.where(moved.isfinite(), moved, after)
