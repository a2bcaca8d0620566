"""lanes.h: elementary functions against wider references; loads, stores, choices and sums against torch and numpy."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch

HEADERS = Path(__file__).resolve().parent.parent / "rnndsl" / "runtime" / "cpp"
COMPILER = next((found for found in map(shutil.which, ("g++", "clang++", "c++")) if found), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler (g++, clang++ or c++) on the PATH")

DTYPES = {np.float32: "float", np.float64: "double"}
ULPS = 4  # of float32
RELATIVE = 2e-15  # of float64
LONG_DOUBLE_IS_WIDER = np.finfo(np.longdouble).eps < 1e-18
SIZES = (1, 3, 8, 11, 27, 45, 64)  # of small arrays: with and without each kind of block, whatever the vectors' width

# f(library, x): the library is numpy, or mpmath where numpy has nothing wider than the dtype.
ELEMENTARY = {
    "exp": lambda m, x: m.exp(x),
    "log": lambda m, x: m.log(x),
    "log1p": lambda m, x: m.log1p(x),
    "expm1": lambda m, x: m.expm1(x),
    "tanh": lambda m, x: m.tanh(x),
    "sigmoid": lambda m, x: 1 / (1 + m.exp(-x)),
    "softplus": lambda m, x: m.logaddexp(x, 0),
    "logsigmoid": lambda m, x: -m.logaddexp(-x, 0),
    "sqrt": lambda m, x: m.sqrt(x),
    "rsqrt": lambda m, x: 1 / m.sqrt(x),
    "reciprocal": lambda m, x: 1 / x,
    "sin": lambda m, x: m.sin(x),
    "cos": lambda m, x: m.cos(x),
    "sinh": lambda m, x: m.sinh(x),
    "cosh": lambda m, x: m.cosh(x),
    "atan": lambda m, x: m.arctan(x),
}
ELEMENTARY_OF_TWO = {"logaddexp": lambda m, a, b: m.logaddexp(a, b), "pow": lambda m, a, b: m.power(a, b)}
MPMATH = SimpleNamespace(
    logaddexp=lambda a, b: max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b))),
    power=lambda a, b: mpmath.power(abs(a), b) * (-1 if a < 0 and b % 2 == 1 else 1),
    **{name: getattr(mpmath, name) for name in ("exp", "log", "log1p", "expm1", "tanh", "sqrt", "sin", "cos", "sinh", "cosh")},
    arctan=mpmath.atan,
)

EXACT = {
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "nearest": torch.round,
    "relu": torch.relu,
    "heaviside": lambda x: torch.heaviside(x, torch.zeros_like(x)).where(~x.isnan(), 0),
    "-": torch.neg,
    "pow_int<0>": torch.ones_like,
    "pow_int<3>": lambda x: x * x * x,
    "pow_int<-2>": lambda x: 1 / (x * x),
}
EXACT_OF_TWO = {
    **{name: getattr(torch, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    "max": torch.maximum,
    "min": torch.minimum,
    "select": lambda a, b: torch.where(a != 0, b, 7),
}

# The functions of lanes over blocks of every kind, and of numbers; loads, stores and sums over arrays of given sizes.
DRIVER = """
#include "lanes.h"
namespace rnndsl {

template <class T, class F> void apply(const T* a, const T* b, T* y, long n, F f) {
  constexpr long SIZE = 3 * WIDTH<T> + 1;
  long start = 0;
  for (; start + SIZE <= n; start += SIZE)
    over<T, SIZE, 2>([&](auto tag, long i) INLINED {
      using L = typename decltype(tag)::type;
      f(L::load(a + start + i), L::load(b + start + i)).store(y + start + i);
    });
  for (; start < n; ++start) y[start] = f(a[start], b[start]);
}

template <class T, int N> void pieces(const T* a, T* copied, T* sums, T* largest) {
  over<T, N>([&](auto tag, long i) {
    const auto x = decltype(tag)::type::load(a + i);
    x.store(copied + i);
    sums[i] = x.sum();
    largest[i] = x.largest();
  });
}

template <class T, int N> void strided(const T* a, T* copied) {
  over<T, N>([&](auto tag, long i) { decltype(tag)::type::load(a + 3 * i, 3).store(copied + 2 * i, 2); });
}

// Numbers beside lanes, and a vector that holds no entry
template <class T> void mixed(const T* a, T* y) {
  const auto x = Lanes<T, 3, WIDTH<T> + 1>::load(a);
  (2 * x + 1 - max(x, 3) / (T(1) - -x) + select(gt(x, 2), 0.5, x) + decltype(x)::fill(2)).store(y);
}

}  // namespace rnndsl
using namespace rnndsl;
"""
EXPORTED = 'extern "C" void {symbol}({arguments}) {{ {body} }}\n'


def symbol(*words: object) -> str:
    return "exported_" + "_".join("".join(c if c.isalnum() else f"{ord(c):x}" for c in str(w)) for w in words)


def driver() -> str:
    calls = {name: f"(void)b; return {name}(a);" for name in (*ELEMENTARY, *EXACT)}
    calls |= {name: f"return {name}(a, b);" for name in (*ELEMENTARY_OF_TWO, *EXACT_OF_TWO)}
    calls["select"] = "return select(a, b, 7);"
    text = DRIVER
    for t in DTYPES.values():
        arguments = f"const {t}* a, const {t}* b, {t}* y, long n"
        for name, call in calls.items():
            body = f"apply(a, b, y, n, [](auto a, auto b) INLINED {{ {call} }});"
            text += EXPORTED.format(symbol=symbol(name, t), arguments=arguments, body=body)
        for n in SIZES:
            body = f"pieces<{t}, {n}>(a, y, sums, largest);"
            arguments = f"const {t}* a, {t}* y, {t}* sums, {t}* largest"
            text += EXPORTED.format(symbol=symbol("pieces", t, n), arguments=arguments, body=body)
            body = f"strided<{t}, {n}>(a, y);"
            text += EXPORTED.format(symbol=symbol("strided", t, n), arguments=f"const {t}* a, {t}* y", body=body)
        text += EXPORTED.format(symbol=symbol("mixed", t), arguments=f"const {t}* a, {t}* y", body="mixed(a, y);")
        text += f'extern "C" long {symbol("width", t)}() {{ return WIDTH<{t}>; }}\n'
    return text


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lanes")
    (folder / "driver.cpp").write_text(driver())
    flags = ["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", f"-I{HEADERS}"]
    subprocess.run([COMPILER, *flags, "-o", folder / "driver.so", folder / "driver.cpp"], check=True)
    return ctypes.CDLL(str(folder / "driver.so"))


def call(function, *arguments):
    """Arrays, which must be contiguous, go as addresses, sizes as long."""
    assert all(x.flags.c_contiguous for x in arguments if isinstance(x, np.ndarray))
    function(*(ctypes.c_long(x) if isinstance(x, int) else ctypes.c_void_p(x.ctypes.data) for x in arguments))


def apply(library, name, a, b=None):
    result = np.empty_like(a)
    call(library[symbol(name, DTYPES[a.dtype.type])], a, a if b is None else b, result, len(a))
    return result


def as_numbers(library, name, a, b=None):
    """The same without lanes: one number a call."""
    b = a if b is None else b
    return np.concatenate([apply(library, name, a[i : i + 1], b[i : i + 1]) for i in range(len(a))])


def special(dtype) -> np.ndarray:
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny, 1e-30, 0.3, 0.5, 1, 1.5, 2, 50, 1e9, info.max, np.inf]
    edges_of_exp = [87.4, 88.3, 88.7, 88.8, 100, 103.9, 104.1, 708.3, 709.78, 709.79, 745.1, 745.2]
    values = np.array([*positive, *edges_of_exp], dtype)
    return np.concatenate([values, -values, np.array([np.nan], dtype)])


def sample(dtype) -> np.ndarray:
    """Over the whole range, and again where the functions change."""
    random = np.random.default_rng(7)
    if dtype is np.float32:
        whole = np.arange(0, 2**32, 2141, dtype=np.uint32).view(np.float32)
    else:
        whole = np.exp(random.uniform(-744, 709, 100_000)) * random.choice([-1, 1], 100_000)
    near = np.exp(random.uniform(-20, 6, 50_000)) * random.choice([-1, 1], 50_000)
    return np.concatenate([special(dtype), whole, near.astype(dtype), random.uniform(-5, 5, 50_000).astype(dtype)])


def reference(function, *arguments):
    """In something wider than the arguments' dtype."""
    wide = np.float64 if arguments[0].dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        result = function(np, *(a.astype(wide) for a in arguments))
    if wide is np.longdouble and not LONG_DOUBLE_IS_WIDER:
        finite = np.logical_and.reduce([np.isfinite(x) for x in (result, *arguments)])
        result = result.astype(object)
        with mpmath.workprec(120):
            for i in np.flatnonzero(finite):
                result[i] = function(MPMATH, *(mpmath.mpf(float(a[i])) for a in arguments))
    return result


def worst(result, expected, scale=0):
    """The largest error as a multiple of the one allowed; infinite where one of the two is not finite but the other is.

    The error may be relative to a scale that is larger than the result, where that is small by cancellation.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.astype(result.dtype)
        size = np.maximum(np.abs(rounded), scale)
        allowed = ULPS * np.spacing(size) if result.dtype == np.float32 else RELATIVE * size + np.spacing(0.0)
        error = np.abs(result - expected).astype(np.float64) / allowed
    finite = np.isfinite(rounded) & np.isfinite(result)
    same = (rounded == result) | (np.isnan(rounded) & np.isnan(result))
    return np.where(same, 0, np.where(finite, error, np.inf)).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary(library, name, dtype):
    x = sample(dtype)
    if dtype is np.float64 and not LONG_DOUBLE_IS_WIDER:
        x = x[::50].copy()  # mpmath takes its time
    assert worst(apply(library, name, x), reference(ELEMENTARY[name], x)) <= 1
    few = np.concatenate([special(dtype), x[::5003]])
    assert worst(as_numbers(library, name, few), reference(ELEMENTARY[name], few)) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTARY_OF_TWO)
def test_elementary_of_two(library, name, dtype):
    a, b = pairs(dtype)
    with np.errstate(invalid="ignore"):
        scale = np.nan_to_num(np.maximum(abs(a), abs(b)), posinf=0) if name == "logaddexp" else 0
    expected = reference(ELEMENTARY_OF_TWO[name], a, b)
    assert worst(apply(library, name, a, b), expected, scale) <= 1
    assert worst(as_numbers(library, name, a, b), expected, scale) <= 1


def pairs(dtype):
    """All of two special values, of two moderate ones, and of equal ones."""
    a, b = (x.ravel() for x in np.meshgrid(special(dtype), special(dtype)))
    moderate = np.random.default_rng(3).normal(0, 5, (2, 2000)).astype(dtype)
    return np.concatenate([a, moderate[0], moderate[0]]), np.concatenate([b, moderate[1], moderate[0]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*EXACT, *EXACT_OF_TWO])
def test_exact(library, name, dtype):
    if name in EXACT:
        x = sample(dtype)
        few = np.concatenate([special(dtype), x[::5003]])
        for arguments, compute in (((x,), apply), ((few,), as_numbers)):
            expected = EXACT[name](torch.from_numpy(arguments[0])).numpy()
            np.testing.assert_array_equal(compute(library, name, *arguments), expected)
    else:
        arguments = pairs(dtype)
        expected = EXACT_OF_TWO[name](*map(torch.from_numpy, arguments)).numpy().astype(dtype)
        np.testing.assert_array_equal(apply(library, name, *arguments), expected)
        np.testing.assert_array_equal(as_numbers(library, name, *arguments), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_of_zero(library, dtype):
    zeros = np.tile(np.array([0.0, -0.0], dtype), 50)
    for name in ("tanh", "abs", "floor", "-"):
        expected = {"abs": np.abs, "-": np.negative}.get(name, np.copy)(zeros)
        np.testing.assert_array_equal(np.signbit(apply(library, name, zeros)), np.signbit(expected), name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_loads_stores_and_folds(library, n, dtype):
    t = DTYPES[dtype]
    inputs = np.full(n + 64, np.nan, dtype)  # nothing behind the n entries may count
    inputs[:n] = np.random.default_rng(n).normal(0, 1, n)
    copied, sums, largest = (np.full(n + 64, filler, dtype) for filler in (-3, 0, -np.inf))
    call(library[symbol("pieces", t, n)], inputs, copied, sums, largest)
    np.testing.assert_array_equal(copied, np.where(np.arange(n + 64) < n, inputs, dtype(-3)))
    np.testing.assert_allclose(sums.sum(), inputs[:n].sum(), rtol=0, atol=n * np.finfo(dtype).eps)
    assert largest.max() == inputs[:n].max()

    for i in range(n):
        poisoned = inputs.copy()
        poisoned[i] = np.nan
        call(library[symbol("pieces", t, n)], poisoned, copied, sums, largest)
        assert np.isnan(largest[:n]).sum() == 1
        assert np.isnan(sums[:n]).sum() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_strides(library, n, dtype):
    inputs = np.random.default_rng(n).normal(0, 1, 3 * n).astype(dtype)
    copied = np.full(2 * n + 64, -3, dtype)
    call(library[symbol("strided", DTYPES[dtype], n)], inputs, copied)
    expected = np.full(2 * n + 64, -3, dtype)
    expected[: 2 * n : 2] = inputs[::3]
    np.testing.assert_array_equal(copied, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_beside_lanes(library, dtype):
    n = library[symbol("width", DTYPES[dtype])]() + 1
    x = np.random.default_rng(0).uniform(0, 5, n).astype(dtype)
    result = np.full(n + 64, -3, dtype)
    call(library[symbol("mixed", DTYPES[dtype])], x, result)
    expected = 2 * x + 1 - np.maximum(x, 3) / (1 + x) + np.where(x > 2, 0.5, x) + 2
    np.testing.assert_allclose(result[:n], expected, rtol=10 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(result[n:], -3)


def test_loads_and_stores_end_with_the_array(library):
    """Arrays that end where a page begins that may not be touched: a crash, hence another process."""
    script = f"""
import ctypes, mmap
library = ctypes.CDLL({library._name!r})
page = mmap.PAGESIZE
memory = [mmap.mmap(-1, 2 * page) for _ in range(2)]
ends = [ctypes.addressof(ctypes.c_char.from_buffer(m)) + page for m in memory]
for end in ends:
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), ctypes.c_size_t(page), 0) == 0
other = (ctypes.c_double * 256)()
for symbol, size in {[(symbol("pieces", t, n), n * np.dtype(d).itemsize) for d, t in DTYPES.items() for n in SIZES]!r}:
    library[symbol](*(ctypes.c_void_p(end - size) for end in ends), other, other)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
