"""Fills new params, as the language page says; constraints as parametrizations."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.runtime.ops import real_of

Draw = tuple[str, tuple[float, ...]]


def default_draw(name: str, rank: int, fan_in: int) -> Draw:
    """The initialiser of a param that names none."""
    if rank == 2:
        return "kaiming_uniform", ()
    if rank == 1 and not name.startswith(("b", "c")):
        return "normal", (0.0, 1 / math.sqrt(fan_in))
    return "zeros", ()


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


class Above(nn.Module):
    """Keeps a param above `low`: low + softplus(stored)."""

    def __init__(self, low: float):
        super().__init__()
        self.low = low

    def forward(self, stored: Tensor) -> Tensor:
        return self.low + F.softplus(stored, threshold=40.0)

    def right_inverse(self, value: Tensor) -> Tensor:
        if not bool((value > self.low).all()):
            raise ValueError(f"every value must be above {self.low:g}")
        excess = value - self.low
        return excess + torch.log(-torch.expm1(-excess))


class Between(nn.Module):
    """Keeps a param in the open interval (low, high): low + (high - low) * sigmoid(stored)."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, stored: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(stored)

    def right_inverse(self, value: Tensor) -> Tensor:
        if not bool(((value > self.low) & (value < self.high)).all()):
            raise ValueError(f"every value must lie between {self.low:g} and {self.high:g}")
        return torch.log(value - self.low) - torch.log(self.high - value)


def clamped(value: Tensor, constraint: nn.Module) -> Tensor:
    """Initial values on or outside the ends of their constraint moved just inside."""
    if isinstance(constraint, Between):
        edge = 1e-6 * (constraint.high - constraint.low)
        return value.clamp(constraint.low + edge, constraint.high - edge)
    assert isinstance(constraint, Above)
    return value.clamp(min=constraint.low + 1e-6)
