"""Rounds of Newton's method in Triton: all rows at once, each a step of a sequence; see `torch/newton.py`, and `kernel/row_stages.py` for the stages.

Products with matrices are PyTorch's, each of all rows; what stands between them, the residual with it, is a kernel over rows, and so is the scan along time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import HALF
from rnndsl.runtime.memory import rows
from rnndsl.runtime.torch.buffers import Buffers
from rnndsl.runtime.torch.by_kernels import KernelBack, KernelChunk
from rnndsl.runtime.torch.newton import Carries
from rnndsl.runtime.triton.cut import in_registers, power_of_two
from rnndsl.runtime.triton.launch import launch
from rnndsl.runtime.triton.row_launch import A_WARP, RowLaunch, strided
from rnndsl.runtime.triton.rows import RowScan, RowStage
from rnndsl.runtime.triton.tile_launch import WIDEST

_ENTRIES = 256  # of a value that a program over rows has
_LANES, _CHANNELS = 64, 16  # steps and channels that a program scans at a time
_MATRICES = 10240  # entries of the matrices of all of them
_AT_ONCE = 256  # channels at a time of a program that says what gradients a step hands back


@dataclass(frozen=True)
class TritonRounds:
    """The rounds of a recurrence; see `newton.Rounds`. swept: what gives gradients of a step where no stages do, a `recurrence.Runnable`."""

    halves: ClassVar[tuple[torch.dtype, ...]] = HALF
    stages: RowLaunch
    carries: Carries
    swept: Callable[[], Any] = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether programs can hold a row of every stage, and the matrices of products that stay in one: elsewhere PyTorch's products are quicker."""
        return all(stage.widest <= WIDEST and in_registers(stage.matrices) for stage in self.stages.said.rounds)

    def given(self, call: Call) -> Call:
        """With what no row changes behind the statics."""
        statics = self.stages.statics(call.first, call.statics)
        return call._replace(streams=[rows(s, 2) for s in call.streams], statics=statics, initial=[rows(i, 0) for i in call.initial])

    def chunk(self, part: Call) -> "_Chunk":
        return _Chunk(self, part)

    def back(self, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]) -> "_Back":
        return _Back(self, part, old, sequences)

    def run(self, name: str, streams: Sequence[Tensor], statics: Sequence[Tensor], old: Sequence[Tensor], made: Buffers) -> list[Tensor]:
        """What the stages make of all rows, [B, C, ...] each."""
        stages = getattr(self.stages.said, name)
        return self.stages.run(stages, streams, statics, old, lambda k, stage: made.take((name, k), stage.shapes))["made"]

    def corrected(
        self, slopes: Sequence[Tensor], new: Sequence[Tensor], values: Sequence[Tensor], into: Sequence[Tensor], reset: Tensor | None, backwards: bool = False
    ) -> None:
        """values + δ into `into`. Carried values without new ones are of a step ago."""
        batch, steps = new[0].shape[:2]
        for scan in self.stages.said.scans:
            members = [i for i in scan.members if i < len(new)]
            given = strided([t[i] for i in members for t in (new, values, into)])
            given += strided([slopes[i] for i in (scan.outputs_back if backwards else scan.outputs)])
            cut, kernel = cut_of_scan(scan, steps), scan.backward if backwards else scan.forward
            programs = batch * -(-scan.size // cut.channels)
            launch(kernel, programs, [*given, *_mask(reset), steps], new[0], LANES=cut.lanes, BLOCK=cut.channels, num_warps=cut.warps)

    def handed_back(
        self, given: Sequence[Tensor], pulled: Sequence[Tensor], adjoint: Sequence[Tensor], into: Sequence[Tensor], reset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What λ should be, into `into`; the largest |λ| of each row, and how far off the worst is, [B, C] each."""
        from rnndsl.runtime.triton.over_time import handed_back

        batch, steps = into[0].shape[:2]
        size, worst = (into[0].new_empty((batch, steps)) for _ in range(2))
        for i, arrays in enumerate(zip(given, pulled, adjoint, into, strict=True)):
            channels = arrays[0].shape[2:].numel()
            block = min(_AT_ONCE, power_of_two(channels))
            at_once = 4 * _ENTRIES // block
            cut = {"SIZE": channels, "IS_FIRST": i == 0, "ROWS": at_once, "BLOCK": block}
            launch(handed_back, -(-batch * steps // at_once), [*strided(arrays), size, worst, *_mask(reset), batch, steps], into[0], **cut, num_warps=4)
        return size, worst


@dataclass(frozen=True)
class ScanCut:
    """How a scan is cut: steps and channels that a program has at a time, and its warps."""

    lanes: int
    channels: int
    warps: int


def cut_of_scan(scan: RowScan, steps: int) -> ScanCut:
    """How the scan of so many steps is cut: so that registers hold the matrices of all of them."""
    lanes, entries = min(_LANES, power_of_two(steps)), len(scan.members) ** 2
    fitting = 1 << (_MATRICES // (lanes * entries)).bit_length() - 1
    channels = min(_CHANNELS, power_of_two(scan.size), fitting)
    return ScanCut(lanes, channels, max(1, min(8, lanes * channels * entries // A_WARP)))


def _mask(reset: Tensor | None) -> list[Any]:
    if reset is None:
        return [None, 0, 0]
    mask = reset.view(torch.uint8)
    return [mask, mask.stride(0), mask.stride(1)]


class _Chunk(KernelChunk):
    def start(self) -> list[Tensor]:
        """As if the states of all steps were those before the first."""
        first = [f.unsqueeze(1).expand(f.shape[0], self.part.steps, *f.shape[1:]) for f in self.part.first]
        new, _ = self._look(first, first[: self.kept])
        return [n.copy_(v) for n, v in zip(self.states(0), new, strict=True)]

    def _look(self, old: Sequence[Tensor], states: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """New values, and the residual of each row."""
        found = self.rounds_of.run("look", [*self.part.streams, *states], self.part.statics, old, self.made)
        self.slopes = found[self.kept : -1]
        return found[: self.kept], found[-1]

    def look(self, states: Sequence[Tensor], rounds: int) -> tuple[Sequence[Tensor], Tensor]:
        part, states = self.part, [rows(s, 2) for s in states]
        new, residual = self._look(self.rounds_of.carries.old(states, part.first, part.initial, part.reset), states)
        return new, residual.amax(0)


class _Back(KernelBack):
    """What rounds read of the values of a chunk's rows is made once."""

    def __init__(self, rounds_of: TritonRounds, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]):
        super().__init__(rounds_of, part, old)
        given = rounds_of.given(part)
        self.statics = given.statics
        states = [rows(s, 2) for s in sequences]
        self.slopes = rounds_of.run("look", [*given.streams, *states], self.statics, old, self.made)[len(states) : -1]
        self.streams = [*given.streams, *rounds_of.run("linear", given.streams, self.statics, old, self.made)]
        self.nothing = nothing_of(old)

    def pulled(self, adjoint: Sequence[Tensor]) -> list[Tensor]:
        return self.rounds_of.run("pull", [*self.streams, *adjoint, *self.nothing], self.statics, (), self.made)

    def gradients(self, adjoint: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        stages = self.rounds_of.stages
        if not stages.said.gradients:
            return super().gradients(adjoint)
        adjoint, part = [rows(a, 2) for a in adjoint], self.part
        statics = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in part.statics]
        found = stages.gradients(stages.said, [*self.streams, *adjoint], self.statics, self.old, self._take, statics)
        streams = [self.old[0].new_zeros(s.shape) if g is None else g for g, s in zip(found, part.streams, strict=True)]
        return streams, statics, self.pulled(adjoint)

    def _take(self, k: int, stage: RowStage) -> list[Tensor]:
        return self.made.take(("gradients", k), stage.shapes)


def nothing_of(values: Sequence[Tensor]) -> list[Tensor]:
    """Zeros of every row, in the place of what is given."""
    return [v.new_zeros((1, 1, *v.shape[2:])).expand(v.shape) for v in values]
