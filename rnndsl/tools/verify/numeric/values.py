"""Values in one layout, and every operation of the language on them.

A value is [head axes, row, column], with size 1 where an axis is absent, so that elementwise operations broadcast by themselves. There is
no batch and no time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rnndsl.checks.cell import Type
from rnndsl.functions import ENTRIES, Function
from rnndsl.runtime import ops

HEADS = 6  # as many as a value may have
F64, C128 = torch.float64, torch.complex128


# Layout


@dataclass(frozen=True)
class Sizes:
    """The sizes of a cell, and shapes under them."""

    values: dict[str, int]

    def shape(self, t: Type) -> tuple[int, ...]:
        """The declared shape."""
        return tuple(int(d.evaluate(self.values)) for d in (*t.heads, *t.axes))

    def layout(self, t: Type) -> tuple[int, ...]:
        """The shape with every axis in its place."""
        heads, axes = self.shape(t)[: len(t.heads)], self.shape(t)[len(t.heads) :]
        return (1,) * (HEADS - len(heads)) + heads + axes + (1,) * (2 - len(axes))

    def spread(self, value: Tensor, t: Type) -> Tensor:
        """A value, broadcast to a type, in the layout."""
        return value.expand(torch.broadcast_shapes(value.shape, self.layout(t)))

    def laid(self, value: Tensor, t: Type) -> Tensor:
        """A tensor of the declared shape, in the layout."""
        return value.reshape(self.layout(t))

    def plain(self, value: Tensor, t: Type) -> Tensor:
        """A value of the layout in its declared shape."""
        return self.spread(value, t).reshape(self.shape(t))


def operate(operation: str, args: list[Tensor], types: list[Type], t: Type, static: tuple, sizes: Sizes) -> Tensor:
    """An operation that is not elementwise, on values of the layout."""
    args = [sizes.spread(a, u) for a, u in zip(args, types, strict=True)]
    match operation:
        case "@":
            a, b = args
            if types[0].rank == 1:
                a = a.transpose(-1, -2)
            out = a.to(torch.promote_types(a.dtype, b.dtype)) @ b.to(torch.promote_types(a.dtype, b.dtype))
            return out.transpose(-1, -2) if types[0].rank == 1 and types[1].rank == 2 else out
        case "sum":
            return args[0].sum(-2, keepdim=True)
        case "max":
            return args[0].amax(-2, keepdim=True)
        case "mean":
            return args[0].mean(-2, keepdim=True)
        case "cumsum":
            return args[0].cumsum(-2)
        case "dot":
            return (args[0] * args[1]).sum(-2, keepdim=True)
        case "outer":
            return args[0] * args[1].transpose(-1, -2)
        case "broadcast" | "rows" if len(args) == 1:
            return sizes.spread(args[0], t)
        case "columns":
            return sizes.spread(args[0].transpose(-1, -2), t)
        case "concat" | "rows":
            lead = torch.broadcast_shapes(*(a.shape[:-2] for a in args))
            dtype = C128 if any(a.is_complex() for a in args) else F64
            return torch.cat([a.to(dtype).expand(*lead, *a.shape[-2:]) for a in args], -2)
        case "split":
            n, i = static
            return args[0].chunk(n, -2)[i]
        case "transpose":
            return args[0].transpose(-1, -2)
        case "merge" | "heads" | "reshape":
            return sizes.plain(args[0], types[0]).reshape(sizes.layout(t))
        case "diag":
            return args[0] * torch.eye(args[0].shape[-2], dtype=F64)
        case "slice":
            raise AssertionError("slices are looked up")
        case "eye":
            return torch.eye(sizes.layout(t)[-1], dtype=F64).reshape(sizes.layout(t))
        case "ones":
            return torch.ones(sizes.layout(t), dtype=F64)
        case "expm":
            return torch.linalg.matrix_exp(args[0])
    (v,) = args
    match operation:
        case "softmax":
            return torch.softmax(v, -2)
        case "norm":
            return torch.linalg.vector_norm(v, dim=-2, keepdim=True)
    raise NotImplementedError(operation)


# Elementwise functions, for expressions and for formulas


def _compare(function: Callable) -> Callable:
    return lambda a, b: function(a, b).to(F64)


def _function_of(row: Function) -> Callable[..., Tensor]:
    """What the table says that PyTorch computes for a function of entries."""
    names = [f"x{i}" for i in range(len(row.parameters))]
    return eval(f"lambda {', '.join(names)}: {row.torch.format(*names)}", {"torch": torch, "F": F, "ops": ops})


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    **{name: _function_of(row) for name, row in ENTRIES.items() if row.torch and not row.definition},
    "re": lambda x: torch.real(x) if x.is_complex() else x, "real_part": torch.real, "imag_part": ops.imag, "modulus": torch.abs,
    "where": lambda c, a, b: torch.where(c != 0, *_promoted(a, b)), "root": torch.sqrt, "power": torch.pow,
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "^": torch.pow, "neg": torch.neg, "broadcast": lambda x: x,
    **{op: _compare(f) for op, f in (
        ("<", torch.lt), ("<=", torch.le), (">", torch.gt), (">=", torch.ge), ("==", torch.eq), ("!=", torch.ne))},
}  # fmt: skip


def _promoted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def number(value: complex) -> Tensor:
    """A number in the layout."""
    return torch.full((1,) * (HEADS + 2), value, dtype=C128 if isinstance(value, complex) else F64)


class Surrogate(torch.autograd.Function):
    """The value of one function with the derivative of another."""

    @staticmethod
    def forward(ctx, argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad * ctx.saved_tensors[0], None, None


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Re Σ conj(a) b."""
    return torch.real(torch.conj(a) * b).sum()


def random_like(v: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(v.shape, dtype=v.dtype, generator=generator)
