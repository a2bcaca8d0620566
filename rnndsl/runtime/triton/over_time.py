# mypy: disable-error-code="assignment, var-annotated"
"""What rounds of Newton's method do along time, whatever the cell: scans of blocks within a channel, and what a step of gradients hands back.

Arrays are (pointer, distance of sequences, distance of steps), or () of one that is not there. Every function but kernels is inlined.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.tuples import cleared, row_of, select, tail


@triton.jit
def _load(array, row, time, channel, here):
    return tl.load(array[0] + row * array[1] + time * array[2] + channel, here, 0.0)


@triton.jit
def _finite(value):
    return value - value == 0


@triton.jit
def corrected(
    apply: tl.constexpr, maps: tl.constexpr, BACK: tl.constexpr, new, values, into, slopes, reset, reset_rows, reset_times, STEPS, SIZE: tl.constexpr,
    LANES: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """values + δ into `into`, δ[t] = D[t] δ[t-1] + new[t] - values[t]; BACK: δ[t] = D[t+1] δ[t+1] + new[t] - values[t]. No δ passes a reset, nor a step of
    which something is not finite: there it is the new value. `slopes` are the entries of D, `maps` composes those of LANES steps, `apply` is a map's
    value. A program has BLOCK channels of one sequence."""
    blocks = (SIZE + BLOCK - 1) // BLOCK
    row = (tl.program_id(0) // blocks).to(tl.int64)
    channel = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)[None, :]
    lane = tl.arange(0, LANES)[:, None]
    zero = tl.zeros([LANES, BLOCK], REAL)
    state = ()
    for _ in tl.static_range(len(new)):
        state = state + (tl.zeros([BLOCK], REAL),)
    for begin in range(0, STEPS, LANES):
        step = begin + lane
        time = (STEPS - 1 - step if BACK else step).to(tl.int64)
        own = time + 1 if BACK else time  # the step whose D it is
        here = (step < STEPS) & (channel < SIZE)
        passes = (step < STEPS) & (step > 0)
        if reset is not None:
            passes = passes & (tl.load(reset + row * reset_rows + own * reset_times, passes, 1) == 0)
        sound = here
        matrix = ()
        for e in tl.static_range(len(slopes)):
            entry = zero
            if len(slopes[e]) > 0:
                entry = _load(slopes[e], row, own, channel, here & passes)
                sound = sound & _finite(entry)
            matrix = matrix + (entry,)
        added = ()
        for i in tl.static_range(len(new)):
            gap = zero
            if len(new[i]) > 0:
                gap = _load(new[i], row, time, channel, here) - _load(values[i], row, time, channel, here)
                sound = sound & _finite(gap)
            added = added + (gap,)
        matrix, added = cleared(sound == 0, matrix, 0.0), cleared(sound == 0, added, 0.0)
        # The first lane starts from the δ that is known: it is a map that forgets.
        first = lane == 0
        last = ()
        for i in tl.static_range(len(new)):
            last = last + (state[i][None, :],)
        added = select(first, apply(*matrix, *last, *added), added)
        moved = tail(maps(cleared(first, matrix, 0.0) + added), len(matrix))
        state = row_of(moved, lane == LANES - 1)
        for i in tl.static_range(len(new)):
            if len(into[i]) > 0:
                next_value, value = _load(new[i], row, time, channel, here), _load(values[i], row, time, channel, here)
                found = tl.where(sound & _finite(moved[i]), value + moved[i], next_value)
                tl.store(into[i][0] + row * into[i][1] + time * into[i][2] + channel, found, here)


@triton.jit(do_not_specialize=["BATCH", "STEPS"])
def handed_back(
    given, given_rows, given_times, pulled, pulled_rows, pulled_times, adjoint, adjoint_rows, adjoint_times, into, into_rows, into_times, size, worst,
    reset, reset_rows, reset_times, BATCH, STEPS, SIZE: tl.constexpr, IS_FIRST: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What λ should be: the gradient of each value, and what the step behind hands back. And of each row, [BATCH * STEPS], the largest |λ|, and how far off
    the worst is, infinite where it is no number: of this value, and of those before unless IS_FIRST."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = row < BATCH * STEPS
    sequence, time = (row // STEPS)[:, None], (row % STEPS)[:, None]
    passes = there[:, None] & (time + 1 < STEPS)
    if reset is not None:
        passes = passes & (tl.load(reset + sequence * reset_rows + (time + 1) * reset_times, passes, 1) == 0)
    largest = tl.zeros([ROWS], into.dtype.element_ty)
    off = largest
    if not IS_FIRST:
        largest, off = tl.load(size + row, there, 0.0), tl.load(worst + row, there, 0.0)
    for begin in range(0, SIZE, BLOCK):
        channel = begin + tl.arange(0, BLOCK)[None, :]
        here = there[:, None] & (channel < SIZE)
        wanted = tl.load(given + sequence * given_rows + time * given_times + channel, here, 0.0)
        wanted += tl.load(pulled + sequence * pulled_rows + (time + 1) * pulled_times + channel, here & passes, 0.0)
        value = tl.load(adjoint + sequence * adjoint_rows + time * adjoint_times + channel, here, 0.0)
        tl.store(into + sequence * into_rows + time * into_times + channel, wanted, here)
        gap = tl.abs(wanted - value)
        largest = tl.maximum(largest, tl.max(tl.abs(value), 1))
        off = tl.maximum(off, tl.max(tl.where(gap < float("inf"), gap, float("inf")), 1))
    tl.store(size + row, largest, there)
    tl.store(worst + row, off, there)
