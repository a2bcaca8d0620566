"""A recurrence over ranks in rounds: each rank runs its shard from a guessed state, and says what it leaves and the Jacobian of that.

A rank is a lane of multiple shooting (Danieli et al., arXiv 2510.21450, has Newton's method over time; Bellen and Zennaro 1989 the shooting): a round gathers
what all ranks say, and corrects the states at all borders at once. Where the recurrence is affine one round is exact. Else rounds go on until no border has
a gap above the tolerance; after k rounds the first k + 1 ranks are exact, so there are fewer rounds than ranks. Backwards the recurrence is linear: one round.

Only ranks in between say a map: nobody reads that of a rank that has begun right, nor that of the last one. A sweep from a guess has a graph only where a map
is read off it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD
from rnndsl.runtime.ranks.sweeps import Sweep, Task, gap_between
from rnndsl.runtime.ranks.units import jacobian, product, pulled
from rnndsl.runtime.torch.newton import TOLERANCE


@dataclass(frozen=True)
class ByMaps:
    """Rounds that correct states at borders by the maps of shards, which are one piece each. is_affine: whether a map is the same whatever state a shard
    begins with, so that it is found once, and serves backwards too."""

    is_affine: bool

    def solved(self, task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> list[Sweep]:
        shard, solved, tolerance = task.shard, task.solved, TOLERANCE[given.dtype]
        by_graph = _is_between(task)

        def run(start: Tensor, has_graph: bool) -> Sweep:
            with torch.set_grad_enabled(has_graph):
                found = task.sweep(start, tensors, wanted)
            return found if has_graph or not shard.grads else replace(found, inputs=(), outputs=())  # memory of all steps

        sweep = run(given, by_graph or (shard.grads and shard.rank == 0))
        while solved.rounds < shard.size - 1:  # then every rank has begun with what the one before leaves, exactly
            k, is_read = 2 * solved.rounds, by_graph and solved.rounds < shard.rank
            if solved.rounds:
                found = shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after], "comparing states at borders")
                solved.gap = max((gap_between(a[1], b[0]) for a, b in pairwise(found)), default=0.0)
                if solved.gap <= tolerance:
                    return [sweep]
                own = _map(task, sweep, is_read)
                maps = shard.wire.gather((*tag, k + 1, FORWARD), [own], "gathering the maps of shards")
                said = [(*states, *matrix) for states, matrix in zip(found, maps, strict=True)]
            else:
                own = _map(task, sweep, is_read)
                said = [tuple(s) for s in shard.wire.gather((*tag, k, FORWARD), [sweep.before, sweep.after, own], "gathering the maps of shards")]
            start = said[0][0]
            for r in range(shard.rank):
                start = said[r][1] if r <= solved.rounds else corrected(said[r], start, not shard.steps[r])
            forgets = all(bool((m.abs() <= tolerance).all()) for (_, _, m), steps in zip(said, shard.steps, strict=True) if steps)
            solved.forgets = forgets and (solved.forgets or not solved.rounds)
            solved.rounds += 1
            if not torch.equal(start, sweep.before) or (shard.grads and not sweep.before.requires_grad):
                sweep = run(start, shard.grads or (by_graph and not self.is_affine))
            sweep = replace(sweep, map=own if self.is_affine and by_graph else None)
        solved.gap = 0.0
        return [sweep]

    def again(self, task: Task, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Sweep]:
        return [task.sweep(before, tensors, wanted)]

    def pulled(self, task: Task, pieces: list[Sweep], grads: Sequence[Tensor | None], tag: tuple[int, ...], keep: bool) -> tuple[Tensor, list[Tensor | None]]:
        (sweep,), shard = pieces, task.shard
        inputs = [i for i in sweep.inputs if i.requires_grad]

        def through(behind: Tensor) -> list[Tensor]:
            return pulled([*sweep.outputs, sweep.after], [sweep.before, *inputs], [*grads, behind], keep=keep)

        behind, is_last = torch.zeros_like(sweep.before), shard.rank == shard.size - 1
        own = behind
        if is_last:
            own, *given = through(behind)
        elif shard.rank:
            own = pulled(sweep.outputs, [sweep.before], grads)[0]
        matrix = _map(task, sweep, _is_between(task))
        found = shard.wire.gather((*tag, 0, BACKWARD), [own, matrix], "solving for gradients over ranks")
        if not is_last:
            for r in range(shard.size - 1, shard.rank, -1):  # what each hands back
                c, matrix = found[r]
                behind = c if r == shard.size - 1 else c + product(matrix.transpose(-1, -2), behind)
            own, *given = through(behind)
        left = iter(given)
        return own, [next(left) if i.requires_grad else None for i in sweep.inputs]


def _is_between(task: Task) -> bool:
    """Whether what others begin with is corrected by the map of this rank."""
    return 0 < task.shard.rank < task.shard.size - 1


def _map(task: Task, sweep: Sweep, is_read: bool) -> Tensor:
    """The Jacobian of what a shard leaves. Zeros are said in place of one that nobody reads; of two ranks nobody reads any."""
    if sweep.map is not None:
        return sweep.map
    if is_read:
        return jacobian(sweep.after, sweep.before, task.units.alike)
    batch, units, entries = sweep.before.shape
    return sweep.before.new_zeros(batch if task.shard.size > 2 else 0, units // task.units.alike, entries, entries)


def corrected(said: Sequence[Tensor], start: Tensor, is_empty: bool) -> Tensor:
    """What a shard leaves from another start than that from which it was run; where that is not finite, what it has left."""
    before, after, matrix = said
    if is_empty:
        return start
    moved = after + product(matrix, torch.where(start == before, 0.0, start - before))
    return torch.where(moved.isfinite(), moved, after)
