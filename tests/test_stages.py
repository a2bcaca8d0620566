"""Values that cross the stages of a plan, on every backend, against the oracle."""

import os

import pytest
import torch

import rnndsl
from tests import many_cells
from tests.agreement import Case, against_reference, assert_agrees, assert_close, kernels_run, layer_of
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
    if backend == "triton" and rnndsl.load(text).C._kernels["triton"].tiled:  # one call, since the interpreter is slow
        assert_close(against_reference(text, "C", sizes, 1, 2, backend="triton"), 1e-9)
        return
    assert_agrees(Case(text, "C", sizes, 2, 2 if backend == "triton" else steps, backend=backend))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", [*REPEATS, *BETWEEN])
def test_agrees_with_the_oracle(name, backend):
    agrees(program(name), SIZES, backend)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", [*REPEATS, *BETWEEN])
def test_agrees_with_the_oracle_in_triton(name):
    """The stages are those of the plan, on each backend; here it is the interpreter that takes the time."""
    agrees(program(name), SIZES, "triton")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", [n for n in REPEATS if "L:" in REPEATS[n] and "1..2" not in REPEATS[n]])
def test_repeat_over_a_size_of_one(name, backend):
    agrees(program(name), SIZES | {"L": 1}, backend, 3)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_many_cells_compile(first):
    for number in range(first, first + 10):
        many_cells.check(number)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("number", range(0, 40, 10))
def test_many_cells_agree_with_the_oracle(number):
    pytest.importorskip("triton")
    many_cells.check(number, many_cells.BACKENDS)


def at_most(low: int) -> str:
    """A cell whose repeat begins with round `low`."""
    return f"""cell C(H, L):
  input x: [H]
  state h: [H]
  param q: [L; H]
  param P: [L; H, H]
  v = h[t-1]
  repeat k in {low}..L:
    v = tanh(q[k] * v + P[k] @ v) + x
  end
  h[t] = 0.3 * v + x
  output h, y = v
"""


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(("low", "rounds"), [(3, 1), (5, 2), (3, 3)])
def test_repeat_that_ends_before_it_begins(low, rounds, backend):
    """A name that was bound before keeps its value."""
    assert_agrees(Case(at_most(low), "C", {"H": 3, "L": rounds}, 2, 3, backend=backend))


def test_repeat_that_leaves_a_name_without_a_value():
    cls = rnndsl.load("cell C(H, L):\n  input x: [H]\n  param q: [L; H]\n  repeat k in 2..L:\n    v = q[k] * x\n  end\n  output y = v\n").C
    assert cls(H=2, L=2)
    with pytest.raises(ValueError, match="v: it has no value, since the repeat from 2 to L=1 never runs"):
        cls(H=2, L=1)


@pytest.mark.parametrize(("bounds", "index", "right", "wrong"), [("1..M", "k", (2, 2), (2, 3)), ("2..M", "k + 1", (2, 1), (3, 3)), ("1..1", "3", (3, 1), (2, 1))])
def test_slices_that_are_there_for_some_sizes_alone(bounds, index, right, wrong):
    """What no size can mend is an error of the program, in tests/wrong."""
    cls = rnndsl.load(f"cell C(L, M):\n input x: []\n param W: [L;]\n v = x * M\n repeat k in {bounds}:\n v = v * W[{index}]\n end\n output v\n").C
    assert cls(*right)(torch.ones(1, 1))[0].shape == (1, 1)
    with pytest.raises(ValueError, match=rf"W: there is no slice \d, it has L={wrong[0]}, counted from 1"):
        cls(*wrong)


def test_scalars_that_become_vectors_one_after_the_other():
    lines = "".join(f"    {a} = {b}\n" for a, b in ("ed", "dc", "cb", "ba"))
    start = "".join(f"  {a} = 0\n" for a in "abcde")
    text = f"cell C(H):\n  input x: [H]\n  state h: [H]\n{start}  repeat k in 1..6:\n{lines}    a = x * k + h[t-1] + e\n  end\n  h[t] = tanh(a + b + c + d + e)\n  output h\n"
    assert_agrees(Case(text, "C", {"H": 2}, 2, 3, backend="reference"))


@pytest.mark.parametrize(
    "lines",
    [
        "  a = 0\n  repeat k in 3..L:\n    a = a + x * k\n  end\n",  # no round: what was before has no steps
        "  a = 0\n  repeat k in 1..3:\n    b = x * k\n    a = a + b\n    b = 2\n  end\n  c = sin(b)\n",
        "  a = 0\n  b = 0\n  repeat k in 1..2:\n    c = 2 * a\n    a, b = split(W @ (x + c + b) * k, 2)\n  end\n",
    ],
)
def test_repeats_over_all_steps_leave_what_every_step_has(lines):
    read = " + ".join(n for n in "abc" if f" {n} = " in lines)
    text = f"cell C(H, L):\n  input x: [H]\n  state h: [H]\n  param W: [2*H, H]\n{lines}  h[t] = tanh({read} + 0.5 * h[t-1])\n  output h\n"
    assert_agrees(Case(text, "C", {"H": 2, "L": 2}, 2, 3, backend="reference"))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("where", ["sigmoid(h[t-1])", "(1.5 + h[t-1]^2)", "sigmoid(x)"])
def test_powers_that_are_no_small_number(where, backend):
    """Infinite, huge and undefined exponents, in a step and in an output."""
    exponents = ["inf", "-inf", "(1e400)", "1e30", "(-1e30)", "400", "17", "-3", "0", "(-0.5)"]
    powers = ", ".join(f"y{i} = {where}^{e}" for i, e in enumerate(exponents))
    text = f"cell C(H):\n  input x: [H]\n  state h: [H]\n  h[t] = 0.5 * h[t-1] + x + sigmoid(h[t-1])^inf + 0.1 * sigmoid(h[t-1])^1e30\n  output h, {powers}\n"
    assert_agrees(Case(text, "C", {"H": 3}, 2, 3, backend=backend), 1e-8)
