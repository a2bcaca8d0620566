"""The model that `auto` compares schedules with, for recurrences whose channels meet."""

from dataclasses import replace

import pytest

from rnndsl.costs import Load, chunks, quickest, rounds, step_by_step
from rnndsl.devices import USUAL, of_architecture

DEVICE = of_architecture(USUAL)
GRU = Load(batch=1, steps=4096, flops=6 * 256**2 + 13 * 256, special=3 * 256, streams=4 * 3 * 256, states=4 * 256)
DELTA = Load(batch=4, steps=16384, flops=4 * 6 * 32**2, special=0, streams=4 * 4 * (3 * 32 + 2), states=4 * 4 * 32**2, programs=4)


def test_what_takes_longer_with_more_work():
    for f in (step_by_step, rounds, chunks):
        for more in ({"steps": 8192}, {"batch": 4096}, {"flops": 100 * GRU.flops}):
            assert f(replace(GRU, **more), DEVICE) > f(GRU, DEVICE), (f.__name__, more)


def test_the_rounds_that_were_seen_count():
    assert rounds(GRU, DEVICE, 20) == pytest.approx(2 * rounds(GRU, DEVICE, 10))
    assert rounds(GRU, DEVICE) == rounds(GRU, DEVICE, DEVICE.dense_rounds)


def test_wide_layers_on_long_sequences_take_rounds_and_narrow_ones_a_kernel_of_whole_steps():
    """A narrow layer's matrices stay in registers; a wide one reads them in every step."""
    both = ("sequential", "newton")
    assert quickest(GRU, DEVICE, both) == "newton"
    assert quickest(replace(GRU, flops=GRU.flops / 16, special=GRU.special / 4, streams=GRU.streams / 4, states=GRU.states / 4), DEVICE, both) == "sequential"
    assert quickest(replace(GRU, steps=16), DEVICE, both) == "sequential"
    assert quickest(GRU, DEVICE, both, seen=1000) == "sequential"
    assert quickest(GRU, DEVICE, ("sequential",)) == "sequential"


def test_long_sequences_of_matrix_states_take_chunks_and_short_ones_do_not():
    assert quickest(DELTA, DEVICE, ("sequential", "chunked")) == "chunked"
    assert quickest(replace(DELTA, steps=256), DEVICE, ("sequential", "chunked")) == "sequential"


def test_a_loop_of_pytorch_takes_longest():
    """Where no kernel computes a step, everything else is quicker but for a few steps."""
    assert quickest(GRU, DEVICE, ("loop", "newton")) == "newton"
    assert quickest(replace(GRU, steps=2), DEVICE, ("loop", "newton")) == "loop"
