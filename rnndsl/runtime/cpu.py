"""The CPU backend: recurrences as torch ops that call generated C++ kernels.

Two ops serve every cell: `rnndsl::recurrence` and `rnndsl::recurrence_backward`. What they run is named by a key, which stands for the
kernels of one cell at given sizes, hyperparameters and dtype. Everything else that a call depends on is an argument of the op.
"""

import ctypes
import itertools
import os
import struct
import sys
import threading
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime import build
from rnndsl.runtime.layer import KERNELS, Layer
from rnndsl.runtime.ops import scan

_TYPES = {torch.float32: "float", torch.float64: "double"}
_SMALL = 1 << 15  # values of a call below which one thread does all


@dataclass(frozen=True)
class Kernel:
    """What the runtime knows of one recurrence: its C++ name; how many real arrays (two for a complex value) each stream, static and
    carried value is passed as; the lag of each carried array; and the streams of which only a part has a gradient."""

    name: str
    streams: tuple[int, ...]
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    lags: tuple[int, ...]
    partial: tuple[int, ...] = ()

    @property
    def kept(self) -> int:
        """How many real arrays are states of the step before, and so have a sequence."""
        return self.lags.count(1)

    @property
    def states(self) -> tuple[int, ...]:
        """The carried values that are states of the step before."""
        count, n = 0, 0
        while count < self.kept:
            count += self.carries[n]
            n += 1
        return self.carries[:n]


@dataclass(frozen=True)
class Step:
    """What the runtime knows of the function of one step: its C++ name, and how many real arrays each input (and the step number, where
    the cell has one), param or const, carried value and output is; the lag of each carried value."""

    name: str
    streams: tuple[int, ...]
    statics: dict[str, int]
    carries: tuple[int, ...]
    lags: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def forms(self) -> tuple[int, ...] | None:
        """How many real arrays each argument is; None where all are real."""
        found = (*self.streams, *self.statics.values(), *self.carries)
        return found if 2 in found else None


@dataclass(frozen=True)
class Kernels:
    """The kernels of a cell: C++ source, the C++ name of each size, its recurrences, one step of the whole, and why a recurrence has
    no kernel."""

    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    step: Step | None = None
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outer:
    """Σ over all steps of left ⊗ right is the gradient of static array `index`, of `rounds` slices from number `first` on, or, where
    that is 0, of all of it, in every round."""

    index: int
    first: int
    rounds: int
    further: int
    common: int
    left: int
    right: int
    sizes: tuple[int, ...]
    order: tuple[int, ...]

    def add(self, gradient: Tensor, left: Tensor, right: Tensor) -> None:
        """Adds to the gradient, from the factors of all steps [batch, steps, rounds, entries]."""
        if self.first == 0:
            gradient += self._product(left, right)
            return
        for k in range(self.rounds):
            slice_ = self.first - 1 + (k if self.rounds > 1 else 0)
            gradient[slice_] += self._product(left[:, :, k].contiguous(), right[:, :, k].contiguous())

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        rows = left.numel() // max(1, self.common * self.left)
        a = left.view(rows, self.common, self.left).permute(1, 2, 0)
        b = right.view(rows, self.common, self.right).permute(1, 0, 2)
        product = a[0] @ b[0] if self.common == 1 else torch.bmm(a, b)
        return product.reshape(self.sizes).permute(self.order)


@dataclass(frozen=True)
class Loaded:
    """One recurrence, ready to be called."""

    kernel: Kernel
    forward: Any
    backward: Any
    outers: tuple[Outer, ...]
    hypers: Any  # double*
    reference: Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]  # differentiable, of the same arguments


@dataclass(frozen=True)
class LoadedStep:
    """The function of one step, ready to be called."""

    function: Any
    hypers: Any
    shapes: tuple[tuple[int, ...], ...]  # of the outputs


_loaded: dict[str, Loaded] = {}
_steps: dict[tuple, LoadedStep] = {}
_loading = threading.Lock()
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
    """Whether the backend `auto` takes the kernels of a cell on a CPU; where it cannot, it says so once."""
    if os.environ.get("RNNDSL_BACKEND") == "reference" or _transformed():
        return False
    why = unavailable(cls._kernels)
    if why is not None and cls not in _warned:
        _warned.add(cls)
        warnings.warn(f"{cls.__name__} runs step by step in PyTorch, since {why}", stacklevel=5)
    return why is None


def _transformed() -> bool:
    """Whether a transformation that has no rule for an op of ours is at work: vmap, grad of torch.func, forward-mode derivatives."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


@torch.compiler.assume_constant_result
def key_of(layer: Layer, name: str, dtype: torch.dtype) -> str:
    """The key of a layer's recurrence; builds its kernels where they are not built yet. A compiled layer asks for it once.

    Raises what `build.load` does.
    """
    cls, sizes, hypers = type(layer), layer._sizes, layer._hypers
    values = ",".join(f"{n}={v!r}" for n, v in [*sizes.items(), *hypers.items()])
    key = f"{cls.__module__}.{cls.__qualname__}:{id(cls._kernels)}:{name}:{_TYPES[dtype]}:{values}"
    if key not in _loaded:
        with _loading:
            if key not in _loaded:
                _loaded[key] = _load(cls, cls._kernels, name, sizes, hypers, dtype)
    return key


def source_of(kernels: Kernels, sizes: dict[str, int], dtype: torch.dtype) -> str:
    """The C++ text of a cell's kernels at given sizes and dtype."""
    constants = [f"constexpr long {kernels.sizes[n]} = {v};" for n, v in sizes.items()]
    return "\n".join([f"using T = {_TYPES[dtype]};", *constants, kernels.source])


def _load(cls: Any, kernels: Kernels, name: str, sizes: dict, hypers: dict, dtype: torch.dtype) -> Loaded:
    library = build.load(source_of(kernels, sizes, dtype), cls.__name__)
    kernel = kernels.kernels[name]
    forward, backward = (getattr(library, f"{kernel.name}_{direction}") for direction in ("forward", "backward"))
    for function in (forward, backward):
        function.argtypes, function.restype = [ctypes.c_char_p], None
    _check_slices(_table(library, f"{kernel.name}_slices"))
    hyper_array = (ctypes.c_double * max(1, len(hypers)))(*hypers.values())
    reference = _reference(cls, name, kernel, SimpleNamespace(_sizes=sizes, _hypers=hypers), dtype)
    return Loaded(kernel, forward, backward, _outers(_table(library, f"{kernel.name}_outers")), hyper_array, reference)


def _reference(cls: Any, name: str, kernel: Kernel, header: Any, dtype: torch.dtype) -> Callable:
    """The same function of the same real arrays, in plain PyTorch."""
    step, enter = getattr(cls, f"_step_{name}"), getattr(cls, f"_enter_{name}")
    kind = {"dtype": dtype, "device": torch.device("cpu")}

    def reference(
        streams: Sequence[Tensor], statics: Sequence[Tensor], first: Sequence[Tensor], initial: Sequence[Tensor], reset: Any, steps: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        fixed = _joined(statics, kernel.statics)
        entered = enter(header, kind, *_joined(streams, kernel.streams), *fixed)
        carried, start = _joined(first, kernel.carries), _joined(initial, kernel.carries)
        sequences, finals = scan(
            lambda *v: step(header, kind, *v, *fixed), entered, carried, start, reset, keep=len(kernel.states), steps=steps
        )
        return _parts(sequences, kernel.states), _parts(finals, kernel.carries)

    return reference


def _table(library: ctypes.CDLL, name: str) -> Iterator[int]:
    """The numbers of a table in a library; its first one says how many entries follow, of as many numbers as its reader knows."""
    numbers = ctypes.cast(getattr(library, name), ctypes.POINTER(ctypes.c_int64))
    return (numbers[i] for i in itertools.count())


def _outers(read: Iterator[int]) -> tuple[Outer, ...]:
    """The outer products that a table tells of."""
    found = []
    for _ in range(next(read)):
        index, first, rounds, further, common, left, right, rank = (next(read) for _ in range(8))
        sizes, order = ([next(read) for _ in range(rank)] for _ in range(2))
        found.append(Outer(index, first, rounds, further, common, left, right, tuple(sizes), tuple(order)))
    return tuple(found)


def _check_slices(read: Iterator[int]) -> None:
    """Raises IndexError, as the reference does, where the equations ask for a slice that a param of these sizes does not have."""
    for _ in range(next(read)):
        first, last, size = (next(read) for _ in range(3))
        if first < 1 or last > size:
            raise IndexError(f"there is no slice {first if first < 1 else max(first, size + 1)}: the leading head axis has {size}")


# Complex values as pairs of real ones


def _parts(values: Sequence[Tensor], forms: Sequence[int]) -> tuple[Tensor, ...]:
    """Real tensors, two for a complex one."""
    found: list[Tensor] = []
    for v, n in zip(values, forms, strict=True):
        if n == 1:
            found.append(v)
        else:
            found.extend((v.real, v.imag) if v.is_complex() else (v, torch.zeros_like(v)))
    return tuple(found)


def _joined(values: Sequence[Tensor], forms: Sequence[int]) -> tuple[Tensor, ...]:
    """The values that `_parts` took apart."""
    left = iter(values)
    return tuple(torch.complex(next(left), next(left)) if n == 2 else next(left) for n in forms)


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
    parts = [[p if p.dtype == dtype else p.to(dtype) for p in _parts(values, forms)] for values, forms in groups]
    found = OP(key, *parts, reset, steps)
    return _joined(found[: kernel.kept], kernel.states), _joined(found[kernel.kept :], kernel.carries)


def step(layer: Layer, inputs: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]] | None:
    """One step of the whole cell in one call, without gradients: outputs and new state; None where a layer has no such function, or
    its tensors are not all of one dtype.

    inputs and state have been checked.
    """
    known: Step | None = layer._kernels.step
    if known is None or torch.is_grad_enabled():
        return None
    dtype = inputs[0].dtype.to_real()
    if dtype not in _TYPES:
        return None
    count = len(known.carries)
    clock = len(state) > count
    held = layer._parameters
    statics: list[Any] = [held[name] if name in held else getattr(layer, name) for name in known.statics]
    streams = (*inputs, state[-1].to(dtype)) if clock else inputs
    given: Sequence[Tensor] = (*streams, *statics, *state[:count])
    forms = known.forms
    if forms is not None:
        given = _parts(given, forms)
    if any(t.dtype != dtype for t in given):
        return None
    kept = [t if t.is_contiguous() else t.contiguous() for t in given]  # alive until the call is done
    arrays = [v for t in kept for v in (t.data_ptr(), t.stride(0) if t.dim() else 0, 0)]
    loaded = _step_of(layer, dtype)
    batch = inputs[0].shape[0]
    shapes = [s.shape[1:] for s, lag in zip(state, known.lags, strict=False) if lag == 1]
    fresh_forms = (*(f for f, lag in zip(known.carries, known.lags, strict=True) if lag == 1), *known.outputs)
    made = [[torch.empty((batch, *shape), dtype=dtype) for _ in range(form)] for shape, form in zip((*shapes, *loaded.shapes), fresh_forms, strict=True)]
    arrays += [v for parts in made for p in parts for v in (p.data_ptr(), p.stride(0), 0)]
    buffer = array("q", arrays)
    threads = _threads(batch * sum(t.numel() for t in statics) // 64)
    loaded.function(struct.pack("=9q", batch, 1, threads, _team, ctypes.addressof(loaded.hypers), buffer.buffer_info()[0], 0, 0, 0))
    values = [parts[0] if len(parts) == 1 else torch.complex(*parts) for parts in made]
    new = values[: len(shapes)]
    fresh = iter(new)
    carried = [next(fresh) if lag == 1 else None for lag in known.lags]
    for i, lag in enumerate(known.lags):
        if lag > 1:  # what was one step nearer
            carried[i] = _nearer(layer, state, i)
    return values[len(shapes) :], [*carried, *((state[-1] + 1,) if clock else ())]  # type: ignore[list-item]


def _nearer(layer: Layer, state: tuple[Tensor, ...], i: int) -> Tensor:
    """Of a carried value with a lag of two or more: the field with one less."""
    names = [name for name, _, _ in layer._fields]
    stem, _, lag = names[i].rpartition("_")
    nearer = f"{stem}_{int(lag) - 1}"
    return state[names.index(nearer) if nearer in names else names.index(stem)]


def _step_of(layer: Layer, dtype: torch.dtype) -> LoadedStep:
    key = (id(layer._kernels), tuple(layer._sizes.values()), tuple(layer._hypers.values()), dtype)
    if key not in _steps:
        library = build.load(source_of(layer._kernels, layer._sizes, dtype), type(layer).__name__)
        name = layer._kernels.step.name
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_char_p], None
        _check_slices(_table(library, f"{name}_slices"))
        read = _table(library, f"{name}_shapes")
        shapes = tuple(tuple(next(read) for _ in range(next(read))) for _ in layer._kernels.step.outputs)
        hypers = (ctypes.c_double * max(1, len(layer._hypers)))(*layer._hypers.values())
        _steps[key] = LoadedStep(function, hypers, shapes)
    return _steps[key]


# The ops

torch.library.define(
    "rnndsl::recurrence", "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps) -> Tensor[]"
)
torch.library.define(
    "rnndsl::recurrence_backward",
    "(str key, Tensor[] streams, Tensor[] statics, Tensor[] first, Tensor[] initial, Tensor? reset, SymInt steps, Tensor[] sequences, Tensor?[] grads, "
    "bool[] wanted) -> Tensor[]",
)


def _dense(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t if t.is_contiguous() else t.contiguous() for t in tensors]


def _rows(t: Tensor, lead: int) -> Tensor:
    """A tensor whose axes after the first `lead` lie one behind the other."""
    expected = 1
    for size, stride in zip(reversed(t.shape[lead:]), reversed(t.stride()[lead:]), strict=True):
        if size != 1 and stride != expected:
            return t.contiguous()
        expected *= size
    return t


def _array(t: Tensor, lead: int) -> tuple[int, int, int]:
    """Pointer and strides of the first `lead` axes, batch and time."""
    stride = t.stride()
    return t.data_ptr(), stride[0] if lead else 0, stride[1] if lead > 1 else 0


def _find_team() -> int:
    """The address of GNU OpenMP's function that starts a team, if PyTorch has brought it along; else 0."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value or 0
    except (AttributeError, OSError):
        return 0


def _forget_team() -> None:
    """A child has no threads of its parent's team, but would wait for them."""
    global _team
    _team = 0


_team = _find_team()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def _threads(work: int) -> int:
    """How many threads a call of so many values gets."""
    return torch.get_num_threads() if work >= _SMALL else 1


def _call(function: Any, loaded: Loaded, batch: int, steps: int, work: int, arrays: list[tuple[int, int, int]], reset: Tensor | None) -> None:
    """Calls a kernel with its arguments in the layout of kernel.h's Call."""
    buffer = array("q", [v for a in arrays for v in a])
    masked = (0, 0, 0) if reset is None else _array(reset, 2)
    function(struct.pack("=9q", batch, steps, _threads(work), _team, ctypes.addressof(loaded.hypers), buffer.buffer_info()[0], *masked))


def _size(first: Sequence[Tensor], lags: Sequence[int]) -> tuple[int, int]:
    batch = first[0].shape[0]
    return batch, sum(f.numel() for f, lag in zip(first, lags, strict=True) if lag == 1)


@torch.library.impl("rnndsl::recurrence", "CPU")
def _forward(
    key: str, streams: list[Tensor], statics: list[Tensor], first: list[Tensor], initial: list[Tensor], reset: Tensor | None, steps: int
) -> list[Tensor]:
    loaded = _loaded[key]
    batch, work = _size(first, loaded.kernel.lags)
    streams, statics, initial = [_rows(s, 2) for s in streams], _dense(statics), _dense(initial)
    begins = [_rows(f, 1) for f in first]
    sequences = [f.new_empty((batch, steps, *f.shape[1:])) for f, lag in zip(first, loaded.kernel.lags, strict=True) if lag == 1]
    finals = [torch.empty_like(f, memory_format=torch.contiguous_format) for f in first]
    arrays = [*(_array(s, 2) for s in streams), *(_array(s, 0) for s in statics), *(_array(f, 1) for f in begins)]
    arrays += [*(_array(i, 0) for i in initial), *(_array(s, 2) for s in sequences), *(_array(f, 1) for f in finals)]
    _call(loaded.forward, loaded, batch, steps, work * steps, arrays, reset)
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
    loaded = _loaded[key]
    batch, work = _size(first, loaded.kernel.lags)
    streams, statics, initial = [_rows(s, 2) for s in streams], _dense(statics), _dense(initial)
    begins = [_rows(f, 1) for f in first]
    kept: list[Tensor] = []  # zeros, where no gradient came

    def given(gradient: Tensor | None, like: Tensor, lead: int) -> tuple[int, int, int]:
        if gradient is None:
            kept.append(like.new_zeros(like.shape[lead:]))
            return _array(kept[-1], 0)
        kept.append(_rows(gradient, lead))
        return _array(kept[-1], lead)

    arrays = [*(_array(s, 2) for s in streams), *(_array(s, 0) for s in statics), *(_array(f, 1) for f in begins)]
    arrays += [*(_array(i, 0) for i in initial), *(_array(s, 2) for s in sequences)]
    arrays += [given(g, s, 2) for g, s in zip(grads, sequences, strict=False)]
    arrays += [given(g, f, 1) for g, f in zip(grads[len(sequences) :], first, strict=True)]
    stream_grads = [
        torch.zeros(s.shape, dtype=s.dtype) if i in loaded.kernel.partial else torch.empty(s.shape, dtype=s.dtype)
        for i, s in enumerate(streams)
    ]
    static_grads = [torch.zeros(s.shape, dtype=s.dtype) for s in statics]
    first_grads = [torch.empty(f.shape, dtype=f.dtype) for f in first]
    initial_grads = [torch.zeros(i.shape, dtype=i.dtype) for i in initial]
    factors = [
        [first[0].new_empty(batch, steps, o.rounds, o.further * o.common * size) for size in (o.left, o.right)] for o in loaded.outers
    ]
    arrays += [*(_array(s, 2) for s in stream_grads), *(_array(s, 0) for s in static_grads)]
    arrays += [*(_array(f, 1) for f in first_grads), *(_array(i, 0) for i in initial_grads)]
    arrays += [_array(t, 2) for pair in factors for t in pair]
    _call(loaded.backward, loaded, batch, steps, work * steps, arrays, reset)
    for o, (left, right) in zip(loaded.outers, factors, strict=True):
        if wanted[len(streams) + o.index]:
            o.add(static_grads[o.index], left, right)
    return [*stream_grads, *static_grads, *first_grads, *initial_grads]


@torch.library.register_fake("rnndsl::recurrence")
def _forward_fake(key, streams, statics, first, initial, reset, steps):
    loaded = _loaded[key]
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
        ctx.save_for_backward(*tensors, *found[: _loaded[key].kernel.kept])
        ctx.set_materialize_grads(False)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        saved = ctx.saved_tensors
        count = sum(ctx.counts)
        inputs, sequences = saved[:count], saved[count:]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*grads, *inputs)):
            return None, None, None, None, *_gradients_again(_loaded[ctx.key], _grouped(inputs, ctx.counts), ctx.reset, ctx.steps, grads)
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
