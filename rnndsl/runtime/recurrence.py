"""Recurrences as torch ops, whatever runs them.

Two ops serve every cell and backend: `rnndsl::recurrence` and `rnndsl::recurrence_backward`. What they run is named by a key, which stands
for the kernels of one cell at given sizes, hyperparameters and dtype. Everything else that a call depends on is an argument of the op.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import joined, parts

Groups = Sequence[Sequence[Tensor]]


class Runnable(Protocol):
    """Kernels of a recurrence, ready to be called. Streams are [B, T, ...], first values [B, ...], statics and initial values [...]; all real.

    forms: how many real arrays each stream, static and carried value is; lags: of each carried array, those of lag 1 first.
    """

    @property
    def forms(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]: ...

    @property
    def lags(self) -> tuple[int, ...]: ...

    @property
    def reference(self) -> Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """The same in plain PyTorch, differentiable any number of times: a function of the arguments of `forward`."""
        ...

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        """An argument in a dtype that the kernels take."""
        ...

    def forward(
        self, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int
    ) -> list[Tensor]:
        """The sequences [B, T, ...] of the states, and what is carried on, [B, ...]."""
        ...

    def backward(
        self,
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
        """The gradients of streams, statics, first and initial values, from those of what `forward` returned."""
        ...


_known: dict[str, Runnable] = {}
_making = threading.RLock()


def known(key: str) -> Runnable:
    """The kernels that a key names."""
    return _known[key]


def remember(key: str, make: Callable[[], Runnable]) -> str:
    """Makes what a key names, where it is not made yet; returns the key. Raises what `make` does."""
    if key not in _known:
        with _making:
            if key not in _known:
                _known[key] = make()
    return key


def kept(lags: Sequence[int]) -> int:
    """How many real arrays are states of the step before, and so have a sequence."""
    return list(lags).count(1)


def kept_forms(carries: Sequence[int], lags: Sequence[int]) -> tuple[int, ...]:
    """The carried values that are states of the step before."""
    count, n = 0, 0
    while count < kept(lags):
        count += carries[n]
        n += 1
    return tuple(carries[:n])


def run(
    key: str, streams: Sequence[Tensor], statics: Sequence[Tensor], first: Sequence[Tensor], initial: Sequence[Tensor], reset: Tensor | None, steps: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What `Layer._scan` does, by the kernels that a key names."""
    kernels = _known[key]
    of_streams, of_statics, of_carries = kernels.forms
    groups = ((streams, of_streams, True), (statics, of_statics, False), (first, of_carries, False), (initial, of_carries, False))
    arguments = [[kernels.cast(p, is_stream) for p in parts(values, forms)] for values, forms, is_stream in groups]
    found = OP(key, *arguments, reset, steps)
    count = kept(kernels.lags)
    return joined(found[:count], kept_forms(of_carries, kernels.lags)), joined(found[count:], of_carries)


# The ops

torch.library.define(
    "rnndsl::recurrence", "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps) -> Tensor[]"
)
torch.library.define(
    "rnndsl::recurrence_backward",
    "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps, Tensor[] sequences, Tensor?[] grads, "
    "bool[] wanted) -> Tensor[]",
)


@torch.library.impl("rnndsl::recurrence", ("CPU", "CUDA"))
def _forward(key: str, *arguments: Any) -> list[Tensor]:
    return _known[key].forward(*arguments)


@torch.library.impl("rnndsl::recurrence_backward", ("CPU", "CUDA"))
def _backward(key: str, *arguments: Any) -> list[Tensor]:
    return _known[key].backward(*arguments)


@torch.library.register_fake("rnndsl::recurrence")
def _forward_fake(key, streams, statics, first, initial, reset, steps):
    sequences = [f.new_empty((f.shape[0], steps, *f.shape[1:])) for f, lag in zip(first, _known[key].lags, strict=True) if lag == 1]
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
        ctx.save_for_backward(*tensors, *found[: kept(_known[key].lags)])
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        saved = ctx.saved_tensors
        count = sum(ctx.counts)
        inputs, sequences = saved[:count], saved[count:]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*grads, *inputs)):
            return None, None, None, None, *_gradients_again(_known[ctx.key], _grouped(inputs, ctx.counts), ctx.reset, ctx.steps, grads)
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


def _gradients_again(kernels: Runnable, groups: list[list[Tensor]], reset: Tensor | None, steps: int, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Gradients that can themselves be differentiated: those of the recurrence in plain PyTorch."""
    flat = [t for g in groups for t in g]
    with torch.enable_grad():
        inputs = [t if t.requires_grad else t.detach().requires_grad_() for t in flat]
        sequences, finals = kernels.reference(*_grouped(inputs, [len(g) for g in groups]), reset, steps)
        pairs = [(o, g) for o, g in zip((*sequences, *finals), grads, strict=True) if g is not None and o.requires_grad]
        return torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph=True, allow_unused=True)


OP = torch.ops.rnndsl.recurrence.default
BACK = torch.ops.rnndsl.recurrence_backward.default
