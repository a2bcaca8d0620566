"""lanes.h: its elementary functions against wide references, its loads, stores, choices and sums against numpy and torch."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

HEADERS = Path(__file__).resolve().parent.parent / "rnndsl" / "runtime" / "cpp"
COMPILER = next((found for found in map(shutil.which, ("g++", "clang++", "c++")) if found), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler (g++, clang++ or c++) on the PATH")

DTYPES = {np.float32: "float", np.float64: "double"}
ULPS = 4  # of float32
RELATIVE = 2e-15  # of float64
SIZES = (1, 3, 8, 11, 27, 45, 64)  # of the arrays of the small tests: with and without each kind of block


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def logaddexp(a, b):
    with np.errstate(all="ignore"):
        return np.where(a == b, a + np.log(a.dtype.type(2)), np.logaddexp(a, b))


ELEMENTARY = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "logsigmoid": lambda x: -softplus(-x),
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "reciprocal": lambda x: 1 / x,
    "pow_int<3>": lambda x: x**3,
    "pow_int<-2>": lambda x: 1 / (x * x),
}
EXACT = {
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "relu": torch.relu,
    "heaviside": lambda x: (x > 0).to(x.dtype),
    "-": torch.neg,
}
BINARY = {
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "eq": torch.eq,
    "ne": torch.ne,
    "max": torch.maximum,
    "min": torch.minimum,
    "logaddexp": None,
    "pow": None,
}

DRIVER = """
#include "lanes.h"

namespace rnndsl {

// A large block, a smaller one and a partial one, for every dtype.
template <class T> constexpr long STEP = 5 * WIDTH<T> + (WIDTH<T> == 2 ? 1 : 3);

template <class T, class F> void map(const T* a, const T* b, T* y, long n, F f) {
    for (long start = 0; start < n; start += STEP<T>)
        over<T, STEP<T>>([&](auto tag, long i) {
            using L = typename decltype(tag)::type;
            f(L::load(a + start + i), L::load(b + start + i)).store(y + start + i);
        });
}

template <class T, class F> void map_numbers(const T* a, const T* b, T* y, long n, F f) {
    for (long i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
}

template <class T, int N> void pieces(const T* a, T* y, T* strided, T* sums, T* largest) {
    over<T, N>([&](auto tag, long i) {
        using L = typename decltype(tag)::type;
        const L x = L::load(a + i);
        x.store(y + i);
        L::load(a + 3 * i, 3).store(strided + 2 * i, 2);
        sums[i] = x.sum();
        largest[i] = x.largest();
    });
}

template <class T> void operators(const T* a, const T* b, T* y) {
    using L = Lanes<T, 2, WIDTH<T> + 1>;
    const L x = L::load(a), z = L::load(b);
    select(lt(x, z), x * 2 + z, 1 / (T(3) - x)).store(y);
}

}  // namespace rnndsl
"""
FUNCTION = """
extern "C" void {symbol}_{dtype}(const {dtype}* a, const {dtype}* b, {dtype}* y, long n) {{
    rnndsl::map(a, b, y, n, [](auto a, auto b) {{ return {call}; }});
}}
extern "C" void {symbol}_{dtype}_numbers(const {dtype}* a, const {dtype}* b, {dtype}* y, long n) {{
    rnndsl::map_numbers(a, b, y, n, [](auto a, auto b) {{ return {call}; }});
}}
"""
PIECES = """
extern "C" void pieces_{dtype}_{size}(const {dtype}* a, {dtype}* y, {dtype}* strided, {dtype}* sums, {dtype}* largest) {{
    rnndsl::pieces<{dtype}, {size}>(a, y, strided, sums, largest);
}}
"""


def symbol(name: str) -> str:
    return "f_" + "".join(c if c.isalnum() else "_" for c in name)


def source() -> str:
    calls = {name: f"{name}(a)" for name in (*ELEMENTARY, *EXACT)} | {name: f"{name}(a, b)" for name in BINARY}
    calls = {name: f"((void)b, {call})" if name not in BINARY else call for name, call in calls.items()}
    calls["select"] = "select(a, b, a + b)"
    parts = [DRIVER]
    for dtype in DTYPES.values():
        for name, call in calls.items():
            call = call if name == "-" else call.replace(name + "(", "rnndsl::" + name + "(")
            parts.append(FUNCTION.format(symbol=symbol(name), dtype=dtype, call=call))
        parts += [PIECES.format(dtype=dtype, size=size) for size in SIZES]
    return "".join(parts)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lanes")
    (folder / "driver.cpp").write_text(source())
    command = [COMPILER, "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", f"-I{HEADERS}"]
    subprocess.run([*command, "-o", folder / "driver.so", folder / "driver.cpp"], check=True)
    return ctypes.CDLL(str(folder / "driver.so"))
