"""A recurrence over ranks by repetition: each rank runs its shard from a guessed state, then again from what the rank before leaves, as far as that matters.

It is the method of rounds with no maps, for cells whose channels meet: after k rounds the first k + 1 ranks are exact whatever the cell does, so it takes no
more sweeps than one rank after the other. Where a cell forgets the state it began with, one round is enough, and most of it is not run: a shard is cut into
pieces of time, and where a piece begins with the state that it began with before, it and what is behind it stay. Backwards a recurrence is linear: what comes
back from the rank behind is pulled through by itself, until nothing is left of it, and added.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from rnndsl.runtime.ranks.crossing import kinds
from rnndsl.runtime.ranks.shard import BACKWARD, FORWARD
from rnndsl.runtime.ranks.sweeps import Sweep, Task, gap_between
from rnndsl.runtime.ranks.units import pulled
from rnndsl.runtime.torch.newton import TOLERANCE

STEPS = 512  # of the pieces at both ends of a shard, but of a short one, which is one piece


def cuts_of(steps: int) -> list[int]:
    """Where the pieces of a shard begin, and where the last one ends. From both ends each is twice as long as the one before: so they are few, and no more
    than about twice the steps are run again than need be, forwards and backwards."""
    ends, size = [0], STEPS
    while 2 * ends[-1] + 3 * size <= steps:
        ends.append(ends[-1] + size)
        size *= 2
    return [*ends, *(steps - e for e in reversed(ends))]


class ByRepeats:
    """Rounds that know nothing of shards but what they leave."""

    def solved(self, task: Task, given: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], tag: tuple[int, ...]) -> list[Sweep]:
        shard, solved = task.shard, task.solved
        with torch.set_grad_enabled(shard.grads):
            pieces, start = self.again(task, given, tensors, wanted), given
            share, seam = 0.0, 0.0
            while True:
                about = torch.tensor([share, seam], dtype=torch.float64)
                found = shard.wire.gather((*tag, solved.rounds, FORWARD), [start, pieces[-1].after, about], "comparing states at borders")
                if solved.rounds:
                    solved.sweeps += max(float(a[0]) for _, _, a in found)
                handed = [_handed(found, shard.steps, r) for r in range(shard.size)]
                gaps = [gap_between(h, begun) for h, (begun, _, _) in zip(handed, found, strict=True)]
                solved.gap = max(*gaps, *(float(a[1]) for _, _, a in found))
                if max(gaps) <= TOLERANCE[given.dtype] or solved.rounds == shard.size - 1:
                    return pieces
                solved.rounds += 1
                start = handed[shard.rank]
                share, seam = self._run_again(task, pieces, start, tensors, wanted, seam)

    def again(self, task: Task, before: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Sweep]:
        pieces: list[Sweep] = []
        cuts = cuts_of(task.call.steps)
        for low, high in pairwise(cuts):
            pieces.append(task.sweep(before, tensors, wanted, low, high))
            before = pieces[-1].after
        return pieces

    def _run_again(self, task: Task, pieces: list[Sweep], start: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool], seam: float) -> tuple[float, float]:
        """Runs pieces from another state, until one begins as it did. Returns the share of steps that were run, and the largest gap between pieces."""
        cuts = cuts_of(task.call.steps)
        for i, piece in enumerate(pieces):
            gap = gap_between(start, piece.before)
            if gap <= TOLERANCE[start.dtype]:
                return cuts[i] / max(1, cuts[-1]), max(seam, gap)
            pieces[i] = task.sweep(start, tensors, wanted, cuts[i], cuts[i + 1])
            start = pieces[i].after.detach()
        return 1.0, 0.0

    def pulled(self, task: Task, pieces: list[Sweep], grads: Sequence[Tensor | None], tag: tuple[int, ...], keep: bool) -> tuple[Tensor, list[Tensor | None]]:
        shard, sums = task.shard, _Sums(task, pieces)
        first = moved = sums.add(grads, torch.zeros_like(pieces[0].before))
        scale, least = None, torch.finfo(first.dtype).eps
        for k in range(shard.size - 1):
            found = [f for (f,) in shard.wire.gather((*tag, k, BACKWARD), [moved], "solving for gradients over ranks")]
            sizes = [f.abs().amax((1, 2), keepdim=True) if f.numel() else f.new_zeros(f.shape[0], 1, 1) for f in found]
            scale = torch.stack(sizes).amax(0) if scale is None else scale
            if all(bool((s <= least * scale).all()) for s in sizes[1:]):
                break
            behind = found[shard.rank + 1] if shard.rank < shard.size - 1 else torch.zeros_like(moved)
            moved = sums.add(None, behind, least * scale)
            first = first + moved
        return first, sums.found()


def _handed(found: Sequence[Sequence[Tensor]], steps: Sequence[int], rank: int) -> Tensor:
    """What a rank is to begin with: what the last one with steps before it leaves; else what rank 0 was given."""
    source = next((r for r in reversed(range(rank)) if steps[r]), None)
    return found[0][0] if source is None else found[source][1]


class _Sums:
    """The gradients of all that a shard reads, summed over what is pulled through it."""

    def __init__(self, task: Task, pieces: Sequence[Sweep]):
        self.pieces, self.of_time, self.kinds = pieces, task.of_time, kinds(pieces[0])
        self.places = [i for i, t in enumerate(pieces[0].inputs) if t.requires_grad]
        self.cuts = cuts_of(task.call.steps)
        self.sums: dict[int, Tensor] = {}

    def add(self, grads: Sequence[Tensor | None] | None, behind: Tensor, least: Tensor | None = None) -> Tensor:
        """Pulls the gradients of outputs, and of what is left, through all pieces, as far as more than `least` of them is there. Returns that of the
        state at the beginning."""
        parts: dict[int, list[Tensor]] = {i: [] for i in self.places}
        for n in reversed(range(len(self.pieces))):
            piece = self.pieces[n]
            if least is not None and bool((behind.abs() <= least).all()):
                behind = torch.zeros_like(behind)
                break
            seeds = [None] * len(piece.outputs) if grads is None else [self._cut(g, kind, n) for g, kind in zip(grads, self.kinds, strict=True)]
            behind, *given = pulled([*piece.outputs, piece.after], [piece.before, *(piece.inputs[i] for i in self.places)], [*seeds, behind])
            for i, g in zip(self.places, given, strict=True):
                if not self.of_time[i]:
                    self.sums[i] = self.sums[i] + g if i in self.sums else g
                elif i in self.sums:
                    self.sums[i][:, self.cuts[n] : self.cuts[n + 1]].add_(g)
                else:
                    parts[i].insert(0, g)
        self.sums |= {i: torch.cat(p, 1) for i, p in parts.items() if p}  # in memory of their own
        return behind

    def _cut(self, grad: Tensor | None, kind: int, n: int) -> Tensor | None:
        """What of the gradient of an output belongs to a piece."""
        if grad is not None and kind in (0, 2):
            return grad[:, self.cuts[n] : self.cuts[n + 1]]
        return grad if n == (len(self.pieces) - 1 if kind == 1 else 0) else None

    def found(self) -> list[Tensor | None]:
        return [self.sums.get(i) for i in range(len(self.of_time))]
