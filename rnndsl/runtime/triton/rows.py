"""What a generated file says of rounds of Newton's method in Triton. Needs no triton."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
        return torch.einsum(self.equation, value, matrix)


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
class RowRounds:
    """The rounds of a recurrence: `once` makes of statics what no round changes, and stands behind them; each of the others is a row of stages. slices: of
    params that are asked for: the first, the last, and how many there are."""

    once: Callable[..., tuple[Tensor, ...]]
    look: tuple[RowStage, ...]
    linear: tuple[RowStage, ...]
    pull: tuple[RowStage, ...]
    scans: tuple[RowScan, ...]
    slices: tuple[tuple[int, int, int], ...]

    @property
    def stages(self) -> tuple[RowStage, ...]:
        return (*self.look, *self.linear, *self.pull)
