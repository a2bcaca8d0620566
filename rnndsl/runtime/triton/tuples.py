# mypy: disable-error-code="assignment, var-annotated"
"""Tuples of values in Triton, entry by entry; a recurrence has one entry a value that a channel carries. All are inlined."""

import triton
import triton.language as tl


@triton.jit
def select(condition, a, b):
    """The entries of `a` where a condition holds, else those of `b`."""
    found = ()
    for i in tl.static_range(len(b)):
        found = found + (tl.where(condition, a[i], b[i]),)
    return found


@triton.jit
def cleared(condition, a, zero: tl.constexpr):
    """The entries of `a`, and `zero` where a condition holds."""
    found = ()
    for i in tl.static_range(len(a)):
        found = found + (tl.where(condition, zero, a[i]),)
    return found


@triton.jit
def summed(sums, values, here):
    """Sums with values added where `here`."""
    found = ()
    for i in tl.static_range(len(sums)):
        found = found + (sums[i] + tl.where(here, values[i], 0.0),)
    return found


@triton.jit
def repeated(value, like):
    """A value as often as a tuple has entries."""
    found = ()
    for _ in tl.static_range(len(like)):
        found = found + (value,)
    return found


@triton.jit
def wide(values):
    """Values [BLOCK] of every lane: [1, BLOCK]."""
    found = ()
    for i in tl.static_range(len(values)):
        found = found + (values[i][None, :],)
    return found


@triton.jit
def in_lanes(values, zero):
    """Values [BLOCK] in each lane: [LANES, BLOCK], the shape of `zero`."""
    found = ()
    for i in tl.static_range(len(values)):
        found = found + (values[i][None, :] + zero,)
    return found


@triton.jit
def row_of(values, where):
    """The one lane of values [LANES, BLOCK] at which `where` holds: [BLOCK]."""
    found = ()
    for i in tl.static_range(len(values)):
        found = found + (tl.sum(tl.where(where, values[i], 0.0), 0),)
    return found


@triton.jit
def head(values, count: tl.constexpr):
    """The first `count` entries."""
    found = ()
    for i in tl.static_range(count):
        found = found + (values[i],)
    return found


@triton.jit
def tail(values, count: tl.constexpr):
    """The entries behind the first `count`."""
    found = ()
    for i in tl.static_range(len(values) - count):
        found = found + (values[count + i],)
    return found
