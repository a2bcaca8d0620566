# mypy: disable-error-code="assignment, var-annotated"
"""Gradients over lanes of time: whatever the step, they obey a recurrence that is affine.

`slopes(*old, *streams, *statics)` is the transposed matrix of a step's derivatives, and those of what follows in the old state;
`seeded(*matrix, *of_follows, *seeds, *follow_seeds)` what a step adds to the gradients; `compose` puts one map of gradients after another, entries
of matrices and what they add in a row, and `scan` does so over lanes, from the last; `apply(*matrix, *d, *added)` is a map's value.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.backwards import Backwards, beginning, pull, pull_only, read_back, write_sums
from rnndsl.runtime.triton.columns import store
from rnndsl.runtime.triton.lanes import (
    column_in_lanes,
    columns_in_lanes,
    given_in_lanes,
    lanes_of,
    moved,
    neighbours,
    sequences_in_lanes,
)
from rnndsl.runtime.triton.sequential import NEVER
from rnndsl.runtime.triton.tuples import cleared, head, row_of, select, tail, wide


@triton.jit
def parallel_back(
    slopes: tl.constexpr, seeded: tl.constexpr, compose: tl.constexpr, apply: tl.constexpr, scan: tl.constexpr, shifted: tl.constexpr,
    pullback: tl.constexpr, given, back, STEPS, LANES: tl.constexpr, LANE_STEPS: tl.constexpr,
):  # fmt: skip
    """Chunk by chunk of LANES * LANE_STEPS steps, from the last: one scan over lanes gives the gradient behind each lane, from which it goes
    back through its steps. Where that is not finite a chunk is run step by step: lanes start from what those behind them leave, until nothing moves,
    which is at the last lane at the latest."""
    lanes = lanes_of(given, LANES, LANE_STEPS, -NEVER)
    wide_given, wide_back = given_in_lanes(given, lanes), _in_lanes(back, lanes)
    carried, sums, restart_sums = beginning(given, back, lanes.zero)
    for t0 in range(0, STEPS, LANES * LANE_STEPS):
        begin = tl.cast(STEPS, tl.int64) - t0 - LANES * LANE_STEPS
        now = ()
        for c in tl.static_range(LANE_STEPS):
            now = now + (read_back(wide_given, wide_back, begin + c, lanes.when),)
        matrix, total = _lane(slopes, seeded, compose, now, wide_given)
        # The last lane starts from the gradient that is known: it is a map that forgets.
        last = lanes.lane == LANES - 1
        total = select(last, apply(*matrix, *wide(carried), *total), total)
        matrix = cleared(last, matrix, 0.0)
        total = tail(scan(matrix + total), len(matrix))
        ends_here = (lanes.when > -begin - LANE_STEPS) & (lanes.lane < LANES - 1)
        left, d = total, total  # what each lane leaves, and what it starts from
        walked = tl.full([], 0, tl.int32)
        pending = True
        while pending:
            before = d
            d = select(last, wide(carried), neighbours(shifted, left, lanes, True))
            vote = tl.where(walked == 0, _unknown(d, ends_here), moved(d, before, ends_here))
            pending = (tl.max(vote) > 0) & (walked < LANES)
            if pending:
                left = d
                for c in tl.static_range(LANE_STEPS):
                    left = pull_only(pullback, now[LANE_STEPS - 1 - c], wide_given, left)
                walked += 1
        first = d
        for c in tl.static_range(LANE_STEPS):
            t = begin + (LANE_STEPS - 1 - c)
            here = lanes.when >= -t
            d, sums, restart_sums = pull(pullback, now[LANE_STEPS - 1 - c], wide_given, wide_back, d, sums, restart_sums, t, here)
            first = select(here, d, first)
        store(back.first, wide_given.place.n, first, (lanes.when <= -begin) & (lanes.when > -begin - LANE_STEPS))
        carried = row_of(d, lanes.lane == 0)
    write_sums(given, back, _over_lanes(sums), _over_lanes(restart_sums))


@triton.jit
def _unknown(d, where):
    """Votes, 1: a lane goes back from what need not be what steps one by one leave, for something is not finite."""
    vote = tl.zeros_like(d[0]).to(tl.int32)
    for i in tl.static_range(len(d)):
        vote |= tl.where(where & (d[i] - d[i] != 0), 1, 0)
    return vote


@triton.jit
def _in_lanes(back, lanes):
    return Backwards(
        sequences_in_lanes(back.sequences, lanes),
        sequences_in_lanes(back.older, lanes),
        _seeds_in_lanes(back.seeds, lanes),
        _seeds_in_lanes(back.follow_seeds, lanes),
        back.ends,
        columns_in_lanes(back.streams, lanes),
        back.statics,
        back.first,
        back.initial,
    )


@triton.jit
def _seeds_in_lanes(seeds, lanes):
    found = ()
    for i in tl.static_range(len(seeds)):
        found = found + (column_in_lanes(seeds[i], lanes),)
    return found


@triton.jit
def _lane(slopes: tl.constexpr, seeded: tl.constexpr, compose: tl.constexpr, now, given):
    """Each lane's steps backwards as one map."""
    all_matrix = ()
    all_added = ()
    for c in tl.static_range(len(now)):
        streams, restart, old, seeds, follow_seeds = now[len(now) - 1 - c]
        matrix, of_follows = slopes(*old, *streams, *given.statics)
        if len(restart) > 0:
            matrix, of_follows = cleared(restart[0], matrix, 0.0), cleared(restart[0], of_follows, 0.0)
        added = seeded(*matrix, *of_follows, *seeds, *follow_seeds)
        if c == 0:
            all_matrix, all_added = matrix, added
        else:
            both = compose(*all_matrix, *all_added, *matrix, *added)
            all_matrix, all_added = head(both, len(matrix)), tail(both, len(matrix))
    return all_matrix, all_added


@triton.jit
def _over_lanes(sums):
    found = ()
    for i in tl.static_range(len(sums)):
        found = found + (tl.sum(sums[i], 0),)
    return found
