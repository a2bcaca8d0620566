"""Products of decays over neighbouring steps of chunks, by halves: of all pairs of steps, with what reads states and what is added to them.

Between a step of the second half of a block and one of the first, the product is that up to the middle, times that from there. Nothing is divided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.rules import one_by_one, pulled_back


@dataclass
class Block:
    """Neighbouring steps of each chunk, `size` of them in each of M blocks. across: of blocks of 1, 2, 4, … steps what the readers of the second half
    of a pair read of each u of the first, [pairs, size · R, size · L] each; readers: [M, size, R, n, K], as they read what the block begins with, or the
    initial state behind a reset; lefts: [M, size, L, n, K], u as the end of the block has it, both in groups in the end; decay: [M, n, n, K or 1], over
    the whole block, or from its last reset on; cut: [M, size], whether there is a reset at a step or before it in the block; largest: the largest product
    of decays, where that is asked for."""

    across: list[Tensor]
    readers: Any
    lefts: Any
    decay: Tensor
    cut: Tensor | None
    largest: Tensor | None = None


def by_halves(w: Sequence[Tensor], u: Sequence[Tensor], decay: Tensor, reset: Tensor | None, largest: bool) -> Block:
    """A block a chunk, of those of half the length. w: [M, C, R, n, K] each; u: [M, C, L, n, K] each; decay: [M, C, n, n, K or 1]; reset: [M, C]; largest:
    whether the largest product of decays is asked for."""
    if reset is None and decay.shape[2] == 1:
        found = Halves.apply(len(w), largest, decay, *w, *u)
        n = 2 + len(w)
        return Block([*found[n + len(u) :]], found[2:n], found[n : n + len(u)], found[0], None, found[1] if largest else None)
    return joined_blocks(w, u, decay, reset, largest)


def joined_blocks(w: Sequence[Tensor], u: Sequence[Tensor], decay: Tensor, reset: Tensor | None, largest: bool) -> Block:
    """The same of any number of states, with resets."""
    M, C = decay.shape[:2]
    cut = None if reset is None else reset.reshape(M * C, 1)
    readers, lefts = (torch.cat([*group], 2).reshape(M * C, 1, -1, *group[0].shape[3:]) for group in (w, u))
    block = Block([], readers, lefts, decay.reshape(M * C, *decay.shape[2:]), cut)
    all_decays = [block.decay]
    size = 1
    while size < C:
        block = _joined(block, size)
        all_decays.append(block.decay)
        size *= 2
    readers, lefts = (x.split([g.shape[2] for g in group], 2) for x, group in ((block.readers, w), (block.lefts, u)))
    return replace(block, readers=readers, lefts=lefts, largest=_largest(all_decays) if largest else None)


def _largest(decays: Sequence[Tensor]) -> Tensor:
    """The largest size of all numbers."""
    return torch.stack([p.detach().abs().amax() for p in decays]).amax()


def _joined(block: Block, size: int) -> Block:
    """Pairs of blocks as one each."""
    (w0, w1), (u0, u1), (p0, p1) = (x.unflatten(0, (-1, 2)).unbind(1) for x in (block.readers, block.lefts, block.decay))
    M, width = w0.shape[0], w0.shape[-1] * w0.shape[-2]
    reading, through, cut = w1, p0, None
    if block.cut is not None:
        c0, c1 = block.cut.unflatten(0, (-1, 2)).unbind(1)
        here = c1.reshape(M, size, 1, 1, 1)
        reading = torch.where(here, 0.0, w1)
        any0, any1 = c0[:, -1:], c1[:, -1:]
        cut = torch.cat([c0, c1 | any0], 1)
    across = reading.reshape(M, size * w1.shape[2], width) @ u0.reshape(M, size * u0.shape[2], width).transpose(1, 2)
    later = act(w1, through.unsqueeze(1))
    ends = act_left(p1.unsqueeze(1).unsqueeze(1), u0.unsqueeze(-1)).squeeze(-1)
    both = _compose(p1, p0)
    if block.cut is not None:
        later = torch.where(here, w1, later)
        last = any1.reshape(M, 1, 1, 1)
        ends = torch.where(last.unsqueeze(-1), 0.0, ends)
        both = torch.where(last, p1, both)
    return Block([*block.across, across], torch.cat([w0, later], 1), torch.cat([ends, u1], 1), both, cut)


class Halves(torch.autograd.Function):
    """`by_halves` of one state without resets, half of an array a level changed where it lies: the decay, the largest one, readers, lefts, and what is
    read across. count: how many of the vectors are readers."""

    @staticmethod
    def forward(ctx: Any, count: int, largest: bool, decay: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        M, C, *_, K = vectors[0].shape
        sizes = [v.shape[2] for v in vectors]
        R, L = sum(sizes[:count]), sum(sizes[count:])
        readers, lefts = (torch.cat([v.reshape(M * C, -1, K) for v in group], 1) for group in (vectors[:count], vectors[count:]))
        p = decay.reshape(M * C, -1)
        every, across, kept = [p], list[Tensor](), list[Tensor]()
        for k in range(C.bit_length() - 1):
            pairs = (M * C >> k + 1, 2)
            second, first = readers.view(*pairs, R << k, K)[:, 1], lefts.view(*pairs, L << k, K)[:, 0]
            both, w1, u0 = p.reshape(*pairs, 1, -1), second.clone(), first.clone()
            across.append(w1 @ u0.mT)
            torch.mul(w1, both[:, 0], out=second)
            torch.mul(u0, both[:, 1], out=first)
            p = (both[:, 1] * both[:, 0])[:, 0]
            every.append(p)
            kept += [both, w1, u0]
        found = p.reshape(M, *decay.shape[2:]).clone(), _largest(every) if largest else p.new_empty(())
        ctx.mark_non_differentiable(found[1])
        ctx.save_for_backward(decay, *vectors, *kept)
        ctx.count, ctx.sizes = count, sizes
        split = (x.view(M, C, -1, 1, K).split(n, 2) for x, n in ((readers, sizes[:count]), (lefts, sizes[count:])))
        return (*found, *chain.from_iterable(split), *across)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, dp: Tensor, _: Tensor, *given: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        count, sizes = ctx.count, ctx.sizes
        n = len(sizes)
        saved = ctx.saved_tensors  # at once: checkpoints unpack them a single time
        (decay, *vectors), kept = saved[: n + 1], saved[n + 1 :]
        if torch.is_grad_enabled():  # gradients of gradients

            def joined(decay: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
                block = joined_blocks(vectors[:count], vectors[count:], decay, None, False)
                return (block.decay, *block.readers, *block.lefts, *block.across)

            wanted = ctx.needs_input_grad[2:]
            found = iter(pulled_back(joined, (decay, *vectors), wanted, (dp, *given)))
            return None, None, *(next(found) if w else None for w in wanted)
        M, C, *_, K = vectors[0].shape
        dw, du = (torch.cat([g.reshape(M * C, -1, K) for g in group], 1) for group in (given[:count], given[count:n]))
        R, L = dw.shape[1], du.shape[1]
        dp, alike = dp.reshape(M, 1, -1), decay.shape[-1] != K
        for k in reversed(range(C.bit_length() - 1)):
            pairs, (both, w1, u0), across = (M * C >> k + 1, 2), kept[3 * k : 3 * k + 3], given[n + k]
            second, first = dw.view(*pairs, R << k, K)[:, 1], du.view(*pairs, L << k, K)[:, 0]
            of = [(g * v).sum((1, 2) if alike else 1).reshape(*dp.shape) for g, v in ((second, w1), (first, u0))]
            dp = torch.stack([dp * both[:, 1] + of[0], dp * both[:, 0] + of[1]], 1).flatten(0, 1)
            second.mul_(both[:, 0]).add_(across @ u0)
            first.mul_(both[:, 1]).add_(across.mT @ w1)
        split = (x.view(M, C, -1, 1, K).split(n, 2) for x, n in ((dw, sizes[:count]), (du, sizes[count:])))
        return None, None, dp.reshape(decay.shape), *chain.from_iterable(split)


def assembled(across: Sequence[Tensor], like: Tensor, sizes: list[list[int]], own: Sequence[Tensor | None]) -> list[list[Tensor]]:
    """What readers read of each u of earlier steps, [M, C · R, C · L] for each group of readers and of u, of so many a step; own: what the last group reads of
    each group of u of its own step, [M, C, R, L]. like: [M, C, …]."""
    rows, columns = sizes
    found = Assembled.apply(tuple(rows), tuple(columns), like.detach(), *own, *across)
    return [list(found[i * len(columns) : (i + 1) * len(columns)]) for i in range(len(rows))]


class Assembled(torch.autograd.Function):
    """[M, C · R, C · L] for each group of readers and of u, strictly lower triangular in time, from what readers of the second half of each pair of
    blocks read of the first; on the diagonal what the last group of readers reads of its own step."""

    @staticmethod
    def forward(ctx: Any, rows: tuple[int, ...], columns: tuple[int, ...], like: Tensor, *given: Any) -> tuple[Tensor, ...]:  # type: ignore[override]
        M, C = like.shape[:2]
        ctx.sizes = M, C, rows, columns
        whole = [[like.new_zeros((M, C, r, C, k)) for k in columns] for r in rows]
        own, across = given[: len(columns)], given[len(columns) :]
        for to, x in zip(whole[-1], own, strict=True):
            if x is not None:
                to.diagonal(0, 1, 3).copy_(x.movedim(1, -1))
        for k, a in enumerate(across):
            pairs = a.reshape(M, C >> (k + 1), 1 << k, sum(rows), 1 << k, sum(columns))
            for to, read in zip(chain.from_iterable(whole), Assembled.groups(pairs, rows, columns), strict=True):
                Assembled.pairs(to, k).copy_(read)
        return tuple(to.reshape(M, C * to.shape[2], C * to.shape[4]) for group in whole for to in group)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *grads: Tensor) -> tuple:  # type: ignore[override]
        M, C, rows, columns = ctx.sizes
        n = len(columns)
        whole = [[grads[i * n + j].reshape(M, C, r, C, k) for j, k in enumerate(columns)] for i, r in enumerate(rows)]
        own = [g.diagonal(0, 1, 3).movedim(-1, 1) if wanted else None for g, wanted in zip(whole[-1], ctx.needs_input_grad[3:], strict=False)]
        found = []
        for k in range(C.bit_length() - 1):
            every = grads[0].new_empty((M, C >> (k + 1), 1 << k, sum(rows), 1 << k, sum(columns)))
            for g, to in zip(chain.from_iterable(whole), Assembled.groups(every, rows, columns), strict=True):
                to.copy_(Assembled.pairs(g, k))
            found.append(every.reshape(M * (C >> (k + 1)), (1 << k) * sum(rows), (1 << k) * sum(columns)))
        return None, None, None, *own, *found

    @staticmethod
    def groups(every: Tensor, rows: tuple[int, ...], columns: tuple[int, ...]) -> Iterator[Tensor]:
        """Each group of readers and of u of [M, pairs, size, R, size, L], as views that may be written to, each made when the one before is written:
        autograd wants that, in gradients of gradients."""
        ends = [[*zip(accumulate(sizes, initial=0), sizes, strict=False)] for sizes in (rows, columns)]
        return (every.narrow(3, *r).narrow(5, *k) for r in ends[0] for k in ends[1])

    @staticmethod
    def pairs(whole: Tensor, k: int) -> Tensor:
        """The places of pairs of blocks of 2ᵏ steps, [M, pairs, 2ᵏ, R, 2ᵏ, L], as a view."""
        size = 1 << k
        both = (whole.shape[1] // (2 * size), 2, size)
        cut = whole.unflatten(3, both).unflatten(1, both)  # [M, b, 2, size, R, b, 2, size, L]
        return cut.diagonal(0, 1, 5)[:, 1, :, :, 0].movedim(-1, 1)


def act(w: Tensor, p: Tensor) -> Tensor:
    """wᵀ P: w [..., R, n, K], p [..., n, n, K or 1]."""
    if p.shape[-2] == 1:
        return w * p
    return (w.unsqueeze(-2) * p.unsqueeze(-4)).sum(-3)


def act_left(p: Tensor, s: Tensor) -> Tensor:
    """P s: p [..., n, n, K or 1], s [..., n, K, V]."""
    if p.shape[-2] == 1:
        return p.squeeze(-3).unsqueeze(-1) * s
    return (p.unsqueeze(-1) * s.unsqueeze(-4)).sum(-3)


def _compose(after: Tensor, before: Tensor) -> Tensor:
    """The product of two decays, [..., n, n, K or 1] each."""
    if after.shape[-2] == 1:
        return after * before
    return (after.unsqueeze(-2) * before.unsqueeze(-4)).sum(-3)
