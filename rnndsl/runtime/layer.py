"""The base of every generated class: construction, the checks of a call, and the public methods."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import _register_namedtuple
from torch.utils.checkpoint import checkpoint

from rnndsl.runtime.initialise import FIXED, Bounds, Draw, default_draw, initialise, widest
from rnndsl.runtime.ops import complex_of, fill, real_of, scan

BACKENDS = ("auto", "reference", "cpu", "triton")
SCHEDULES = ("auto", "sequential", "newton")
TILES = ("channels", "ahead", "lanes", "lane_steps", "warps")
KERNELS: dict[str, Any] = {}  # the backends with generated kernels; each puts itself here
CELLS: dict[str, Any] = {}  # the generated classes, by the digests of their kernels
_OF_DEVICE = {"cpu": "cpu", "cuda": "triton"}  # the backend that `auto` takes
_HALF = (torch.bfloat16, torch.float16)


class Size(int):
    """A size that remembers how it was written, for messages: `4*H` = 512."""

    text: str

    def __new__(cls, value: int, text: str) -> "Size":
        size = super().__new__(cls, value)
        size.text = text
        return size

    def __reduce__(self) -> tuple:
        return Size, (int(self), self.text)

    @staticmethod
    def _text(value: Any) -> str:
        return value.text if isinstance(value, Size) else str(value)

    def _with(self, other: Any, value: Any, text: str) -> Any:
        """A size where the other is a whole number too; else a plain value, of whatever kind."""
        return Size(value, text) if isinstance(other, int) else value

    def __mul__(self, other: Any) -> Any:
        return self._with(other, int(self) * other, f"{self.text}*{self._text(other)}")

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, other * int(self), f"{self._text(other)}*{self.text}")

    def __add__(self, other: Any) -> Any:
        return self._with(other, int(self) + other, f"{self.text} + {self._text(other)}")

    def __radd__(self, other: Any) -> Any:
        return self._with(other, other + int(self), f"{self._text(other)} + {self.text}")

    def __sub__(self, other: Any) -> Any:
        return self._with(other, int(self) - other, f"{self.text} - {self._text(other)}")

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, other - int(self), f"{self._text(other)} - {self.text}")


def divide(a: int, b: int) -> int:
    """a / b, where it is a whole number; raises ValueError elsewhere."""
    text = f"{Size._text(a)} / {Size._text(b)}"
    if a % b:
        raise ValueError(f"{text} is not a whole number: {int(a)} / {int(b)}")
    return Size(a // b, text.replace(" ", ""))


def _shown(shape: Sequence[int]) -> list[str]:
    """Axes as the cell writes them: `D=64`."""
    return [f"{s.text}={int(s)}" if isinstance(s, Size) else str(s) for s in shape]


@dataclass(frozen=True)
class _Declared:
    """A param or const as the cell declares it: its shape as it is written, and in whole numbers."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    is_complex: bool


@dataclass(frozen=True)
class Plan:
    """What runs one recurrence, and why. channels: of all rows together; forward, backward: how the kernels are cut, on the Triton backend."""

    recurrence: str
    backend: str
    schedule: str  # sequential, newton, exact scan
    why: str
    channels: int | None = None
    forward: Any = None
    backward: Any = None

    def __str__(self) -> str:
        lines = [f"{self.recurrence}: {self.schedule} on {self.backend}; {self.why}"]
        if self.forward is not None:
            lines += [f"  {self.channels:,} channels in all", f"  forward   {self.forward}", f"  backward  {self.backward}"]
        return "\n".join(lines)


@torch.compiler.assume_constant_result
def _reference_wanted() -> bool:
    """Whether the backend `auto` is the reference because RNNDSL_BACKEND says so. Raises ValueError for another RNNDSL_BACKEND than auto or
    reference."""
    wish = os.environ.get("RNNDSL_BACKEND", "auto")
    if wish not in ("auto", "reference"):
        raise ValueError(f"RNNDSL_BACKEND: expected auto or reference, got {wish!r}")
    return wish == "reference"


def _check_dense(name: str, value: Any) -> None:
    """Raises TypeError for what is no tensor of entries in a row: sparse ones and their like have no recurrence."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        kind = "a nested one" if value.is_nested else "a quantized one" if value.is_quantized else f"one of layout {value.layout}"
        raise TypeError(f"{name}: expected a dense tensor, got {kind}")


def _read_only(name: str) -> property:
    """A size or hyperparameter as an attribute."""
    return property(lambda layer: layer._sizes[name] if name in layer._sizes else layer._hypers[name])


def _is_same(value: Any, number: float) -> bool:
    return isinstance(value, int | float) and repr(float(value)) == repr(float(number))


def _widest(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    """The narrowest dtype that holds the values of all."""
    first, *others = dtypes
    for dtype in others:
        first = first if dtype is first else torch.promote_types(first, dtype)
    return first


def _cast(t: Tensor, dtype: torch.dtype) -> Tensor:
    return t if t.dtype is dtype else t.to(dtype)


def _is_narrower(dtype: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values of a dtype are values of a wanted one too: of the same kind (complex, real, whole), and no wider."""
    kinds = [(d.is_complex, d.is_floating_point, d is torch.bool) for d in (dtype, wanted)]
    return kinds[0] == kinds[1] and torch.promote_types(dtype, wanted) == wanted


_said: set[tuple[type, str]] = set()


def _say_once(cls: type, text: str) -> None:
    """A warning that a class gives once."""
    if (cls, text) not in _said:
        _said.add((cls, text))
        warnings.warn(text, stacklevel=5)


class Layer(nn.Module):
    """A recurrent cell over whole sequences. Subclasses are generated; they fill in `_declare`, `_initial` and `_run`."""

    State: ClassVar[Any]  # the named tuple of carried values
    Output: ClassVar[Any] = None  # the named tuple of outputs, where there are several
    _states: ClassVar[dict[str, int]] = {}  # how many states each recurrence has
    _raw: ClassVar[dict[str, str]] = {}  # of each constrained param: the name under which it is stored
    _kernels: ClassVar[Any] = None  # the recurrences in C++; a standalone module has none
    _triton: ClassVar[Any] = None  # and in Triton
    _header: ClassVar[tuple[str, ...]] = ()  # the sizes and hyperparameters that are attributes

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Gives a generated class its attributes, and makes it known to what reads programs, states and checkpoints."""
        super().__init_subclass__(**keywords)
        own = cls.__dict__
        for name in own.get("_header", ()):
            setattr(cls, name, _read_only(name))
        for name in own.get("_raw", ()):
            setattr(cls, name, _constrained(name))
        for fields in filter(None, (own.get("State"), own.get("Output"))):
            _register_namedtuple(fields, serialized_type_name=f"{fields.__module__}.{fields.__qualname__}")  # for torch.export.save
            torch.serialization.add_safe_globals([fields])  # for torch.load
        CELLS.update({own[kernels].digest: cls for kernels in ("_kernels", "_triton") if own.get(kernels) is not None})

    # Construction

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._header and not _is_same(value, getattr(self, name)):
            kind = "size" if name in self._sizes else "hyperparameter"
            raise AttributeError(f"{name}: a {kind} is fixed when a layer is made; make another with {name}={value!r}")
        if name in self._raw:
            object.__setattr__(self, name, value)  # torch would take a Parameter for a new one
        elif name not in self._header:
            super().__setattr__(name, value)

    def _setup(
        self, sizes: dict, hypers: dict, device: Any, dtype: Any, backend: str, schedule: str, order: tuple[str, ...]
    ) -> None:
        """What a constructor does. Raises TypeError or ValueError for a size or hyperparameter that cannot be."""
        nn.Module.__init__(self)
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}: expected a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{name}: expected a positive size, got {value}")
        for name, value in hypers.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name}: expected a number, got {value!r}")
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TypeError(f"dtype: expected a real floating type, got {dtype}")
        self._sizes = {n: int(v) for n, v in sizes.items()}
        self._hypers = {n: float(v) for n, v in hypers.items()}
        self._inputs: list[tuple[str, tuple[int, ...], bool]] = []
        self._fields: list[tuple[str, tuple[int, ...], str]] = []
        self._tensors: dict[str, _Declared] = {}  # params and consts
        self._bounds: dict[str, Bounds] = {}  # of constrained params
        self._kind: dict[str, Any] = {
            "dtype": dtype,
            "device": torch.device(device) if device is not None else torch.get_default_device(),
        }
        sized = {n: Size(v, n) for n, v in sizes.items()} | self._hypers
        self._declare(self._kind, *(sized[n] for n in order))
        self._reports: dict[str, Any] = {}  # how the last call's recurrences were solved
        self.tiles = None
        self.recompute = False  # whether the backward pass computes the forward pass again instead of keeping its streams and states
        self.backend = backend
        self.schedule = schedule

    def _declare(self, kind: dict, *header: Any) -> None:
        raise NotImplementedError

    def _input(self, name: str, shape: tuple[int, ...], is_complex: bool = False) -> None:
        self._inputs.append((name, shape, is_complex))

    def _field(self, name: str, shape: tuple[int, ...], number: str = "real") -> None:
        """One field of the state tuple; number: real, complex or int."""
        self._fields.append((name, shape, number))

    def _param(
        self,
        name: str,
        shape: tuple[int, ...],
        rank: int,
        draw: Draw | None = None,
        above: Any = None,
        between: Any = None,
        is_complex: bool = False,
    ) -> None:
        """A learnable tensor; `rank` of its axes are what the equations see, the rest are head axes."""
        plain = tuple(int(s) for s in shape)
        self._require_positive(name, shape)
        dtype, device = self._kind["dtype"], self._kind["device"]
        self._tensors[name] = _Declared(shape, plain, is_complex)
        explicit = draw is not None
        chosen = default_draw(name, rank, plain[-1] if plain else 1) if draw is None else (draw[0], tuple(float(a) for a in draw[1]))
        if above is None and between is None:
            kind = complex_of(dtype) if is_complex else dtype
            self.register_parameter(name, nn.Parameter(initialise(plain, rank, chosen, kind, device)))
            return
        try:
            self._bounds[name] = bounds = Bounds(*map(float, (above,) if between is None else between))
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from None
        if explicit:
            value = initialise(plain, rank, chosen, widest(device), device)
            value = value if chosen[0] in FIXED else bounds.moved_inside(value)
            stored = self._stored(name, value, dtype, "the initial value")
        else:  # what is stored has the usual default
            stored = initialise(plain, rank, chosen, dtype, device)
        self.register_parameter(self._raw[name], nn.Parameter(stored))

    def _stored(self, name: str, value: Tensor, dtype: torch.dtype, what: str) -> Tensor:
        """What is stored of a constrained param for a value. Raises ValueError, with the value, where it is out of bounds or of range."""
        bounds = self._bounds[name]
        if not value.is_meta and not bool((inside := bounds.holds(value)).all()):
            wrong = value[~inside].flatten()[0].item()
            raise ValueError(f"{name}: {what} {wrong:.9g} is out of bounds: every value must be {bounds}")
        stored = bounds.stored(value).to(dtype)
        if not value.is_meta and not bool((finite := stored.isfinite()).all()):
            wrong = value[~finite].flatten()[0].item()
            raise ValueError(f"{name}: {what} {wrong:.9g} is too large to be stored in {dtype}")
        return stored

    def _const(self, name: str, shape: tuple[int, ...], value: Any = 0.0, is_complex: bool = False) -> Tensor:
        """A buffer, zero where no value is given; returns it."""
        self._require_positive(name, shape)
        plain = tuple(int(s) for s in shape)
        dtype = complex_of(self._kind["dtype"]) if is_complex else self._kind["dtype"]
        buffer = fill(value, plain, dtype, self._kind["device"]).clone()
        self._tensors[name] = _Declared(shape, plain, is_complex)
        self.register_buffer(name, buffer)
        return buffer

    @staticmethod
    def _require_positive(name: str, shape: tuple[int, ...]) -> None:
        if any(s < 1 for s in shape):
            raise ValueError(f"{name}: [{', '.join(_shown(shape))}] has an axis that is not positive")

    @staticmethod
    def _require_rounds(name: str, low: int, high: int) -> None:
        """Raises ValueError where a repeat that gives a local its value never runs."""
        if high < low:
            raise ValueError(f"{name}: it has no value, since the repeat from {int(low)} to {' = '.join(_shown([high]))} never runs")

    # Backend and schedule

    @property
    def backend(self) -> str:
        """`auto`, `reference` (the plan in plain PyTorch), `cpu` or `triton`."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        if value not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {value!r}")
        why = self._no_kernels(value) if value in ("cpu", "triton") else None
        if why is not None:
            raise ValueError(f"backend: {value!r} cannot run this cell: {why}; use 'auto' or 'reference'")
        self._backend = value

    def _no_kernels(self, backend: str) -> str | None:
        """Why a backend with kernels cannot run the cell; None where it can."""
        kernels = self._kernels if backend == "cpu" else self._triton
        if kernels is None:
            return "a standalone module has no kernels"
        return KERNELS[backend].unavailable(kernels)

    @property
    def schedule(self) -> str:
        """`auto`, `sequential` or `newton`."""
        return self._schedule

    @schedule.setter
    def schedule(self, value: str) -> None:
        if value not in SCHEDULES:
            raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {value!r}")
        self._schedule = value

    @property
    def tiles(self) -> dict[str, int] | None:
        """How the Triton backend cuts its kernels, as far as it is not left to choose: any of `channels` of a program, `ahead` (steps on their
        way in a sequential kernel), `lanes` and `lane_steps` (of a parallel one), `warps`. With `lane_steps` 1 the newton schedule is
        Newton's method in its plain form."""
        return self._tiles

    @tiles.setter
    def tiles(self, value: dict[str, int] | None) -> None:
        for name, n in (value or {}).items():
            if name not in TILES:
                raise ValueError(f"tiles: expected some of {', '.join(TILES)}, got {name!r}")
            if isinstance(n, bool) or not isinstance(n, int) or n < 1 or (name != "lane_steps" and name != "ahead" and n & (n - 1)):
                raise ValueError(f"tiles: {name}: expected {'a whole number' if name in ('lane_steps', 'ahead') else 'a power of two'}, got {n!r}")
        self._tiles = dict(value) if value else None

    def plan_for(self, *inputs: Tensor) -> tuple[Any, ...]:
        """What would run each recurrence for these inputs, [B, T, ...] each, and why: a tuple of plans, in the order in which they are solved.
        `print` shows one in words. Raises what `forward` does for inputs that do not fit."""
        batch, steps = self._check_inputs(inputs, ("B", "T"))
        kind, _, _ = self._begin(inputs)
        found = []
        for name in self._states:
            backend = self._backend_for(name, kind["device"])
            if backend == "triton":
                found.append(KERNELS[backend].plan_for(self, name, batch, steps, kind["device"], kind["dtype"]))
            else:
                found.append(Plan(name, backend or "reference", "sequential", "step by step" if backend is None else "kernels in C++"))
        return tuple(found)

    def solve_report(self) -> tuple[Any, ...]:
        """How each recurrence of the last call was solved on the Triton backend: rounds, residual, and chunks of time that were run step by
        step. Empty after a call that was not run there, or that was compiled by torch.compile. Waits for the GPU."""
        return KERNELS["triton"].solve_report(self) if self._reports else ()

    # Calls

    def forward(self, *inputs: Tensor, state: Any = None, reset: Tensor | None = None) -> tuple[Any, Any]:
        """Runs the cell over a sequence.

        inputs: [B, T, ...] each, in declared order. state: what an earlier call returned; the initial state if None.
        reset: bool [B, T]; where true, the state restarts at its initial value before that step.
        Returns (output, state): a tensor [B, T, ...], or a named tuple of them where the cell has several outputs.
        Raises TypeError or ValueError, in the cell's own words, for arguments that do not fit.
        """
        lead = self._check_inputs(inputs, ("B", "T"))
        if reset is not None:
            self._check_reset(reset, lead, inputs[0].device)
        kind, values, cast = self._begin(inputs)
        initial = self._initial_values(values, kind)
        carried = self._carried(state, initial, lead[0], kind)
        if self.recompute and torch.is_grad_enabled():
            outputs, fields = self._recomputed((values, cast, carried, initial), reset, lead, kind)
        else:
            outputs, fields = self._run(values, cast, carried, initial, reset, lead, kind)
        return self._packed(outputs, inputs), self.State(*fields)

    def step(self, *inputs_and_state: Any, state: Any = None) -> tuple[Any, Any]:
        """One step: `step(*inputs, state)`, inputs [B, ...] each. It is a call of the layer on a sequence of one step, with all that a call
        does: the numbers of `forward`, hooks (which see [B, 1, ...]), autocast.

        Returns (output, state), outputs [B, ...]. The state may be given by position or by name; None is the initial state.
        """
        inputs = inputs_and_state
        if len(inputs) == len(self._inputs) + 1:
            inputs, given = inputs[:-1], inputs[-1]
            if state is not None:
                raise TypeError("step: the state was given twice")
            state = given
        (batch,) = self._check_inputs(inputs, ("B",))
        made = self._step_by_kernel(inputs, state, batch)
        if made is not None:
            return made
        y, state = self(*(x.unsqueeze(1) for x in inputs), state=state)
        return (y.squeeze(1) if self.Output is None else self.Output(*(o.squeeze(1) for o in y))), state

    def _step_by_kernel(self, inputs: tuple[Tensor, ...], state: Any, batch: int) -> tuple[Any, Any] | None:
        """A step in one call of a kernel, where there is one, no gradient is asked for, and nothing has a part in calls."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        backend = self._backend_for(next(iter(self._states), ""), inputs[0].device)
        if backend is None or not self._is_alone(inputs[0].device):
            return None
        kind, values, cast = self._begin(inputs)
        carried = self._carried(state, self._initial_values(values, kind) if state is None else (), batch, kind)
        found = KERNELS[backend].step(self, cast, values, carried, kind["dtype"])
        return None if found is None else (self._packed(found[0], inputs), self.State(*found[1]))

    def _is_alone(self, device: torch.device) -> bool:
        """Whether a call would do nothing but what `forward` says: no hook, no other `forward`, no mode, transformation or tracer."""
        hooks = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        if hooks or nn.modules.module._has_any_global_hook() or "forward" in self.__dict__ or type(self).forward is not Layer.forward:
            return False
        if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
            return False
        if torch._C._get_tracing_state() is not None or torch._C._len_torch_dispatch_stack() or torch.is_autocast_enabled(device.type):
            return False
        if not torch._C._len_torch_function_stack():
            return True
        modes = torch.overrides._get_current_function_mode_stack()  # a default device is one, but kernels are told the device
        return all(type(mode) is torch.utils._device.DeviceContext for mode in modes)

    def initial_state(self, batch_size: int) -> Any:
        """The state that `forward` starts from: a named tuple of [batch_size, ...], each in memory of its own."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 0:
            raise ValueError(f"batch_size: expected a whole number, got {batch_size!r}")
        kind, values, _ = self._begin(())
        carried = self._carried(None, self._initial_values(values, kind), batch_size, kind)
        return self.State(*(c.clone(memory_format=torch.contiguous_format) for c in carried))

    def extra_repr(self) -> str:
        header = [f"{n}={v}" for n, v in self._sizes.items()] + [f"{n}={v:g}" for n, v in self._hypers.items()]
        return ", ".join(header)

    # What a call is made of

    def _recomputed(self, groups: tuple[tuple[Tensor, ...], ...], reset: Tensor | None, lead: tuple, kind: dict) -> tuple[tuple, tuple]:
        """`_run`, of whose streams and states nothing is kept for the backward pass. groups: its first four arguments."""

        def run(reset: Tensor | None, *flat: Tensor) -> tuple[tuple, tuple]:
            left = iter(flat)
            values, cast, carried, initial = (tuple(next(left) for _ in g) for g in groups)
            return self._run(values, cast, carried, initial, reset, lead, kind)

        # tensors one by one: of those in a tuple it would not notice that they were changed
        return checkpoint(run, reset, *(t for g in groups for t in g), use_reentrant=False)

    def _scan(
        self, name: str, streams: tuple, statics: tuple, first: tuple, initial: tuple, reset: Tensor | None, steps: int, kind: dict,
        further: tuple[tuple, tuple] | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:  # fmt: skip
        """Runs the recurrence called `name` on the backend of the layer, and what follows it entry by entry.

        streams: [B, T, ...] each; statics: params and what is made of them; first: [B, ...], what the first step sees; initial: [...],
        what a step with a reset sees; further: streams and statics that only what follows reads, None where nothing does.
        Returns the sequences [B, T, ...] of its states, what it carries on, [B, ...], and what follows, [B, T, ...].
        """
        backend = self._backend_for(name, kind["device"])
        if self._schedule == "newton" and backend != "triton" and not torch.compiler.is_compiling():
            _say_once(type(self), f"schedule: {type(self).__name__}: `{name}` runs sequentially, with the same numbers: only Triton kernels have newton")
        follows: tuple[Tensor, ...] = ()
        if backend is not None:
            found = KERNELS[backend].run(self, name, streams, statics, first, initial, reset, steps, kind["dtype"], further)
            sequences, finals, follows = found
        else:
            step = getattr(self, f"_step_{name}")
            entered = getattr(self, f"_enter_{name}")(kind, *streams, *statics)
            sequences, finals = scan(lambda *values: step(kind, *values, *statics), entered, first, initial, reset, self._states[name], steps)
        return sequences, finals, follows or self._follow(name, sequences, streams, statics, first, initial, reset, kind, further)

    def _follow(
        self, name: str, sequences: tuple, streams: tuple, statics: tuple, first: tuple, initial: tuple, reset: Tensor | None, kind: dict,
        further: tuple[tuple, tuple] | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """What follows a recurrence entry by entry, in plain PyTorch."""
        if further is None:
            return ()
        count = self._states[name]
        follow = getattr(self, f"_exit_{name}")
        return follow(kind, reset, *sequences, *first[:count], *initial[:count], *streams, *statics, *further[0], *further[1])

    def _backend_for(self, name: str, device: torch.device) -> str | None:
        """The backend whose kernels run a recurrence, None for plain PyTorch. Raises ValueError where the one asked for does not run there."""
        if self._backend == "reference":
            return None
        if self._backend == "auto":
            backend = _OF_DEVICE.get(device.type)
            if backend is None or (self._kernels if backend == "cpu" else self._triton) is None or _reference_wanted():
                return None
            return backend if KERNELS[backend].chosen(type(self), name) else None
        problem = KERNELS[self._backend].misplaced(device)
        if problem is not None:
            raise ValueError(f"backend: {problem}; use 'auto'")
        return self._backend

    def _packed(self, outputs: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> Any:
        """Outputs as they are returned; narrow ones where all inputs are."""
        if all(x.dtype in _HALF for x in inputs):
            narrow = _widest([x.dtype for x in inputs])
            outputs = tuple(o if o.is_complex() else o.to(narrow) for o in outputs)
        return outputs[0] if self.Output is None else self.Output(*outputs)

    def _initial(self, params: tuple[Tensor, ...], kind: dict) -> tuple:
        raise NotImplementedError

    def _run(
        self, params: tuple, inputs: tuple, state: tuple, initial: tuple, reset: Any, lead: tuple, kind: dict
    ) -> tuple[tuple, tuple]:
        raise NotImplementedError

    def _initial_values(self, values: tuple[Tensor, ...], kind: dict) -> tuple[Tensor, ...]:
        dtypes = {"real": kind["dtype"], "complex": complex_of(kind["dtype"]), "int": torch.int64}
        raw = self._initial(values, kind)
        return tuple(
            fill(v, tuple(int(s) for s in shape), dtypes[number], kind["device"])
            for v, (_, shape, number) in zip(raw, self._fields, strict=True)
        )

    def _held(self) -> tuple[tuple[Tensor, ...], set[torch.dtype]]:
        """Params and consts as they are stored, in declared order, and their dtypes. Raises what `_checked` does for one that was replaced or changed."""
        params, device = self._parameters, None
        found: list[Tensor] = []
        dtypes: set[torch.dtype] = set()
        for name, declared in self._tensors.items():
            stored = self._raw.get(name, name)
            t: Any = params.get(stored)
            if t is None:
                t = getattr(self, stored)
            if (
                (type(t) is not nn.Parameter and type(t) is not Tensor)
                or t.shape != declared.sizes
                or t.layout is not torch.strided
                or not (t.dtype.is_complex if declared.is_complex else t.dtype.is_floating_point)
                or (device is not None and t.device != device)
            ):
                t = self._checked(name, t, declared, device)
            if device is None:
                device = t.device
            dtypes.add(t.dtype)
            found.append(t)
        return tuple(found), dtypes

    def _checked(self, name: str, value: Any, declared: _Declared, device: torch.device | None) -> Tensor:
        """A param or const that is not all that was expected of it, or that something must be made of. Raises TypeError or ValueError, with
        its name, for none at all, another shape, a complex one where it is real, another device than that of the first."""
        _check_dense(name, value)
        if tuple(value.shape) != declared.sizes:
            raise ValueError(f"{name}: expected [{', '.join(_shown(declared.shape))}], got {list(value.shape)}")
        if value.is_complex() and not declared.is_complex:
            raise TypeError(f"{name}: expected real values, got {value.dtype}")
        if device is not None and value.device != device:
            raise ValueError(f"{name}: expected on {device} as {next(iter(self._tensors))}, got {value.device}")
        if not value.is_floating_point() and not value.is_complex():  # whole numbers do not say how finely to compute
            value = value.to(torch.get_default_dtype())
        return value.to(complex_of(value.dtype)) if declared.is_complex else value

    def _own_dtype(self) -> torch.dtype:
        """The widest of params and consts."""
        _, dtypes = self._held()
        return _widest([real_of(d) for d in dtypes]) if dtypes else self._kind["dtype"]

    def _own_device(self) -> torch.device:
        held, _ = self._held()
        return held[0].device if held else self._kind["device"]

    def _begin(self, inputs: tuple[Tensor, ...]) -> tuple[dict[str, Any], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What a call computes in, params and consts in declared order, and the inputs, all in that dtype: at least float32, and as wide as any
        of them. Raises ValueError where they are not on one device, and what `_held` does."""
        held, dtypes = self._held()
        own = [real_of(d) for d in dtypes] if dtypes else [self._kind["dtype"]]
        dtype = _widest([torch.float32, *own, *(real_of(x.dtype) for x in inputs)])
        wide = complex_of(dtype)
        device = held[0].device if held else inputs[0].device if inputs else self._kind["device"]
        cast = []
        for x, (name, _, is_complex) in zip(inputs, self._inputs, strict=False):
            if x.device != device:
                raise ValueError(f"{name}: expected on {device} as {'the layer' if held else self._inputs[0][0]}, got {x.device}")
            cast.append(_cast(x, wide if is_complex else dtype))
        if self._bounds:
            held = tuple(self._bounds[n].value(t, dtype) if n in self._bounds else t for n, t in zip(self._tensors, held, strict=True))
        if not dtypes <= {dtype, wide}:
            held = tuple(_cast(t, wide if t.is_complex() else dtype) for t in held)
        return {"dtype": dtype, "device": device}, held, tuple(cast)

    def _carried(self, state: Any, initial: tuple[Tensor, ...], batch: int, kind: dict) -> tuple[Tensor, ...]:
        """What the first step sees: the state given, or the initial values."""
        if state is None:
            return tuple(i.expand(batch, *i.shape) for i in initial)
        return self._check_state(state, batch, kind)

    # Checks of arguments

    def _check_inputs(self, inputs: tuple, lead_names: tuple[str, ...]) -> tuple:
        names = ", ".join(n for n, _, _ in self._inputs)
        if len(inputs) != len(self._inputs):
            raise TypeError(
                f"expected {len(self._inputs)} input{'s' * (len(self._inputs) != 1)} ({names}), got {len(inputs)}"
            )
        lead: tuple[int, ...] | None = None
        for x, (name, shape, is_complex) in zip(inputs, self._inputs, strict=True):
            _check_dense(name, x)
            n = len(lead_names)
            fits = x.dim() == n + len(shape) and all(a == int(b) for a, b in zip(x.shape[n:], shape, strict=True))
            if not fits or (lead is not None and tuple(x.shape[:n]) != lead):
                known = lead_names if lead is None else [f"{k}={v}" for k, v in zip(lead_names, lead, strict=True)]
                raise ValueError(f"{name}: expected [{', '.join([*known, *_shown(shape)])}], got {list(x.shape)}")
            if x.is_complex() and not is_complex:
                raise TypeError(f"{name}: expected real values, got {x.dtype}")
            if not x.is_floating_point() and not x.is_complex():
                raise TypeError(f"{name}: expected floating-point values, got {x.dtype}; convert with {name}.float()")
            lead = tuple(x.shape[:n])
        assert lead is not None
        return lead

    def _check_reset(self, reset: Any, lead: tuple[int, int], device: torch.device) -> None:
        if not isinstance(reset, Tensor) or reset.dtype != torch.bool:
            raise TypeError(
                f"reset: expected a bool tensor, got {reset.dtype if isinstance(reset, Tensor) else type(reset).__name__}"
            )
        _check_dense("reset", reset)
        if tuple(reset.shape) != lead:
            raise ValueError(f"reset: expected [B={lead[0]}, T={lead[1]}], got {list(reset.shape)}")
        if reset.device != device:
            raise ValueError(f"reset: expected on {device} as the inputs, got {reset.device}")

    def _check_state(self, state: Any, batch: int, kind: dict) -> tuple[Tensor, ...]:
        names = ", ".join(n for n, _, _ in self._fields)
        if not isinstance(state, tuple | list):
            raise TypeError(f"state: expected {self.State.__name__}({names}), got {type(state).__name__}")
        if len(state) != len(self._fields):
            raise ValueError(f"state: expected {len(self._fields)} fields ({names}), got {len(state)}")
        dtypes = {"real": kind["dtype"], "complex": complex_of(kind["dtype"]), "int": torch.int64}
        checked = []
        for v, (name, shape, number) in zip(state, self._fields, strict=True):
            _check_dense(f"state.{name}", v)
            if tuple(v.shape) != (batch, *(int(s) for s in shape)):
                raise ValueError(
                    f"state.{name}: expected [{', '.join([f'B={batch}', *_shown(shape)])}], got {list(v.shape)}"
                )
            if v.dtype is not dtypes[number] and not _is_narrower(v.dtype, dtypes[number]):
                hint = "; a step number is counted in whole numbers" if number == "int" else ""
                raise TypeError(f"state.{name}: expected {dtypes[number]}, got {v.dtype}{hint}")
            if v.device != kind["device"]:
                raise ValueError(f"state.{name}: expected on {kind['device']} as the inputs, got {v.device}")
            checked.append(_cast(v, dtypes[number]))
        return tuple(checked)

    # torch.nn.Module's machinery

    def _apply(self, fn: Any, recurse: bool = True) -> "Layer":
        """Moves and casts; a complex tensor is cast as its pair of real ones, so that `.double()` keeps it complex."""

        def apply(t: Tensor) -> Tensor:
            if not t.is_complex():
                return fn(t)
            pair = fn(torch.view_as_real(t))
            return torch.view_as_complex((pair.float() if pair.dtype in _HALF else pair).contiguous())

        if not self._tensors:  # nothing else tells where it went, and in which dtype
            probe = fn(torch.empty(0, **self._kind))
            self._kind = {"dtype": probe.dtype, "device": probe.device}
        return super()._apply(apply, recurse)

    def __setstate__(self, state: dict) -> None:
        known = {"_bounds": {}} | state  # pickles of earlier versions have no bounds, and of params and consts the shapes alone
        held = {**state["_parameters"], **state["_buffers"]}
        known["_tensors"] = {n: d if isinstance(d, _Declared) else _Declared(d, tuple(map(int, d)), held[n].is_complex()) for n, d in state["_tensors"].items()}
        super().__setstate__(known)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *further: Any) -> None:
        """Takes checkpoints of earlier versions too, which stored a constrained param `tau` as `parametrizations.tau.original`."""
        for name, raw in self._raw.items():
            earlier = f"{prefix}parametrizations.{name}.original"
            if earlier in state_dict:
                state_dict[prefix + raw] = state_dict.pop(earlier)
        super()._load_from_state_dict(state_dict, prefix, *further)


def _constrained(name: str) -> property:
    """The attribute of a constrained param: it reads and takes the constrained value. What is trained is `raw_` and its name."""

    def read(layer: Layer) -> Tensor:
        stored = getattr(layer, layer._raw[name])
        return layer._bounds[name].value(stored, stored.dtype)

    def write(layer: Layer, value: Any) -> None:
        raw = layer._raw[name]
        stored = getattr(layer, raw)
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        if value.shape != stored.shape:
            raise ValueError(f"{name}: expected [{', '.join(_shown(layer._tensors[name].shape))}], got {list(value.shape)}")
        if value.is_complex():
            raise TypeError(f"{name}: expected real values, got {value.dtype}")
        with torch.no_grad():
            wanted = layer._stored(name, value, stored.dtype, "the value")
            if isinstance(stored, nn.Parameter):
                stored.copy_(wanted)
            else:  # made of something else, by a parametrization of torch's
                setattr(layer, raw, wanted.to(stored.device))

    return property(read, write)


def _rebuilt(
    cls: type, sizes: dict, hypers: dict, settings: dict, further: dict, values: dict, training: bool, frozen: list[str]
) -> Layer:
    """A layer with constrained params, as earlier versions pickled it."""
    layer = cls(**sizes, **hypers, **settings)
    layer.tiles, layer.recompute = further["tiles"], further["recompute"]
    layer.load_state_dict(values)
    earlier = {raw: f"parametrizations.{name}.original" for name, raw in layer._raw.items()}
    for name, param in layer.named_parameters():
        param.requires_grad_(earlier.get(name, name) not in frozen)
    return layer.train(training)
