# mypy: disable-error-code="assignment, var-annotated"
"""What a kernel that goes backwards is given besides, reading it, and one step of it. Every function is inlined."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from rnndsl.runtime.triton.columns import later, read, read_at, read_columns, restarted
from rnndsl.runtime.triton.tuples import cleared, repeated, summed


class Backwards(NamedTuple):
    """Gradients that come in, and where those that are found go.

    sequences: of the states; older: the values before each step of what is further back. seeds: gradients of the states of every step, and
    follow_seeds of what follows: of each pointers and how far apart steps are, or nothing. ends: gradients of what the last step carries on, an
    array or nothing each. streams: columns; statics, first: arrays with an entry a channel; initial: the same or nothing each.
    """

    sequences: Any
    older: Any
    seeds: Any
    follow_seeds: Any
    ends: Any
    streams: Any
    statics: Any
    first: Any
    initial: Any


@triton.jit
def if_any(array):
    """An array in a tuple, which is empty where there is none."""
    found = ()
    if array is not None:
        found = (array,)
    return found


@triton.jit
def seed_of(array, rows, times, place):
    """Where the gradients of the values of every step lie, if there are any."""
    seed = ()
    if array is not None:
        seed = (array + (place.row * rows + place.channel), times)
    return seed


@triton.jit
def read_back(given, back, t, when):
    """What step t reads backwards (of lanes: and as many steps later, in a channel that is there): streams, whether it restarts, if anything
    resets, the state before it, gradients of its states and of what follows."""
    here = when >= -t
    streams, restart = read(given, t, here)
    begins = when == -t
    old = ()
    for i in tl.static_range(len(back.sequences.arrays)):
        before = tl.load(back.sequences.arrays[i] + back.sequences.base + (t - 1) * back.sequences.step, when > -t, 0.0)
        old = old + (tl.where(begins, given.begin[i], before.to(given.begin[i].dtype)),)
    for i in tl.static_range(len(back.older.arrays)):
        before = tl.load(back.older.arrays[i] + back.older.base + t * back.older.step, here, 0.0)
        old = old + (before.to(given.begin[0].dtype),)
    old = restarted(old, restart, given)
    seeds, follow_seeds = _later_seeds(back.seeds, back.seeds, t), _later_seeds(back.follow_seeds, back.follow_seeds, t)
    return streams, restart, old, _read_seeds(seeds, here, old[0]), _read_seeds(follow_seeds, here, old[0])


@triton.jit
def back_at(given, back, t):
    """Pointers to what step t reads backwards, but for the states before it: what it reads forwards, and the gradients of its states and of what
    follows."""
    return later_back(given, back, (read_columns(given).at, back.seeds, back.follow_seeds), t)


@triton.jit
def later_back(given, back, at, t):
    """The same, t steps later."""
    return later(at[0], read_columns(given).step, t), _later_seeds(at[1], back.seeds, t), _later_seeds(at[2], back.follow_seeds, t)


@triton.jit
def _later_seeds(at, seeds, t):
    found = ()
    for i in tl.static_range(len(seeds)):
        if len(seeds[i]) > 0:
            found = found + ((at[i][0] + t * seeds[i][1],),)
        else:
            found = found + ((),)
    return found


@triton.jit
def _read_seeds(at, here, like):
    found = ()
    for i in tl.static_range(len(at)):
        value = tl.zeros_like(like)
        if len(at[i]) > 0:
            value = tl.load(at[i][0], here, 0.0).to(like.dtype)
        found = found + (value,)
    return found


@triton.jit
def read_back_at(given, back, at, entry, here, is_later):
    """What `read_back` gives, of pointers; `entry` is that of the step in sequences, `is_later` tells whether there is a step before it."""
    streams, restart = read_at(given, at[0], here)
    old = ()
    for i in tl.static_range(len(back.sequences.arrays)):
        old = old + (tl.load(back.sequences.arrays[i] + (entry - back.sequences.step), is_later, given.begin[i]),)
    for i in tl.static_range(len(back.older.arrays)):
        old = old + (tl.load(back.older.arrays[i] + entry, here, 0.0),)
    old = restarted(old, restart, given)
    return streams, restart, old, _read_seeds(at[1], here, old[0]), _read_seeds(at[2], here, old[0])


@triton.jit
def beginning(given, back, zero):
    """The gradients of what the last step carries on, [BLOCK], and sums to be added to, of the shape of `zero`."""
    d = ()
    for i in tl.static_range(len(back.ends)):
        end = tl.zeros_like(given.begin[0])
        if len(back.ends[i]) > 0:
            end = tl.load(back.ends[i][0] + given.place.n, given.place.live, 0.0).to(end.dtype)
        d = d + (end,)
    return d, repeated(zero, back.statics), repeated(zero, d)


@triton.jit
def pull(pullback: tl.constexpr, now, given, back, d, sums, restart_sums, t, here):
    """One step backwards of what it reads, `now`: from the gradients of what it carries on to those of what it was given. Stores the gradients
    of streams, adds up those of statics and of the values that it restarted from."""
    return pull_at(pullback, now, given, d, sums, restart_sums, later(back.streams.at, back.streams.step, t), here)


@triton.jit
def pull_at(pullback: tl.constexpr, now, given, d, sums, restart_sums, at, here):
    """The same, with pointers to the gradients of streams."""
    d, of_streams, of_statics = _pulled(pullback, now, given, d)
    for i in tl.static_range(len(of_streams)):
        tl.store(at[i], of_streams[i], here)
    sums = summed(sums, of_statics, here)
    _, restart, _, _, _ = now
    if len(restart) > 0:
        restart_sums = summed(restart_sums, d, restart[0] & here)
        d = cleared(restart[0], d, 0.0)
    return d, sums, restart_sums


@triton.jit
def pull_only(pullback: tl.constexpr, now, given, d):
    """The gradients of what a step was given, of those of what it carries on."""
    d, _, _ = _pulled(pullback, now, given, d)
    _, restart, _, _, _ = now
    if len(restart) > 0:
        d = cleared(restart[0], d, 0.0)
    return d


@triton.jit
def _pulled(pullback: tl.constexpr, now, given, d):
    streams, _, old, seeds, follow_seeds = now
    seeded = ()
    for i in tl.static_range(len(d)):
        if i < len(seeds):
            seeded = seeded + (d[i] + seeds[i],)
        else:
            seeded = seeded + (d[i],)
    return pullback(*old, *streams, *given.statics, *seeded, *follow_seeds)


@triton.jit
def write_sums(given, back, sums, restart_sums):
    """Stores sums over steps, [BLOCK]."""
    live = tl.arange(0, given.place.n.shape[0]) < given.place.left
    for i in tl.static_range(len(sums)):
        tl.store(back.statics[i] + given.place.n, sums[i], live)
    if len(given.reset) > 0:
        for i in tl.static_range(len(restart_sums)):
            tl.store(back.initial[i][0] + given.place.n, restart_sums[i], live)
