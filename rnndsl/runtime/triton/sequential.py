# mypy: disable-error-code="assignment, var-annotated"
"""The sequential schedule: a program has a block of channels, their states in registers, the streams of some more steps on their way.

Each step that is done makes room for one that is read, so that streams take AHEAD places in registers. Pointers run along, since a product of
64 bits a step takes more instructions than a sum, and how many steps are left is a number of 32 bits.

`step(*state, *streams, *statics)` gives the new state and what follows; `pullback(*old, *streams, *statics, *d, *d_follows)` the gradients of
old state, streams and statics. `follows` and `finals` are arrays as the sequences are: of what follows, and of what the last step carries on.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.backwards import (
    back_at,
    beginning,
    later_back,
    pull_at,
    read_back_at,
    write_sums,
)
from rnndsl.runtime.triton.columns import later, read_at, read_columns, restarted, store, write_at
from rnndsl.runtime.triton.tuples import select

NEVER = tl.constexpr(1 << 62)  # outside of every sequence, on either side


@triton.jit
def sequential(step: tl.constexpr, given, sequences, follows, finals, STEPS, AHEAD: tl.constexpr):
    """Forwards."""
    left = tl.where(given.place.live, STEPS, 0)  # how many steps a channel still has
    following = tl.full([], 1, tl.int64)
    reads = read_columns(given)
    at, entry = reads.at, sequences.base
    ahead = ()
    for c in tl.static_range(AHEAD):
        ahead = ahead + (read_at(given, at, left > c),)
        at = later(at, reads.step, following)
    state = given.begin
    for _ in range(0, STEPS, AHEAD):
        now = ahead
        ahead = ()
        for c in tl.static_range(AHEAD):
            streams, restart = now[c]
            state = restarted(state, restart, given)
            new, made = step(*state, *streams, *given.statics)
            ahead = ahead + (read_at(given, at, left > AHEAD + c),)
            at = later(at, reads.step, following)
            write_at(follows, entry, made, left > c)
            state = select(left > c, new, state)
            write_at(sequences, entry, state, left > c)
            entry += sequences.step
        left -= AHEAD
    store(finals, given.place.n, state, given.place.live)


@triton.jit
def sequential_back(pullback: tl.constexpr, given, back, STEPS, AHEAD: tl.constexpr):
    """Backwards, from the last step: each step is computed again from the states before it."""
    d, sums, restart_sums = beginning(given, back, tl.zeros_like(given.begin[0]))
    left = tl.where(given.place.live, STEPS, 0)
    last, earlier = tl.cast(STEPS, tl.int64) - 1, tl.full([], -1, tl.int64)
    at, entry = back_at(given, back, last), back.sequences.base + last * back.sequences.step
    out = later(back.streams.at, back.streams.step, last)
    ahead = ()
    for c in tl.static_range(AHEAD):
        ahead = ahead + (read_back_at(given, back, at, entry, left > c, left > c + 1),)
        at, entry = later_back(given, back, at, earlier), entry - back.sequences.step
    for _ in range(0, STEPS, AHEAD):
        now = ahead
        ahead = ()
        for c in tl.static_range(AHEAD):
            before = d
            d, sums, restart_sums = pull_at(pullback, now[c], given, d, sums, restart_sums, out, left > c)
            d = select(left > c, d, before)
            out = later(out, back.streams.step, earlier)
            ahead = ahead + (read_back_at(given, back, at, entry, left > AHEAD + c, left > AHEAD + c + 1),)
            at, entry = later_back(given, back, at, earlier), entry - back.sequences.step
        left -= AHEAD
    write_sums(given, back, sums, restart_sums)
    store(back.first, given.place.n, d, given.place.live)
