# mypy: disable-error-code="assignment, var-annotated"
"""The sequential schedule: a program has a block of channels, their states in registers, the streams of some more steps on their way.

`step(*state, *streams, *statics)` gives the new state and what follows; `pullback(*old, *streams, *statics, *d, *d_follows)` the gradients of
old state, streams and statics. `follows` and `finals` are arrays as the sequences are: of what follows, and of what the last step carries on.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.backwards import beginning, pull, read_back, write_sums
from rnndsl.runtime.triton.columns import read, restarted, store, write
from rnndsl.runtime.triton.tuples import select

NEVER = tl.constexpr(1 << 62)  # outside of every sequence, on either side


@triton.jit
def sequential(step: tl.constexpr, given, sequences, follows, finals, STEPS, AHEAD: tl.constexpr):
    """Forwards."""
    when = tl.where(given.place.live, 0, NEVER)
    ahead = ()
    for c in tl.static_range(AHEAD):
        t = tl.full([], c, tl.int64)
        ahead = ahead + (read(given, t, when < STEPS - t),)
    state = given.begin
    for t0 in range(0, STEPS, AHEAD):
        now = ahead
        ahead = ()
        for c in tl.static_range(AHEAD):
            t = tl.cast(t0, tl.int64) + (AHEAD + c)
            ahead = ahead + (read(given, t, when < STEPS - t),)
        for c in tl.static_range(AHEAD):
            t = tl.cast(t0, tl.int64) + c
            here = when < STEPS - t
            streams, restart = now[c]
            state = restarted(state, restart, given)
            new, made = step(*state, *streams, *given.statics)
            write(follows, made, t, here)
            state = select(here, new, state)
            write(sequences, state, t, here)
    store(finals, given.place.n, state, given.place.live)


@triton.jit
def sequential_back(pullback: tl.constexpr, given, back, STEPS, AHEAD: tl.constexpr):
    """Backwards, from the last step: each step is computed again from the states before it."""
    d, sums, restart_sums = beginning(given, back, tl.zeros_like(given.begin[0]))
    when = tl.where(given.place.live, 0, -NEVER)
    ahead = ()
    for c in tl.static_range(AHEAD):
        ahead = ahead + (read_back(given, back, tl.cast(STEPS, tl.int64) - (1 + c), when),)
    for t0 in range(0, STEPS, AHEAD):
        now = ahead
        ahead = ()
        for c in tl.static_range(AHEAD):
            ahead = ahead + (read_back(given, back, tl.cast(STEPS, tl.int64) - t0 - (1 + AHEAD + c), when),)
        for c in tl.static_range(AHEAD):
            t = tl.cast(STEPS, tl.int64) - t0 - (1 + c)
            here = when >= -t
            before = d
            d, sums, restart_sums = pull(pullback, now[c], given, back, d, sums, restart_sums, t, here)
            d = select(here, d, before)
    write_sums(given, back, sums, restart_sums)
    store(back.first, given.place.n, d, given.place.live)


@triton.jit
def alone(step: tl.constexpr, given, sequences, follows, finals, state, begin, COUNT: tl.constexpr, STEPS):
    """COUNT steps one by one, from the state before the first; the state behind the last."""
    when = tl.where(given.place.live, 0, NEVER)
    for j in range(0, COUNT):
        t = tl.cast(begin, tl.int64) + j
        here = when < STEPS - t
        streams, restart = read(given, t, here)
        state = restarted(state, restart, given)
        new, made = step(*state, *streams, *given.statics)
        write(follows, made, t, here)
        state = select(here, new, state)
        store(finals, given.place.n, state, when == STEPS - 1 - t)
        write(sequences, state, t, here)
    return state


@triton.jit
def alone_back(pullback: tl.constexpr, given, back, d, begin, COUNT: tl.constexpr):
    """COUNT steps backwards one by one, from the gradients behind the last: those before the first, and the sums over them."""
    _, sums, restart_sums = beginning(given, back, tl.zeros_like(d[0]))
    when = tl.where(given.place.live, 0, -NEVER)
    for j in range(0, COUNT):
        t = tl.cast(begin, tl.int64) + COUNT - 1 - j
        here = when >= -t
        now = read_back(given, back, t, when)
        before = d
        d, sums, restart_sums = pull(pullback, now, given, back, d, sums, restart_sums, t, here)
        d = select(here, d, before)
        store(back.first, given.place.n, d, when == -t)
    return d, sums, restart_sums
