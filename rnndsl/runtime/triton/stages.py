"""A recurrence step by step in Triton, where a step is too large for one program: of each stage of it a kernel over the rows of the batch, and PyTorch's
products of matrices between them, forwards and backwards. So many steps are a CUDA graph, which runs again and again; those that are left over are not.

Backwards, what a step's adjoint reads of its values is made of all steps of a chunk at once, and so are the gradients of streams and params when λ of all
of them are known; only λ goes from step to step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import HALF, cast_to, without_autocast
from rnndsl.runtime.memory import rows
from rnndsl.runtime.ops import _at_resets
from rnndsl.runtime.torch.newton import Carries, chunk_of, cut
from rnndsl.runtime.triton.chain import Chain, Memory
from rnndsl.runtime.triton.graphs import Given, Graphs, Run, Work, plainly
from rnndsl.runtime.triton.row_launch import RowLaunch
from rnndsl.runtime.triton.tile_launch import WIDEST

STEPS = 32  # of a graph, unless `layer.tiles` says otherwise


@dataclass(frozen=True)
class Staged:
    """See `recurrence.Runnable`. reference: the same in plain PyTorch."""

    stages: RowLaunch
    carries: Carries
    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    reference: Any
    follows: tuple[int, ...] = ()
    graphs: Graphs = field(default_factory=Graphs, repr=False)

    @property
    def lags(self) -> tuple[int, ...]:
        return self.carries.lags

    @cached_property
    def chain(self) -> Chain:
        return Chain.of(self.stages, len(self.carries.nearer))

    @property
    def fits(self) -> bool:
        """Whether there are stages of single steps, of each of which a program holds a row."""
        parts, _ = self.stages.said.steps(len(self.carries.nearer))
        return bool(parts) and all(stage.widest <= WIDEST for part in parts for stage in part.stages)

    @property
    def graph(self) -> int:
        """The steps of a graph; 0 where there is none."""
        return self.stages.wish.get("graph", STEPS)

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.stages.dtype or (is_stream and t.dtype in HALF) else t.to(self.stages.dtype)

    def forward(self, call: Call) -> list[Tensor]:
        first, kept, steps = call.first, self.carries.kept, call.steps
        sequences = [f.new_empty((f.shape[0], steps, *f.shape[1:])) for f in first[:kept]]
        if steps == 0 or any(f.numel() == 0 for f in first):
            return [*sequences, *(f.clone() for f in first)]
        with without_autocast(first[0].device):
            fixed, counts = self.chain.fixed(first, call.statics)
            streams, old = [rows(s, 2) for s in call.streams], [rows(f, 1) for f in first]
            work = partial(_forward, self, counts)
            with self._runs("forward", work, [*(rows(i, 0) for i in call.initial), *fixed], first[0].device) as run:
                for low, high in _pieces(steps, self.graph):
                    own = [None if call.reset is None else call.reset[:, low:high], *(s[:, low:high] for s in streams), *old]
                    into = [*(s[:, low:high] for s in sequences), *(torch.empty_like(f, memory_format=torch.contiguous_format) for f in first)]
                    run(own, into, high - low == self.graph)
                    old = into[kept:]
        return [*sequences, *old]

    def backward(self, call: Call, sequences: list[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor]:
        first, kept = call.first, self.carries.kept
        behind = [torch.zeros_like(f) if g is None else g.to(f.dtype, copy=True) for f, g in zip(first, grads[kept:], strict=True)]
        of_initial = [torch.zeros_like(i) for i in call.initial]
        if call.steps == 0 or any(f.numel() == 0 for f in first):
            return [*(torch.zeros_like(t) for t in (*call.streams, *call.statics)), *behind, *of_initial]
        of_streams = [s.new_empty(s.shape) for s in call.streams]
        of_statics = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in call.statics]
        totals = [t if w else None for t, w in zip(of_statics, wanted[len(of_streams) :], strict=False)]
        with without_autocast(first[0].device):
            old = self.carries.old(sequences, first, call.initial, call.reset)
            fixed, counts = self.chain.fixed(first, call.statics)
            whole = call._replace(streams=[rows(s, 2) for s in call.streams])
            chunk, high = chunk_of([*first] * len(self.chain.links), call.steps), call.steps
            with self._runs("backward", partial(_backward, self, counts), fixed, first[0].device) as run:
                while high > 0:
                    low = max(0, high - chunk)
                    part, seen = cut(whole, low, high), [o[:, low:high] for o in old]
                    given = [None if g is None else g[:, low:high] for g in grads[:kept]]
                    back = _Chunk(self.chain, part, self.chain.statics(fixed, counts), seen, given)
                    behind = back.run(run, behind, self.graph)
                    streams, restarts = back.gradients(totals)
                    for total, found in zip(of_streams, streams, strict=True):
                        total[:, low:high] = 0.0 if found is None else cast_to(found, total.dtype)
                    for total, found in zip(of_initial, restarts, strict=True):
                        total += found
                    high = low
        return [*of_streams, *of_statics, *behind, *of_initial]

    def _runs(self, name: str, steps: Work, fixed: Sequence[Tensor], device: torch.device) -> Any:
        return self.graphs.runs(name, steps, fixed) if self.graph and self.graphs.serve(device) else plainly(steps, fixed)


def _pieces(steps: int, most: int) -> Iterable[tuple[int, int]]:
    """Where runs of steps begin and end."""
    most = most or steps
    return ((low, min(steps, low + most)) for low in range(0, steps, most))


def _restarted(reset: Tensor | None, t: int, old: Sequence[Tensor], instead: Sequence[Tensor]) -> list[Tensor]:
    if reset is None:
        return list(old)
    return [torch.where(_at_resets(reset[:, t : t + 1], o), i, o) for o, i in zip(old, instead, strict=True)]


def _forward(staged: Staged, counts: Sequence[int], fixed: Sequence[Tensor], own: Given, into: Sequence[Tensor]) -> None:
    """Some steps forwards. fixed: initial values, and what `Chain.fixed` makes; own: the reset, streams [B, C, ...], what the first step sees, [B, ...];
    into: states [B, C, ...], and what is carried on."""
    carries, chain = staged.carries, staged.chain
    reset, *rest = own
    count = len(carries.nearer)
    streams, old = rest[:-count], [o.unsqueeze(1) for o in rest[-count:]]
    initial, statics = fixed[:count], chain.statics(fixed[count:], counts)
    sequences, memory = into[: carries.kept], Memory(old[0])
    for t in range(sequences[0].shape[1]):
        old = _restarted(reset, t, old, initial)
        new = [s[:, t : t + 1] for s in sequences]
        chain.forward([s[:, t : t + 1] for s in streams], statics, old, new, memory)
        old = [new[i] if near < 0 else old[near] for i, near in enumerate(carries.nearer)]
    for end, value in zip(into[carries.kept :], old, strict=True):
        end.copy_(value[:, 0])


def _backward(staged: Staged, counts: Sequence[int], fixed: Sequence[Tensor], own: Given, into: Sequence[Tensor]) -> None:
    """λ of some steps, from that of the last one. own: the reset, given gradients of new values and what comes from the step behind, [B, ...], of each carried
    value, then streams and what `linear` made of them, [B, C, ...]; into: λ of new values and of what is made between, [B, C, ...], and what goes to the step
    before."""
    chain, count = staged.chain, len(staged.carries.nearer)
    statics = chain.statics(fixed, counts)
    reset, *rest = own
    given, behind, read = rest[:count], rest[count : 2 * count], rest[2 * count :]
    adjoint, between, before = into[:count], into[count:-count], [b.unsqueeze(1) for b in into[-count:]]
    steps, memory = adjoint[0].shape[1], Memory(before[0])
    nothing = [torch.zeros_like(b) for b in before]
    for a, g, b in zip(adjoint, given, behind, strict=True):
        torch.add(g[:, -1], b, out=a[:, -1])
    for t in range(steps - 1, -1, -1):
        on_top = [g[:, t - 1 : t] for g in given] if t else nothing
        out = [a[:, t - 1 : t] for a in adjoint] if t else before
        now = [None if s is None else s[:, t : t + 1] for s in read]
        streams, saved = chain.groups(now)
        of_between = {i: b[:, t : t + 1] for i, b in zip(chain.between, between, strict=True)}
        chain.pull(streams, statics, saved, [a[:, t : t + 1] for a in adjoint], on_top, out, of_between, memory)
        if reset is not None:
            for o, g in zip(out, on_top, strict=True):
                o.copy_(torch.where(_at_resets(reset[:, t : t + 1], o), g, o))


class _Chunk:
    """Some steps backwards."""

    def __init__(self, chain: Chain, part: Call, statics: Sequence[Sequence[Tensor]], old: Sequence[Tensor], given: Sequence[Tensor | None]):
        self.chain, self.part, self.statics, self.old = chain, part, statics, old
        self.nothing = [o.new_zeros((1, 1, *o.shape[2:])).expand(o.shape) for o in old]
        behind = [*given, *[None] * (len(old) - len(given))]
        self.given = [n if g is None else rows(cast_to(g, n.dtype), 2) for n, g in zip(self.nothing, behind, strict=True)]
        self.values = chain.values(part.streams, statics, old)
        self.saved = chain.linear(part.streams, statics, self.values)
        self.adjoint = [o.new_empty(o.shape) for o in old]
        self.between = {i: old[0].new_empty((*old[0].shape[:2], *chain.shapes[i])) for i in chain.between}

    def run(self, run: Run, behind: Sequence[Tensor], most: int) -> list[Tensor]:
        """Solves for λ, from what comes from the step behind the last one. Returns what goes to the one before the first."""
        behind, read = list(behind), self.chain.read(self.part.streams, self.saved)
        for low, high in reversed(list(_pieces(self.part.steps, most))):
            reset = None if self.part.reset is None else self.part.reset[:, low:high]
            before = [torch.empty_like(b, memory_format=torch.contiguous_format) for b in behind]
            into = [*(a[:, low:high] for a in (*self.adjoint, *self.between.values())), *before]
            now = [None if s is None else s[:, low:high] for s in read]
            run([reset, *(g[:, low:high] for g in self.given), *behind, *now], into, high - low == most)
            behind = before
        return behind

    def gradients(self, into: Sequence[Tensor | None]) -> tuple[list[Tensor | None], list[Tensor]]:
        """Those of streams and initial values; those of statics are added to `into`."""
        chain, part = self.chain, self.part
        adjoint = dict(zip(chain.news, self.adjoint, strict=True)) | self.between
        of_streams = chain.gradients(part.streams, self.statics, self.saved, self.values, adjoint, into)
        if (reset := part.reset) is None:
            return of_streams, [o.new_zeros(()) for o in self.old]
        pulled = [o.new_empty(o.shape) for o in self.old]
        chain.pull(part.streams, self.statics, self.saved, self.adjoint, self.nothing, pulled, {}, Memory(self.old[0]))
        return of_streams, [torch.where(_at_resets(reset, p), p, 0.0).sum((0, 1)) for p in pulled]
