# mypy: disable-error-code="assignment, var-annotated"
"""Newton's method in its multiple-shooting form, for a step that is not linear.

`linear(*state, *streams, *statics)` is the new state and the matrix of its derivatives; `product` multiplies two matrices, `scan` composes
affine maps over lanes, entries of matrices and what they add in a row.
"""

import triton
import triton.language as tl

from rnndsl.runtime.triton.columns import restarted
from rnndsl.runtime.triton.functions import maximum
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
from rnndsl.runtime.triton.tuples import cleared, in_lanes, row_of, select, tail, wide


@triton.jit
def newton(
    step: tl.constexpr, linear: tl.constexpr, product: tl.constexpr, scan: tl.constexpr, shifted: tl.constexpr,
    given, sequences, follows, finals, boxes, report, tolerance, loose, STEPS, LANES: tl.constexpr, LANE_STEPS: tl.constexpr, GUESSED: tl.constexpr,
):  # fmt: skip
    """Chunk by chunk of LANES * LANE_STEPS steps.

    Each lane runs its steps exactly from a guess of the state at its start; the gaps between lanes, carried on by the derivatives of
    lanes, correct the guesses. A chunk is done when its steps, run once more, leave no gap above the tolerance. After k rounds the first
    k lanes are exact, so LANES rounds are enough. A chunk in which something is not finite is run step by step: lanes start from what those
    before them leave, until nothing moves, which is at the last lane at the latest. GUESSED: where the states of all steps go lies what they may be.
    """
    lanes = lanes_of(given, LANES, LANE_STEPS, NEVER)
    wide_given = given_in_lanes(given, lanes)
    wide_sequences, wide_follows = sequences_in_lanes(sequences, lanes), sequences_in_lanes(follows, lanes)
    boxes = _inside(given, boxes)
    state = given.begin
    chunks = tl.full([], 0, tl.int32)
    iterations, longest, by_itself = chunks, chunks, chunks
    worst = tl.full([], 0.0, tl.float32)
    for t0 in range(0, STEPS, LANES * LANE_STEPS):
        now = read_lanes(wide_given, lanes, t0, STEPS, LANE_STEPS)
        whole = lanes.when <= STEPS - t0 - LANE_STEPS
        # The first guess of the state behind a lane: one step from the chunk's start, with the lane's last streams.
        streams, _ = now[LANE_STEPS - 1]
        behind, _ = step(*in_lanes(state, lanes.zero), *streams, *wide_given.statics)
        if GUESSED:
            behind = _guessed(wide_sequences, behind, boxes, lanes, tl.cast(t0, tl.int64) + LANE_STEPS - 1, STEPS)
        end = behind
        rounds = tl.full([], 0, tl.int32)
        walked = rounds  # rounds without corrections
        pending, settled = True, False
        while pending:
            start = select(lanes.lane == 0, wide(state), neighbours(shifted, behind, lanes, False))
            if settled:
                # The steps once more, from the corrected starts; what they leave of gaps is the residual.
                end = run_lanes(step, now, wide_given, wide_sequences, wide_follows, finals, start, lanes, t0, STEPS)
                residual = _residual(end, behind, whole, lanes)
                # 0: below the tolerance, 1: above, 2: not finite
                vote = tl.where(residual <= tolerance, 0, tl.where(residual - residual == 0, 1, 2))
                verdict = tl.max(tl.where(walked > 0, moved(end, behind, whole), vote))
                if verdict == 0:
                    pending = False
                    worst = tl.maximum(worst, tl.max(tl.where(walked > 0, 0.0, residual)).to(tl.float32))
                elif (walked > 0) | (verdict == 2) | (rounds > LANES):
                    behind = end
                    walked += 1
                    pending = walked < LANES
                else:
                    settled = False
            else:
                end, matrix = _lane(linear, product, now, wide_given, start, lanes)
                behind, settled = _corrected(scan, end, behind, matrix, boxes, whole, loose, lanes)
                rounds += 1
                settled |= rounds > LANES
        state = row_of(end, lanes.lane == LANES - 1)
        chunks += 1
        iterations += rounds
        longest = tl.maximum(longest, rounds)
        by_itself += tl.where(walked > 0, 1, 0)
    write_report(report, chunks, iterations, longest, by_itself, worst)


@triton.jit
def _inside(given, boxes):
    """Where the equations keep every state in a box that holds the values it starts from, guesses are kept there too: of each two bounds, or
    nothing."""
    inside = given.place.live
    for i in tl.static_range(len(boxes)):
        if len(boxes[i]) > 0:
            low, high = boxes[i]
            inside = inside & (given.begin[i] >= low) & (given.begin[i] <= high) & (given.restart[i] >= low) & (given.restart[i] <= high)
    found = ()
    for i in tl.static_range(len(boxes)):
        box = ()
        if len(boxes[i]) > 0:
            box = (tl.where(inside, boxes[i][0], float("-inf"))[None, :], tl.where(inside, boxes[i][1], float("inf"))[None, :])
        found = found + (box,)
    return found


@triton.jit
def _guessed(sequences, behind, boxes, lanes, last, STEPS):
    """What lies where the last step of each lane goes, kept in its box, or what there is where that is not finite. Every thread has read it before one
    writes there."""
    here = lanes.when < STEPS - last
    found = ()
    for i in tl.static_range(len(behind)):
        value = behind[i]
        if i < len(sequences.arrays):
            guess = tl.load(sequences.arrays[i] + sequences.base + last * sequences.step, here, 0.0)
            value = tl.where(here & (guess - guess == 0), _boxed(guess, boxes[i]), value)
        found = found + (value,)
    tl.debug_barrier()
    return found


@triton.jit
def _boxed(value, box):
    """A value kept in a box, where there is one."""
    found = value
    if len(box) > 0:
        found = tl.minimum(tl.maximum(value, box[0]), box[1])
    return found


@triton.jit
def _lane(linear: tl.constexpr, product: tl.constexpr, now, given, state, lanes):
    """The steps of each lane from where it starts: the state behind it, and its derivatives, which are zero in the first lane: it starts exactly."""
    total = ()
    for c in tl.static_range(len(now)):
        streams, restart = now[c]
        state, matrix = linear(*restarted(state, restart, given), *streams, *given.statics)
        if c == 0:
            total = cleared(lanes.lane == 0, matrix, 0.0)
        else:
            total = product(*total, *matrix)
        if len(restart) > 0:
            total = cleared(restart[0], total, 0.0)
    return state, total


@triton.jit
def _corrected(scan: tl.constexpr, end, behind, matrix, boxes, whole, loose, lanes):
    """The state behind each lane by the derivatives of those before it, and whether no correction is large."""
    gap = ()
    for i in tl.static_range(len(end)):
        gap = gap + (tl.where((end[i] == behind[i]) | (whole == 0), 0.0, end[i] - behind[i]),)
    correction = tail(scan(matrix + gap), len(matrix))
    unsettled = tl.zeros_like(lanes.zero).to(tl.int32)
    found = ()
    for i in tl.static_range(len(end)):
        value = _boxed(end[i] + (correction[i] - gap[i]), boxes[i])
        unsettled |= tl.where(whole & (tl.abs(correction[i]) > loose * (1.0 + tl.abs(value))), 1, 0)
        found = found + (value,)
    return found, tl.max(unsettled) == 0


@triton.jit
def _residual(end, behind, whole, lanes):
    """The largest |s[t] - f(s[t-1], u[t])| / (1 + |s[t]|) behind each lane that is whole."""
    residual = lanes.zero
    for i in tl.static_range(len(end)):
        gap = tl.abs(end[i] - behind[i]) / (1.0 + tl.abs(behind[i]))
        residual = maximum(residual, tl.where((end[i] == behind[i]) | (whole == 0), 0.0, gap))
    return residual
