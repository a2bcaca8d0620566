"""What generated rounds call beside torch: tensors with steps before their own axes, and parts of complex functions.

A value is [B, C, *shape] where it changes with the step, else [*shape].
"""

import torch
from torch import Tensor


def joined(axis: int, rank: int, *parts: Tensor) -> Tensor:
    """Values of `rank` axes end to end along one of these."""
    lead = torch.broadcast_shapes(*(p.shape[: p.dim() - rank] for p in parts))
    return torch.cat([p.expand(*lead, *p.shape[p.dim() - rank :]) for p in parts], axis)


def reshaped(x: Tensor, rank: int, shape: tuple[int, ...]) -> Tensor:
    """The same entries in the same order, of a value of `rank` axes."""
    return x.reshape(*x.shape[: x.dim() - rank], *shape)


def expanded(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A value whose axes of length 1 are as long as `shape` says."""
    return x.expand(*x.shape[: x.dim() - len(shape)], *shape)


def moving(x: Tensor, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A value of every step, [B, C, *shape], as `like` is one of some shape."""
    return x.expand(*like.shape[:2], *shape)


def chosen(condition: float, a: Tensor, b: Tensor) -> Tensor:
    """`a` where a number is not 0, else `b`."""
    a, b = torch.broadcast_tensors(a, b)
    return a if condition else b


def permuted(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """A value with its axes in another order."""
    lead = x.dim() - len(order)
    return x.permute(*range(lead), *(lead + k for k in order))


def root(x: Tensor) -> Tensor:
    """The square root, whose derivative at 0 is 0."""
    zero = x == 0
    return torch.where(zero, x, torch.sqrt(torch.where(zero, 1.0, x)))


def angle(a: Tensor, b: Tensor) -> Tensor:
    return torch.atan2(b, a)


def modulus(a: Tensor, b: Tensor) -> Tensor:
    return torch.abs(_complex(a, b))


def log_modulus(a: Tensor, b: Tensor) -> Tensor:
    return torch.log(modulus(a, b))


def _complex(a: Tensor, b: Tensor) -> Tensor:
    return torch.complex(*torch.broadcast_tensors(a, b))


def quotient_re(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return (_complex(a, b) / _complex(c, d)).real


def quotient_im(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return (_complex(a, b) / _complex(c, d)).imag


def root_re(a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(_complex(a, b)).real


def root_im(a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(_complex(a, b)).imag


def exp_re(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(_complex(a, b)).real


def exp_im(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(_complex(a, b)).imag


def power_re(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.pow(_complex(a, b), _complex(c, d)).real


def power_im(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.pow(_complex(a, b), _complex(c, d)).imag
