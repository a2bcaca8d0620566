# mypy: disable-error-code="assignment, var-annotated"
"""What a kernel is given, and reading and writing it. All channels of all rows of the batch stand in one line: entry n = row · channels + channel.

A program that goes step by step has values [BLOCK], one a channel; one with lanes of time has [LANES, BLOCK]. Every function is inlined.
Triton 3.6 forgets the names of a named tuple that is an entry of a sum of tuples, and has no None in what a function returns: so what there
are several of stands in plain tuples, and what may be missing in one of one entry or none.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from rnndsl.runtime.triton.tuples import select


class Place(NamedTuple):
    """Which channels a program has, [BLOCK] each: their numbers, which of them there are, their rows of the batch, their numbers in a row, and
    their entries of step 0 in an array [B, T, channels]. left: how many channels there are from the program's first on, which tells behind a
    loop what then need not be kept in it."""

    n: Any
    live: Any
    row: Any
    channel: Any
    base: Any
    left: Any


class Columns(NamedTuple):
    """Where values of every step lie: of each pointers to that of step 0, and how far apart steps are."""

    at: Any
    step: Any


class Sequences(NamedTuple):
    """Arrays [B, T, channels] of one layout: pointers, the entry of step 0, and how far apart steps are."""

    arrays: Any
    base: Any
    step: Any


class Given(NamedTuple):
    """What a recurrence reads: streams, as columns; statics; the values that it begins with, and those that it restarts with where `reset` says
    so: pointers and how far apart steps are, or nothing."""

    place: Any
    streams: Any
    statics: Any
    begin: Any
    restart: Any
    reset: Any


@triton.jit
def place_of(BATCH, STEPS, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = n < tl.cast(BATCH, tl.int64) * CHANNELS
    row, channel = n // CHANNELS, n % CHANNELS
    left = tl.cast(BATCH, tl.int64) * CHANNELS - tl.program_id(0).to(tl.int64) * BLOCK
    return Place(n, live, row, channel, row * STEPS * CHANNELS + channel, left)


@triton.jit
def given_of(place, streams, statics, first, initial, reset, reset_rows, reset_times, REAL: tl.constexpr):
    """`first` are the values of every channel to begin with, `initial` those of a row to restart with; `reset` [B, T] or None."""
    begin = ()
    for i in tl.static_range(len(first)):
        begin = begin + (tl.load(first[i] + place.n, place.live, 0.0).to(REAL),)
    restart = begin
    mask = ()
    if reset is not None:
        restart = ()
        for i in tl.static_range(len(initial)):
            restart = restart + (tl.load(initial[i] + place.channel, place.live, 0.0).to(REAL),)
        mask = (reset + place.row * reset_rows, reset_times)
    return Given(place, streams, statics, begin, restart, mask)


@triton.jit
def sequences_of(arrays, place, CHANNELS: tl.constexpr):
    return Sequences(arrays, place.base, CHANNELS)


@triton.jit
def read(given, t, here):
    """What step t reads (of lanes: and as many steps later), where `here`: its streams, and whether it restarts, if anything resets."""
    reads = read_columns(given)
    return read_at(given, later(reads.at, reads.step, t), here)


@triton.jit
def read_columns(given):
    """What a step reads: its streams, and last whether it restarts, if anything resets."""
    at, step = given.streams.at, given.streams.step
    if len(given.reset) > 0:
        at, step = at + (given.reset[0],), step + (given.reset[1],)
    return Columns(at, step)


@triton.jit
def later(at, step, t):
    """Pointers of columns t steps later."""
    found = ()
    for i in tl.static_range(len(at)):
        found = found + (at[i] + t * step[i],)
    return found


@triton.jit
def read_at(given, at, here):
    """What `read` gives, of pointers to it."""
    streams = ()
    for i in tl.static_range(len(given.streams.at)):
        streams = streams + (tl.load(at[i], here, 0.0).to(given.begin[0].dtype),)
    restart = ()
    if len(given.reset) > 0:
        restart = (tl.load(at[len(streams)], here, 0) != 0,)
    return streams, restart


@triton.jit
def restarted(state, restart, given):
    """The state that a step starts from."""
    if len(restart) > 0:
        state = select(restart[0], given.restart, state)
    return state


@triton.jit
def write(sequences, values, t, here):
    """Stores values of step t."""
    write_at(sequences, sequences.base + t * sequences.step, values, here)


@triton.jit
def write_at(sequences, entry, values, here):
    """Stores values at an entry of each array."""
    for i in tl.static_range(len(sequences.arrays)):
        tl.store(sequences.arrays[i] + entry, values[i], here)


@triton.jit
def store(arrays, n, values, here):
    """Stores values of channels."""
    for i in tl.static_range(len(arrays)):
        tl.store(arrays[i] + n, values[i], here)
