"""Functions of the language at given points, on any backend: a cell whose old states are arguments, and one step of it."""

from functools import cache

import numpy
import pytest
import torch
from torch import Tensor

import rnndsl
from rnndsl.functions import ENTRIES

try:
    import triton
except ImportError:
    triton = None

needs_triton = pytest.mark.skipif(
    triton is None or (not torch.cuda.is_available() and triton.__version__.startswith("3.6") and numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0"),
    reason="there is no triton, or its interpreter of 3.6, which does not work with numpy 2.4",
)
INF, NAN = float("inf"), float("nan")
ARITY = {name: row.arity[0] for name, row in ENTRIES.items() if name != "neg"}  # every operation of entries, with its arguments


def applied(op: str, *arguments: str) -> str:
    """An operation of arguments, as text of the language."""
    return f"{op}({', '.join(arguments)})" if op.isidentifier() else f"({arguments[0]}) {op} ({arguments[1]})"


def cell(formulas: tuple[str, ...], shape: str = "[H]", hypers: str = "") -> str:
    """A cell whose state `f{k}` becomes formula k, in `{0}`, its own old value, and in the inputs `{1}` and `{2}`.

    A kernel computes it: PyTorch has what no old value of a state reaches.
    """
    lines = [f"cell P(H{hypers}):", f"  input u, v: {shape}"]
    for k, formula in enumerate(formulas):
        lines += [f"  state f{k}: {shape}", f"  f{k}[t] = {formula.format(f'f{k}[t-1]', 'u', 'v')}"]
    return "\n".join([*lines, f"  output {', '.join(f'y{k} = f{k}[t]' for k in range(len(formulas)))}", ""])


@cache
def _class(text: str) -> type:
    return rnndsl.load(text).P


def probe(text: str, backend: str, points: tuple[Tensor, ...], hypers: dict | None = None) -> list[tuple[Tensor, ...]]:
    """Of each formula of a cell: its values at points [H, …], and its derivatives in the arguments.

    backend: one, and behind a blank the schedule, `sequential` where none is said. A GPU's kernel has all points in one program, which an
    interpreter runs in one go.
    """
    backend, _, schedule = backend.partition(" ")
    size = points[0].shape[0]
    dtype = points[0].dtype
    real = dtype.to_real() if dtype.is_complex else dtype
    layer = _class(text)(H=size, dtype=real, backend=backend, schedule=schedule or "sequential", **(hypers or {}))
    layer.tiles = {"channels": max(32, 1 << (size - 1).bit_length())}
    count = len(layer.State._fields)
    own = [points[0].clone().requires_grad_() for _ in range(count)]
    given = [(points[i] if i < len(points) else torch.zeros_like(points[0])).clone().requires_grad_() for i in (1, 2)]
    y, _ = layer(*(g[None, None] for g in given), state=tuple(s[None] for s in own))
    found = []
    for k, value in enumerate(y if isinstance(y, tuple) else (y,)):
        leaves = [own[k], *given][: len(points)]
        slopes = [torch.zeros_like(leaf) for leaf in leaves]
        if value.requires_grad:
            slopes = torch.autograd.grad(value.real.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        found.append((value[0, 0].detach(), *slopes))
    return found


def disagreement(got: Tensor, want: Tensor, tolerance: float, small: float) -> Tensor:
    """Where values differ: in being NaN, in an infinity, or by more than a tolerance relative to the value, or to `small`."""
    special = ~torch.isfinite(want) | ~torch.isfinite(got)
    same = (got == want) | (torch.isnan(got) & torch.isnan(want))
    close = (got - want).abs() <= tolerance * want.abs() + small
    return torch.where(special, ~same, ~close)
