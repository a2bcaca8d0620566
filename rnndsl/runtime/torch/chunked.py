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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.rules import one_by_one
from rnndsl.runtime.torch import quotients
from rnndsl.runtime.torch.halves import Block, act, act_left, assembled, by_halves
from rnndsl.runtime.torch.triangular import Solved

_LONGEST = 64  # steps of a chunk
_VECTOR = Sequence[Tensor | None]  # one a state; None is zero
_MILD = (0.5, 1.0)  # decays along rows whose products are made as quotients
LARGEST = 1e3  # what a product of decays over steps of a chunk may be

_TERM = tuple[_VECTOR, Tensor | None, _VECTOR]  # u, q, w
_READ = tuple[_VECTOR, _VECTOR]  # of what reads old and new states

# Of streams and statics: decays, a row a new state; terms; reads
Coefficients = tuple[Sequence[_VECTOR], Sequence[_TERM], Sequence[_READ]]


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
    alone = coefficients[0][0][0] if form.rows and len(call.first) == 1 and call.reset is None else None
    mild = None if alone is None or not _is_mild(alone) else alone
    return _Chunks(form, call, chunk_of(call.steps, form.rows, system), mild).solved(coefficients)


def _is_mild(decay: Tensor) -> bool:
    """Whether quotients of products over a chunk, and sums of gradients of their logarithms, are as exact as products. Waits for the device."""
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


class Linked(NamedTuple):
    """starts: what each chunk begins with, [M, n · K, V]; last: [G, n · K, V]; added: x of terms that read states, where there are such, and of others,
    [M, C · count, V] each; reads: [M, C, V] each."""

    starts: Tensor
    last: Tensor
    added: Sequence[Tensor]
    reads: Sequence[Tensor]


class _Chunks:
    """Arrays of a call by chunks: [M, C, ...], M = B · heads · chunks, with the rows of n states as [n, K]. mild: the decays of the only state, where they are."""

    def __init__(self, form: Form, call: Call, size: int, mild: Tensor | None = None):
        self.form, self.call, self.mild = form, call, mild
        first = call.first[0]
        self.batch, self.steps, self.states = first.shape[0], call.steps, len(call.first)
        self.heads = first.shape[1 : 1 + form.heads]
        rows, columns = first.shape[1 + form.heads :]
        self.K, self.V = (rows, columns) if form.axis == 0 else (columns, rows)
        self.size, self.chunks = size, -(-call.steps // size)
        self.shape = (math.prod(first.shape[: 1 + form.heads]) * self.chunks, size)  # M, C
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
        return self._padded(self._each_step(x).movedim(1, -2).reshape(-1, self.steps, x.shape[-1]), value)

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
        groups = [t for t in terms if any(w is not None for w in t[2])], [t for t in terms if all(w is None for w in t[2])]
        zero = first.new_zeros((*self.heads, self.V))
        right = [self._together([self.vectors(zero if q is None else q) for _, q, _ in group], first, (self.V,)) for group in groups]
        if self.mild is None or self.form.whole:
            decay, u = self.decay(given, first), [self._together([self._some(left, first) for left, _, _ in g], first, (self.states, self.K)) for g in groups]
        scores, block = self._products(decay, u, groups[0], reads) if self.mild is None else self._quotients(self.mild, groups, reads)
        linked = self._linked(scores, block, right, first, start)
        states = [f.new_empty((f.shape[0], 0, *f.shape[1:])) for f in self.call.first]
        if self.form.whole:
            added = torch.cat([x.reshape(*self.shape, -1, self.V) for x in linked.added], 2)
            states = self._states(linked.starts, start, decay, torch.cat(u, 2), added)
        return Found(states, self.unmatrix(linked.last), [self.by_steps(r) for r in linked.reads], block.largest, self.chunks)

    def _quotients(self, decay: Tensor, groups: Sequence[Sequence[_TERM]], reads: Sequence[_READ]) -> tuple[list[list[Tensor]], Block]:
        """What `_products` returns, of one state without resets whose decays are mild: [B, T, heads, K] or [heads, K]."""
        of_terms, of_added = [reads for _, _, (reads,) in groups[0]], [[left for (left,), _, _ in group] for group in groups]
        of_old, of_new = ([r[k][0] for r in reads] if any(r[k][0] is not None for r in reads) else [] for k in (0, 1))
        vectors = [[None if v is None else self._each_step(v) for v in group] for group in (of_terms, of_old, of_new, *of_added)]
        made = quotients.scaled(self.size, self._each_step(decay), vectors)
        w, old, new, u, u_known, *ends = (x.unsqueeze(-2) for x in made.vectors)
        seen = decay.new_ones((1, self.size, self.size)).tril()
        earlier = seen.tril(-1)
        looks = [(r, what) for r, what in ((old, earlier), (new, seen)) if r.shape[2]] or [(old, earlier)]
        scores = [[_scored([(w, earlier)], x) for x in (u, u_known)], [_scored(looks, x) for x in (u, u_known)]]
        reading = sum((r for r, _ in looks[1:]), looks[0][0])
        return scores, Block([], [w, reading], ends, made.decay[:, None, None], None, decay.new_ones(()))

    def _each_step(self, x: Tensor) -> Tensor:
        """[B, T, heads, entries] of that, or of [heads, entries]."""
        return x.expand(self.batch, self.steps, *x.shape) if x.dim() == self.form.heads + 1 else x

    def _some(self, given: _VECTOR | None, like: Tensor) -> Tensor:
        """A vector along the rows of each state as [M, C, n, K], of zeros where it is none."""
        found = None if given is None else self.rows(given)
        return like.new_zeros((*self.shape, self.states, self.K)) if found is None else found

    def _together(self, values: list[Tensor], like: Tensor, entries: tuple[int, ...]) -> Tensor:
        """Values [M, C, ...] as [M, C, count, ...]."""
        if len(values) == 1:
            return values[0].unsqueeze(2)
        return torch.stack(values, 2) if values else like.new_zeros((*self.shape, 0, *entries))

    def _products(self, decay: Tensor, u: Sequence[Tensor], asked: Sequence[_TERM], reads: Sequence[_READ]) -> tuple[list[list[Tensor]], Block]:
        """What readers read of each u of earlier steps, and those of new states of their own step's too, [M, C · R, C · L] for each group of readers and of
        u; a block a chunk. decay: [M, C, n, n, K or 1]; u: [M, C, L, n, K] of terms that read states, `asked`, and of others."""
        matrix = (self.states, self.K)
        w = self._together([self._some(r, decay) for _, _, r in asked], decay, matrix)
        old, new = (self._together([self._some(r[k], decay) for r in reads], decay, matrix) if any(v is not None for r in reads for v in r[k]) else None for k in (0, 1))
        M, C = decay.shape[:2]
        behind = None if new is None else act(new, decay)
        reading = w[:, :, :0] if old is None else old
        reading = reading if behind is None else behind if old is None else reading + behind
        if self.states == 1 and decay.shape[-1] == 1:  # products of decays alone first, then those of vectors as whole matrices
            one = decay.new_ones((M, C, 1, 1, 1))
            alone = by_halves([one], [one], decay, self.reset, not self.form.bounded)
            ((before,),) = assembled(alone.across, decay, [[1], [1]], [None])
            here = torch.eye(C, dtype=decay.dtype, device=decay.device).addcmul(decay.reshape(M, C, 1), before)
            looks = [(r, between) for r, between in ((old, before), (new, here)) if r is not None] or [(reading, before)]
            scores = [[_scored([(w, before)], x) for x in u], [_scored(looks, x) for x in u]]
            return scores, replace(alone, across=[], readers=[x * alone.readers[0] for x in (w, reading)], lefts=[x * alone.lefts[0] for x in u])
        block = by_halves([w, reading], [*u], decay, self.reset, not self.form.bounded)
        own = [None if new is None else new.flatten(3) @ x.flatten(3).mT for x in u]
        return assembled(block.across, decay, [[x.shape[2] for x in group] for group in ((w, reading), u)], own), block

    def _linked(self, scores: list[list[Tensor]], block: Block, right: Sequence[Tensor], first: Tensor, start: Tensor) -> Linked:
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
            added = added + act_left(torch.where(cut, moved, 0.0), each.reshape(M, self.states, self.K, V)).flatten(1, 2)
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
        reads: Sequence[Tensor] = ()
        if reads_x.shape[1]:
            read = torch.baddbmm(by_reads @ starts, reads_known, known) if known.shape[1] else by_reads @ starts
            read = torch.baddbmm(read, reads_x, x) if count else read
            read = read if behind_reads is None else read + behind_reads
            reads = read.reshape(M, C, -1, V).unbind(2)
        return Linked(starts, last, (x, known) if count else (known,), reads)

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
            here = act_left(_whole(decay[:, s], self.K), here) + more.reshape(shape)
            found.append(here)
        whole = torch.stack(found, 1)  # [M, C, n, K, V]
        return [self.by_steps(p.transpose(-1, -2) if self.form.axis else p).contiguous() for p in whole.unbind(2)]


class Chained(torch.autograd.Function):
    """What each chunk begins with, [M, n, columns], and what the last one ends with, [G, n, columns]: behind a chunk of it is `added + step @ what it begins
    with`, of a matrix [M, n, n] or a factor [M, n, 1]. back: from the last chunk to the first, by matrices transposed, which is the backward pass."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, step: Tensor, first: Tensor, back: bool) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        whole = step.shape[2] > 1 or step.shape[1] == 1
        apply = torch.baddbmm if whole else torch.addcmul
        starts = added.new_empty(added.shape)
        chunks = [[*x.unflatten(0, (first.shape[0], -1)).unbind(1)] for x in (added, step.mT if back and whole else step, starts)]
        more, by, here = (x[::-1] for x in chunks) if back else chunks
        here[0].copy_(first)
        for c, following in enumerate(here[1:]):
            if whole:
                following.copy_(torch.baddbmm(more[c], by[c], here[c]))  # with `out=`, of no one piece, it would multiply one matrix at a time
            else:
                torch.addcmul(more[c], by[c], here[c], out=following)
        last = apply(more[-1], by[-1], here[-1])
        ctx.save_for_backward(step, starts)
        ctx.back, ctx.whole = back, whole
        return starts, last

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


def _scored(looks: Sequence[tuple[Tensor, Tensor]], u: Tensor) -> Tensor:
    """What readers w [M, C, R, n, K] read of each u [M, C, L, n, K], times between [M or 1, C, C], as [M, C · R, C · L]; of all looks (w, between) together."""
    first, *more = [_score(w, u, between) for w, between in looks]
    return sum(more, first)


def _score(w: Tensor, u: Tensor, between: Tensor) -> Tensor:
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


def _whole(p: Tensor, rows: int) -> Tensor:
    """[..., n, n, K] of [..., n, n, K or 1]."""
    return p.expand(*p.shape[:-1], rows)


def _square(p: Tensor) -> Tensor:
    """[M, n, n, K] as the matrix [M, n · K, n · K]."""
    M, n, _, K = p.shape
    return torch.diag_embed(p).permute(0, 1, 3, 2, 4).reshape(M, n * K, n * K)
