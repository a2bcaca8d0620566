"""Unit triangular systems by their inverse, made of halves."""

from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.rules import one_by_one

_ALONE = 16  # rows of a triangular matrix that are inverted by substitution; larger ones by halves


class Solved(torch.autograd.Function):
    """x = b + A x for two b, [M, n, columns] each, A [M, n, n] strictly lower triangular: backwards by the inverse of the way forwards."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        inverse = _inverse(A)
        x, y = inverse @ b, inverse @ c
        ctx.save_for_backward(A, x, y)
        ctx.inverse = inverse
        return x, y

    @staticmethod
    @one_by_one
    def backward(ctx: Any, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        A, x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            both = torch.linalg.solve_triangular(-A.tril(-1).mT, torch.cat([dx, dy], 2), upper=True, unitriangular=True)
            db, dc = both.split([dx.shape[2], dy.shape[2]], 2)
        else:
            db, dc = (ctx.inverse.mT @ d for d in (dx, dy))
        return torch.baddbmm(db @ x.mT, dc, y.mT), db, dc


def _inverse(A: Tensor) -> Tensor:
    """(1 - A)⁻¹ of strictly lower triangular A [M, n, n]."""
    n = A.shape[-1]
    size = n
    while size > _ALONE and size % 2 == 0:
        size //= 2
    blocks = A.unflatten(2, (-1, size)).unflatten(1, (-1, size)).diagonal(0, 1, 3).permute(0, 3, 1, 2).reshape(-1, size, size)
    one = torch.eye(size, dtype=A.dtype, device=A.device).expand(blocks.shape)
    found = torch.linalg.solve_triangular(-blocks, one, upper=False, unitriangular=True)
    while size < n:
        below = A.unflatten(2, (-1, 2, size)).unflatten(1, (-1, 2, size)).diagonal(0, 1, 4)[:, 1, :, 0].permute(0, 3, 1, 2).reshape(-1, size, size)
        upper, lower = found.unflatten(0, (-1, 2)).unbind(1)
        found = A.new_zeros((upper.shape[0], 2 * size, 2 * size))
        found[:, :size, :size], found[:, size:, size:], found[:, size:, :size] = upper, lower, lower @ (below @ upper)
        size *= 2
    return found
