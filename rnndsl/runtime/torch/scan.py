"""The scan of affine maps of blocks, δ[t] = D[t] δ[t-1] + e[t], in PyTorch's operations."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Block = Sequence[Sequence[Tensor | None]]  # rows of entries [B, C, *shape]; None is zero
Values = list[Tensor | None]


def affine_scan(block: Block, added: Sequence[Tensor]) -> list[Tensor]:
    """δ of all steps, from δ = 0 before the first. added: e, [B, C, *shape] each, one a row of the block.

    Lanes of about sqrt(C / 2) steps run beside one another: first each from 0 to its end, then the ends in turn, then each from its start. That
    is 3 C steps of work in about 2 sqrt(2 C) operations one after another.
    """
    steps = added[0].shape[1]
    each = max(1, round(math.sqrt(steps / 2)))
    lanes = -(-steps // each)
    whole = lanes * each

    def in_lanes(x: Tensor) -> list[Tensor]:
        """The steps of a lane, [B, lanes, *shape] each."""
        if steps < whole:
            x = torch.cat([x, x.new_zeros((x.shape[0], whole - steps, *x.shape[2:]))], 1)
        return list(x.unflatten(1, (lanes, each)).unbind(2))

    d = [[None if e is None else in_lanes(e) for e in row] for row in block]
    b = [in_lanes(e) for e in added]
    product, ends = _ends(d, b, each)
    starts = [[torch.zeros_like(e[:, 0]) for e in ends]]
    for lane in range(lanes - 1):
        here = starts[-1]
        starts.append([_plus([p if p is None else p[:, lane] for p in row], here, end[:, lane]) for row, end in zip(product, ends, strict=True)])
    found = _run(d, b, [torch.stack(s, 1) for s in zip(*starts, strict=True)], each)
    return [torch.stack(s, 2).flatten(1, 2)[:, :steps] for s in zip(*found, strict=True)]


def _plus(row: Sequence[Tensor | None], values: Sequence[Tensor], added: Tensor) -> Tensor:
    """added + Σ row · values."""
    for entry, value in zip(row, values, strict=True):
        if entry is not None:
            added = torch.addcmul(added, entry, value)
    return added


def _run(d: list, b: list, here: list[Tensor], steps: int) -> list[list[Tensor]]:
    """The values of each step of lanes, from those before the first."""
    found: list[list[Tensor]] = []
    for s in range(steps):
        here = [_plus([e if e is None else e[s] for e in row], here, add[s]) for row, add in zip(d, b, strict=True)]
        found.append(here)
    return found


def _ends(d: list, b: list, steps: int) -> tuple[list[Values], list[Tensor]]:
    """What lanes make of their starts: a block, and what is added."""
    k = len(b)
    product: list[Values] = [[e if e is None else e[0] for e in row] for row in d]
    ends = [add[0] for add in b]
    for s in range(1, steps):
        now = [[e if e is None else e[s] for e in row] for row in d]
        ends = [_plus(row, ends, add[s]) for row, add in zip(now, b, strict=True)]
        product = [[_sum([(now[i][j], product[j][m]) for j in range(k)]) for m in range(k)] for i in range(k)]
    return product, ends


def _sum(pairs: list[tuple[Tensor | None, Tensor | None]]) -> Tensor | None:
    total: Tensor | None = None
    for a, b in pairs:
        if a is not None and b is not None:
            total = a * b if total is None else torch.addcmul(total, a, b)
    return total
