"""The CPU backend: recurrences by generated C++ kernels."""

import itertools
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import build, call, recurrence
from rnndsl.runtime.choice import KERNELS
from rnndsl.runtime.cpu_step import step
from rnndsl.runtime.kernels import Kernels
from rnndsl.runtime.key import Key
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.loaded import Loaded, load
from rnndsl.runtime.reference import reference_of

__all__ = ["chosen", "run", "step", "unavailable"]

_warned: set[type] = set()


def unavailable(kernels: Kernels) -> str | None:
    """Why the CPU backend cannot run a cell on this machine; None where it can."""
    if kernels.refused:
        return "; ".join(f"{label}: {reason}" for label, reason in kernels.refused.items())
    if build.compiler() is None:
        return str(build.NoCompiler())
    return None


def misplaced(device: torch.device) -> str | None:
    """Why kernels cannot run on a device; None where they can."""
    return None if device.type == "cpu" else f"'cpu' runs on a CPU, but the inputs are on {device}"


@torch.compiler.assume_constant_result
def chosen(cls: Any, name: str) -> bool:
    """Whether the backend `auto` takes the kernels of a cell on a CPU; where it cannot, it says so once."""
    why = unavailable(cls._kernels)
    if why is not None and cls not in _warned:
        _warned.add(cls)
        warnings.warn(f"{cls.__name__} runs step by step in PyTorch, since {why}", stacklevel=5)
    return why is None


def run(
    layer: Layer, name: str, streams: Sequence[Tensor], statics: Sequence[Tensor], first: Sequence[Tensor], initial: Sequence[Tensor],
    reset: Tensor | None, steps: int, dtype: torch.dtype, further: object = None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:  # fmt: skip
    """What `Layer._scan` does, by kernels, but for what follows the recurrence."""
    return recurrence.run(_key(layer, name, dtype), streams, statics, first, initial, reset, steps)


@torch.compiler.assume_constant_result
def _key(layer: Layer, name: str, dtype: torch.dtype) -> str:
    """The key of a layer's recurrence; builds its kernels where they are not built yet. A compiled layer asks for it once.

    Raises what `build.load` does.
    """
    key = Key.text_of("cpu", layer, layer._kernels, name, dtype)
    recurrence.known(key)
    return key


def _made(key: Key) -> "Compiled":
    """The kernels that a key names. Raises what `build.load` does."""
    kernel = key.cls._kernels.kernels[key.name]
    forms = (kernel.streams, kernel.statics, kernel.carries)
    reference = reference_of(key.cls, key.name, forms, kernel.lags, key.sizes, key.hypers, key.dtype)
    return Compiled(load(key.cls, key.name, key.sizes, key.hypers, key.dtype), forms, kernel.lags, key.dtype, reference)


def _given(
    streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], dtype: torch.dtype
) -> tuple[list[Tensor], list[int]]:
    """What both directions read: tensors as a kernel can read them, to be kept until the call is done, and where they lie."""
    groups = ((streams, 2), (statics, 0), (first, 1), (initial, 0))
    kept = [[call.rows(t, lead) for t in tensors] for tensors, lead in groups]
    arrays = [v for tensors, (_, lead) in zip(kept, groups, strict=True) for v in call.strided(tensors, lead, dtype)]
    return list(itertools.chain.from_iterable(kept)), arrays


@dataclass(frozen=True)
class Compiled:
    """A recurrence in C++; see `recurrence.Runnable`."""

    loaded: Loaded
    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    lags: tuple[int, ...]
    dtype: torch.dtype
    reference: Any
    follows: tuple[int, ...] = ()

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.dtype else t.to(self.dtype)

    def forward(
        self, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int
    ) -> list[Tensor]:
        loaded = self.loaded
        batch, work = call.values_of(first, loaded.kernel.lags)
        _kept, arrays = _given(streams, statics, first, initial, self.dtype)
        sequences = [f.new_empty((batch, steps, *f.shape[1:])) for f, lag in zip(first, loaded.kernel.lags, strict=True) if lag == 1]
        finals = [torch.empty_like(f, memory_format=torch.contiguous_format) for f in first]
        arrays += [*call.strided(sequences, 2, self.dtype), *call.strided(finals, 1, self.dtype)]
        call.call(loaded.forward, loaded.hypers, batch, steps, work * steps, arrays, reset)
        return [*sequences, *finals]

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
        loaded = self.loaded
        batch, work = call.values_of(first, loaded.kernel.lags)
        kept, arrays = _given(streams, statics, first, initial, self.dtype)
        kept += [call.rows(s, 2) for s in sequences]
        arrays += call.strided(kept[-len(sequences) :], 2, self.dtype)

        def add(gradient: Tensor | None, like: Tensor, lead: int) -> None:
            """A gradient; zeros that every row and step reads, where none came."""
            kept.append(call.rows(gradient, lead) if gradient is not None else like.new_zeros(like.shape[lead:]))
            arrays.extend(call.strided(kept[-1:], lead if gradient is not None else 0, self.dtype))

        for gradient, sequence in zip(grads, sequences, strict=False):
            add(gradient, sequence, 2)
        for gradient, begin in zip(grads[len(sequences) :], first, strict=True):
            add(gradient, begin, 1)
        stream_grads = [s.new_empty(s.shape) for s in streams]
        for i in loaded.kernel.partial:
            stream_grads[i].zero_()
        static_grads = [s.new_zeros(s.shape) for s in statics]
        first_grads = [f.new_empty(f.shape) for f in first]
        initial_grads = [i.new_zeros(i.shape) for i in initial]
        factors = [
            [first[0].new_empty((batch, steps, o.rounds, o.further * o.common * size)) for size in (o.left, o.right)] for o in loaded.outers
        ]
        arrays += [*call.strided(stream_grads, 2, self.dtype), *call.strided(static_grads, 0, self.dtype)]
        arrays += [*call.strided(first_grads, 1, self.dtype), *call.strided(initial_grads, 0, self.dtype)]
        arrays += call.strided(list(itertools.chain.from_iterable(factors)), 2, self.dtype)
        call.call(loaded.backward, loaded.hypers, batch, steps, work * steps, arrays, reset)
        for o, (left, right) in zip(loaded.outers, factors, strict=True):
            if wanted[len(streams) + o.index]:
                o.add(static_grads[o.index], left, right)
        return [*stream_grads, *static_grads, *first_grads, *initial_grads]


recurrence.MAKERS["cpu"] = _made
KERNELS["cpu"] = sys.modules[__name__]
