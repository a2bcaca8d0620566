"""What a whole layer in float32 is off by, run as compiled code on a processor whose special functions are a little wrong: 1e-6 of the scale of
each output, state and gradient; or, of a cell whose own equations make more of roundings, not much more than PyTorch in float32."""

import pytest
import torch

from tests.agreement import against_reference, difference, sizes_of
from tests.ptx.cells import AS_FAR
from tests.ptx.launches import emulated
from tests.ptx.native import compiler
from tests.test_ptx import CELLS

pytestmark = pytest.mark.skipif(compiler() is None, reason="the emulator needs a C++ compiler")

PUBLISHED = [name for name in CELLS if not name.startswith("unusual")]
BOUND = 1e-6


def errors(name: str, backend: str, **how) -> dict[str, float]:
    """Of 16 steps from a given state, against float64, relative to the scale of each value."""
    found = against_reference(*CELLS[name], sizes_of(*CELLS[name]), 2, 16, torch.float32, reset=False, backend=backend, **how)
    return {what: difference(got.to(want.dtype), want) for what, (got, want) in found.items()}


@pytest.mark.ptx
@pytest.mark.part("example para_lstm")
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_layer_is_as_right_as_float32_allows(name):
    with emulated("sm_90", noise=2) as launches:
        ours = errors(name, "triton", schedule="sequential", tiles={"channels": 32, "ahead": 4})
    assert launches.all
    assert not launches.wrong
    plain = errors(name, "reference")
    for what, error in ours.items():
        assert error <= max(BOUND, AS_FAR * plain[what]), (what, error, plain[what])
