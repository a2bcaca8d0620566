"""Every function and operator of entries, taken from the table, at kinks, zeros, infinities, NaN, tiny and huge values: kernels have
PyTorch's values and derivatives, which are the reference's."""

import itertools

import pytest
import torch
from torch import Tensor

from rnndsl.scalars import Scalars
from tests import choice
from tests.probe import ARITY, INF, NAN, applied, cell, disagreement, needs_triton, probe

REAL = {op: n for op, n in ARITY.items() if op not in ("re", "im", "conj")}  # of real arguments those say nothing
DTYPES = {"float32": torch.float32, "float64": torch.float64}
BACKENDS = ["cpu", pytest.param("triton", marks=needs_triton)]
ALL = [NAN, 0.0, -0.0, INF, -INF, 1e-45, -1e-45, 1.2e-38, -1.2e-38, 1e-30, 1e-10, -1e-10, 1e-3, -1e-3, 0.3, -0.3, 0.5, -0.5, 1, -1, 1.5,
       -1.5, 2, -2, 3, -3, 7.3, -7.3, 20, -20, 45, -45, 90, -90, 1e5, -1e5, 1e20, -1e20, 3e38, -3e38]  # fmt: skip
FEW = [NAN, 0.0, -0.0, INF, -INF, 1e-30, 0.3, -0.5, 1, -1, 2, -3, 1e20]

# Where the function is a small difference of large numbers, both are as wrong as those are; relative to them.
SMALL = {"tanh": 1.0, "sigmoid": 1.0, "gelu": 1.0, "gelu_exact": 1.0}


def tolerances(dtype: torch.dtype) -> tuple[float, float]:
    """Relative to a value, and to the smallest numbers, whose last digits are lost."""
    return (4e-6, 1e-37) if dtype == torch.float32 else (1e-13, 1e-305)


def compare(formulas: dict[str, str], backend: str, points: tuple[Tensor, ...], hypers: dict | None = None) -> None:
    """Values and derivatives of formulas on a backend are the reference's."""
    text = cell(tuple(formulas.values()), hypers="".join(f", {n} = {v}" for n, v in (hypers or {}).items()))
    wrong = []
    relative, small = tolerances(points[0].dtype)
    for name, got, want in zip(formulas, probe(text, backend, points), probe(text, "reference", points), strict=True):
        op = name.split()[0]
        for what, a, b in zip(("value", "slope in u", "slope in v", "slope in w"), got, want, strict=False):
            least = max(small, relative * SMALL.get(op, 0.0))
            if op == "expm1" and what != "value":  # PyTorch's own slope is the value plus 1
                least = relative
            if op == "mod":  # the difference of two numbers as large as the first
                least = max(least, relative * float(points[0].abs().nan_to_num(0, 0, 0).max()))
            bad = disagreement(a, b, relative, least)
            if op in ("elu", "selu", "hardtanh"):  # PyTorch's own slope at NaN is 1 or NaN, by where the entry lies, or 0
                bad &= ~torch.isnan(points[0])
            for i in bad.nonzero().flatten().tolist()[:3]:
                wrong.append(f"{name}: {what} at {[p[i].item() for p in points]} is {a[i].item()!r}, not {b[i].item()!r}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_what_is_tried():
    """A new function of entries is tried by itself: none has more arguments than these tests give."""
    assert set(REAL.values()) == {1, 2, 3} and {"tanh", "max", "where", "^", "/", "<"} <= set(REAL)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_one(backend, dtype):
    points = torch.tensor(ALL, dtype=DTYPES[dtype])
    compare({op: applied(op, "{0}") for op, n in REAL.items() if n == 1}, backend, (points,))


@needs_triton
def test_functions_of_one_in_a_kernel_of_all_steps():
    few = [op for op, n in REAL.items() if n == 1]
    compare({op: applied(op, "{0}") for op in (few if choice.everything else few[::3])}, "triton newton", (torch.tensor(ALL, dtype=torch.float64),))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["{0} {1}", "{1} {0}"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_two(backend, order, dtype):
    """Each argument once as the state, once as an input; ties among them."""
    u, v = torch.tensor(list(itertools.product(FEW, FEW)), dtype=DTYPES[dtype]).T
    compare({op: applied(op, *order.split()) for op, n in REAL.items() if n == 2 and op != "mod"}, backend, (u, v))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_mod(backend, dtype):
    values = [NAN, 0.0, -0.0, INF, -INF, 0.3, -0.5, 1, -1, 2, -3]  # of one size: the rest of a large one is all rounding
    u, v = torch.tensor(list(itertools.product(values, values)), dtype=DTYPES[dtype]).T
    compare({"mod": "mod({0}, {1})", "mod of v": "mod({1}, {0})"}, backend, (u, v))


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_three(backend):
    u, v = torch.tensor(list(itertools.product(FEW, FEW)), dtype=torch.float64).T
    orders = list(itertools.permutations(("{0}", "{1}", "{2}")))
    compare({f"{op} {' '.join(o)}": applied(op, *o) for op, n in REAL.items() if n == 3 for o in orders}, backend, (u, v, u.flip(0)))


EXPONENTS = ["0.1", "2", "3", "-1", "-2", "-3", "1/3", "pi", "p", "1/p", "0", "inf", "-inf", "1", "0.5", "-0.5", "17"]


def with_numbers(numbers: list[str]) -> dict[str, str]:
    """Each operation with numbers in all but one of its places."""
    found = {}
    for op, n in REAL.items():
        for number in numbers:
            for place in range(n) if n > 1 else ():
                arguments = [number] * n
                arguments[place] = "{0}"
                found[f"{op} {' '.join(arguments)}"] = applied(op, *arguments)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_in_every_place(backend):
    """A number is of the kernel's type wherever it stands: none is rounded to float32 in a kernel of float64."""
    points = torch.tensor([NAN, 0.0, -0.0, INF, -INF, 1e-30, 0.3, -0.5, 1, -1, 2, -3], dtype=torch.float64)
    compare(with_numbers(["0.1", "p"]), backend, (points,), {"p": 0.7})


@pytest.mark.parametrize("backend", BACKENDS)
def test_exponents_and_bases_that_are_numbers(backend):
    points = torch.tensor([NAN, 0.0, -0.0, INF, -INF, 1e-30, 0.3, -0.5, 1, -1, 2, -3, 1e5], dtype=torch.float64)
    powers = {f"^ {n} {k}": f for n in EXPONENTS for k, f in enumerate((f"{{0}}^({n})", f"({n})^{{0}}"))}
    compare(powers, backend, (points,), {"p": 0.7})


@pytest.mark.parametrize("name", ["exp", "expm1", "sinh", "cosh"])
def test_numbers_beside_the_largest(name):
    """Where a function of a number overflows, and not before."""
    for v in (709.7, 709.79, 710.2, 710.48, 1e5, INF, NAN):
        for x in (v, -v):
            wanted = getattr(torch, name)(torch.tensor(x, dtype=torch.float64))
            torch.testing.assert_close(torch.tensor(getattr(Scalars, name)(x), dtype=torch.float64), wanted, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_numbers_alone(backend, dtype):
    """Of literals, sizes, hyperparameters, pi and inf: folded once, in double precision, on every backend."""
    numbers = ["0.3", "-2", "inf", "-inf", "0", "pi", "p", "H"]
    pairs = [("p", "0.2"), ("2", "p"), ("H", "3"), ("0", "0"), ("inf", "p"), ("-8", "1/3")]
    formulas = []
    for op, n in REAL.items():
        for arguments in [(a,) for a in numbers] if n == 1 else pairs if n == 2 else [("p", *pair) for pair in pairs]:
            formulas.append(f"({applied(op, *arguments)})")
    points = torch.tensor([0.3, -0.5], dtype=DTYPES[dtype])
    terms = [f"where(abs({f}) < inf, {f}, 0)" for f in formulas]
    formulas = {f"sum {k}": " + ".join(["{0}", *terms[k : k + 30]]) for k in range(0, len(terms), 30)}  # few kernels to build
    compare(formulas, backend, (points,), {"p": 0.7})
