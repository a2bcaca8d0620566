"""Recurrences as torch ops, whatever runs them.

Two ops serve every cell and backend: `rnndsl::recurrence` and `rnndsl::recurrence_backward`. What they run is named by a key, which stands
for the kernels of one cell at given sizes, hyperparameters and dtype. Everything else that a call depends on is an argument of the op.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rnndsl.runtime.backend import BACKENDS, Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.complex_parts import joined, parts
from rnndsl.runtime.key import Key
from rnndsl.runtime.lags import kept, kept_forms
from rnndsl.runtime.rules import Gradient, Recurrence, Site, over_grads


class Runnable(Protocol):
    """Kernels of a recurrence, ready to be called. Streams are [B, T, ...], first values [B, ...], statics and initial values [...]; all real.

    forms: how many real arrays each stream, static and carried value is; lags: of each carried array, those of lag 1 first; follows: how many
    real arrays each value is that is made of the states of each step.
    """

    @property
    def forms(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]: ...

    @property
    def lags(self) -> tuple[int, ...]: ...

    @property
    def follows(self) -> tuple[int, ...]: ...

    @property
    def reference(self) -> Callable[[Call], tuple[tuple[Tensor, ...], ...]]:
        """What `forward` does in plain PyTorch, differentiable any number of times."""
        ...

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        """An argument in a dtype that the kernels take."""
        ...

    def forward(self, call: Call) -> list[Tensor]:
        """The sequences [B, T, ...] of the states, what is carried on, [B, ...], and what follows, [B, T, ...]."""
        ...

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        """The gradients of streams, statics, first and initial values, from those of what `forward` returned."""
        ...


class _Known:
    """Kernels, as attributes. torch.compile looks at a dict once a graph, and would miss what was made on its way, for the second recurrence of a cell."""


_KNOWN = _Known()
_making = threading.RLock()


def known(key: str) -> Runnable:
    """The kernels that a key names, made from what it says where they are not made yet. Raises RuntimeError where the cell that it names is not
    there, and what the backend raises."""
    name = key.replace(".", "/")  # in which torch.compile takes no dot
    found: Runnable | None = getattr(_KNOWN, name, None)
    if found is None:
        with _making:
            found = getattr(_KNOWN, name, None)
            if found is None:
                named = Key.of(key)
                found = BACKENDS[named.backend].made(named)
                setattr(_KNOWN, name, found)
    return found


def with_further(call: Call, follows: Sequence[int]) -> Call:
    """The call of a kernel: where it computes what follows the recurrence, it reads what that reads. follows: as `Runnable` has it."""
    if call.further is None or not follows:
        return call
    streams, statics = call.further
    return Call(  # not by `_replace`, which PyTorch 2.6 cannot trace
        (*call.streams, *streams), (*call.statics, *statics), call.first, call.initial, call.reset, call.steps, call.guess, call.all_states, call.further
    )


def run(key: str, call: Call) -> Results:
    """What `Backend.run` does, by the kernels that a key names."""
    kernels = known(key)
    call = with_further(call, kernels.follows)
    of_streams, of_statics, of_carries = kernels.forms
    groups = ((call.statics, of_statics), (call.first, of_carries), (call.initial, of_carries))
    rest = [[kernels.cast(p, False) for p in parts(values, forms)] for values, forms in groups]
    arguments = key, [kernels.cast(p, True) for p in parts(call.streams, of_streams)], *rest, call.reset, call.steps
    of_states = kept_forms(of_carries, kernels.lags)
    guess = _guess(call, of_states)
    found = OP(*arguments, guess) if guess else OP(*arguments)
    count, after = kept(kernels.lags), kept(kernels.lags) + len(kernels.lags)
    return joined(found[:count], of_states), joined(found[count:after], of_carries), joined(found[after : after + sum(kernels.follows)], kernels.follows)


def _guess(call: Call, forms: Sequence[int]) -> tuple[Tensor, ...]:
    """The guess of a call as real arrays, NaN where it says nothing of a state; nothing where it says nothing at all."""
    if all(g is None for g in call.guess):
        return ()

    def nothing(f: Tensor) -> Tensor:
        return f.new_full((), float("nan")).expand(f.shape[0], call.steps, *f.shape[1:])

    return parts([nothing(f) if g is None else g for g, f in zip(call.guess, call.first, strict=False)], forms)


# The ops

torch.library.define(
    "rnndsl::recurrence",
    "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps, "
    "Tensor[]? guess=None, bool saving=False) -> Tensor[]",
)
torch.library.define(
    "rnndsl::recurrence_backward",
    "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps, Tensor[] sequences, Tensor?[] grads, "
    "bool[] wanted) -> Tensor[]",
)


def _call(streams: Any, statics: Any, first: Any, initial: Any, reset: Any, steps: int, guess: Any = None) -> Call:
    return Call(streams, statics, first, initial, reset, steps, guess or ())


@torch.library.impl("rnndsl::recurrence", ("CPU", "CUDA"))
def _forward(key: str, streams: Any, statics: Any, first: Any, initial: Any, reset: Any, steps: int, guess: Any = None, saving: bool = False) -> list[Tensor]:
    lead = (first[0].shape[0], steps)
    for t, axes in (*((t, lead) for t in (*streams, reset, *(guess or ()))), *((f, lead[:1]) for f in first)):
        if t is not None and t.shape[: len(axes)] != axes:  # kernels would read beyond its end
            hint = "torch.jit.trace keeps the number of steps of its example, torch.export.export takes any"
            raise RuntimeError(f"a recurrence over [B={lead[0]}, T={steps}] was given a sequence {list(t.shape)}; {hint}")
    call = _call(streams, statics, first, initial, reset, steps, guess)
    forwards: Any = known(key).forward
    return forwards(call, saving=True) if saving else forwards(call)


@torch.library.impl("rnndsl::recurrence_backward", ("CPU", "CUDA"))
def _backward(key: str, *arguments: Any) -> list[Tensor]:
    *given, sequences, grads, wanted = arguments
    return list(itertools.compress(known(key).backward(Call(*given), sequences, grads, wanted), wanted))


@torch.library.register_fake("rnndsl::recurrence")
def _forward_fake(key, streams, statics, first, initial, reset, steps, guess=None, saving=False):
    kernels, begin = known(key), first[0]
    saved = kernels.empty_saved(first, steps) if saving else []
    if hasattr(kernels, "empty"):
        return [*kernels.empty(first, steps), *saved]
    sequences = [f.new_empty((f.shape[0], steps, *f.shape[1:])) for f in first[: kept(kernels.lags)]]
    follows = [begin.new_empty((begin.shape[0], steps, *begin.shape[1:])) for _ in range(sum(kernels.follows))]
    return [*sequences, *(f.new_empty(f.shape) for f in first), *follows, *saved]


@torch.library.register_fake("rnndsl::recurrence_backward")
def _backward_fake(key, streams, statics, first, initial, reset, steps, sequences, grads, wanted):
    return [t.new_empty(t.shape) for t in itertools.compress((*streams, *statics, *first, *initial), wanted)]


def _site(key: str, groups: Sequence[Sequence[Tensor]], steps: int) -> Site:
    return Site(key, known(key), tuple(len(g) for g in groups), steps)


def _differentiated(tensors: Iterable[Tensor | None]) -> bool:
    """Whether derivatives may be asked for, backwards or forwards."""
    return forward_ad._current_level >= 0 or (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors))


def _of_forward(
    key: str, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int,
    guess: list[Tensor] | None = None, saving: bool = False,
) -> tuple:  # fmt: skip
    """Arguments of the op as its rules take them, which save whatever there is to save."""
    groups = (streams, statics, first, initial)
    return _site(key, groups, steps), reset, *itertools.chain(*groups, guess or ())


def _of_backward(key: str, *arguments: Any) -> tuple:
    """Arguments of the op of gradients as its rules take them."""
    *given, sequences, grads, wanted = arguments
    site, *tensors = _of_forward(key, *given)
    return site, tuple(wanted), *tensors, *sequences, *grads


def _apply(function: type[torch.autograd.Function], arguments: tuple) -> tuple[Tensor, ...]:
    """What `function.apply` does where no transformation of torch.func is at work, without its look at the function's signature each time."""
    return super(torch.autograd.Function, function).apply(*arguments)  # type: ignore[misc]


def _by_rule(rule: Callable[..., Sequence[Tensor]], key: str, *arguments: Any) -> list[Tensor]:
    """What a rule gives for a call of the op: what is saved only where the call says `saving`, as those in graphs of autograd do. A graph is run with
    derivatives and without, and knows how many results there are."""
    given = _of_forward(key, *arguments)
    found = rule(*given)
    return list(found if True in arguments[7:] else given[0].results(found))


@torch.library.impl("rnndsl::recurrence", "Autograd")
def _forward_with_derivatives(key: str, *arguments: Any) -> list[Tensor]:
    if _differentiated(itertools.chain(*arguments[:4])):
        return _by_rule(lambda *given: _apply(Recurrence, given), key, *arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return OP(key, *arguments)


@torch.library.impl("rnndsl::recurrence_backward", "Autograd")
def _backward_with_derivatives(key: str, *arguments: Any) -> list[Tensor]:
    given = _of_backward(key, *arguments)
    if _differentiated(given[2:]):
        return list(_apply(Gradient, given))
    with torch._C._AutoDispatchBelowAutograd():
        return BACK(key, *arguments)


# Here an op comes into the transformations of torch.func, before any of them has seen it.
torch.library.impl("rnndsl::recurrence", "FuncTorchDynamicLayerFrontMode")(lambda *a: _by_rule(Recurrence.apply, *a))
torch.library.impl("rnndsl::recurrence_backward", "FuncTorchDynamicLayerFrontMode")(lambda *a: list(Gradient.apply(*_of_backward(*a))))
# And here into the older vmap.
torch.library.impl("rnndsl::recurrence", "Batched")(lambda *a: _by_rule(partial(over_grads, Recurrence.vmap), *a))
torch.library.impl("rnndsl::recurrence_backward", "Batched")(lambda *a: over_grads(Gradient.vmap, *_of_backward(*a)))

OP = torch.ops.rnndsl.recurrence.default
BACK = torch.ops.rnndsl.recurrence_backward.default
