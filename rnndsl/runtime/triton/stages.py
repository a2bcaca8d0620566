"""A recurrence step by step in Triton, where a step is too large for one program: of each stage of it a kernel over the rows of the batch, and PyTorch's
products of matrices between them, forwards and backwards. So many steps are a CUDA graph, which runs again and again; those that are left over are not.

Backwards, what a step's adjoint reads of its values is made of all steps of a chunk at once, and so are the gradients of streams and params when λ of all
of them are known; only λ goes from step to step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import HALF, cast_to, without_autocast
from rnndsl.runtime.memory import rows
from rnndsl.runtime.ops import _at_resets
from rnndsl.runtime.torch.newton import Carries, chunk_of, cut
from rnndsl.runtime.triton.graphs import Given, Graphs, Run, Work, plainly
from rnndsl.runtime.triton.row_launch import RowLaunch
from rnndsl.runtime.triton.rows import RowStage
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

    @property
    def fits(self) -> bool:
        """Whether there are stages of single steps, of each of which a program holds a row."""
        said = self.stages.said
        return bool(said.gradients) and all(stage.widest <= WIDEST for stage in said.steps)

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
            statics = self.stages.statics(first, call.statics)
            streams, old = [rows(s, 2) for s in call.streams], [rows(f, 1) for f in first]
            with self._runs("forward", partial(_forward, self), [*statics, *(rows(i, 0) for i in call.initial)], first[0].device) as run:
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
        with without_autocast(first[0].device):
            old = self.carries.old(sequences, first, call.initial, call.reset)
            whole = call._replace(statics=self.stages.statics(first, call.statics), streams=[rows(s, 2) for s in call.streams])
            chunk, high = chunk_of(first, call.steps), call.steps
            with self._runs("backward", partial(_backward, self), whole.statics, first[0].device) as run:
                while high > 0:
                    low = max(0, high - chunk)
                    part, seen = cut(whole, low, high), [o[:, low:high] for o in old]
                    given = [None if g is None else g[:, low:high] for g in grads[:kept]]
                    back = _Chunk(self.stages, part, seen, given)
                    behind = back.run(run, behind, self.graph)
                    streams, statics, restarts = back.gradients(wanted[: len(of_streams) + len(of_statics)])
                    for total, found in zip(of_streams, streams, strict=True):
                        total[:, low:high] = cast_to(found, total.dtype)
                    for total, found in zip([*of_statics, *of_initial], [*statics, *restarts], strict=True):
                        total += found
                    high = low
        return [*of_streams, *of_statics, *behind, *of_initial]

    def _runs(self, name: str, steps: Work, fixed: Sequence[Tensor], device: torch.device) -> Any:
        return self.graphs.runs(name, steps, fixed) if self.graph and self.graphs.serve(device) else plainly(steps, fixed)


def _pieces(steps: int, most: int) -> Iterable[tuple[int, int]]:
    """Where runs of steps begin and end."""
    most = most or steps
    return ((low, min(steps, low + most)) for low in range(0, steps, most))


class _Memory:
    """What stages make of one step, which the next one makes anew."""

    def __init__(self, like: Tensor):
        self.like = like
        self.made: dict[int, list[Tensor]] = {}

    def take(self, k: int, stage: RowStage) -> list[Tensor]:
        if k not in self.made:
            self.made[k] = [self.like.new_empty((self.like.shape[0], 1, *shape)) for shape in stage.shapes]
        return self.made[k]


def _step(stages: RowLaunch, of: Sequence[RowStage], streams: Given, statics: Sequence[Tensor], old: Sequence[Tensor], into: list[Tensor], memory: _Memory) -> None:
    """The stages of one step, [B, 1, ...], the outputs of the last one into memory that is there."""
    stages.run(of, streams, statics, old, lambda k, stage: into if k == len(of) - 1 else memory.take(k, stage))


def _restarted(reset: Tensor | None, t: int, old: Sequence[Tensor], instead: Sequence[Tensor]) -> list[Tensor]:
    if reset is None:
        return list(old)
    return [torch.where(_at_resets(reset[:, t : t + 1], o), i, o) for o, i in zip(old, instead, strict=True)]


def _forward(staged: Staged, fixed: Sequence[Tensor], own: Given, into: Sequence[Tensor]) -> None:
    """Some steps forwards. fixed: statics, initial values; own: the reset, streams [B, C, ...], what the first step sees, [B, ...]; into: states
    [B, C, ...], and what is carried on."""
    carries, said = staged.carries, staged.stages.said
    reset, *rest = own
    count = len(carries.nearer)
    streams, old = rest[:-count], [o.unsqueeze(1) for o in rest[-count:]]
    statics, initial = fixed[:-count], fixed[-count:]
    sequences, memory = into[: carries.kept], _Memory(old[0])
    for t in range(sequences[0].shape[1]):
        old = _restarted(reset, t, old, initial)
        new = [s[:, t : t + 1] for s in sequences]
        _step(staged.stages, said.advance, [s[:, t : t + 1] for s in streams], statics, old, new, memory)
        old = [new[i] if near < 0 else old[near] for i, near in enumerate(carries.nearer)]
    for end, value in zip(into[carries.kept :], old, strict=True):
        end.copy_(value[:, 0])


def _backward(staged: Staged, fixed: Sequence[Tensor], own: Given, into: Sequence[Tensor]) -> None:
    """λ of some steps, from that of the last one. own: the reset, given gradients of new values and what comes from the step behind, [B, ...], of each carried
    value, then streams and what `linear` made of them, [B, C, ...]; into: λ [B, C, ...], and what goes to the step before."""
    stages, count = staged.stages, len(staged.carries.nearer)
    reset, *rest = own
    given, behind, streams = rest[:count], rest[count : 2 * count], rest[2 * count :]
    adjoint, before = into[:count], [b.unsqueeze(1) for b in into[count:]]
    steps, memory = adjoint[0].shape[1], _Memory(adjoint[0])
    nothing = [torch.zeros_like(b) for b in before]
    for a, g, b in zip(adjoint, given, behind, strict=True):
        torch.add(g[:, -1], b, out=a[:, -1])
    for t in range(steps - 1, -1, -1):
        on_top = [g[:, t - 1 : t] for g in given] if t else nothing
        out = [a[:, t - 1 : t] for a in adjoint] if t else before
        now = [s if s is None else s[:, t : t + 1] for s in (*streams, *adjoint)]
        _step(stages, stages.said.pull, [*now, *on_top], fixed, (), out, memory)
        if reset is not None:
            for o, g in zip(out, on_top, strict=True):
                o.copy_(torch.where(_at_resets(reset[:, t : t + 1], o), g, o))


class _Chunk:
    """Some steps backwards."""

    def __init__(self, stages: RowLaunch, part: Call, old: Sequence[Tensor], given: Sequence[Tensor | None]):
        self.stages, self.part, self.old = stages, part, old
        none = [o.new_zeros((1, 1, *o.shape[2:])).expand(o.shape) for o in old]
        self.given = [n if g is None else rows(cast_to(g, n.dtype), 2) for n, g in zip(none, [*given, *[None] * (len(old) - len(given))], strict=True)]
        self.nothing = none
        self.streams = [*part.streams, *self._run(stages.said.linear, part.streams)]
        self.adjoint = [o.new_empty(o.shape) for o in old]
        self.read = stages.said.pulled_of

    def run(self, run: Run, behind: Sequence[Tensor], most: int) -> list[Tensor]:
        """Solves for λ, from what comes from the step behind the last one. Returns what goes to the one before the first."""
        behind = list(behind)
        for low, high in reversed(list(_pieces(self.part.steps, most))):
            reset = None if self.part.reset is None else self.part.reset[:, low:high]
            into = [*(a[:, low:high] for a in self.adjoint), *(torch.empty_like(b, memory_format=torch.contiguous_format) for b in behind)]
            read = [s[:, low:high] if i in self.read else None for i, s in enumerate(self.streams)]
            run([reset, *(g[:, low:high] for g in self.given), *behind, *read], into, high - low == most)
            behind = into[len(self.old) :]
        return behind

    def gradients(self, wanted: Sequence[bool]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Those of streams, statics and initial values."""
        streams = [*self.streams, *self.adjoint]
        of_streams, of_statics = self.stages.gradients(streams, self.part.statics, self.old, self._take, wanted)
        reset = self.part.reset
        if reset is None:
            return of_streams, of_statics, [o.new_zeros(()) for o in self.old]
        pulled = self._run(self.stages.said.pull, [*streams, *self.nothing])
        return of_streams, of_statics, [torch.where(_at_resets(reset, p), p, 0.0).sum((0, 1)) for p in pulled]

    def _run(self, stages: Sequence[RowStage], streams: Sequence[Tensor]) -> list[Tensor]:
        return self.stages.run(stages, streams, self.part.statics, self.old, self._take)["made"]

    def _take(self, _: int, stage: RowStage) -> list[Tensor]:
        return [self.old[0].new_empty((*self.old[0].shape[:2], *shape)) for shape in stage.shapes]
