"""What keeps recurrent layers in bounds: params after an optimiser's step, gradients on their way back through time."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten


@torch.no_grad()
def clip_params_(module: nn.Module, bounds: Mapping[str, float | tuple[float, float]]) -> None:
    """Clips params in place, to be called after an optimiser's step.

    bounds: by a name or a pattern of names such as `a_*`, the last part of a param's name, what its values may be: from -bound to bound, or from
    the first to the second of a pair. Raises ValueError for a pattern that no param has, or for bounds that are none.
    """
    params = [(name.rpartition(".")[2], p) for name, p in module.named_parameters()]
    for pattern, bound in bounds.items():
        low, high = bound if isinstance(bound, tuple) else (-bound, bound)
        if not low <= high:
            raise ValueError(f"bounds: {pattern}: expected a number that is not negative, or a pair of which the first is not the larger, got {bound!r}")
        found = [p for name, p in params if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(f"bounds: no param is called {pattern!r}; there are {', '.join(dict.fromkeys(n for n, _ in params)) or 'none'}")
        for p in found:
            if p.is_complex():
                raise ValueError(f"bounds: {pattern}: complex values have no order")
            p.clamp_(low, high)


def clip_gradient(state: Any, *, norm: float | None = None, value: float | None = None) -> Any:
    """The same state, whose gradient is clipped where it comes back: a border that bounds what goes from later steps to earlier ones.

    state: a tensor, or tuples of them in any depth, as layers and stacks return them; the first axis of each is the batch. norm: the largest that
    the gradient of one sequence may have in one tensor; or value: the largest of an entry. A NaN is not hidden. Raises TypeError where not one of
    them is given, ValueError for one that is not positive.
    """
    if (norm is None) == (value is None):
        raise TypeError("clip_gradient: expected norm= or value=")
    limit = norm if norm is not None else value
    assert limit is not None
    if not limit > 0:
        raise ValueError(f"{'norm' if norm is not None else 'value'}: expected a positive number, got {limit!r}")
    leaves, spec = tree_flatten(state)
    return tree_unflatten([_Border.apply(x, float(limit), norm is not None) if _is_clipped(x) else x for x in leaves], spec)


def _is_clipped(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


class _Border(torch.autograd.Function):
    """The identity, with a clipped gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, limit: float, by_norm: bool) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, ctx.limit, ctx.by_norm = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        size = torch.linalg.vector_norm(grad, dim=tuple(range(1, grad.dim())), keepdim=True) if ctx.by_norm and grad.dim() > 1 else grad.abs()
        return grad * (ctx.limit / size.clamp(min=ctx.limit)), None, None
