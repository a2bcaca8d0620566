"""Numbers: each schedule of each cell against the reference in float64, and elementwise functions against PyTorch's in float64."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from on_gpu.cells import Case, schedules
from on_gpu.record import Row
from on_gpu.scale import Scale
from rnndsl.runtime.triton import functions
from rnndsl.tools.bench.candidates import gap, leaves, tensors
from rnndsl.tools.bench.subject import Subject, weights_like


def agreement(case: Case, scale: Scale, device: torch.device) -> Iterator[Row]:
    """Gaps of outputs and gradients to the reference in float64, with restarts, from the same weights and inputs; in units of 1 + the largest."""
    batch, steps, hidden = scale.check
    exact = case.layer({"D": 3, "H": hidden}, device, "float64")
    exact.backend = "reference"
    inputs = Subject(case.cell, exact, batch, steps).inputs
    reset = torch.zeros(batch, steps, dtype=torch.bool, device=device)
    reset[0, steps // 2] = reset[-1, -1] = True
    wanted = _results(exact, inputs, reset)
    for dtype in scale.dtypes:
        for name, schedule in schedules(case).items():
            layer = copy.deepcopy(exact).to(torch.float64 if dtype == "float64" else torch.float32)
            layer.backend, layer.schedule = "triton", schedule
            got = _results(layer, tuple(x.to(layer._own_dtype()) for x in inputs), reset, dtype == "bfloat16")
            far = [gap(a, b) for a, b in zip(got, wanted, strict=True)]
            row = {"cell": case.name, "schedule": name, "dtype": dtype, "B": batch, "T": steps, "H": hidden}
            yield {**row, "outputs": far[0], "gradients": far[1], "solved": [asdict(r) for r in layer.solve_report()]}


def _results(layer: Any, inputs: tuple[Tensor, ...], reset: Tensor, is_half: bool = False) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Outputs, and the gradients in inputs and params of their sum with weights; in float64."""
    given = leaves(inputs)
    with torch.autocast(given[0].device.type, torch.bfloat16, enabled=is_half):
        outputs = tuple(y.double() for y in tensors(layer(*given, reset=reset)[0]))
    gradients = torch.autograd.grad(outputs, (*given, *layer.parameters()), weights_like(outputs))
    return tuple(y.detach() for y in outputs), tuple(g.double() for g in gradients)


@triton.jit
def apply(x, y, out, count, FUNCTION: tl.constexpr, ARGUMENTS: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(x + n, n < count, 0.0)
    if ARGUMENTS == 1:
        found = FUNCTION(a)
    else:
        found = FUNCTION(a, tl.load(y + n, n < count, 0.0))
    tl.store(out + n, found, n < count)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


_ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "heaviside": lambda x: torch.where(x.isnan(), 0.0, (x > 0).to(x.dtype)),
    "sign": lambda x: torch.where(x.isnan(), 0.0, torch.sign(x)),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x),
}
_TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "maximum": torch.maximum, "minimum": torch.minimum, "logaddexp": torch.logaddexp, "power": torch.pow,
}  # fmt: skip
_BLOCK = 128


def accuracy(scale: Scale, device: torch.device) -> Iterator[Row]:
    """Of each function that kernels have: its largest error, in units of the last place, where it is; and whether what is not finite is right.

    The reference is PyTorch's function in float64, itself only that good: below two units, errors in float64 say nothing. Beside it the mixed
    error (Higham, Accuracy and Stability of Numerical Algorithms, 1.5): in units of the result and of what one unit of the arguments makes of it.
    """
    for dtype in (torch.float32, torch.float64):
        x, y = _points(scale.values, dtype, device)
        for name, function in {**_ONE, **_TWO}.items():
            a = x.abs().clamp(max=1.0) if name == "log1p" else x  # where it is used
            b = torch.round(y * 0.2) if name == "power" else y
            given = (a,) if name in _ONE else (a, b)
            got = torch.empty_like(a)
            apply[(triton.cdiv(a.numel(), _BLOCK),)](
                a, given[-1], got, a.numel(), FUNCTION=getattr(functions, name), ARGUMENTS=len(given), BLOCK=_BLOCK, num_warps=4
            )
            yield {"function": name, "dtype": str(dtype).removeprefix("torch."), **_errors(given, got.double(), function, dtype)}


def _errors(given: tuple[Tensor, ...], got: Tensor, function: Callable[..., Tensor], dtype: torch.dtype) -> Row:
    limits = torch.finfo(dtype)
    exact = tuple(g.double() for g in given)
    wanted = function(*exact)
    slopes = torch.func.grad(lambda *a: function(*a).sum(), argnums=tuple(range(len(exact))))(*exact)
    moved = sum((g * slope).abs().nan_to_num() for g, slope in zip(exact, slopes, strict=True))
    wanted = torch.where(wanted.abs() > limits.max, wanted.sign() * float("inf"), wanted)
    finite, small = wanted.isfinite(), limits.tiny
    apart = torch.where((wanted.abs() < small) & (got.abs() < small), 0.0, (got - wanted).abs())  # what is too small for a normal number may become 0
    size = wanted.abs().clamp(min=small)
    units, mixed = (torch.where(finite, apart / (limits.eps * of), 0.0).nan_to_num(nan=float("inf")) for of in (size, size + moved))
    worst = int(units.argmax())
    same = (got == wanted) | (got.isnan() & wanted.isnan())
    return {
        "units": float(units[worst]),
        "at": [float(g[worst]) for g in given],
        "mixed": float(mixed.max()),
        "got": float(got[worst]),
        "wanted": float(wanted[worst]),
        "not_finite_wrong": int((~finite & ~same).sum()),
    }


def _points(count: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Numbers of all sizes at which functions are looked at, each with a second argument: evenly, near zero, and what is not finite."""
    some = count // 4
    generator = torch.Generator().manual_seed(0)
    small = 10 ** torch.linspace(-30, 2, some, dtype=torch.float64)
    rest = torch.tensor([0.0, -0.0, 0.55, -0.55, 1.0, -1.0, float("inf"), float("-inf"), float("nan")], dtype=torch.float64)
    x = torch.cat([torch.linspace(-100, 100, some, dtype=torch.float64), torch.linspace(-2, 2, some, dtype=torch.float64), small, -small, rest])
    y = torch.cat([20 * torch.randn(len(x) - len(rest), generator=generator, dtype=torch.float64), rest.flip(0)])
    return x.to(dtype).to(device), y.to(dtype).to(device)
