"""Layers as C headers: what they compute, against the layer in double precision, and that no compiler has anything to say of them."""

import copy
import ctypes
import shutil
import subprocess

import pytest
import torch

import rnndsl
from rnndsl.checks.cell import Cell
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.export.c.build import STRICT
from rnndsl.export.c.header import Header, header, run, snake_case, vectors
from rnndsl.export.c.report import relative
from tests.zoo_cells import ZOO

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SIZES = {"D": 3, "H": 4, "N": 2, "K": 3, "V": 5, "B": 5, "L": 3}
BOUNDS = {"float": 1e-6, "double": 1e-12}  # of the largest output
STEPS = 6


def cell_of(text: str, name: str) -> Cell:
    return next(c for c in compiled(Source("cells.rnn", text)).program.cells if c.name == name)


def layer_of(text: str, name: str, **sizes: int):
    """A layer whose weights are all random numbers, also those that begin as zeros; sizes that do not fit are tried even."""
    made = getattr(rnndsl.load(text), name)
    cell = cell_of(text, name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for trial in ({}, {"N": 4}, {"H": 6}, {"H": 8, "K": 4, "V": 4}):
            torch.manual_seed(0)
            try:
                layer = made(**{n: (SIZES | trial | sizes).get(n, 2) for n in cell.sizes}).eval()
                for p in layer.parameters():
                    p.add_(0.2 * torch.randn_like(p))
                for v in cell.of_role("const"):
                    if v.value is None:
                        getattr(layer, v.name).normal_().mul_(0.3)
                layer(*(torch.zeros(1, 1, *s, dtype=torch.complex64 if c else None) for _, s, c in layer._inputs))
                return layer
            except (ValueError, RuntimeError) as e:
                problem = e
    raise problem


class Built:
    """Headers in one library."""

    def __init__(self, headers: list[Header], folder, *flags: str, compiler: str = "gcc"):
        lines = []
        for h in headers:
            (folder / f"{h.prefix}.h").write_text(h.text, encoding="utf-8")
            lines += [f"#define {h.prefix.upper()}_SELF_TEST", f'#include "{h.prefix}.h"']
        for h in headers:
            values = [*(f"const {h.real} *" for _ in h.face.inputs), *(f"{h.real} *" for _ in h.face.outputs)]
            parameters, arguments = ("".join(f", {t}a{k}" for k, t in enumerate(kinds)) for kinds in (values, [""] * len(values)))
            p = h.prefix
            for signature, body in (
                (f"unsigned long run_{p}_size(void)", f"return sizeof({p}_state);"),
                (f"void run_{p}_init(void *s)", f"{p}_init(({p}_state *)s);"),
                (f"void run_{p}_step(void *s{parameters})", f"{p}_step(({p}_state *)s{arguments});"),
                (f"int run_{p}_self_test(void)", f"return {p}_self_test();"),
            ):
                lines += [f"{signature};", f"{signature} {{ {body} }}"]
        (folder / "all.c").write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run(
            [compiler, *STRICT, *flags, "-fPIC", "-shared", "-o", "all.so", "all.c", "-lm"], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[:5000]
        self.library = ctypes.CDLL(str(folder / "all.so"))

    def __call__(self, h: Header, inputs):
        """Outputs of some steps, [T, reals] each."""
        step, size = (getattr(self.library, f"run_{h.prefix}_{what}") for what in ("step", "size"))
        size.restype = ctypes.c_ulong
        state = ctypes.create_string_buffer(size() + 16)
        getattr(self.library, f"run_{h.prefix}_init")(state)
        dtype = torch.float32 if h.real == "float" else torch.float64
        given = [x.to(dtype).contiguous() for x in inputs]
        made = [torch.full((len(inputs[0]) if inputs else STEPS, v.count), 12345.0, dtype=dtype) for v in h.face.outputs]
        for t in range(len(made[0])):
            step(state, *(ctypes.c_void_p(x[t].data_ptr()) for x in (*given, *made)))
        return [y.double() for y in made]

    def self_test(self, h: Header) -> int:
        return getattr(self.library, f"run_{h.prefix}_self_test")()


def assert_agrees(built: Built, h: Header, bound: float) -> None:
    inputs, wanted = vectors(h.face, h.reference, STEPS, seed=7)
    error = relative(built(h, inputs), wanted)
    if error > bound and h.real == "float":  # some cells make more of small errors: PyTorch's float32 then has them too
        bound = 10 * relative(run(copy.deepcopy(h.exact).float(), h.face, [x.float() for x in inputs]), wanted)
    assert error <= bound, h.prefix
    assert built.self_test(h) == 0, h.prefix


@needs_gcc
@pytest.mark.parametrize("part", range(6))
def test_the_zoo(part, tmp_path):
    """Every cell, in float and in double."""
    headers = [
        header(layer, f"{snake_case(name)}_{real}", real)
        for name in list(ZOO)[part::6] for layer in [layer_of(ZOO[name].text, name)] for real in BOUNDS
    ]  # fmt: skip
    built = Built(headers, tmp_path, "-O1")
    for h in headers:
        assert_agrees(built, h, BOUNDS[h.real])
