"""The scan of maps of blocks, s[t] = A[t] ⊗ s[t-1] ⊕ b[t], in PyTorch's operations: with sums and products of numbers, or those of another semiring."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnndsl.families import LOG, MAX_PLUS

Block = Sequence[Sequence[Tensor | None]]  # rows of entries [B, C, *shape]; None is zero
Lanes = list[list[list[Tensor] | None]]  # of each entry what each step of all lanes has
_FAR = 1.6  # how far from the best number of steps a lane may be


@dataclass(frozen=True)
class Semiring:
    """added: a ⊕ (b ⊗ c), written to `out` where that is given; zero: that of ⊕."""

    zero: float
    product: Callable[[Tensor, Tensor], Tensor]
    added: Callable[..., Tensor]

    def mapped(self, row: Sequence[Tensor | None], values: Sequence[Tensor], added: Tensor, into: Tensor | None = None) -> Tensor:
        """added ⊕ Σ row ⊗ values; into: where it is to be."""
        pairs = [(entry, value) for entry, value in zip(row, values, strict=True) if entry is not None]
        for k, (entry, value) in enumerate(pairs):
            added = self.added(added, entry, value, out=into if k == len(pairs) - 1 else None)
        return added if pairs or into is None else into.copy_(added)


NUMBERS = Semiring(0.0, torch.mul, torch.addcmul)
SEMIRINGS = {  # by family of a recurrence
    MAX_PLUS: Semiring(-math.inf, torch.add, lambda a, b, c, out=None: torch.maximum(a, b + c, out=out)),
    LOG: Semiring(-math.inf, torch.add, lambda a, b, c, out=None: torch.logaddexp(a, b + c, out=out)),
}


class Scan:
    """The scan with the maps A, for any number of b; reverse: from the last step to the first, s[t] = A[t] ⊗ s[t+1] ⊕ b[t].

    Lanes of about sqrt(C / 2) steps run beside one another: first each from zero to its end, then the ends in turn, then each from its start. That
    is 2 C steps of work in about 2 sqrt(2 C) operations one after another, and C more for the products of A along lanes, which are made once.
    """

    def __init__(self, block: Block, steps: int, reverse: bool = False, semiring: Semiring = NUMBERS):
        self.steps, self.each, self.semiring = steps, _each(steps), semiring
        self.lanes = -(-steps // self.each)
        way = -1 if reverse else 1
        self.in_lane, self.along = range(self.each)[::way], range(self.lanes)[::way]
        self.block: Lanes = [[None if e is None else self._in_lanes(e) for e in row] for row in block]
        self.products = self._products() if self.lanes > 1 else []

    def __call__(self, added: Sequence[Tensor], before: Sequence[Tensor] = ()) -> list[Tensor]:
        """s of all steps. added: b, [B, C, *shape] each, one a row of the block; before: s before the first step, [B, *shape] each, or zero."""
        b = [self._in_lanes(e) for e in added]
        starts = [torch.full_like(e[0], self.semiring.zero) for e in b]
        for start, value in zip(starts, before, strict=False):
            start[:, self.along[0]] = value
        if self.lanes > 1:
            ends = [e[self.in_lane[0]] for e in b]
            for s in self.in_lane[1:]:
                ends = [self._plus(row, ends, e[s], s) for row, e in zip(self.block, b, strict=True)]
            here = [s[:, self.along[0]] for s in starts]
            for lane, further in itertools.pairwise(self.along):
                here = [self._plus(row, here, end[:, lane], lane) for row, end in zip(self.products, ends, strict=True)]
                for start, value in zip(starts, here, strict=True):
                    start[:, further] = value
        found = [e.new_empty((e.shape[0], self.lanes, self.each, *e.shape[2:])) for e in added]
        for s in self.in_lane:
            starts = [self._plus(row, starts, e[s], s, into[:, :, s]) for row, e, into in zip(self.block, b, found, strict=True)]
        return [f.flatten(1, 2)[:, : self.steps] for f in found]

    def _in_lanes(self, x: Tensor) -> list[Tensor]:
        """The steps of a lane, [B, lanes, *shape] each."""
        if self.steps < self.lanes * self.each:
            x = torch.cat([x, x.new_zeros((x.shape[0], self.lanes * self.each - self.steps, *x.shape[2:]))], 1)
        return list(x.unflatten(1, (self.lanes, self.each)).unbind(2))

    def _products(self) -> Lanes:
        """What lanes make of their starts, lane by lane."""
        k = len(self.block)
        product: list[list[Tensor | None]] = [[e if e is None else e[self.in_lane[0]] for e in row] for row in self.block]
        for s in self.in_lane[1:]:
            now = [[e if e is None else e[s] for e in row] for row in self.block]
            product = [[self._sum([(now[i][j], product[j][m]) for j in range(k)]) for m in range(k)] for i in range(k)]
        return [[None if p is None else list(p.unbind(1)) for p in row] for row in product]

    def _plus(self, row: Sequence[list[Tensor] | None], values: Sequence[Tensor], added: Tensor, at: int, into: Tensor | None = None) -> Tensor:
        """What a row of the map of one step, or lane, makes of values."""
        return self.semiring.mapped([None if entry is None else entry[at] for entry in row], values, added, into)

    def _sum(self, pairs: list[tuple[Tensor | None, Tensor | None]]) -> Tensor | None:
        total: Tensor | None = None
        for a, b in pairs:
            if a is not None and b is not None:
                total = self.semiring.product(a, b) if total is None else self.semiring.added(total, a, b)
        return total


def _each(steps: int) -> int:
    """The steps of a lane: a divisor of all steps near the best number, if there is one."""
    best = max(1, round(math.sqrt(steps / 2)))
    near = range(math.ceil(best / _FAR), math.floor(best * _FAR) + 1)
    return min((n for n in near if steps % n == 0), key=lambda n: abs(n - best), default=best)
