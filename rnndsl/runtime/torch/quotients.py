"""Vectors of an affine matrix state times products of mild decays, over chunks of steps: quotients of products from the chunk's start on.

Between a step i and an earlier one j of a chunk the product of decays is P[i] / P[j], P from the start of the chunk on. So what reads states is
multiplied by P, of the step or of the one before it, and what is added to them is divided by P; at the chunk's end that is multiplied by the last P.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnndsl.runtime.rules import one_by_one, pulled_back

_LEFTS, _GROUPS, _GIVEN = 3, 5, 7  # groups that are read, with those that are added, and with what these are at the end of a chunk


class Scaled(NamedTuple):
    """decay: over each chunk, [M, K]; vectors: those that read old states, of terms and of what is read, and those that read new ones, times products;
    those that are added, of terms that read states and of others, divided; and these as the chunk's end has them: [M, C, count, K] each."""

    decay: Tensor
    vectors: Sequence[Tensor]


class Layout(NamedTuple):
    """size: steps of a chunk; groups: how many vectors each has: terms and reads that read old states,
    reads of new ones, what is added by terms that read states and by others."""

    size: int
    groups: tuple[int, ...]

    def chunks(self, x: Tensor, value: float = 0.0) -> Tensor:
        """[B, T, heads, K] as [B, heads, chunks, C, K], a view where no steps are missing."""
        missing = -x.shape[1] % self.size
        if missing:
            x = pad(x, (0, 0) * (x.dim() - 2) + (0, missing), value=value)
        return x.unflatten(1, (-1, self.size)).movedim((1, 2), (-3, -2))

    def grouped(self, vectors: Sequence[Any]) -> Iterator[Sequence[Any]]:
        return (vectors[a:b] for a, b in pairwise(accumulate(self.groups, initial=0)))


def scaled(size: int, decay: Tensor, groups: Sequence[Sequence[Tensor | None]]) -> Scaled:
    """decay and vectors: [B, T, heads, K] each, None where all are zero; groups: as in `Layout`."""
    last, *found = Quotients.apply(Layout(size, tuple(len(g) for g in groups)), decay, *(v for g in groups for v in g))
    return Scaled(last, found)


class Quotients(torch.autograd.Function):
    """`scaled`, a pass through memory for each vector, with that from its layout in time to that in chunks, and back."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, decay: Tensor, *vectors: Tensor | None) -> tuple[Tensor, ...]:  # type: ignore[override]
        a = layout.chunks(decay, 1.0)
        *lead, C, K = a.shape
        products = a.new_empty((*lead, C + 1, K))  # up to each step, from none on
        products[..., 0, :] = 1
        torch.cumprod(a, -2, out=products[..., 1:, :])
        before, behind, last = products[..., :-1, :], products[..., 1:, :], products[..., -1:, :]
        found = []
        scale: Any
        for group, by, scale in zip(layout.grouped(vectors), (before, before, behind, behind, behind), (torch.mul,) * 3 + (torch.div,) * 2, strict=True):
            to = a.new_empty((*lead, C, len(group), K))
            for k, x in enumerate(group):
                if x is None:
                    to[..., k, :] = 0
                else:
                    scale(layout.chunks(x), by, out=to[..., k, :])
            found.append(to)
        found += [x * last.unsqueeze(-2) for x in found[_LEFTS:]]
        ctx.layout = layout
        ctx.save_for_backward(decay, products, *(x.flatten(0, -4) for x in found), *vectors)
        return products[..., -1, :].reshape(-1, K), *(x.flatten(0, -4) for x in found)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, dlast: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        layout: Layout = ctx.layout
        decay, products, *saved = ctx.saved_tensors
        made, vectors = saved[:_GIVEN], saved[_GIVEN:]
        if torch.is_grad_enabled():  # gradients of gradients
            wanted = ctx.needs_input_grad[1:]
            second = iter(pulled_back(lambda *given: _plain(layout, *given), (decay, *vectors), wanted, (dlast, *grads)))
            return None, *(next(second) if w else None for w in wanted)
        a = layout.chunks(decay, 1.0)
        *lead, C, K = a.shape
        before, behind, last = products[..., :-1, :], products[..., 1:, :], products[..., -1:, :]
        whole = [(x.view(*lead, C, -1, K), d.reshape(*lead, C, -1, K)) for x, d in zip(made, grads, strict=True)]
        logs = products.new_zeros(products.shape)  # gradients of the logarithms of products
        logs[..., -1, :] += (dlast * products[..., -1, :].reshape(-1, K)).view(*lead, K)
        for x, d in whole[_GROUPS:]:
            logs[..., -1, :] += (x * d).sum((-3, -2))
        later = logs[..., :-1, :], logs[..., :-1, :], *(logs[..., 1:, :],) * 3
        found: list[Tensor | None] = []
        for n, (group, by) in enumerate(zip(layout.grouped(vectors), (before, before, behind, behind, behind), strict=True)):
            x, d = whole[n]
            is_left = n >= _LEFTS
            if is_left:
                d = torch.addcmul(d, whole[n + 2][1], last.unsqueeze(-2))
            for k, v in enumerate(group):
                if v is None:
                    found.append(None)
                    continue
                later[n].addcmul_(x[..., k, :], d[..., k, :], value=-1 if is_left else 1)
                to = v.new_empty((v.shape[0], lead[-1] * C, *v.shape[2:]))
                (torch.div if is_left else torch.mul)(d[..., k, :], by, out=layout.chunks(to))
                found.append(to[:, : v.shape[1]])
        logs[..., 0, :] = 0  # the product of none is a constant
        sums = logs.cumsum(-2)
        da = decay.new_empty((decay.shape[0], lead[-1] * C, *decay.shape[2:]))
        torch.div(sums[..., -1:, :] - sums[..., :-1, :], a, out=layout.chunks(da))
        return None, da[:, : decay.shape[1]], *found


def _plain(layout: Layout, decay: Tensor, *vectors: Tensor | None) -> tuple[Tensor, ...]:
    """What `Quotients` gives, as operations that autograd differentiates."""
    a = layout.chunks(decay, 1.0)
    behind = a.cumprod(-2)
    before = torch.cat([torch.ones_like(behind[..., :1, :]), behind[..., :-1, :]], -2)
    nothing, found = torch.zeros_like(a), []
    for group, by in zip(layout.grouped(vectors), (before, before, behind, behind.reciprocal(), behind.reciprocal()), strict=True):
        each = [nothing if x is None else layout.chunks(x) * by for x in group]
        found.append(torch.stack(each, -2) if each else a.new_empty((*a.shape[:-1], 0, a.shape[-1])))
    found += [x * behind[..., -1:, None, :] for x in found[_LEFTS:]]
    return behind[..., -1, :].reshape(-1, a.shape[-1]), *(x.flatten(0, -4) for x in found)
