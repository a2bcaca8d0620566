"""Numbers: each schedule of each cell against the reference in float64, and elementwise functions against PyTorch's in float64."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from on_gpu.cells import DIAGONAL, Case, schedules, with_kernels
from on_gpu.record import Row
from on_gpu.scale import Scale
from rnndsl.runtime.triton import functions, launch
from rnndsl.tools.bench.candidates import Tensors, gap, leaves, tensors
from rnndsl.tools.bench.subject import Subject, weights_like

SIZES = {"D": 3, "N": 2, "K": 3, "V": 7, "B": 9, "L": 3, "M": 4}  # odd, and so small that a reference is soon there; 3 of any other
_SINGLE = 8
ALLOWED = {"float32": 2e-5, "float64": 1e-11, "bfloat16": 2.0**-5}  # of gaps, in units of 1 + the largest; or four times the reference's own


@dataclass(frozen=True)
class Check:
    """A cell, a way to run it, and a dtype, to be held against the reference in float64: outputs and gradients, with restarts.

    schedule: None for single steps, without gradients."""

    case: Case
    schedule: str | None
    dtype: str

    @property
    def where(self) -> str:
        return f"{self.case.where}, {self.called}, {self.dtype}"

    @property
    def called(self) -> str:
        return next((name for name, s in schedules(self.case).items() if s == self.schedule), "step by step, as in decoding")

    def layer(self, exact: Any) -> Any:
        """A copy on Triton kernels."""
        return self._on_kernels(copy.deepcopy(exact).to(torch.float64 if self.dtype == "float64" else torch.float32))

    def launched(self, scale: Scale, device: torch.device) -> None:
        """Runs what the check runs on kernels, whatever the numbers are."""
        layer, inputs, reset = _made(self.case, scale, device, "float64" if self.dtype == "float64" else "float32")
        self.results(self._on_kernels(layer), inputs, reset)

    def _on_kernels(self, layer: Any) -> Any:
        layer.backend = "triton"
        if self.schedule:
            layer.schedule = self.schedule
        return layer

    def results(self, layer: Any, inputs: Tensors, reset: Tensor) -> tuple[Tensors, Tensors]:
        """Outputs, and the gradients in inputs and params of their sum with weights; in double precision."""
        given = leaves(tuple(x.to(_kind(x, layer._own_dtype())) for x in inputs))
        if self.schedule is None:
            return _single_steps(layer, given), ()
        with torch.autocast(given[0].device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            outputs = tuple(y.to(_kind(y, torch.float64)) for y in tensors(layer(*given, reset=reset)[0]))
        asked = tuple(y for y in outputs if y.requires_grad)
        of = (*given, *layer.parameters())
        gradients = torch.autograd.grad(asked, of, weights_like(asked), allow_unused=True, materialize_grads=True) if asked else ()
        return tuple(y.detach() for y in outputs), tuple(g.to(_kind(g, torch.float64)) for g in gradients)


def _kind(t: Tensor, real: torch.dtype) -> torch.dtype:
    return real.to_complex() if t.is_complex() else real


@torch.no_grad()
def _single_steps(layer: Any, inputs: Tensors) -> Tensors:
    """Outputs of the first steps one by one, [B, T, ...]."""
    state, rows = layer.initial_state(inputs[0].shape[0]), []
    for t in range(min(_SINGLE, inputs[0].shape[1])):
        y, state = layer.step(*(x[:, t] for x in inputs), state)
        rows.append(tensors(y))
    return tuple(torch.stack(ys, 1).to(_kind(ys[0], torch.float64)) for ys in zip(*rows, strict=True))


def checks(scale: Scale) -> Iterator[Check]:
    """All of them, the most important first: the cells of the benchmark, then every other, in each schedule, then single steps."""
    for case in with_kernels(scale):
        for dtype in scale.dtypes:
            for schedule in ("sequential", "newton", "auto") if case in DIAGONAL else ("sequential", "newton"):
                if case in DIAGONAL or dtype != "float64":
                    yield Check(case, schedule, dtype)
    for case in with_kernels(scale):
        if case.has_step:
            yield Check(case, None, "float32")


def _made(case: Case, scale: Scale, device: torch.device, dtype: str) -> tuple[Any, Tensors, Tensor]:
    """A layer, inputs, restarts."""
    batch, steps, hidden = scale.check if case in DIAGONAL else scale.zoo
    layer = case.layer({n: SIZES.get(n, hidden if n == "H" else 3) for n in case.cell.sizes}, device, dtype)
    inputs = Subject(case.cell, layer, batch, steps).inputs
    reset = torch.zeros(batch, steps, dtype=torch.bool, device=device)
    reset[0, steps // 2] = reset[-1, -1] = True
    return layer, inputs, reset


@cache
def _exact(case: Case, scale: Scale, device: torch.device) -> tuple[Any, Tensors, Tensor]:
    """In float64, on the reference."""
    layer, inputs, reset = _made(case, scale, device, "float64")
    layer.backend = "reference"
    return layer, inputs, reset


@cache
def _wanted(case: Case, scale: Scale, device: torch.device, dtype: str, is_step: bool) -> tuple[Tensors, Tensors]:
    """What the reference gives in a dtype."""
    exact, inputs, reset = _exact(case, scale, device)
    check = Check(case, None if is_step else "sequential", dtype)
    layer = check.layer(exact)
    layer.backend = "reference"
    return check.results(layer, inputs, reset)


def agreement(check: Check, scale: Scale, device: torch.device) -> Iterator[Row]:
    """Gaps to the reference in float64, from the same weights and inputs, beside those of the reference in the same dtype; in units of 1 + the
    largest. right: whether ours are within what is allowed."""
    exact, inputs, reset = _exact(check.case, scale, device)
    layer = check.layer(exact)
    got = check.results(layer, inputs, reset)
    is_step = check.schedule is None
    wanted = _wanted(check.case, scale, device, "float64", is_step)
    plain = _wanted(check.case, scale, device, check.dtype, is_step)
    far = [gap(a, b) for a, b in zip(got, wanted, strict=True)]
    own = [gap(a, b) for a, b in zip(plain, wanted, strict=True)]
    batch, steps = inputs[0].shape[:2]
    yield {
        "cell": check.case.name, "program": check.case.program.stem, "schedule": check.called, "dtype": check.dtype, "B": batch, "T": steps, **layer._sizes,
        "outputs": far[0], "gradients": far[1], "reference": own, "right": all(f <= max(ALLOWED[check.dtype], 4 * o) for f, o in zip(far, own, strict=True)),
        "solved": [] if is_step else [asdict(r) for r in layer.solve_report()],
    }  # fmt: skip


@triton.jit
def exp2(x):
    return tl.exp2(x)


@triton.jit
def rsqrt(x):
    return tl.rsqrt(x)


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
    "exp2": torch.exp2,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "heaviside": lambda x: torch.where(x.isnan(), 0.0, (x > 0).to(x.dtype)),
    "sign": lambda x: torch.where(x.isnan(), 0.0, torch.sign(x)),
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x),
}
_TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "maximum": torch.maximum, "minimum": torch.minimum, "logaddexp": torch.logaddexp, "power": torch.pow,
}  # fmt: skip
_DEVICES = {"exp2": exp2, "rsqrt": rsqrt}  # what functions are built on, in float32
# What is assumed of them in float32, where numbers and results are normal: units in the last place of the device's own, off at most of ours.
ASSUMED = {"exp2": ("units", 2.0), "rsqrt": ("units", 1.0), "sigmoid": ("off", 3.0e-7), "tanh": ("off", 2.4e-7)}
_BLOCK = 128


def accuracy(scale: Scale, device: torch.device) -> Iterator[Row]:
    """Of each function that kernels have: its largest error, in units of the last place, where it is; and whether what is not finite is right.

    The reference is PyTorch's function in float64, itself only that good: below two units, errors in float64 say nothing. Beside it the mixed
    error (Higham, Accuracy and Stability of Numerical Algorithms, 1.5): in units of the result and of what one unit of the arguments makes of it.
    off: the largest error as it is. Where something is assumed of a function, whether that holds.
    """
    for name, dtype, given in _applied(scale, device):
        found = _errors(given, apply_to(name, given).double(), {**_ONE, **_TWO}[name], dtype, name)
        yield {"function": name, "dtype": str(dtype).removeprefix("torch."), "points": given[0].numel(), **found}


def applied(scale: Scale, device: torch.device) -> None:
    """What `accuracy` runs on kernels."""
    for name, _, given in _applied(scale, device):
        apply_to(name, given)


def apply_to(name: str, given: tuple[Tensor, ...]) -> Tensor:
    """A function of numbers, by its kernel."""
    got = torch.empty_like(given[0])
    function = _DEVICES.get(name) or getattr(functions, name)
    arguments = [given[0], given[-1], got, got.numel()]
    launch.launch(apply, triton.cdiv(got.numel(), _BLOCK), arguments, got, FUNCTION=function, ARGUMENTS=1 if name in _ONE else 2, BLOCK=_BLOCK, num_warps=4)
    return got


def _applied(scale: Scale, device: torch.device) -> Iterator[tuple[str, torch.dtype, tuple[Tensor, ...]]]:
    """Functions, dtypes, and numbers at which they are looked at; what is assumed of the device's own at more of them."""
    for dtype in (torch.float32, torch.float64):
        some, many = (_points(n, dtype, device) for n in (scale.values, 4 * scale.values))
        for name in {**_ONE, **_TWO}:
            if name in _DEVICES and dtype == torch.float64:
                continue
            x, y = many if dtype == torch.float32 and name in ASSUMED else some
            if name == "log1p":
                x = x.abs().clamp(max=1.0)  # where it is used
            if name == "rsqrt":
                x = 1.0 + x.abs()  # likewise
            if name == "power":
                y = torch.round(y * 0.2)
            yield name, dtype, (x,) if name in _ONE else (x, y)


def _errors(given: tuple[Tensor, ...], got: Tensor, function: Callable[..., Tensor], dtype: torch.dtype, name: str) -> Row:
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
    off = float(torch.where(finite, apart, 0.0).nan_to_num(nan=float("inf")).max())
    same = (got == wanted) | (got.isnan() & wanted.isnan())
    said = {"units": float(units[worst]), "off": off}
    assumed = {}
    if name in ASSUMED and dtype == torch.float32:
        what, most = ASSUMED[name]
        assumed = {"assumed": [what, most], "holds": said[what] <= most}
    return {
        **said,
        **assumed,
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
