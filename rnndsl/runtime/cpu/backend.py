"""The CPU backend: recurrences by generated C++ kernels."""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import build, recurrence
from rnndsl.runtime.backend import Backend, Plan, Results, Stepped
from rnndsl.runtime.call import Call
from rnndsl.runtime.choice import say_once
from rnndsl.runtime.cpu.invoke import SMALL, invoke, strided, values_of
from rnndsl.runtime.cpu.kernels import Kernel, Kernels, Rows
from rnndsl.runtime.cpu.loaded import Loaded, load
from rnndsl.runtime.cpu.products import multiplied
from rnndsl.runtime.cpu.rounds import rounds_in_cpp
from rnndsl.runtime.cpu.step import step
from rnndsl.runtime.dtypes import HALF, cast_to, widened
from rnndsl.runtime.kernels import Step, reasons_text
from rnndsl.runtime.key import Key, Made, made_of
from rnndsl.runtime.lags import kept
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.memory import rows
from rnndsl.runtime.pages import new_empty
from rnndsl.runtime.plain import reference_of
from rnndsl.runtime.torch.newton import Carries
from rnndsl.runtime.torch.solver import Solver, keep_report
from rnndsl.runtime.traced import constant_in_graphs
from rnndsl.tiles import NEWTON, SEQUENTIAL

_SEGMENTS = "segments"  # what is wished for where the states of some steps are enough
_warned: set[type] = set()


class Cpu(Backend):
    """Generated C++ kernels, built with the compiler at hand."""

    name = "cpu"
    devices = ("cpu",)
    schedules = (SEQUENTIAL, NEWTON)
    has_step = True
    threaded_from = SMALL

    def carried(
        self, kernels: dict[str, dict] | None = None, step: dict | None = None, rounds: dict[str, dict] | None = None, **said: Any
    ) -> Kernels:
        own = {n: Kernel(**k) for n, k in (kernels or {}).items()}
        return Kernels(kernels=own, step=Step(**step) if step else None, rounds={n: Rows(**k) for n, k in (rounds or {}).items()}, **said)

    def refusal(self, cls: Any) -> str | None:
        kernels: Kernels | None = cls._kernels.get(self.name)
        if kernels is None:
            return "its module has no kernels in C++"
        if kernels.refused:
            return reasons_text(kernels.refused)
        return str(build.NoCompiler()) if build.compiler() is None else None

    def misplaced(self, device: torch.device) -> str | None:
        return None if device.type == "cpu" else f"'cpu' runs on a CPU, but the inputs are on {device}"

    def chosen(self, cls: Any, name: str) -> bool:
        return _chosen(cls)

    def taken(self, layer: Layer, name: str, device: torch.device, shape: tuple[int, int]) -> bool:
        """Not for rounds that it lacks."""
        if not super().taken(layer, name, device, shape):
            return False
        return layer.schedule != NEWTON or name in type(layer)._kernels[self.name].rounds

    def run(self, layer: Layer, name: str, call: Call, kind: dict[str, Any]) -> Results:
        key = _key(made_of(layer), name, kind["dtype"], _schedule(layer, name), call.all_states)
        found = recurrence.run(key, call)
        keep_report(self, layer, name, key)
        return found

    def plan_for(self, layer: Layer, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        schedule = _schedule(layer, name)
        return Plan(name, self.name, schedule, "kernels in C++" if schedule == SEQUENTIAL else "rounds over all steps at once, in C++")

    def step(
        self, layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
    ) -> Stepped | None:
        return step(layer, inputs, values, state, dtype)

    def made(self, key: Key) -> "Compiled | Solver":
        """Raises what `build.load` does."""
        kernel = key.kernels.kernels[key.name]
        forms = (kernel.streams, kernel.statics, kernel.carries)
        if key.wish == NEWTON:  # what follows is then computed of the states
            carries = Carries(key.kernels.rounds[key.name].nearer)
            stepwise = key.on(self.name)
            own = kernel.own or (len(kernel.streams), len(kernel.statics))
            forms = (kernel.streams[: own[0]], kernel.statics[: own[1]], kernel.carries)
            reference = reference_of(key.cls, key.name, forms, kernel.lags, key.sizes, key.hypers, key.dtype)
            return Solver(key, rounds_in_cpp(key, carries, lambda: recurrence.known(stepwise)), forms, carries, reference)
        reference = reference_of(key.cls, key.name, forms, kernel.lags, key.sizes, key.hypers, key.dtype, kernel.own, kernel.follows)
        loaded = load(key.cls, key.name, key.sizes, key.hypers, key.dtype)
        return Compiled(loaded, forms, kernel.lags, key.dtype, reference, loaded.segment if key.wish == _SEGMENTS else 1)


@constant_in_graphs
def _chosen(cls: Any) -> bool:
    """Whether `auto` takes the kernels of a class; where they cannot be had, it says so once."""
    if "cpu" not in cls._kernels:
        return False
    why = BACKEND.refusal(cls)
    if why is not None and cls not in _warned:
        _warned.add(cls)
        warnings.warn(f"{cls.__name__} runs step by step in PyTorch, since {why}", stacklevel=6)
    return why is None


def _schedule(layer: Layer, name: str) -> str:
    """Rounds where they are asked for, and there are some; a step after the other is faster where cores are few."""
    if layer.schedule != NEWTON:
        return SEQUENTIAL
    if name in type(layer)._kernels["cpu"].rounds:
        return NEWTON
    if not torch.compiler.is_compiling():
        cls = type(layer)
        say_once(cls, f"schedule: {cls.__name__}: `{name}` runs sequentially, with the same numbers: 'cpu' has no newton for it")
    return SEQUENTIAL


_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # since PyTorch 2.7


@constant_in_graphs
def _key(made: Made, name: str, dtype: torch.dtype, schedule: str, all_states: bool) -> str:
    """The key of a layer's recurrence; builds its kernels where they are not built yet. A compiled layer asks for it once. all_states: whether the
    states of all steps are wanted.

    Raises what `build.load` does.
    """
    kernel: Kernel = made[0]._kernels["cpu"].kernels[name]
    segments = _SEGMENTS if kernel.segments and not all_states and not _is_exporting() else ""  # steps // 16 would be a bound of an exported program
    key = Key.text_of("cpu", made, name, dtype, NEWTON if schedule == NEWTON else segments)
    recurrence.known(key)
    return key


def _given(call: Call, dtype: torch.dtype) -> tuple[list[Tensor], list[int]]:
    """What both directions read: tensors as a kernel can read them, to be kept until the call is done, and where they lie."""
    groups = ((call.streams, 2), (call.statics, 0), (call.first, 1), (call.initial, 0))
    alive = [[rows(t, lead) for t in tensors] for tensors, lead in groups]
    arrays = [v for tensors, (_, lead) in zip(alive, groups, strict=True) for v in strided(tensors, lead, dtype)]
    return list(itertools.chain.from_iterable(alive)), arrays


@dataclass(frozen=True)
class Compiled:
    """A recurrence in C++; see `recurrence.Runnable`."""

    loaded: Loaded
    forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    lags: tuple[int, ...]
    dtype: torch.dtype
    stepwise: Any  # the same in plain PyTorch
    every: int  # of the states of all steps, those of every so-manieth one come out

    @property
    def follows(self) -> tuple[int, ...]:
        return self.loaded.kernel.follows

    @property
    def saves(self) -> tuple[int, ...]:
        """Entries that a step has of what `forward` leaves to `backward`, array by array."""
        return tuple(filter(None, self.loaded.saves))

    def reference(self, call: Call) -> tuple[tuple[Tensor, ...], ...]:
        """What `forward` does in plain PyTorch."""
        sequences, *rest = self.stepwise(call)
        return tuple(s[:, self.every - 1 :: self.every] for s in sequences), *rest

    def empty(self, first: Sequence[Tensor], steps: Any) -> list[Tensor]:
        """What `forward` returns, without values."""
        sequences = [new_empty(f, (f.shape[0], steps // self.every, *f.shape[1:])) for f in first[: kept(self.lags)]]
        finals = [torch.empty_like(f, memory_format=torch.contiguous_format) for f in first]
        return [*sequences, *finals, *(new_empty(first[0], (first[0].shape[0], steps, *shape)) for shape in self.loaded.shapes)]

    def empty_saved(self, first: Sequence[Tensor], steps: Any) -> list[Tensor]:
        """What `forward` leaves to `backward`, without values: all rows of a step one behind the other, as a step makes them."""
        return [new_empty(first[0], (steps, first[0].shape[0], size)).transpose(0, 1) for size in self.saves]

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.dtype or (is_stream and t.dtype in HALF) else t.to(self.dtype)

    def forward(self, call: Call, saving: bool = False) -> list[Tensor]:
        loaded, first, steps = self.loaded, call.first, call.steps
        call = self._widened(call)
        batch, work = values_of(first, loaded.kernel.lags)
        _alive, arrays = _given(call, self.dtype)
        found = self.empty(first, steps)
        states, begin = kept(self.lags), kept(self.lags) + len(first)
        saved = self.empty_saved(first, steps) if saving else []
        for tensors, lead in ((found[:states], 2), (found[states:begin], 1), (found[begin:], 2)):
            arrays += strided(tensors, lead, self.dtype)
        invoke(loaded.forward, loaded.hypers, batch, steps, work * steps, [*arrays, *self._of_saved(saved)], call.reset, self.every)
        return [*found, *saved]

    def _of_saved(self, saved: list[Tensor]) -> list[int]:
        """Where saved products lie; nowhere those that are not saved."""
        left = iter(saved)
        return [v for size in self.loaded.saves for v in (strided([next(left)], 2, self.dtype) if size and saved else (0, 0, 0))]

    def backward(self, call: Call, sequences: list[Tensor], grads: list[Tensor | None], wanted: list[bool]) -> list[Tensor]:
        loaded, first, steps = self.loaded, call.first, call.steps
        states = kept(self.lags)
        sequences, saved = sequences[:states], [rows(s, 2) for s in sequences[states:]]  # a hook of saved tensors may lay them otherwise
        narrow, counts, call = call.streams, (len(call.streams), len(call.statics)), self._widened(call)
        batch, work = values_of(first, loaded.kernel.lags)
        alive, arrays = _given(call, self.dtype)
        alive += [rows(s[:, loaded.segment - 1 :: loaded.segment] if self.every == 1 else s, 2) for s in sequences]
        arrays += strided(alive[-len(sequences) :], 2, self.dtype)

        def add(gradient: Tensor | None, like: Tensor, lead: int) -> None:
            """A gradient; zeros that every row and step reads, where none came."""
            alive.append(rows(gradient, lead) if gradient is not None else like.new_zeros(like.shape[lead:]))
            arrays.extend(strided(alive[-1:], lead if gradient is not None else 0, self.dtype))

        for gradient, sequence in zip(grads, sequences, strict=False):
            add(self._of_all_steps(gradient, steps), sequence, 2)
        for gradient, begin in zip(grads[len(sequences) :], first, strict=False):
            add(gradient, begin, 1)
        for i, shape in enumerate(loaded.shapes):
            gradient = grads[len(sequences) + len(first) + i] if len(grads) > len(sequences) + len(first) else None
            add(gradient, first[0].new_empty((0, 0, *shape)), 2)
        stream_grads = [new_empty(s, s.shape) for s in call.streams]
        for i in loaded.kernel.partial:
            stream_grads[i].zero_()
        static_grads = [s.new_zeros(s.shape) for s in call.statics]
        first_grads = [f.new_empty(f.shape) for f in first]
        initial_grads = [i.new_zeros(i.shape) for i in call.initial]
        factors = [o.factors(first[0], batch, steps, stream_grads) for o in loaded.outers]
        arrays += [*strided(stream_grads, 2, self.dtype), *strided(static_grads, 0, self.dtype)]
        arrays += [*strided(first_grads, 1, self.dtype), *strided(initial_grads, 0, self.dtype)]
        arrays += [*strided(list(itertools.chain.from_iterable(factors)), 2, self.dtype), *self._of_saved(saved)]
        invoke(loaded.backward, loaded.hypers, batch, steps, work * steps, arrays, call.reset)
        for o, (left, right) in zip(loaded.outers, factors, strict=True):
            if o.index < counts[1] and wanted[counts[0] + o.index]:
                o.add(static_grads[o.index], left, right, multiplied)
        stream_grads = [cast_to(g, s.dtype) for g, s in zip(stream_grads, narrow, strict=False)]
        return [*stream_grads, *static_grads[: counts[1]], *first_grads, *initial_grads]

    def _of_all_steps(self, gradient: Tensor | None, steps: int) -> Tensor | None:
        """The gradient of the states that come out, as one of the states of all steps."""
        if gradient is None or self.every == 1:
            return gradient
        found = gradient.new_zeros((gradient.shape[0], steps, *gradient.shape[2:]))
        found[:, self.every - 1 :: self.every] = gradient
        return found

    def _widened(self, call: Call) -> Call:
        """A call as kernels take it: half streams, which autograd keeps as they are, in the dtype that is computed in; and zeros for what follows where
        the recurrence alone is asked for."""
        streams, statics, begin = [widened(s, self.dtype) for s in call.streams], list(call.statics), call.first[0]
        if len(streams) < sum(self.forms[0]) or len(statics) < sum(self.forms[1]):
            streams += [begin.new_zeros(size).expand(begin.shape[0], call.steps, size) for size in self.loaded.further[0]]
            statics += [begin.new_zeros(size) for size in self.loaded.further[1]]
        return call._replace(streams=streams, statics=statics)


BACKEND = Cpu()
