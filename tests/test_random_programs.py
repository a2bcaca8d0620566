"""Random programs over the whole language against the oracle: outputs, gradients, states, given states, resets, halves, steps."""

import re

import pytest

import rnndsl
from rnndsl.functions import COMPARISONS, FUNCTIONS
from rnndsl.runtime import build
from tests.agreement import Case, assert_agrees, runs, well_conditioned
from tests.minimise import minimised
from tests.random_programs import program

WITH_TRITON = (1, 2, 3, 4, 9, 10, 13, 21, 23, 24, 27, 30)  # of the first thirty, those whose recurrences have kernels


def compare(seed: int, backend: str) -> None:
    """All that a call can be asked for; where rounding decides the numbers, that it runs."""
    cell = program(seed)
    case = Case(cell.text, "Random", cell.sizes, cell.batch, cell.steps, seed)
    tame = well_conditioned(case)
    case.backend = backend
    if tame:
        assert_agrees(case, tolerance=1e-8)
    else:
        runs(case)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("seed", range(1, 101))
def test_a_hundred_programs_agree_with_the_oracle(seed: int):
    compare(seed, "reference")


@pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")
@pytest.mark.one_in(2)
@pytest.mark.parametrize("seed", range(1, 37))
def test_programs_agree_with_the_oracle_in_cpp(seed: int):
    compare(seed, "cpu")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("seed", WITH_TRITON)
def test_programs_agree_with_the_oracle_in_triton(seed: int):
    pytest.importorskip("triton")
    compare(seed, "triton")


def test_the_programs_hold_the_whole_language():
    programs = [program(seed) for seed in range(1, 301)]
    for cell in programs:
        assert not [d for d in rnndsl.check(cell.text) if d.severity == "error"], cell.text
    text = "\n".join(cell.text for cell in programs)
    for word in FUNCTIONS.keys() - NOT_DRAWN:
        assert f" {word}(" in text or f"({word}(" in text, word
    for op in (*COMPARISONS, "+", "-", "*", "/", "@", "^", "**"):
        assert f" {op} " in text or f"){op}" in text, op
    for form in FORMS:
        assert re.search(form, text, re.M), form


# Functions that the programs do not call: tests/test_functions.py has them at every kind of number, on every backend.
NOT_DRAWN = frozenset("clamp leaky_relu hardtanh hardsigmoid selu mish gelu_exact erf expm1 log1p rsqrt atan sinh cosh round angle stop_gradient".split())

# Forms of the language, as they stand in the text of the programs.
FORMS = (
    r"^  input \w+: \[\]", r"^  input \w+: \[\w+\]", r"^  input \w+: \[\w+, \w+\]", r"^  input \w+: complex \[", r"^  input \w+: \[\w+; ",
    r"^  state \w+: \[\]", r"^  state \w+: \[\w+; \w+, \w+\]", r"^  state \w+: \[\w+;\]", r"^  state \w+: complex \[", r"^  state \w+: \[\w+, \w+; \w+\]",
    r"^  state .* = -inf$", r"^  state .* = 0\.5$", r"^  state .* = \w+$", r"^  state .* = .*\(", r"^  const \w+: [^=]*$", r"^  const .* = ", r"^  const .* = .*\(",
    r"^  param .* > 0", r"^  param .* in \(0, 1\) ~ ", r"^  param .* ~ orthogonal", r"^  param .* ~ linspace", r"^  noise .* ~ bernoulli", r"^  noise .* ~ normal",
    r"^  noise .* ~ uniform", r"\[2\*\w+", r"\[\w+\*2|\w+ \+ \w+\]", r"\w\[t-1\]", r"\w\[t-3\]", r"\w\[t\]", r"^  repeat \w+ in 1\.\.\w+:", r"^  repeat \w+ in 2\.\.",
    r"\w\[\w+ - 1\]", r"\w\[\w+ \+ 1\]", r"\w\[1\]", r"\w\[\w+\] @ ", r"^  \w+, \w+ = split\(", r"^  \w+, \w+, \w+ = split\(", r"\.T", r" grad ", r"\bt\b[ ),^]", r"1j",
    r"^  \w+\[t\] = [0-9.]+$", r"^  \w+\[t\] = \w+$", r"^  \w+\[t\] = \w+\[t-1\]$", r"^  output \w+$", r"^  output .*, \w+ = ", r'^  "', r"# ", r"^cell Random\(.*=.*\):",
)  # fmt: skip


def test_what_is_well_conditioned():
    text = "cell Random(D):\n  input x: [D]\n  output y = {}\n"
    assert well_conditioned(Case(text.format("relu(sin(x)) / (1 + x^2)"), "Random", {"D": 3}))
    assert not well_conditioned(Case(text.format("heaviside(0.1 * x - x / 10)"), "Random", {"D": 3}))
    assert not well_conditioned(Case(text.format("sqrt(x - x)"), "Random", {"D": 3}))


def test_programs_are_made_smaller():
    """Down to what the fault needs."""
    cell = program(5)
    text = minimised(cell.text.replace("output ", "output wanted = erf(0.3) * tanh(cos(0.2) + 1), ").replace("erf", "gelu"), lambda t: "tanh(cos(" in t and "gelu" in t, 60)
    assert text.count("\n") <= 5, text
