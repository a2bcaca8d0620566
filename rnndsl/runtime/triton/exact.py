# mypy: disable-error-code="assignment, var-annotated"
"""The exact scan: where a step is a map of a semiring, affine or max-plus or log, maps are composed along time.

`coefficients(*state, *streams, *statics)` is a step's map, its matrix and what it adds; `compose` puts one map after another, entries of matrices
and what they add in a row, and `scan` does so over lanes; `apply(*matrix, *state, *added)` is a map's value.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.columns import read
from rnndsl.runtime.triton.lanes import (
    given_in_lanes,
    lanes_of,
    neighbours,
    run_lanes,
    sequences_in_lanes,
    write_report,
)
from rnndsl.runtime.triton.sequential import NEVER, alone
from rnndsl.runtime.triton.tuples import cleared, head, in_lanes, repeated, row_of, select, tail, wide


@triton.jit
def exact(
    step: tl.constexpr, coefficients: tl.constexpr, compose: tl.constexpr, apply: tl.constexpr, scan: tl.constexpr, shifted: tl.constexpr, ZERO: tl.constexpr,
    given, sequences, follows, finals, report, STEPS, LANES: tl.constexpr, LANE_STEPS: tl.constexpr,
):  # fmt: skip
    """Chunk by chunk of LANES * LANE_STEPS steps: the steps of each lane make one map, a scan over lanes gives the state at each one's start,
    from which it runs its steps. A chunk with a start that is not finite is run step by step. ZERO: of the semiring, 0 or -inf."""
    lanes = lanes_of(given, LANES, LANE_STEPS, NEVER)
    wide_given = given_in_lanes(given, lanes)
    wide_sequences, wide_follows = sequences_in_lanes(sequences, lanes), sequences_in_lanes(follows, lanes)
    state = given.begin
    chunks = tl.full([], 0, tl.int32)
    by_itself = chunks
    for t0 in range(0, STEPS, LANES * LANE_STEPS):
        now, matrix, total = _lane(coefficients, compose, apply, ZERO, wide_given, lanes, t0, STEPS, LANE_STEPS)
        # The first lane starts from the state that is known: it is a map that forgets.
        first = lanes.lane == 0
        total = select(first, apply(*matrix, *wide(state), *total), total)
        matrix = cleared(first, matrix, ZERO)
        total = tail(scan(matrix + total), len(matrix))
        start = select(first, wide(state), neighbours(shifted, total, lanes, False))
        bad = tl.zeros_like(lanes.zero).to(tl.int32)
        for i in tl.static_range(len(start)):
            if ZERO == 0.0:
                bad |= tl.where(start[i] - start[i] == 0, 0, 1)
            else:  # -inf is a value
                bad |= tl.where(start[i] == start[i], 0, 1)
        end = start
        starts_here = (lanes.when < STEPS - t0) & (lanes.lane > 0)
        if tl.max(tl.where(starts_here, bad, 0)) == 0:
            end = run_lanes(step, now, wide_given, wide_sequences, wide_follows, finals, start, lanes, t0, STEPS)
        else:
            by_itself += 1
            end = in_lanes(alone(step, given, sequences, follows, finals, state, t0, LANES * LANE_STEPS, STEPS), lanes.zero)
        state = row_of(end, lanes.lane == LANES - 1)
        chunks += 1
    write_report(report, chunks, chunks, 1.0, by_itself, 0.0)


@triton.jit
def _lane(
    coefficients: tl.constexpr, compose: tl.constexpr, apply: tl.constexpr, ZERO: tl.constexpr, given, lanes, t0, STEPS, LANE_STEPS: tl.constexpr
):  # fmt: skip
    """What the steps of each lane read, and all of them as one map."""
    now = ()
    all_matrix = ()
    all_added = ()
    for c in tl.static_range(LANE_STEPS):
        t = tl.cast(t0, tl.int64) + c
        streams, restart = read(given, t, lanes.when < STEPS - t)
        now = now + ((streams, restart),)
        matrix, added = coefficients(*repeated(lanes.zero, given.begin), *streams, *given.statics)
        if len(restart) > 0:  # a map that forgets: a step from the initial values, whatever it is given
            added = select(restart[0], apply(*matrix, *given.restart, *added), added)
            matrix = cleared(restart[0], matrix, ZERO)
        if c == 0:
            all_matrix, all_added = matrix, added
        else:
            both = compose(*all_matrix, *all_added, *matrix, *added)
            all_matrix, all_added = head(both, len(matrix)), tail(both, len(matrix))
    return now, all_matrix, all_added
