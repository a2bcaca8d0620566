"""What a generated file says of steps in Triton whose stages are kernels over rows. Needs no triton."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.costs import Load, RowKernels
from rnndsl.runtime.triton.cut import NEVER
from rnndsl.runtime.triton.tiled import Sized

Shape = tuple[int, ...]


@dataclass(frozen=True)
class RowProduct:
    """A product of a value of every row with the static array `matrix`. of, number: the value: a `stream`, an `old` one, or `made` by the kernel before;
    equation: of the value, [B, C, ...], and the matrix, as torch.einsum takes it."""

    matrix: int
    of: str
    number: int
    equation: str

    def __call__(self, value: Tensor, matrix: Tensor) -> Tensor:
        return torch.einsum(self.equation, value.to(matrix.dtype), matrix)


@dataclass(frozen=True)
class StaticProduct:
    """A product of two values of all rows, which is a gradient of the static array `static`; see `RowProduct`. made: by the last kernel."""

    static: int
    left: str
    left_number: int
    right: str
    right_number: int
    equation: str

    def __call__(self, arrays: Mapping[str, Sequence[Tensor]], like: Tensor) -> Tensor:
        left, right = arrays[self.left][self.left_number], arrays[self.right][self.right_number]
        return torch.einsum(self.equation, left.to(like.dtype), right.to(like.dtype))


@dataclass(frozen=True)
class RowStage(Sized):
    """Some values of every row, and then products of them with matrices, each of all rows at once. kernel: None where nothing is computed; shapes: of what it
    makes; streams, old, statics: the arrays that it reads; scratch: how much memory of its own a row of a program has."""

    widest: int = 1
    values: int = 1
    matrices: int = 0
    dot_rows: int = NEVER
    programs: int = 1
    kernel: Any = None
    scratch: int = 0
    streams: tuple[int, ...] = ()
    old: tuple[int, ...] = ()
    statics: tuple[int, ...] = ()
    shapes: tuple[Shape, ...] = ()
    products: tuple[RowProduct, ...] = ()


@dataclass(frozen=True)
class RowPart:
    """A part of a step, by itself a step of stages: see `RowRounds` for these, and `kernel/row_parts.py` for parts. slices: the static arrays whose slices
    stand behind the statics, and the number of each slice, 0 for that of the round, which stands behind them where it is counted; what `once` makes is
    last."""

    once: Callable[..., tuple[Tensor, ...]]
    advance: tuple[RowStage, ...]
    linear: tuple[RowStage, ...]
    pull: tuple[RowStage, ...]
    gradients: tuple[RowStage, ...]
    of_streams: tuple[int, ...]
    of_statics: tuple[tuple[int, int], ...]
    products: tuple[StaticProduct, ...]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    slices: tuple[tuple[int, int], ...] = ()
    counted: bool = False
    ends: tuple[int, int] | None = None
    starts: tuple[int, ...] = ()

    @property
    def stages(self) -> tuple[RowStage, ...]:
        return (*self.advance, *self.linear, *self.pull, *self.gradients)

    @property
    def pulled_of(self) -> frozenset[int]:
        """The numbers of the streams that `pull` reads."""
        products = (p.number for stage in self.pull for p in stage.products if p.of == "stream")
        return frozenset((*(i for stage in self.pull for i in stage.streams), *products))


@dataclass(frozen=True)
class RowScan:
    """The scan of carried values that go together, each of `size` channels. outputs, outputs_back: of each entry of D that is not zero its number among the
    outputs of `look` behind the new states, as the kernels take them."""

    members: tuple[int, ...]
    size: int
    outputs: tuple[int, ...]
    outputs_back: tuple[int, ...]
    forward: Any
    backward: Any


@dataclass(frozen=True)
class Work:
    """What the model of costs.py knows of a recurrence: what `costs.Load` has of a step, and what `costs.RowKernels` has."""

    flops: float
    special: float
    streams: float
    states: float
    step: int
    matrices: int
    round: int
    moved: float

    def load(self, batch: int, steps: int, programs: int = 1) -> Load:
        return Load(batch, steps, self.flops, self.special, self.streams, self.states, programs, self.kernels)

    @property
    def kernels(self) -> RowKernels:
        return RowKernels(self.step, self.matrices, self.round, self.moved)


@dataclass(frozen=True)
class RowRounds:
    """The steps of a recurrence: `once` makes of statics what no step changes, and stands behind them; each of the others is a row of stages: see
    `kernel/row_steps.py`. of_streams: of each stream the number of the output of `gradients` that is its gradient, -1 where it has none; of_statics: of
    statics whose gradient is an output summed over rows both numbers; products: those that give others. Without `gradients`, there is no `advance`, and a
    step has parts, if it has stages at all; news: of each carried value the number of what it becomes."""

    once: Callable[..., tuple[Tensor, ...]]
    look: tuple[RowStage, ...]
    linear: tuple[RowStage, ...]
    pull: tuple[RowStage, ...]
    scans: tuple[RowScan, ...]
    work: Work
    advance: tuple[RowStage, ...] = ()
    gradients: tuple[RowStage, ...] = ()
    of_streams: tuple[int, ...] = ()
    of_statics: tuple[tuple[int, int], ...] = ()
    products: tuple[StaticProduct, ...] = ()
    parts: tuple[RowPart, ...] = ()
    news: tuple[int, ...] = ()

    @property
    def rounds(self) -> tuple[RowStage, ...]:
        """The stages that rounds take."""
        return (*self.look, *self.linear, *self.pull)

    def steps(self, carried: int) -> tuple[tuple[RowPart, ...], tuple[int, ...]]:
        """The parts that steps one by one have, and what so many carried values become: of one that is no row of parts, one."""
        if not self.gradients:
            return self.parts, self.news
        old, new = tuple(range(carried)), tuple(range(carried, 2 * carried))
        whole = RowPart(self.once, self.advance, self.linear, self.pull, self.gradients, self.of_streams, self.of_statics, self.products, old, new)
        return (whole,), new
