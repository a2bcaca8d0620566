"""The CPU backend: recurrences as torch ops that call generated C++ kernels.

Two ops serve every cell: `rnndsl::recurrence` and `rnndsl::recurrence_backward`. What they run is named by a key, which stands for the
kernels of one cell at given sizes, hyperparameters and dtype. Everything else that a call depends on is an argument of the op.
"""

import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import buffers, build, call
from rnndsl.runtime.complex_parts import joined, parts
from rnndsl.runtime.cpu_step import step
from rnndsl.runtime.kernels import Kernels
from rnndsl.runtime.layer import KERNELS, Layer
from rnndsl.runtime.loaded import Loaded, key_of
from rnndsl.runtime.loaded import loaded as loaded_of

__all__ = ["chosen", "run", "step", "unavailable"]

_warned: set[type] = set()


def unavailable(kernels: Kernels) -> str | None:
    """Why the CPU backend cannot run a cell on this machine; None where it can."""
    if kernels.refused:
        return "; ".join(f"{label}: {reason}" for label, reason in kernels.refused.items())
    if build.compiler() is None:
        return str(build.NoCompiler())
    return None


@torch.compiler.assume_constant_result
def chosen(cls: Any) -> bool:
    """Whether the backend `auto` takes the kernels of a cell on a CPU; where it cannot, it says so once.

    Raises ValueError where the environment variable RNNDSL_BACKEND is neither `auto` nor `reference`.
    """
    wish = os.environ.get("RNNDSL_BACKEND", "auto")
    if wish not in ("auto", "reference"):
        raise ValueError(f"RNNDSL_BACKEND: expected auto or reference, got {wish!r}")
    if wish == "reference" or _transformed():
        return False
    why = unavailable(cls._kernels)
    if why is not None and cls not in _warned:
        _warned.add(cls)
        warnings.warn(f"{cls.__name__} runs step by step in PyTorch, since {why}", stacklevel=5)
    return why is None


def _transformed() -> bool:
    """Whether a transformation that has no rule for an op of ours is at work: vmap, grad of torch.func, forward-mode derivatives."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def run(
    layer: Layer,
    name: str,
    streams: Sequence[Tensor],
    statics: Sequence[Tensor],
    first: Sequence[Tensor],
    initial: Sequence[Tensor],
    reset: Tensor | None,
    steps: int,
    dtype: torch.dtype,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What `Layer._scan` does, by kernels."""
    key, kernel = key_of(layer, name, dtype), layer._kernels.kernels[name]
    groups = ((streams, kernel.streams), (statics, kernel.statics), (first, kernel.carries), (initial, kernel.carries))
    arguments = [[p if p.dtype == dtype else p.to(dtype) for p in parts(values, forms)] for values, forms in groups]
    found = OP(key, *arguments, reset, steps)
    return joined(found[: kernel.kept], kernel.states), joined(found[kernel.kept :], kernel.carries)


# The ops

torch.library.define(
    "rnndsl::recurrence", "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps) -> Tensor[]"
)
torch.library.define(
    "rnndsl::recurrence_backward",
    "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps, Tensor[] sequences, Tensor?[] grads, "
    "bool[] wanted) -> Tensor[]",
)


def _given(
    streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor]
) -> tuple[list[Tensor], list[int]]:
    """What both directions read: tensors as a kernel can read them, to be kept until the call is done, and where they lie."""
    groups = ((streams, 2), (statics, 0), (first, 1), (initial, 0))
    kept = [[call.rows(t, lead) for t in tensors] for tensors, lead in groups]
    arrays = [v for tensors, (_, lead) in zip(kept, groups, strict=True) for v in call.strided(tensors, lead)]
    return list(itertools.chain.from_iterable(kept)), arrays


@torch.library.impl("rnndsl::recurrence", "CPU")
def _forward(
    key: str, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int
) -> list[Tensor]:
    loaded = loaded_of(key)
    batch, work = call.values_of(first, loaded.kernel.lags)
    _kept, arrays = _given(streams, statics, first, initial)
    sequences = [buffers.empty((batch, steps, *f.shape[1:]), f.dtype) for f, lag in zip(first, loaded.kernel.lags, strict=True) if lag == 1]
    finals = [torch.empty_like(f, memory_format=torch.contiguous_format) for f in first]
    arrays += [*call.strided(sequences, 2), *call.strided(finals, 1)]
    call.call(loaded.forward, loaded.hypers, batch, steps, work * steps, arrays, reset)
    return [*sequences, *finals]


@torch.library.impl("rnndsl::recurrence_backward", "CPU")
def _backward(
    key: str,
    streams: list[Tensor],
    statics: list[Tensor],
    first: list[Tensor],
    initial: list[Tensor],
    reset: Tensor | None,
    steps: int,
    sequences: list[Tensor],
    grads: list[Tensor | None],
    wanted: list[bool],
) -> list[Tensor]:
    loaded = loaded_of(key)
    batch, work = call.values_of(first, loaded.kernel.lags)
    kept, arrays = _given(streams, statics, first, initial)
    arrays += call.strided(sequences, 2)

    def add(gradient: Tensor | None, like: Tensor, lead: int) -> None:
        """A gradient; zeros that every row and step reads, where none came."""
        kept.append(call.rows(gradient, lead) if gradient is not None else like.new_zeros(like.shape[lead:]))
        arrays.extend(call.strided(kept[-1:], lead if gradient is not None else 0))

    for gradient, sequence in zip(grads, sequences, strict=False):
        add(gradient, sequence, 2)
    for gradient, begin in zip(grads[len(sequences) :], first, strict=True):
        add(gradient, begin, 1)
    stream_grads = [buffers.empty(s.shape, s.dtype) for s in streams]
    for i in loaded.kernel.partial:
        stream_grads[i].zero_()
    static_grads = [s.new_zeros(s.shape) for s in statics]
    first_grads = [f.new_empty(f.shape) for f in first]
    initial_grads = [i.new_zeros(i.shape) for i in initial]
    factors = [
        [buffers.empty((batch, steps, o.rounds, o.further * o.common * size), first[0].dtype) for size in (o.left, o.right)] for o in loaded.outers
    ]
    arrays += [*call.strided(stream_grads, 2), *call.strided(static_grads, 0)]
    arrays += [*call.strided(first_grads, 1), *call.strided(initial_grads, 0)]
    arrays += call.strided(list(itertools.chain.from_iterable(factors)), 2)
    call.call(loaded.backward, loaded.hypers, batch, steps, work * steps, arrays, reset)
    for o, (left, right) in zip(loaded.outers, factors, strict=True):
        if wanted[len(streams) + o.index]:
            o.add(static_grads[o.index], left, right)
    return [*stream_grads, *static_grads, *first_grads, *initial_grads]


@torch.library.register_fake("rnndsl::recurrence")
def _forward_fake(key, streams, statics, first, initial, reset, steps):
    loaded = loaded_of(key)
    sequences = [f.new_empty((f.shape[0], steps, *f.shape[1:])) for f, lag in zip(first, loaded.kernel.lags, strict=True) if lag == 1]
    return [*sequences, *(f.new_empty(f.shape) for f in first)]


@torch.library.register_fake("rnndsl::recurrence_backward")
def _backward_fake(key, streams, statics, first, initial, reset, steps, sequences, grads, wanted):
    return [t.new_empty(t.shape) for t in (*streams, *statics, *first, *initial)]


class _Recurrence(torch.autograd.Function):
    """The op with its gradients. Arguments after `steps`: streams, statics, first and initial values, one behind the other."""

    @staticmethod
    def forward(ctx: Any, key: str, counts: tuple[int, ...], reset: Tensor | None, steps: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            found = OP(key, *_grouped(tensors, counts), reset, steps)
        ctx.key, ctx.counts, ctx.reset, ctx.steps = key, counts, reset, steps
        ctx.save_for_backward(*tensors, *found[: loaded_of(key).kernel.kept])
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        saved = ctx.saved_tensors
        count = sum(ctx.counts)
        inputs, sequences = saved[:count], saved[count:]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*grads, *inputs)):
            return None, None, None, None, *_gradients_again(loaded_of(ctx.key), _grouped(inputs, ctx.counts), ctx.reset, ctx.steps, grads)
        wanted = ctx.needs_input_grad[4:]
        found = BACK(ctx.key, *_grouped(inputs, ctx.counts), ctx.reset, ctx.steps, sequences, grads, wanted)
        return None, None, None, None, *(g if w else None for g, w in zip(found, wanted, strict=True))


def _grouped(values: Sequence[Any], counts: Sequence[int]) -> list[list[Any]]:
    """Values that stand one behind the other, in groups of given sizes."""
    left = iter(values)
    return [list(itertools.islice(left, n)) for n in counts]


@torch.library.impl("rnndsl::recurrence", "Autograd")
def _with_gradients(
    key: str, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int
) -> list[Tensor]:
    tensors = (*streams, *statics, *first, *initial)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        counts = (len(streams), len(statics), len(first), len(initial))
        return list(_Recurrence.apply(key, counts, reset, steps, *tensors))
    with torch._C._AutoDispatchBelowAutograd():
        return OP(key, streams, statics, first, initial, reset, steps)


def _gradients_again(loaded: Loaded, groups: list[list[Tensor]], reset: Tensor | None, steps: int, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Gradients that can themselves be differentiated: those of the recurrence in plain PyTorch."""
    flat = [t for g in groups for t in g]
    with torch.enable_grad():
        inputs = [t if t.requires_grad else t.detach().requires_grad_() for t in flat]
        sequences, finals = loaded.reference(*_grouped(inputs, [len(g) for g in groups]), reset, steps)
        pairs = [(o, g) for o, g in zip((*sequences, *finals), grads, strict=True) if g is not None and o.requires_grad]
        return torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph=True, allow_unused=True)


OP = torch.ops.rnndsl.recurrence.default
BACK = torch.ops.rnndsl.recurrence_backward.default
KERNELS["cpu"] = sys.modules[__name__]
