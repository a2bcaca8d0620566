# mypy: disable-error-code="assignment, var-annotated"
"""The exact scan: where a step is a map of a semiring, affine or max-plus or log, maps are composed along time.

`coefficients(*state, *streams, *statics)` is a step's map, its matrix and what it adds; `compose` puts one map after another, entries of matrices
and what they add in a row, and `scan` does so over lanes; `apply(*matrix, *state, *added)` is a map's value.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.lanes import (
    given_in_lanes,
    lanes_of,
    moved,
    neighbours,
    read_lanes,
    run_lanes,
    sequences_in_lanes,
    write_report,
)
from rnndsl.runtime.triton.sequential import NEVER
from rnndsl.runtime.triton.tuples import cleared, head, repeated, row_of, select, tail, wide


@triton.jit
def exact(
    step: tl.constexpr, coefficients: tl.constexpr, compose: tl.constexpr, apply: tl.constexpr, scan: tl.constexpr, shifted: tl.constexpr, ZERO: tl.constexpr,
    given, sequences, follows, finals, report, STEPS, LANES: tl.constexpr, LANE_STEPS: tl.constexpr,
):  # fmt: skip
    """Chunk by chunk of LANES * LANE_STEPS steps: the steps of each lane make one map, a scan over lanes gives the state at each one's start,
    from which it runs its steps. A chunk with a start that is not finite is run step by step: lanes start from what those before them leave, until
    nothing moves, which is at the last lane at the latest. ZERO: of the semiring, 0 or -inf."""
    lanes = lanes_of(given, LANES, LANE_STEPS, NEVER)
    wide_given = given_in_lanes(given, lanes)
    wide_sequences, wide_follows = sequences_in_lanes(sequences, lanes), sequences_in_lanes(follows, lanes)
    state = given.begin
    chunks = tl.full([], 0, tl.int32)
    by_itself = chunks
    # Where a channel carries one value the next chunk's streams are on their way meanwhile; more of them would not fit into registers.
    ahead = ()
    if len(given.begin) == 1:
        ahead = read_lanes(wide_given, lanes, 0, STEPS, LANE_STEPS)
    for t0 in range(0, STEPS, LANES * LANE_STEPS):
        now = ahead
        if len(given.begin) == 1:
            ahead = read_lanes(wide_given, lanes, t0 + LANES * LANE_STEPS, STEPS, LANE_STEPS)
        else:
            now = read_lanes(wide_given, lanes, t0, STEPS, LANE_STEPS)
        matrix, total = _lane(coefficients, compose, apply, ZERO, now, wide_given, lanes)
        # The first lane starts from the state that is known: it is a map that forgets.
        first = lanes.lane == 0
        total = select(first, apply(*matrix, *wide(state), *total), total)
        matrix = cleared(first, matrix, ZERO)
        total = tail(scan(matrix + total), len(matrix))
        behind, end = total, total
        walked = tl.full([], 0, tl.int32)  # rounds
        pending = True
        while pending:
            start = select(first, wide(state), neighbours(shifted, behind, lanes, False))
            end = run_lanes(step, now, wide_given, wide_sequences, wide_follows, finals, start, lanes, t0, STEPS)
            unknown = _unknown(start, (lanes.when < STEPS - t0) & (lanes.lane > 0), ZERO)
            vote = tl.where(walked == 0, unknown, moved(end, behind, lanes.when <= STEPS - t0 - LANE_STEPS))
            behind = end
            walked += 1
            pending = (tl.max(vote) > 0) & (walked < LANES)
        by_itself += tl.where(walked > 1, 1, 0)
        state = row_of(end, lanes.lane == LANES - 1)
        chunks += 1
    write_report(report, chunks, chunks, 1.0, by_itself, 0.0)


@triton.jit
def _unknown(start, where, ZERO: tl.constexpr):
    """Votes, 1: a lane starts from what need not be what steps one by one leave, for something is not finite."""
    vote = tl.zeros_like(start[0]).to(tl.int32)
    for i in tl.static_range(len(start)):
        known = start[i] == start[i]
        if ZERO == 0.0:  # else -inf is a value
            known = start[i] - start[i] == 0
        vote |= tl.where(where & (known == 0), 1, 0)
    return vote


@triton.jit
def _lane(coefficients: tl.constexpr, compose: tl.constexpr, apply: tl.constexpr, ZERO: tl.constexpr, now, given, lanes):
    """The steps of each lane as one map."""
    all_matrix = ()
    all_added = ()
    for c in tl.static_range(len(now)):
        streams, restart = now[c]
        matrix, added = coefficients(*repeated(lanes.zero, given.begin), *streams, *given.statics)
        if len(restart) > 0:  # a map that forgets: a step from the initial values, whatever it is given
            added = select(restart[0], apply(*matrix, *given.restart, *added), added)
            matrix = cleared(restart[0], matrix, ZERO)
        if c == 0:
            all_matrix, all_added = matrix, added
        else:
            both = compose(*all_matrix, *all_added, *matrix, *added)
            all_matrix, all_added = head(both, len(matrix)), tail(both, len(matrix))
    return all_matrix, all_added
