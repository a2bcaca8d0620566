"""Affine matrix states by chunks of steps, with products of matrices in place of a loop over steps.

The states are one matrix S of rows and columns, and a step is S[t] = a S[t-1] + Σ u xᵀ with x = q + wᵀ S[t-1], where a is a number or a vector along
rows (a small matrix a row, where there are several states). Within a chunk that begins with S₀, and P the product of the a of the steps between,

    x[i] = q[i] + wᵀ[i] P S₀ + Σ_{j<i} (wᵀ[i] P u[j]) x[j]

is one unit triangular system for all x of the chunk. What reads a state by a vector reads S₀ and these x. From chunk to chunk S goes by one product.

Products of decays are made by halves: between a step i and an earlier one j in the other half of a block, P is the product from j to the middle and
from there to i. So a may be 0, and nothing overflows where |a| ≤ 1. Where all a along rows are in [1/2, 1] they are quotients, of products from the
chunk's start on, which is less work and as exact.

Yang, Wang, Zhang, Shen, Kim, arXiv 2406.06484, have the triangular form of the delta rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.rules import one_by_one, pulled_back

_LONGEST = 64  # steps of a chunk
Pair = tuple[Tensor, Tensor]  # of what reads states, and of what is known
_VECTOR = Sequence[Tensor | None]  # one a state; None is zero
_MILD = (0.5, 1.0)  # decays along rows whose products are made as quotients
LARGEST = 1e3  # what a product of decays over steps of a chunk may be

# Of streams and statics: decays, a row a new state; u, q, w of each term; what reads old and new states
Coefficients = tuple[Sequence[_VECTOR], Sequence[tuple[_VECTOR, Tensor | None, _VECTOR]], Sequence[tuple[_VECTOR, _VECTOR]]]


@dataclass(frozen=True)
class Form:
    """axis: along which axis of a state its rows run, behind `heads` axes; rows: whether decays are along rows; bounded: whether they are known to be at
    most 1 in size; whole: whether states of all steps are asked for."""

    heads: int
    axis: int
    rows: bool
    bounded: bool
    whole: bool


class Found(NamedTuple):
    """States of all steps, [B, T, ...] each, those of none where they are not asked for; the last ones; what is read, [B, T, heads, columns] each; the
    largest product of decays, None where they are bounded; the number of chunks."""

    states: list[Tensor]
    last: list[Tensor]
    reads: list[Tensor]
    decay: Tensor | None
    chunks: int


def chunk_of(steps: int, rows: bool = False, system: bool = False) -> int:
    """The steps of a chunk, a power of two: half as many where decays are along rows, and where there is a triangular system whose size counts for more
    than the number of chunks."""
    return min(max(1, _LONGEST >> (rows + system)), 1 << max(0, steps - 1).bit_length())


def solve(form: Form, coefficients: Coefficients, call: Call) -> Found:
    """Solves a recurrence in normal form, of at least one step and one entry."""
    system = any(w is not None for _, _, of in coefficients[1] for w in of) and call.first[0].device.type == "cpu"
    mild = form.rows and len(call.first) == 1 and call.reset is None and _is_mild(coefficients[0][0][0])
    return _Chunks(form, call, chunk_of(call.steps, form.rows, system), mild).solved(coefficients)


def _is_mild(decay: Tensor | None) -> bool:
    """Whether quotients of products over a chunk, and sums of gradients of their logarithms, are as exact as products. Waits for the device."""
    if decay is None:
        return False
    low, high = decay.detach().aminmax()
    return bool((low >= _MILD[0]) & (high <= _MILD[1]))


def solve_changes(form: Form, changes: Sequence[Coefficients], call: Call) -> Found:
    """The same of steps that change their states several times: each change is a step of its own. What reads old states is read before the first,
    what reads new ones behind the last; other places read nothing."""
    count, steps = len(changes), call.steps
    shape = (call.first[0].shape[0], steps)

    def laid(values: Sequence[Tensor | None], axes: int = form.heads + 1) -> Tensor | None:
        some = next((v for v in values if v is not None), None)
        if some is None:
            return None
        entries = some.shape[some.dim() - axes :]
        each = [some.new_zeros(()) if v is None else v for v in values]
        return torch.stack([v.expand(*shape, *entries) for v in each], 2).flatten(1, 2)

    def at(place: int, values: _VECTOR) -> list[Tensor | None]:
        return [laid([v if i == place else None for i in range(count)]) for v in values]

    first = changes[0][0]
    decay = [[laid([c[0][i][j] for c in changes], form.heads + form.rows) for j in range(len(row))] for i, row in enumerate(first)]
    states, most = len(first), max(len(c[1]) for c in changes)
    nothing = ((None,) * states, None, (None,) * states)
    slots = [[c[1][k] if k < len(c[1]) else nothing for c in changes] for k in range(most)]
    terms = [
        (
            [laid([t[0][i] for t in slot]) for i in range(states)],
            laid([t[1] for t in slot]),
            [laid([t[2][i] for t in slot]) for i in range(states)],
        )
        for slot in slots
    ]
    reads = [(at(0, old), at(count - 1, new)) for old, new in changes[-1][2]]
    reset = call.reset
    if reset is not None:
        reset = torch.stack([reset, *[torch.zeros_like(reset)] * (count - 1)], 2).flatten(1, 2)
    found = solve(form, (decay, terms, reads), Call(call.streams, call.statics, call.first, call.initial, reset, steps * count))
    last = slice(count - 1, None, count)
    return Found([s[:, last] for s in found.states], found.last, [r.unflatten(1, (steps, count)).sum(2) for r in found.reads], found.decay, found.chunks)


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


class _Chunks:
    """Arrays of a call by chunks: [M, C, ...], M = B · heads · chunks, with the rows of n states as [n, K]. mild: whether decays are."""

    def __init__(self, form: Form, call: Call, size: int, mild: bool = False):
        self.form, self.call, self.mild = form, call, mild
        first = call.first[0]
        self.batch, self.steps, self.states = first.shape[0], call.steps, len(call.first)
        self.heads = first.shape[1 : 1 + form.heads]
        rows, columns = first.shape[1 + form.heads :]
        self.K, self.V = (rows, columns) if form.axis == 0 else (columns, rows)
        self.size, self.chunks = size, -(-call.steps // size)
        self.reset = None if call.reset is None else self._flags(call.reset)

    # Layout

    def _padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """[G, T, ...] as [G · chunks, C, ...]."""
        missing = self.chunks * self.size - self.steps
        if missing:
            x = torch.cat([x, x.new_full((x.shape[0], missing, *x.shape[2:]), value)], 1)
        return x.reshape(-1, self.size, *x.shape[2:])

    def _flags(self, reset: Tensor) -> Tensor:
        each = reset.reshape(self.batch, *(1 for _ in self.heads), self.steps).expand(self.batch, *self.heads, self.steps)
        return self._padded(each.reshape(-1, self.steps), False)

    def vectors(self, x: Tensor, value: float = 0.0) -> Tensor:
        """[B, T, heads, entries] or [heads, entries] as [M, C, entries]."""
        if x.dim() == self.form.heads + 1:
            x = x.expand(self.batch, self.steps, *x.shape)
        return self._padded(x.movedim(1, -2).reshape(-1, self.steps, x.shape[-1]), value)

    def rows(self, given: _VECTOR) -> Tensor | None:
        """A vector along the rows of each state as [M, C, n, K]; None where all are zero."""
        found = [None if x is None else self.vectors(x) for x in given]
        some = next((x for x in found if x is not None), None)
        if some is None:
            return None
        return some.unsqueeze(2) if len(found) == 1 else torch.stack([torch.zeros_like(some) if x is None else x for x in found], 2)

    def decay(self, given: Sequence[_VECTOR], like: Tensor) -> Tensor:
        """[M, C, n, n, K or 1]."""
        length = self.K if self.form.rows else 1
        zero = like.new_zeros((*self.heads, length))
        found = []
        for i, row in enumerate(given):
            for j, x in enumerate(row):
                known = zero if x is None else x if self.form.rows else x.unsqueeze(-1)
                found.append(self.vectors(known, float(i == j)))  # steps that are not there change nothing
        return torch.stack(found, 2).unflatten(2, (self.states, self.states))

    def matrix(self, values: Sequence[Tensor]) -> Tensor:
        """States [B, heads, ...] or [heads, ...] as [G, n · K, V]."""
        turned = [v.transpose(-1, -2) if self.form.axis else v for v in values]
        lead = [v.expand(self.batch, *self.heads, self.K, self.V).reshape(-1, self.K, self.V) for v in turned]
        return torch.cat(lead, 1)

    def unmatrix(self, x: Tensor) -> list[Tensor]:
        """[G, n · K, V] as states [B, heads, ...]."""
        parts = x.reshape(self.batch, *self.heads, self.states, self.K, self.V).unbind(-3)
        return [p.transpose(-1, -2) if self.form.axis else p for p in parts]

    def by_steps(self, x: Tensor) -> Tensor:
        """[M, C, ...] as [B, T, heads, ...]."""
        whole = x.reshape(self.batch, *self.heads, self.chunks * self.size, *x.shape[2:])
        return whole.movedim(1 + self.form.heads, 1)[:, : self.steps]

    # The chunks

    def solved(self, coefficients: Coefficients) -> Found:
        given, terms, reads = coefficients
        first, start = self.matrix(self.call.first), self.matrix(self.call.initial)
        decay = self.decay(given, first)
        asked, known = [t for t in terms if any(w is not None for w in t[2])], [t for t in terms if all(w is None for w in t[2])]
        zero = decay.new_zeros((*self.heads, self.V))
        matrix = (self.states, self.K)
        u, u_known = (self._together([self._some(left, decay) for left, _, _ in group], decay, matrix) for group in (asked, known))
        right, right_known = (self._together([self.vectors(zero if q is None else q) for _, q, _ in group], decay, (self.V,)) for group in (asked, known))
        w = self._together([self._some(r, decay) for _, _, r in asked], decay, matrix)
        old, new = (self._together([self._some(r[k], decay) for r in reads], decay, matrix) if any(v is not None for r in reads for v in r[k]) else None for k in (0, 1))
        scores, block = self._blocks(w, old, new, (u, u_known), decay)
        return self._linked(scores, block, (u, u_known), (right, right_known), first, start, decay)

    def _some(self, given: _VECTOR | None, like: Tensor) -> Tensor:
        """A vector along the rows of each state as [M, C, n, K], of zeros where it is none."""
        found = None if given is None else self.rows(given)
        return like.new_zeros((*like.shape[:2], self.states, self.K)) if found is None else found

    def _together(self, values: list[Tensor], like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Values [M, C, ...] as [M, C, count, ...]."""
        if len(values) == 1:
            return values[0].unsqueeze(2)
        return torch.stack(values, 2) if values else like.new_zeros((*like.shape[:2], 0, *shape))

    def _blocks(self, w: Tensor, old: Tensor | None, new: Tensor | None, u: Pair, decay: Tensor) -> tuple[list[list[Tensor]], Block]:
        """What readers read of each u of earlier steps, and those of new states of their own step's too, [M, C · R, C · L] for each group of readers and of
        u; a block a chunk. old, new: what reads old and new states, [M, C, R, n, K]."""
        M, C = decay.shape[:2]
        if self.mild:
            return _by_quotients(w, old, new, u, decay)
        behind = None if new is None else _act(new, decay)
        reads = w[:, :, :0] if old is None else old
        reads = reads if behind is None else behind if old is None else reads + behind
        if self.states == 1 and decay.shape[-1] == 1:  # products of decays alone first, then those of vectors as whole matrices
            one = decay.new_ones((M, C, 1, 1, 1))
            alone = _by_halves([one], [one], decay, self.reset, not self.form.bounded)
            ((before,),) = _assembled(alone.across, decay, [[1], [1]], [None])
            here = torch.eye(C, dtype=decay.dtype, device=decay.device).addcmul(decay.reshape(M, C, 1), before)
            looks = [(r, between) for r, between in ((old, before), (new, here)) if r is not None] or [(reads, before)]
            each = [[_scored(r, x, between) for r, between in looks] for x in u]
            scores = [[_scored(w, x, before) for x in u], [sum(a[1:], a[0]) for a in each]]
            return scores, replace(alone, across=[], readers=[x * alone.readers[0] for x in (w, reads)], lefts=[x * alone.lefts[0] for x in u])
        block = _by_halves([w, reads], [*u], decay, self.reset, not self.form.bounded)
        own = [None if new is None else new.flatten(3) @ x.flatten(3).mT for x in u]
        return _assembled(block.across, decay, [[x.shape[2] for x in group] for group in ((w, reads), u)], own), block

    def _linked(
        self, scores: list[list[Tensor]], block: Block, u: Pair, right: Pair, first: Tensor, start: Tensor, decay: Tensor,
    ) -> Found:  # fmt: skip
        """Goes from chunk to chunk, then computes what is read."""
        (M, C, count, V), rows = right[0].shape, self.states * self.K
        (among, of_known), (reads_x, reads_known) = scores
        by_x, by_reads = (x.reshape(M, -1, rows) if x.numel() else x.new_zeros((M, 0, rows)) for x in block.readers)
        left_x, left_known = (x.reshape(M, -1, rows) if x.numel() else x.new_zeros((M, 0, rows)) for x in block.lefts)
        asked, known = (q.reshape(M, -1, V) if q.numel() else q.new_zeros((M, 0, V)) for q in right)
        moved = _whole(block.decay, self.K)
        added = left_known.transpose(1, 2) @ known  # to S by a chunk
        behind_reads: Tensor | None = None
        if block.cut is not None:  # what is behind a reset reads the initial state
            each = start.repeat_interleave(self.chunks, 0)
            cut = block.cut[:, -1].reshape(M, 1, 1, 1)
            (by_x, behind_x), (by_reads, behind_reads) = (_parted(block.cut, r, each) for r in (by_x, by_reads))
            asked = asked + behind_x
            added = added + _act_left(torch.where(cut, moved, 0.0), each.reshape(M, self.states, self.K, V)).flatten(1, 2)
            moved = torch.where(cut, 0.0, moved)
        x = known
        if count:
            if known.shape[1]:
                asked = torch.baddbmm(asked, of_known, known)
            x_known, by_state = Solved.apply(among, asked, by_x)
            through = left_x.transpose(1, 2)
            starts, last = Chained.apply(torch.baddbmm(added, through, x_known), torch.baddbmm(_square(moved), through, by_state), first, False)
            x = torch.baddbmm(x_known, by_state, starts)
        else:
            starts, last = Chained.apply(added, moved[:, 0, 0].unsqueeze(-1) if self.states == 1 else _square(moved), first, False)
        found = []
        if reads_x.shape[1]:
            reads = torch.baddbmm(by_reads @ starts, reads_known, known) if known.shape[1] else by_reads @ starts
            reads = torch.baddbmm(reads, reads_x, x) if count else reads
            reads = reads if behind_reads is None else reads + behind_reads
            found = [self.by_steps(value) for value in reads.reshape(M, C, -1, V).unbind(2)]
        states = [f.new_empty((f.shape[0], 0, *f.shape[1:])) for f in self.call.first]
        if self.form.whole:
            states = self._states(starts, start, decay, torch.cat(u, 2), torch.cat([v.reshape(M, C, -1, V) for v in ((x, known) if count else (known,))], 2))
        return Found(states, self.unmatrix(last), found, block.largest, self.chunks)

    def _states(self, starts: Tensor, start: Tensor, decay: Tensor, u: Tensor, x: Tensor) -> list[Tensor]:
        """The states of all steps, those of the chunks beside one another."""
        M = starts.shape[0]
        shape = (M, self.states, self.K, self.V)
        here, found = starts.reshape(shape), []
        whole_start = start.repeat_interleave(self.chunks, 0).reshape(shape)
        for s in range(self.size):
            if self.reset is not None:
                here = torch.where(self.reset[:, s].reshape(M, 1, 1, 1), whole_start, here)
            more = u[:, s].flatten(2).transpose(1, 2) @ x[:, s]
            here = _act_left(_whole(decay[:, s], self.K), here) + more.reshape(shape)
            found.append(here)
        whole = torch.stack(found, 1)  # [M, C, n, K, V]
        return [self.by_steps(p.transpose(-1, -2) if self.form.axis else p).contiguous() for p in whole.unbind(2)]


def _by_halves(w: Sequence[Tensor], u: Sequence[Tensor], decay: Tensor, reset: Tensor | None, largest: bool) -> Block:
    """A block a chunk, of those of half the length. w: [M, C, R, n, K] each; u: [M, C, L, n, K] each; decay: [M, C, n, n, K or 1]; reset: [M, C]; largest:
    whether the largest product of decays is asked for."""
    if reset is None and decay.shape[2] == 1:
        found = Halves.apply(len(w), largest, decay, *w, *u)
        n = 2 + len(w)
        return Block([*found[n + len(u) :]], found[2:n], found[n : n + len(u)], found[0], None, found[1] if largest else None)
    return _joined_blocks(w, u, decay, reset, largest)


def _joined_blocks(w: Sequence[Tensor], u: Sequence[Tensor], decay: Tensor, reset: Tensor | None, largest: bool) -> Block:
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


def _by_quotients(w: Tensor, old: Tensor | None, new: Tensor | None, u: Pair, decay: Tensor) -> tuple[list[list[Tensor]], Block]:
    """What `_Chunks._blocks` returns, of one state without resets whose decays are mild."""
    C = decay.shape[1]
    behind = decay.cumprod(1)  # products from the chunk's start to each step, and to the one before it
    before = torch.cat([torch.ones_like(behind[:, :1]), behind[:, :-1]], 1)
    seen = decay.new_ones((1, C, C)).tril()
    earlier, w, parts = seen.tril(-1), w * before, [x / behind for x in u]
    looks = [(r * p, what) for r, p, what in ((old, before, earlier), (new, behind, seen)) if r is not None] or [(w[:, :, :0], earlier)]
    each = [[_scored(r, x, what) for r, what in looks] for x in parts]
    scores = [[_scored(w, x, earlier) for x in parts], [sum(a[1:], a[0]) for a in each]]
    readers = [w, sum((r for r, _ in looks[1:]), looks[0][0])]
    return scores, Block([], readers, [x * behind[:, -1:] for x in parts], behind[:, -1], None, decay.new_ones(()))


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
    later = _act(w1, through.unsqueeze(1))
    ends = _act_left(p1.unsqueeze(1).unsqueeze(1), u0.unsqueeze(-1)).squeeze(-1)
    both = _compose(p1, p0)
    if block.cut is not None:
        later = torch.where(here, w1, later)
        last = any1.reshape(M, 1, 1, 1)
        ends = torch.where(last.unsqueeze(-1), 0.0, ends)
        both = torch.where(last, p1, both)
    return Block([*block.across, across], torch.cat([w0, later], 1), torch.cat([ends, u1], 1), both, cut)


class Halves(torch.autograd.Function):
    """`_by_halves` of one state without resets, half of an array a level changed where it lies: the decay, the largest one, readers, lefts, and what is
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
                block = _joined_blocks(vectors[:count], vectors[count:], decay, None, False)
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


class Chained(torch.autograd.Function):
    """What each chunk begins with, [M, n, columns], and what the last one ends with, [G, n, columns]: behind a chunk of it is `added + step @ what it begins
    with`, of a matrix [M, n, n] or a factor [M, n, 1]. back: from the last chunk to the first, by matrices transposed, which is the backward pass."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, step: Tensor, first: Tensor, back: bool) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        whole = step.shape[2] > 1 or step.shape[1] == 1
        apply = torch.baddbmm if whole else torch.addcmul
        by, more = (x.unflatten(0, (first.shape[0], -1)) for x in (step.mT if back and whole else step, added))
        starts, here = more.new_empty(more.shape), first
        chunks = range(more.shape[1])
        for c in reversed(chunks) if back else chunks:
            starts[:, c] = here
            here = apply(more[:, c], by[:, c], here)
        starts = starts.flatten(0, 1)
        ctx.save_for_backward(step, starts)
        ctx.back, ctx.whole = back, whole
        return starts, here

    @staticmethod
    @one_by_one
    def backward(ctx: Any, dstarts: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        step, starts = ctx.saved_tensors
        grads, dfirst = Chained.apply(dstarts, step, dlast, not ctx.back)
        dstep = None
        if ctx.needs_input_grad[1]:
            of = (starts, grads) if ctx.back else (grads, starts)
            dstep = of[0] @ of[1].mT if ctx.whole else (grads * starts).sum(2, keepdim=True)
        return grads, dstep, dfirst, None


def _scored(w: Tensor, u: Tensor, between: Tensor) -> Tensor:
    """What readers w [M, C, R, n, K] read of each u [M, C, L, n, K], times between [M or 1, C, C], as [M, C · R, C · L]."""
    (M, C, R), L = w.shape[:3], u.shape[2]
    if not R * L:
        return w.new_zeros((M, C * R, C * L))
    scores = w.reshape(M, C * R, -1) @ u.reshape(M, C * L, -1).transpose(1, 2)
    if R == L == 1:
        return scores * between
    return (scores.reshape(M, C, R, C, L) * between.reshape(-1, C, 1, C, 1)).reshape(M, C * R, C * L)


def _parted(cut: Tensor, readers: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Readers [M, C · R, n · K] that read what their chunk begins with, and what the others read, behind a reset: the initial state. cut: [M, C]."""
    M, C = cut.shape
    each = readers.reshape(M, C, readers.shape[1] // C, readers.shape[2])
    here = cut.reshape(M, C, 1, 1)
    return torch.where(here, 0.0, each).reshape(readers.shape), torch.where(here, each, 0.0).reshape(readers.shape) @ start


class Solved(torch.autograd.Function):
    """x = b + A x for two b, [M, n, columns] each, A [M, n, n] strictly lower triangular: backwards by the inverse of the way forwards."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        inverse = _inverse(A)
        x, y = inverse @ b, inverse @ c
        ctx.save_for_backward(A, x, y)
        ctx.inverse = inverse
        return x, y

    @staticmethod
    @one_by_one
    def backward(ctx: Any, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        A, x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            both = torch.linalg.solve_triangular(-A.tril(-1).mT, torch.cat([dx, dy], 2), upper=True, unitriangular=True)
            db, dc = both.split([dx.shape[2], dy.shape[2]], 2)
        else:
            db, dc = (ctx.inverse.mT @ d for d in (dx, dy))
        return torch.baddbmm(db @ x.mT, dc, y.mT), db, dc


_ALONE = 16  # rows of a triangular matrix that are inverted by substitution; larger ones by halves


def _inverse(A: Tensor) -> Tensor:
    """(1 - A)⁻¹ of strictly lower triangular A [M, n, n]."""
    n = A.shape[-1]
    size = n
    while size > _ALONE and size % 2 == 0:
        size //= 2
    blocks = A.unflatten(2, (-1, size)).unflatten(1, (-1, size)).diagonal(0, 1, 3).permute(0, 3, 1, 2).reshape(-1, size, size)
    one = torch.eye(size, dtype=A.dtype, device=A.device).expand(blocks.shape)
    found = torch.linalg.solve_triangular(-blocks, one, upper=False, unitriangular=True)
    while size < n:
        below = A.unflatten(2, (-1, 2, size)).unflatten(1, (-1, 2, size)).diagonal(0, 1, 4)[:, 1, :, 0].permute(0, 3, 1, 2).reshape(-1, size, size)
        upper, lower = found.unflatten(0, (-1, 2)).unbind(1)
        found = A.new_zeros((upper.shape[0], 2 * size, 2 * size))
        found[:, :size, :size], found[:, size:, size:], found[:, size:, :size] = upper, lower, lower @ (below @ upper)
        size *= 2
    return found


def _assembled(across: Sequence[Tensor], like: Tensor, sizes: list[list[int]], own: Sequence[Tensor | None]) -> list[list[Tensor]]:
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


def _act(w: Tensor, p: Tensor) -> Tensor:
    """wᵀ P: w [..., R, n, K], p [..., n, n, K or 1]."""
    if p.shape[-2] == 1:
        return w * p
    return (w.unsqueeze(-2) * p.unsqueeze(-4)).sum(-3)


def _act_left(p: Tensor, s: Tensor) -> Tensor:
    """P s: p [..., n, n, K or 1], s [..., n, K, V]."""
    if p.shape[-2] == 1:
        return p.squeeze(-3).unsqueeze(-1) * s
    return (p.unsqueeze(-1) * s.unsqueeze(-4)).sum(-3)


def _compose(after: Tensor, before: Tensor) -> Tensor:
    """The product of two decays, [..., n, n, K or 1] each."""
    if after.shape[-2] == 1:
        return after * before
    return (after.unsqueeze(-2) * before.unsqueeze(-4)).sum(-3)


def _whole(p: Tensor, rows: int) -> Tensor:
    """[..., n, n, K] of [..., n, n, K or 1]."""
    return p.expand(*p.shape[:-1], rows)


def _square(p: Tensor) -> Tensor:
    """[M, n, n, K] as the matrix [M, n · K, n · K]."""
    M, n, _, K = p.shape
    return torch.diag_embed(p).permute(0, 1, 3, 2, 4).reshape(M, n * K, n * K)
