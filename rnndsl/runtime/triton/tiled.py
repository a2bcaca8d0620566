"""What a generated file of Triton kernels says of a recurrence whose values are tiles. Needs no triton."""

from dataclasses import dataclass
from typing import Any

from rnndsl.runtime.statics import Outer


@dataclass(frozen=True)
class Sum:
    """A gradient that programs add up for a static array, or one slice of it: parts [count, slices, *shape], where `slices` is 0 of one alone."""

    array: int
    slice: int | None
    slices: int
    shape: tuple[int, ...]
    parts: int  # how many programs have parts of the same entries, beside those of other rows


@dataclass(frozen=True)
class Sized:
    """What programs need registers for. widest: the entries of the largest value of a step of one row, products included; values: the same without what is
    left of it where products with matrices are products of matrices; dot_rows: from how many rows on they are; matrices: the entries of what products
    read of params; programs: how many there are for the same rows."""

    widest: int
    values: int
    matrices: int
    dot_rows: int
    programs: int

    def held(self, rows: int, dots: bool) -> int:
        """The entries of the largest value of a step that a program of so many rows has. dots: whether products are those of matrices."""
        return rows * (self.values if dots else self.widest)


@dataclass(frozen=True)
class Tiled(Sized):
    """The kernels of a recurrence of which a program computes whole steps of some rows, and how they are called.

    forms: how many real arrays each stream, static and carried value is. lags: of each carried array; nearer: the one that one further back
    was a step ago, else -1. shared: how many programs give parts of each stream's gradient, and shared_factors: of the left factor of each of `outers`, which is
    a gradient; partial: streams of which only a part has one. scratch: how much memory of its own a row of a program has, forwards and backwards; common: how
    much its programs share where they compute its steps together, and divided: the entries of the largest product of which each has a part then, 0 where
    there is none.
    """

    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    lags: tuple[int, ...]
    nearer: tuple[int, ...]
    shared: tuple[int, ...]
    shared_factors: tuple[int, ...]
    partial: tuple[int, ...]
    sums: tuple[Sum, ...]
    outers: tuple[Outer, ...]
    scratch: tuple[int, int]
    divided: int
    common: tuple[int, int]
    forward: Any
    backward: Any


@dataclass(frozen=True)
class TiledStep(Sized):
    """The kernel of one step of a whole cell whose values are tiles; see `Tiled`. shapes: of the outputs."""

    shapes: tuple[tuple[int, ...], ...]
    scratch: int
    kernel: Any
