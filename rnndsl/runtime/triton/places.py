# mypy: disable-error-code="assignment, var-annotated"
"""Values of a whole step in Triton: tiles [ROWS, *extents], an entry for each row of the batch that a program has and each position along the axes.

`extents` are powers of two, at least as large as the `sizes` of the axes; what lies behind these is never read from memory, written or summed. `origins`
are the positions at which a program's part of the axes begins. What no row changes has one row. Every function is inlined.
"""

import triton
import triton.language as tl


@triton.jit
def along(extent: tl.constexpr, axis: tl.constexpr, rank: tl.constexpr):
    """0, 1, … along one of `rank` axes; the others have length 1."""
    found = tl.arange(0, extent)
    for k in tl.static_range(rank):
        if k != axis:
            found = tl.expand_dims(found, k)
    return found


@triton.jit
def column(values, rank: tl.constexpr):
    """Values [ROWS] before `rank` axes of length 1."""
    for _ in tl.static_range(rank):
        values = tl.expand_dims(values, len(values.shape))
    return values


@triton.jit
def places(extents, origins, strides):
    """Where the entries of an array lie: [1, *extents]."""
    found = along(1, 0, len(extents) + 1)
    for k in tl.static_range(len(extents)):
        found = found + (origins[k] + along(extents[k], k + 1, len(extents) + 1)) * strides[k]
    return found


@triton.jit
def inside(extents, origins, sizes):
    """Which entries there are: [1, *extents]."""
    found = along(1, 0, len(extents) + 1) == 0
    for k in tl.static_range(len(extents)):
        found = found & (origins[k] + along(extents[k], k + 1, len(extents) + 1) < sizes[k])
    return found


@triton.jit
def read(array, row, here, extents, origins, sizes, strides, REAL: tl.constexpr):
    """A tile of an array; `row` is where each row begins, `here` whether it is to be read, [ROWS] each. Zero where nothing is read."""
    at = column(row, len(extents)) + places(extents, origins, strides)
    mask = column(here, len(extents)) & inside(extents, origins, sizes)
    return tl.load(array + at, mask, 0.0).to(REAL)


@triton.jit
def read_if_any(array, row, here, extents, origins, sizes, strides, REAL: tl.constexpr):
    """The same; zeros where there is no array."""
    if array is None:
        found = tl.zeros((here.shape[0],) + extents, REAL)
    else:
        found = read(array, row, here, extents, origins, sizes, strides, REAL)
    return found


@triton.jit
def spread(value, shape):
    """A tile whose axes may have length 1, or one number, in all places of a shape."""
    if len(value.shape) == len(shape):
        found = tl.broadcast_to(value, shape)
    else:
        found = tl.where(tl.full(shape, 1, tl.int1), value, value)
    return found


@triton.jit
def write(array, row, here, value, extents, origins, sizes, strides):
    """Stores a tile, whose axes may have length 1 where all entries are equal."""
    at = column(row, len(extents)) + places(extents, origins, strides)
    mask = column(here, len(extents)) & inside(extents, origins, sizes)
    tl.store(array + at, spread(value, at.shape), mask)


@triton.jit
def add(array, row, here, value, extents, origins, sizes, strides):
    """Adds a tile to what lies in an array that no other program has. Lanes that have the same entries all read them, and one of them stores."""
    at = column(row, len(extents)) + places(extents, origins, strides)
    mask = column(here, len(extents)) & inside(extents, origins, sizes)
    found = tl.load(array + at, mask, 0.0)
    tl.debug_barrier()
    tl.store(array + at, found + value, mask)
    tl.debug_barrier()


@triton.jit
def only(value, axis: tl.constexpr, size):
    """The first `size` entries along an axis; zero behind them."""
    return tl.where(along(value.shape[axis], axis, len(value.shape)) < size, value, 0.0)


@triton.jit
def matmul(values, matrix, PRECISION: tl.constexpr):
    """The product of matrices; neither may have anything but zeros behind what there is of the axis that is summed over."""
    return tl.dot(values, matrix, input_precision=PRECISION, out_dtype=values.dtype)


@triton.jit
def total(value, axis: tl.constexpr, size):
    """The sum of the first `size` entries along an axis, which goes."""
    # Adding zero rounds what is a product: fused into the first sum of two lanes, it would leave these with different digits of one value.
    return tl.sum(only(value, axis, size) + 0.0, axis)


@triton.jit
def largest(value, axis: tl.constexpr, size):
    """The largest of the first `size` entries along an axis, which goes."""
    there = along(value.shape[axis], axis, len(value.shape)) < size
    return tl.max(tl.where(there, value, float("-inf")), axis)


@triton.jit
def running_sum(value, size, reverse: tl.constexpr):
    """Sums from the first entry along the last axis to each, or from each to the last."""
    axis: tl.constexpr = len(value.shape) - 1
    there = along(value.shape[axis], axis, len(value.shape)) < size
    return tl.cumsum(tl.where(there, value, 0.0), axis, reverse=reverse)


@triton.jit
def on_diagonal(extent: tl.constexpr, rank: tl.constexpr):
    """Where the positions along the last two of `rank` axes are the same."""
    return along(extent, rank - 2, rank) == along(extent, rank - 1, rank)


@triton.jit
def with_diagonal(value):
    """The matrix [..., K, K] with a diagonal [..., K], zero elsewhere."""
    rank: tl.constexpr = len(value.shape) + 1
    return tl.where(on_diagonal(value.shape[rank - 2], rank), tl.expand_dims(value, rank - 1), 0.0)


@triton.jit
def diagonal_of(value):
    """The diagonal [..., K] of a matrix [..., K, K]."""
    rank: tl.constexpr = len(value.shape)
    return tl.sum(tl.where(on_diagonal(value.shape[rank - 1], rank), value, 0.0), rank - 1)


@triton.jit
def before(sequence, first, row, time, STEPS, size, here, extents, origins, sizes, strides, REAL: tl.constexpr):
    """The state before a step: of the sequence, before the first one what it began with."""
    begins = row * 0 + time == 0
    found = read(sequence, (row * STEPS + time - 1) * size, here & (row * 0 + time > 0), extents, origins, sizes, strides, REAL)
    earliest = read(first, row * size, here & begins, extents, origins, sizes, strides, REAL)
    return tl.where(column(begins, len(extents)), earliest, found)


@triton.jit
def restarted(value, initial, restart, extents, origins, sizes, strides, REAL: tl.constexpr):
    """A state, and in rows that restart the initial one, which all share."""
    again = read(initial, restart.to(tl.int64) * 0, restart, extents, origins, sizes, strides, REAL)
    return tl.where(column(restart, len(extents)), again, value)


@triton.jit
def where(rows, value):
    """A tile in some rows, zero in others."""
    return tl.where(column(rows, len(value.shape) - 1), value, 0.0)


@triton.jit
def unless(rows, value):
    """A tile in some rows zero, in others as it is."""
    return tl.where(column(rows, len(value.shape) - 1), 0.0, value)


@triton.jit
def over_rows(value):
    """The sum of a tile over its rows, as one row."""
    return tl.expand_dims(tl.sum(value, 0), 0)


@triton.jit
def meet(arrived, meetings, TOGETHER: tl.constexpr):
    """All programs that compute together come here before any goes on; each sees what the others wrote before. meetings: how many have been held."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release", scope="gpu")
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < (meetings + 1) * TOGETHER:
        pass
    tl.debug_barrier()
