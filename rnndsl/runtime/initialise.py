"""Fills new params, as the language page says, and keeps constrained ones inside their bounds."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.runtime.dtypes import real_of

Draw = tuple[str, tuple[float, ...]]
FIXED = ("zeros", "ones", "constant", "eye")  # draws that are never moved inside a constraint


def default_draw(name: str, rank: int, fan_in: int) -> Draw:
    """The initialiser of a param that names none."""
    if rank == 2:
        return "kaiming_uniform", ()
    if rank == 1 and not name.startswith(("b", "c")):
        return "normal", (0.0, 1 / math.sqrt(fan_in))
    return "zeros", ()


def check_draw(draw: Draw) -> None:
    """Raises ValueError for arguments by which nothing can be drawn."""
    match draw:
        case "uniform", (low, high) if not (low <= high and math.isfinite(high - low)):
            raise ValueError(f"uniform needs finite bounds in their order, got {low:g} and {high:g}")
        case "normal", (*_, std) if not std >= 0:
            raise ValueError(f"normal needs a standard deviation of 0 or more, got {std:g}")


def initialise(
    shape: tuple[int, ...], rank: int, draw: Draw, dtype: torch.dtype, device: torch.device | None
) -> Tensor:
    """A new tensor of `shape`, of which the last `rank` axes are what the equations see; each head is filled by itself.

    The matrix forms are torch.nn.init's; kaiming_uniform is the one of torch.nn.Linear, U(-1/sqrt(n), 1/sqrt(n)).
    """
    if dtype.is_complex:
        real = initialise(shape, rank, draw, real_of(dtype), device)
        random = draw[0] not in ("zeros", "ones", "constant", "linspace", "eye")
        if not random:
            return real.to(dtype)
        imaginary = initialise(shape, rank, draw, real_of(dtype), device)
        return torch.complex(real, imaginary) / math.sqrt(2)
    name, args = draw
    value = torch.empty(shape, dtype=dtype, device=device)
    slices = (
        list(value.flatten(0, -rank - 1).unbind(0)) if rank < len(shape) and rank > 0 and value.numel() else [value]
    )
    for part in slices:
        _fill(part, name, args)
    return value


def _fill(v: Tensor, name: str, args: tuple[float, ...]) -> None:
    match name:
        case "zeros":
            nn.init.zeros_(v)
        case "ones":
            nn.init.ones_(v)
        case "constant":
            nn.init.constant_(v, args[0])
        case "normal":
            mean, std = (0.0, args[0]) if len(args) == 1 else args
            nn.init.normal_(v, mean, std)
        case "uniform":
            nn.init.uniform_(v, args[0], args[1])
        case "linspace":
            with torch.no_grad():
                n = v.shape[-1] if v.dim() else 1
                v.copy_(
                    torch.linspace(args[0], args[1], n, dtype=v.dtype, device=v.device).expand_as(v)
                    if v.dim()
                    else torch.tensor(args[0])
                )
        case "kaiming_uniform":
            nn.init.kaiming_uniform_(v, a=math.sqrt(5))
        case "kaiming_normal":
            nn.init.kaiming_normal_(v)
        case "xavier_uniform":
            nn.init.xavier_uniform_(v)
        case "xavier_normal":
            nn.init.xavier_normal_(v)
        case "orthogonal":
            if v.dtype in (torch.bfloat16, torch.float16):  # no QR in half precision
                with torch.no_grad():
                    v.copy_(nn.init.orthogonal_(torch.empty_like(v, dtype=torch.float32)))
            else:
                nn.init.orthogonal_(v)
        case "eye":
            nn.init.eye_(v)


class Bounds:
    """The open interval of a constrained param, which is stored without bounds: its value is low + softplus(stored), or, where there is an
    upper bound, low + (high - low) * sigmoid(stored).

    Both directions are computed in float64 and rounded once. A value that rounds to a bound is the nearest number inside, with the gradient
    that it has anyway.
    """

    def __init__(self, low: float, high: float | None = None):
        if not math.isfinite(low) or not (high is None or low < high < math.inf):
            raise ValueError(f"a constraint needs finite bounds in their order, got {low:g}{'' if high is None else f' and {high:g}'}")
        self.low, self.high = low, math.inf if high is None else high
        self.edges = {dtype: (_beside(low, dtype), -_beside(-self.high, dtype)) for dtype in _REAL_TYPES}  # the numbers next to the bounds

    def __str__(self) -> str:
        return f"above {self.low:g}" if self.high == math.inf else f"between {self.low:g} and {self.high:g}"

    def value(self, stored: Tensor, dtype: torch.dtype) -> Tensor:
        """The param, in a dtype."""
        wide = stored.to(widest(stored.device))
        if self.high == math.inf:
            value = self.low + F.softplus(wide, threshold=40.0)
        else:
            value = self.low + (self.high - self.low) * torch.sigmoid(wide)
        inside = value.clamp(*self.edges[dtype])
        return (value + (inside - value).detach() if torch.is_grad_enabled() else inside).to(dtype)

    def holds(self, value: Tensor) -> Tensor:
        """Where a value lies inside."""
        return (value > self.low) & (value < self.high)

    def stored(self, value: Tensor) -> Tensor:
        """What is stored for a value that lies inside, in float64."""
        value = value.to(widest(value.device))
        above = value - self.low
        if self.high == math.inf:
            return above + torch.log(-torch.expm1(-above))
        return torch.log(above) - torch.log(self.high - value)

    def moved_inside(self, value: Tensor) -> Tensor:
        """Values on a bound or outside of it moved inside by a millionth: of the interval, and at most of the distance that another value has."""
        inside = self.holds(value)
        for bound, other, outside in ((self.low, self.high, value <= self.low), (self.high, self.low, value >= self.high)):
            if math.isinf(bound):
                continue
            width = abs(other - bound) if math.isfinite(other) else max(1.0, abs(bound))
            nearest = torch.where(inside, (value - bound).abs(), width).amin()
            edge = (1e-6 * nearest).clamp(min=4 * torch.finfo(value.dtype).eps * abs(bound))
            value = torch.where(outside, bound + edge if bound == self.low else bound - edge, value)
        return value


_REAL_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def widest(device: torch.device) -> torch.dtype:
    """float64, where a device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def _beside(bound: float, dtype: torch.dtype) -> float:
    """The smallest number of a dtype above a bound, which is rounded to the dtype."""
    if math.isinf(bound) or bound == 0:
        return torch.finfo(dtype).tiny * torch.finfo(dtype).eps if bound == 0 else bound
    digits = 1 - round(math.log2(torch.finfo(dtype).eps))
    part, exponent = math.frexp(bound)
    rounded = math.ldexp(round(math.ldexp(part, digits)), exponent - digits)
    part, exponent = math.frexp(rounded)
    return rounded + math.ldexp(0.5 if part == -0.5 else 1.0, exponent - digits)
