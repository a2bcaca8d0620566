"""Products of large matrices by tiles of our own: of all steps of a sequence with a param. BLAS libraries are far from the peak of some CPUs."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from rnndsl.runtime import build, ops
from rnndsl.runtime.choice import reference_wanted
from rnndsl.runtime.cpu.invoke import invoke, strided
from rnndsl.runtime.cpu.loaded import TYPES, doubles, function_of
from rnndsl.runtime.memory import rows
from rnndsl.runtime.pages import new_empty

LARGE, MANY = 1 << 26, 64  # multiplications, and rows, from which on a product is worth a call and packing what it multiplies by
_LIBRARY = """using T = {real};
#include "products.h"

EXPORT void product(const rnndsl::Call& call, long outs) {{ rnndsl::product<T>(call, outs); }}
"""


@cache
def _function(dtype: torch.dtype) -> Any:
    """Raises what `build.load` does."""
    return function_of(build.load(_LIBRARY.format(real=TYPES[dtype]), "products"), "product", (ctypes.c_long,))


def product(a: Tensor, b: Tensor, begin: Tensor | None = None) -> Tensor:
    """begin + a @ b, of tensors [m, k], [k, n] and [n] that hold numbers, none of them empty."""
    found = new_empty(a, (a.shape[0], b.shape[1]))
    begin = (a.new_zeros(b.shape[1]) if begin is None else begin.contiguous()).expand(found.shape)
    arrays = strided([a, b, begin, found], 2, a.dtype)
    function = _function(a.dtype)
    invoke(lambda call: function(call, b.shape[1]), doubles({}), a.shape[0], a.shape[1], found.numel(), arrays, None)
    return found


def _is_large(rows: int, terms: int, outs: int) -> bool:
    """Whether the kernel takes a product: never an empty one, of which it would divide by the number of rows."""
    return rows >= MANY and rows * terms * outs >= LARGE


def multiplied(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, of tensors [m, k] and [k, n] that hold numbers of which a kernel has been built."""
    return product(a, b) if _is_large(a.shape[0], a.shape[1], b.shape[1]) else torch.mm(a, b)


def _is_plain(*tensors: Tensor) -> bool:
    """Whether nothing but autograd looks at what is done with these tensors, and their entries lie in memory, in one dtype."""
    first = tensors[0]
    if first.dtype not in TYPES or any(type(t) not in (Tensor, Parameter) or not t.is_cpu or t.layout != torch.strided or t.dtype != first.dtype for t in tensors):
        return False
    batched = torch._C._functorch.is_legacy_batchedtensor  # of `torch.autograd.grad(is_grads_batched=True)`
    transformed = torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0 or any(map(batched, tensors))
    return not (transformed or torch._C._len_torch_dispatch_stack() or torch.jit.is_tracing())


class _Product(torch.autograd.Function):
    """x @ matrix.T + bias of rows x [m, k]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix)
        return product(rows(x, 1), rows(matrix, 1).T, rows(bias, 0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        of_x, of_matrix, of_bias = ctx.needs_input_grad
        ours = not torch.is_grad_enabled() and _is_plain(grad, x, matrix)
        if ours:
            grad, x, matrix = rows(grad, 1), rows(x, 1), rows(matrix, 1)
        multiply: Callable[[Tensor, Tensor], Tensor] = multiplied if ours else torch.mm
        return multiply(grad, matrix) if of_x else None, multiply(grad.T, x) if of_matrix else None, grad.sum(0) if of_bias else None


def biased_product(x: Tensor, matrix: Tensor, bias: Tensor, dtype: torch.dtype, backend: str) -> Tensor:
    """What `ops.biased_product` does; large products by the kernel, where there is a compiler, and the layer's backend is not PyTorch alone. Raises what
    `build.load` does."""
    ours = (
        not torch.compiler.is_compiling() and _is_large(x.numel() // max(1, x.shape[-1]), x.shape[-1], matrix.shape[0])
        and not (backend == "reference" or (backend == "auto" and reference_wanted()))
        and dtype == x.dtype and _is_plain(x, matrix, bias) and build.compiler() is not None
    )  # fmt: skip
    if not ours:
        return ops.biased_product(x, matrix, bias, dtype)
    found: Tensor = _Product.apply(x.reshape(-1, x.shape[-1]), matrix, bias)
    return found.view(*x.shape[:-1], -1)
