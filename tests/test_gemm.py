"""The matrix product of the C++ kernels (runtime/cpp/gemm.h) against numpy."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import rnndsl

SHAPES = [(1, 1), (8, 3), (17, 33), (33, 17), (64, 100), (100, 64), (100, 1), (1, 100)]
TYPES = {"float": np.float32, "double": np.float64}
MOST_ROWS = 29
GUARD = 12345.0

ENTRY = """
extern "C" long size_{name}() {{ return rnndsl::packed_size<{arguments}>(); }}
extern "C" long panel_{name}() {{ return rnndsl::PANEL<{type}>; }}
extern "C" void pack_{name}(const {type}* matrix, long in_stride, long out_stride, {type}* panels) {{
  rnndsl::pack<{arguments}>(matrix, in_stride, out_stride, panels);
}}
extern "C" void multiply_{name}(long rows, const {type}* x, long x_stride, const {type}* panels, {type}* y,
                                long y_stride) {{
  rnndsl::multiply<{arguments}>(rows, x, x_stride, panels, y, y_stride);
}}
extern "C" void plain_{name}(long rows, const {type}* x, long x_stride, const {type}* matrix, long in_stride,
                             long out_stride, {type}* y, long y_stride) {{
  rnndsl::multiply_plain<{arguments}>(rows, x, x_stride, matrix, in_stride, out_stride, y, y_stride);
}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if compiler is None:
        pytest.skip("no C++ compiler on PATH (g++, clang++ or c++)")
    folder = tmp_path_factory.mktemp("gemm")
    entries = [
        ENTRY.format(name=f"{kind}_{inputs}_{outputs}", type=kind, arguments=f"{kind}, {inputs}, {outputs}")
        for kind in TYPES
        for inputs, outputs in SHAPES
    ]
    (folder / "driver.cpp").write_text('#include "gemm.h"\n' + "".join(entries))
    headers = Path(rnndsl.__file__).parent / "runtime" / "cpp"
    command = [compiler, "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{headers}", "driver.cpp", "-o", "driver.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "driver.so"))


class Strided:
    """A matrix whose rows lie apart in a buffer of NaN: reading outside it would spread, writing outside it show."""

    def __init__(self, values, gap=5):
        rows, width = values.shape
        self.stride = width + gap
        self.buffer = np.full(rows * self.stride + 2 * gap, np.nan, values.dtype)
        self.values = self.buffer[gap : gap + rows * self.stride].reshape(rows, self.stride)[:, :width]
        self.values[:] = values
        self.pointer = ctypes.c_void_p(self.buffer[gap:].ctypes.data)

    def kept_outside(self):
        return np.isnan(self.buffer).sum() == self.buffer.size - self.values.size


class Product:
    """The functions of one type and shape, and values to call them with."""

    def __init__(self, library, kind, inputs, outputs):
        self.library, self.name, self.dtype = library, f"{kind}_{inputs}_{outputs}", TYPES[kind]
        self.inputs, self.outputs = inputs, outputs
        draw = np.random.default_rng(inputs * 1000 + outputs)
        self.matrix = draw.standard_normal((inputs, outputs)).astype(self.dtype)
        self.x = draw.standard_normal((MOST_ROWS, inputs)).astype(self.dtype)
        self.start = draw.standard_normal((MOST_ROWS, outputs)).astype(self.dtype)

    def call(self, function, *arguments):
        longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        return getattr(self.library, f"{function}_{self.name}")(*longs)

    def pack(self, matrix, in_stride, out_stride):
        """The panels, aligned to 64 bytes, from between guards that are kept."""
        size = self.call("size")
        buffer = np.full(size + 128, GUARD, self.dtype)
        first = -buffer.ctypes.data % 64 // buffer.itemsize
        panels = buffer[first : first + size]
        self.call("pack", matrix, in_stride, out_stride, ctypes.c_void_p(panels.ctypes.data))
        assert (buffer[:first] == GUARD).all() and (buffer[first + size :] == GUARD).all()
        return panels

    def packed(self):
        matrix = Strided(self.matrix)
        return self.pack(matrix.pointer, matrix.stride, 1)

    def multiply(self, function, rows, *matrix):
        x, y = Strided(self.x[rows]), Strided(self.start[rows], gap=7)
        self.call(function, len(x.values), x.pointer, x.stride, *matrix, y.pointer, y.stride)
        assert y.kept_outside()
        return y.values

    def multiply_packed(self, rows, panels):
        return self.multiply("multiply", rows, ctypes.c_void_p(panels.ctypes.data))

    def check(self, result, rows):
        x, matrix = self.x[rows].astype(np.float64), self.matrix.astype(np.float64)
        bound = (self.inputs + 2) * np.finfo(self.dtype).eps * (np.abs(x) @ np.abs(matrix))
        assert (np.abs(result - x @ matrix) <= bound).all()


@pytest.fixture(params=[(kind, *shape) for kind in TYPES for shape in SHAPES], ids=lambda p: "-".join(map(str, p)))
def product(library, request):
    return Product(library, *request.param)


def layouts(matrix):
    """The matrix stored by inputs, by outputs, and with every entry apart: (buffer, in_stride, out_stride)."""
    by_inputs, by_outputs, apart = Strided(matrix), Strided(matrix.T), Strided(np.repeat(matrix, 2, axis=1))
    apart.values[:, 1::2] = np.nan
    return [(by_inputs, by_inputs.stride, 1), (by_outputs, 1, by_outputs.stride), (apart, apart.stride, 2)]


def test_pack(product):
    panel = product.call("panel")
    count = -(-product.outputs // panel)
    whole = np.zeros((product.inputs, count * panel), product.dtype)
    whole[:, : product.outputs] = product.matrix
    expected = whole.reshape(product.inputs, count, panel).transpose(1, 0, 2).ravel()
    for matrix, in_stride, out_stride in layouts(product.matrix):
        assert np.array_equal(product.pack(matrix.pointer, in_stride, out_stride), expected)


def test_multiply(product):
    panels = product.packed()
    for count in range(MOST_ROWS + 1):
        rows = slice(count)
        product.check(product.multiply_packed(rows, panels), rows)


def test_row_has_the_same_result_in_any_batch(product):
    panels = product.packed()
    alone = np.vstack([product.multiply_packed(slice(r, r + 1), panels) for r in range(MOST_ROWS)])
    for count in range(2, MOST_ROWS + 1):
        rows = slice(MOST_ROWS - count, MOST_ROWS)
        assert np.array_equal(product.multiply_packed(rows, panels), alone[rows])


def test_multiply_plain(product):
    for matrix, in_stride, out_stride in layouts(product.matrix):
        for count in range(MOST_ROWS + 1):
            rows = slice(count)
            product.check(product.multiply("plain", rows, matrix.pointer, in_stride, out_stride), rows)
