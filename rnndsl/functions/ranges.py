"""Rules for intervals: the ranges of arguments -> a range that holds every value of a function of them."""

import math
from collections.abc import Callable

from rnndsl.functions.row import Range
from rnndsl.scalars import Scalars


def between(low: float, high: float) -> Callable[..., Range]:
    """Values in these bounds, whatever the arguments are."""
    return lambda *_: (low, high)


def same(v: Range) -> Range:
    """Entries of the argument."""
    return v


def hull(*parts: Range) -> Range:
    """Any of the arguments."""
    return min(p[0] for p in parts), max(p[1] for p in parts)


def from_the(least: float, f: Callable[[float], float]) -> Callable[[Range], Range]:
    """A function of numbers from the least on that never falls."""
    return lambda v: (f(max(v[0], least)), f(max(v[1], least)))


def even(f: Callable[[float], float]) -> Callable[[Range], Range]:
    """A function of the size alone that never falls with it."""
    return lambda v: (f(absolute(v)[0]), f(absolute(v)[1]))


def falling(f: Callable[[float], float]) -> Callable[[Range], Range]:
    """A function of numbers from 0 on that never rises."""
    return lambda v: (f(max(v[1], 0.0)), f(max(v[0], 0.0)))


def absolute(v: Range) -> Range:
    low, high = abs(v[0]), abs(v[1])
    return 0.0 if v[0] <= 0 <= v[1] else min(low, high), max(low, high)


def larger(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), max(a[1], b[1])


def smaller(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), min(a[1], b[1])


def clamped(v: Range, low: Range, high: Range) -> Range:
    return smaller(larger(v, low), high)


def logaddexp(a: Range, b: Range) -> Range:
    low, high = max(a[0], b[0]), max(a[1], b[1])
    return low, high if math.isinf(high) else Scalars.logaddexp(a[1], b[1])


def gated(least: float) -> Callable[[Range], Range]:
    """v times a gate that rises from 0 to 1, whose least value is somewhat below 0: silu and its kin."""
    return lambda v: (least if v[0] < 0 else 0.0, max(v[1], 0.0))


def product(a: Range, b: Range) -> Range:
    """An unbounded value is finite all the same: 0 times it is 0."""
    ends = [0.0 if 0 in (x, y) else x * y for x in a for y in b]
    return min(ends), max(ends)


def remainder(a: Range, b: Range) -> Range:
    return (0.0, b[1]) if b[0] > 0 else (-math.inf, math.inf)
