# mypy: disable-error-code="assignment, var-annotated"
"""Lanes of time: a program cuts a chunk of LANES * LANE_STEPS steps into lanes that run side by side, each some steps in a row.

`[LANES, BLOCK]`: values of lanes. A scan over lanes tells each one what it starts from. Every function is inlined. A function
that a scan combines with cannot be an argument in Triton, so what is given are the scans: `shifted` moves values by one lane.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from rnndsl.runtime.triton.columns import Columns, Given, Place, Sequences, read, restarted, store, write
from rnndsl.runtime.triton.tuples import select, wide


class Lanes(NamedTuple):
    """Numbers of lanes, [LANES, 1]; the first step of each in the first chunk; the same of each channel, outside of every chunk where there is
    no such channel, [LANES, BLOCK]; and zeros."""

    lane: Any
    since: Any
    when: Any
    zero: Any


@triton.jit
def lanes_of(given, LANES: tl.constexpr, LANE_STEPS: tl.constexpr, OUTSIDE: tl.constexpr):
    lane = tl.arange(0, LANES)[:, None].to(tl.int64)
    zero = tl.zeros([LANES, given.begin[0].shape[0]], given.begin[0].dtype)
    since = lane * LANE_STEPS
    return Lanes(lane, since, tl.where(given.place.live[None, :], since, OUTSIDE), zero)


@triton.jit
def columns_in_lanes(columns, lanes):
    """Columns whose step 0 is each lane's first one."""
    at = ()
    for i in tl.static_range(len(columns.at)):
        at = at + (columns.at[i][None, :] + lanes.since * columns.step[i],)
    return Columns(at, columns.step)


@triton.jit
def column_in_lanes(column, lanes):
    """The same of pointers and how far apart steps are, or nothing."""
    found = ()
    if len(column) > 0:
        found = (column[0][None, :] + lanes.since * column[1], column[1])
    return found


@triton.jit
def sequences_in_lanes(sequences, lanes):
    return Sequences(sequences.arrays, sequences.base[None, :] + lanes.since * sequences.step, sequences.step)


@triton.jit
def given_in_lanes(given, lanes):
    place = given.place
    return Given(
        Place(place.n[None, :] + 0 * lanes.lane, place.live[None, :], place.row[None, :], place.channel[None, :], place.base[None, :], place.left),
        columns_in_lanes(given.streams, lanes),
        wide(given.statics),
        wide(given.begin),
        wide(given.restart),
        column_in_lanes(given.reset, lanes),
    )


@triton.jit
def read_lanes(given, lanes, t0, STEPS, LANE_STEPS: tl.constexpr):
    """What the steps of each lane read, in a tuple."""
    now = ()
    for c in tl.static_range(LANE_STEPS):
        t = tl.cast(t0, tl.int64) + c
        now = now + (read(given, t, lanes.when < STEPS - t),)
    return now


@triton.jit
def neighbours(shifted: tl.constexpr, values, lanes, REVERSE: tl.constexpr):
    """Of each lane what stands in the one before it (REVERSE: in the one after it)."""
    pairs = ()
    for i in tl.static_range(len(values)):
        pairs = pairs + (values[i], values[i])
    moved = shifted(pairs + (tl.zeros_like(lanes.zero).to(tl.int32),), REVERSE)
    found = ()
    for i in tl.static_range(len(values)):
        found = found + (moved[2 * i + 1],)
    return found


@triton.jit
def moved(after, before, where):
    """Votes, whole numbers: those of a warp meet in one instruction, and the compiler sees that all of its threads go the same way. 1: a value
    is not what it was, and counts."""
    vote = tl.zeros_like(before[0]).to(tl.int32)
    for i in tl.static_range(len(before)):
        same = (after[i] == before[i]) | ((after[i] != after[i]) & (before[i] != before[i]))
        vote |= tl.where(where & (same == 0), 1, 0)
    return vote


@triton.jit
def run_lanes(step: tl.constexpr, now, given, sequences, follows, finals, state, lanes, t0, STEPS):
    """The steps of all lanes from where they start, kept; the states behind them. Everything is given in lanes."""
    final = state
    for c in tl.static_range(len(now)):
        t = tl.cast(t0, tl.int64) + c
        here = lanes.when < STEPS - t
        streams, restart = now[c]
        state, made = step(*restarted(state, restart, given), *streams, *given.statics)
        write(follows, made, t, here)
        write(sequences, state, t, here)
        final = select(here, state, final)
    left = STEPS - tl.cast(t0, tl.int64)
    store(finals, given.place.n, final, (lanes.when < left) & (lanes.when >= left - len(now)))
    return state


@triton.jit
def write_report(report, chunks, iterations, longest, alone, worst):
    """What a program reports; see `launch.REPORT`."""
    if report is not None:
        report += tl.program_id(0).to(tl.int64) * 5
        tl.store(report, chunks)
        tl.store(report + 1, iterations)
        tl.store(report + 2, longest)
        tl.store(report + 3, alone)
        tl.store(report + 4, worst)
