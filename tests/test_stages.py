"""Values that cross the stages of a plan, on every backend, against the oracle."""

import os

import pytest

from tests.agreement import Case, assert_agrees, assert_agrees_without_gradients, kernels_run, layer_of
from tests.stages import BETWEEN, REPEATS, SIZES, program

os.environ.setdefault("TRITON_INTERPRET", "1")


def agrees(text: str, sizes: dict, backend: str, steps: int = 4) -> None:
    """A cell agrees with the oracle on a backend, or the backend says that it cannot run it."""
    if backend == "triton":
        pytest.importorskip("triton")
    if not kernels_run(text, "C", backend):
        with pytest.raises(ValueError, match="cannot run this cell"):
            layer_of(text, "C", sizes, backend=backend)
        return
    case = Case(text, "C", sizes, 2, steps, backend=backend)
    assert_agrees(case)
    assert_agrees_without_gradients(case)


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("name", [*REPEATS, *BETWEEN])
def test_agrees_with_the_oracle(name, backend):
    text = program(name)
    agrees(text.replace("..L:", "..3:") if backend == "triton" else text, SIZES, backend)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", [n for n in REPEATS if "L:" in REPEATS[n] and "1..2" not in REPEATS[n]])
def test_repeat_over_a_size_of_one(name, backend):
    agrees(program(name), SIZES | {"L": 1}, backend, 3)
