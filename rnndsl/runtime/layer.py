"""The base of every generated class: construction, calls and steps."""

import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import _register_namedtuple
from torch.utils.checkpoint import checkpoint

from rnndsl.runtime.arguments import (
    check_guess,
    check_inputs,
    check_reset,
    check_state,
    dtypes_of_fields,
    parted,
    sized_in_traces,
    with_hints,
)
from rnndsl.runtime.backend import BACKENDS, Results
from rnndsl.runtime.call import Call
from rnndsl.runtime.choice import (
    backend_for,
    check_backend,
    check_schedule,
    check_tiles,
    reference_wanted,
    say_schedule,
)
from rnndsl.runtime.dtypes import (
    HALF,
    cast_to,
    complex_of,
    dtype_of_products,
    real_of,
    widened,
    widest_dtype,
    without_autocast,
)
from rnndsl.runtime.ops import fill
from rnndsl.runtime.params import ParamModule, _Declared, constrained_param, header_value  # noqa: F401, earlier pickles name `_Declared` here
from rnndsl.runtime.seen import Seen, is_alone, looks
from rnndsl.runtime.sharded import over_ranks, planned, scanned, shards_of
from rnndsl.runtime.sizes import Size  # noqa: F401, and this
from rnndsl.runtime.traced import with_own_code


class Begun(NamedTuple):
    """What a call begins with. kind: the dtype that it computes in, and the device; products: the dtype of its products of params and sequences;
    values: params and consts; inputs: half ones as they came, if float32 is computed in. All others are in the dtype of `kind`."""

    kind: dict[str, Any]
    products: torch.dtype
    values: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]


class Layer(ParamModule):
    """A recurrent cell over whole sequences. Subclasses are generated; they fill in `_declare`, `_initial` and `_run`."""

    State: ClassVar[Any]  # the named tuple of carried values
    Output: ClassVar[Any] = None  # the named tuple of outputs, where there are several
    # a traced call asks the class for these, not the layer: PyTorch 2.6 exports no module whose class has a dict that is read through it
    _states: ClassVar[dict[str, tuple[str, ...]]] = {}  # of each recurrence, the fields of `State` that it solves for
    _found: ClassVar[dict[str, tuple[str, str, int]]] = {}  # and its family, structure and slots
    _kernels: ClassVar[dict[str, Any]] = {}  # what backends run it by; `bind_kernels` puts it there
    _program: ClassVar[Any] = None  # see `program.Program`; `bind_program` puts it there
    _forward: ClassVar[Any] = None  # what `forward` is, where nobody has another
    _seen: Seen | None = None  # of the last step; no part of copies

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Gives a generated class its attributes, and makes its named tuples known to what reads programs and checkpoints."""
        super().__init_subclass__(**keywords)
        own = cls.__dict__
        for name in own.get("_header", ()):
            setattr(cls, name, header_value(name))
        for name in own.get("_raw", ()):
            setattr(cls, name, constrained_param(name))
        if "_declare" in own and "__init__" in own:
            cls.__init__ = with_hints(own["__init__"])  # type: ignore[method-assign]
            cls.forward, cls.step = with_own_code(Layer.forward), with_own_code(Layer.step)  # type: ignore[method-assign]
            cls._forward = staticmethod(cls.forward)
        for fields in filter(None, (own.get("State"), own.get("Output"))):
            _register_namedtuple(fields, serialized_type_name=f"{fields.__module__}.{fields.__qualname__}")  # for torch.export.save
            torch.serialization.add_safe_globals([fields])  # for torch.load

    # Construction

    def _setup(self, sizes: dict, hypers: dict, device: Any, dtype: Any, backend: str, schedule: str, order: tuple[str, ...] = ()) -> None:
        """What a constructor does. order: of the header, where sizes do not come first. Raises TypeError or ValueError for a size or
        hyperparameter that cannot be."""
        self._begun(sizes, hypers, device, dtype, order)
        self._reports: dict[str, tuple[str, Any]] = {}  # of the last call's recurrences: the backend, and what tells how it solved them
        self.tiles = None
        self.recompute = False  # whether the backward pass computes the forward pass again instead of keeping its streams and states
        self.backend = backend
        self.schedule = schedule

    def _begun(self, sizes: dict, hypers: dict, device: Any, dtype: Any, order: tuple[str, ...]) -> None:
        """Inputs, fields, params and consts of the header's values, as `_setup` takes them."""
        header = self._hold(sizes, hypers, device, dtype)
        self._order = order or tuple(header)
        self._inputs: list[tuple[str, tuple[int, ...], bool]] = []
        self._fields: list[tuple[str, tuple[int, ...], str]] = []
        self._written: dict[str, tuple[int, ...]] = {}  # axes of inputs and fields as the cell writes them, for messages
        self._declare(self._kind, *(header[n] for n in self._order))

    def _declare(self, kind: dict, *header: Any) -> None:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draws the params anew, in place, as the constructor draws them. Consts whose value the cell declares get it again; those that are the
        user's to set stay as they are."""
        generated = next(c for c in type(self).__mro__ if "_declare" in c.__dict__)  # torch's parametrizations make subclasses
        drawn: Layer = object.__new__(generated)
        drawn._begun(self._sizes, self._hypers, self._own_device(), self._own_dtype(), self._order)
        self._take(drawn)

    def _input(self, name: str, shape: tuple[int, ...], is_complex: bool = False) -> None:
        self._inputs.append((name, self._axes(name, shape), is_complex))

    def _field(self, name: str, shape: tuple[int, ...], number: str = "real") -> None:
        """One field of the state tuple; number: real, complex or int."""
        self._fields.append((name, self._axes(name, shape), number))

    def _axes(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Axes in whole numbers, since the tracers of PyTorch 2.6 cannot read a `Size`; as the cell writes them they are kept for messages alone."""
        self._require_positive(name, shape)
        self._written[name] = shape
        return tuple(map(int, shape))

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.tiles = self._tiles
        if "_written" not in state:  # pickles of earlier versions have axes as they are written alone
            self._written = {}
            self._inputs, self._fields = [(n, self._axes(n, s), k) for n, s, k in self._inputs], [(n, self._axes(n, s), k) for n, s, k in self._fields]

    # Backend and schedule

    @property
    def backend(self) -> str:
        """`auto`, `reference` (the plan in plain PyTorch), `cpu`, `triton`, or another that was registered."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        check_backend(type(self), value)
        self._backend = value

    @property
    def schedule(self) -> str:
        """`auto`, `sequential`, `newton` or `chunked`."""
        return self._schedule

    @schedule.setter
    def schedule(self, value: str) -> None:
        check_schedule(value)
        self._schedule = value

    @property
    def tiles(self) -> Mapping[str, int] | None:
        """How the Triton backend cuts its kernels, as far as it is not left to choose: `warps`, and, where channels do not meet inside a step, any of
        `channels` of a program, `ahead` (steps on their way in a sequential kernel), `lanes` and `lane_steps` (of a parallel one; with `lane_steps` 1 the
        newton schedule is Newton's method in its plain form); else `rows` of a program, how many programs compute a row's steps `together`, whether a
        step is a row of `stages`, and how many steps a `graph` of them has. Raises TypeError or ValueError for what no kernel can be cut by."""
        return MappingProxyType(self._tiles) if self._tiles else None  # what is changed in place would not be seen

    @tiles.setter
    def tiles(self, value: Mapping[str, int] | None) -> None:
        check_tiles(value or {})
        self._tiles = dict(value) if value else None
        self._tiles_text = ",".join(f"{n}={v}" for n, v in (value or {}).items())

    def plan_for(self, *inputs: Tensor, ranks: int = 1) -> tuple[Any, ...]:
        """What would run each recurrence for these inputs, [B, T, ...] each, and why: a tuple of plans, in the order in which they are solved.
        `print` shows one in words. ranks: how many share the time, each with inputs as these. Raises what `forward` does for inputs that do not fit."""
        batch, steps = check_inputs(inputs, self._inputs, ("B", "T"), self._written)
        kind, products, _, _ = self._begin(inputs)
        plans = []
        for name in self._states:
            plan = backend_for(self, name, kind["device"], (batch, steps)).plan_for(self, name, batch, steps, {**kind, "products": products})
            family, structure, slots = self._found[name]
            over = "" if ranks == 1 else planned(self, name, batch, ranks, kind["dtype"])
            plans.append(replace(plan, family=family, structure=structure, slots=slots, ranks=over))
        return tuple(plans)

    def solve_report(self) -> tuple[Any, ...]:
        """How each recurrence of the last call was solved on the backends `triton` and `torch`: rounds, residual, and chunks of time that were run
        step by step. Empty after a call that was not run there, or that was compiled by torch.compile. Waits for the GPU."""
        return tuple(report for backend in BACKENDS.values() for report in backend.report(self))

    # Calls

    def forward(
        self, *inputs: Any, state: Any = None, reset: Tensor | None = None, guess: Any = None, all_states: bool = False, group: Any = None
    ) -> tuple[Any, ...]:
        """Runs the cell over a sequence.

        inputs: [B, T, ...] each, in declared order. state: what an earlier call returned, by name or behind the inputs; the initial state if None.
        reset: bool [B, T]; where true, the state restarts at its initial value before that step.
        guess: what states of all steps may be, [B, T, ...] by name, from which Newton's method starts; the results do not
        depend on it. all_states: whether to return the state after every step too, each field [B, T, ...] by name, as `guess` takes them.
        group: ranks over which time is divided, each with its own part of it: a process group, one axis of a DeviceMesh, or `rnndsl.Shards`.
        Returns (output, state): a tensor [B, T, ...], or a named tuple of them where the cell has several outputs. Or (output, state, states).
        Raises TypeError or ValueError, in the cell's own words, for arguments that do not fit.
        """
        shards = shards_of(self, group)
        named = {"state": state, "reset": reset, "guess": guess, "all_states": all_states}
        return self._called(inputs, **named) if shards is None else over_ranks(self, shards, inputs, **named)

    def _called(self, inputs: tuple, state: Any, reset: Tensor | None, guess: Any, all_states: bool, over: Any = None) -> tuple[Any, ...]:
        """What `forward` does. over: what runs it over ranks, if it is to."""
        inputs, state = parted(inputs, state, self._inputs)
        lead = check_inputs(inputs, self._inputs, ("B", "T"), self._written)
        if not torch.compiler.is_compiling() and torch.jit.is_tracing():
            inputs = tuple(sized_in_traces(x, 2, shape) for x, (_, shape, _) in zip(inputs, self._inputs, strict=True))
        if reset is not None:
            check_reset(reset, lead, ("B", "T"), inputs[0].device)
        kind, products, values, read = begun = self._begin(inputs)
        with without_autocast(kind["device"]):  # whose part in a call is the dtype of its products
            given = None if state is None else self._carried(state, (), lead[0], kind)
            guessed = {} if guess is None else check_guess(guess, self._fields, self._solved_for(), self._written, lead, kind)
            enter: Callable[[tuple], tuple] = tuple
            if over is not None:
                values, enter = over.begun(self, lead, begun, (*inputs, *(given or ())), all_states), over.carried
            initial = self._initial_values(values, kind)
            carried = self._carried(None, initial, lead[0], kind) if given is None else given
            if self.recompute and torch.is_grad_enabled():
                outputs, fields, states = self._recomputed((values, read, carried, initial), enter, reset, lead, kind, products, guessed, all_states)
            else:
                outputs, fields, states = self._run(values, read, enter(carried), initial, reset, lead, kind, products, guessed, all_states)
        every = {name: s.clone(memory_format=torch.contiguous_format) for name, s in states().items()} if all_states else {}
        if over is not None:
            outputs, fields, every = over.left(outputs, fields, every)
        found = self._packed(outputs, inputs), None if fields is None else self.State(*fields)
        return (*found, {name: every[name] for name in self.State._fields}) if all_states else found

    def step(self, *inputs_and_state: Any, state: Any = None) -> tuple[Any, Any]:
        """One step: `step(*inputs, state)`, inputs [B, ...] each. It is a call of the layer on a sequence of one step, with all that a call
        does: the numbers of `forward`, hooks (which see [B, 1, ...]), autocast.

        Returns (output, state), outputs [B, ...]. The state may be given by position or by name; None is the initial state. Raises ValueError within
        `context_parallel`: a step is not divided over ranks.
        """
        if shards_of(self, None) is not None:
            raise ValueError("step: it runs in one process; call it outside of context_parallel")
        inputs, state = parted(inputs_and_state, state, self._inputs)
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            made = self._step_again(inputs, state) or self._step_by_kernel(inputs, state)
            if made is not None:
                return made
        check_inputs(inputs, self._inputs, ("B",), self._written)
        y, state = self(*(x.unsqueeze(1) for x in inputs), state=state)
        return (y.squeeze(1) if self.Output is None else self.Output(*(o.squeeze(1) for o in y))), state

    def _step_by_kernel(self, inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any] | None:
        """A step in one call of a kernel, where there is one and nothing has a part in calls. No gradient must be asked for."""
        (batch,) = check_inputs(inputs, self._inputs, ("B",), self._written)
        backend = backend_for(self, next(iter(type(self)._states), ""), inputs[0].device, (batch, 1))
        if not backend.has_step or not is_alone(self, inputs[0].device):
            return None
        kind, products, values, read = self._begin(inputs)
        if products != kind["dtype"]:  # a kernel has one dtype for all
            return None
        read = tuple(widened(x, products) for x in read)
        carried = self._carried(state, self._initial_values(values, kind) if state is None else (), batch, kind)
        found = backend.step(self, read, values, carried, kind["dtype"])
        if found is None:
            return None
        if found.again is not None and state is not None and all(map(operator.is_, (*read, *carried), (*inputs, *state))):
            self._see(inputs, state, kind["dtype"], found.again)
        return self._packed(found.outputs, inputs), self.State(*found.state)

    def _see(self, inputs: tuple[Tensor, ...], state: Sequence[Tensor], dtype: torch.dtype, again: Any) -> None:
        """Remembers how a step was made, if nothing had to be made of what is stored but the values of constrained params."""
        stored = self._as_stored()
        if stored is not None and all(t.dtype == dtype for t in stored):
            self._seen = Seen(self._settings(), looks((*inputs, *stored, *state)), again)

    def _step_again(self, inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any] | None:
        """A step that the last one by a kernel is like, but for the values of its tensors; nothing is checked again but that."""
        seen = self._seen
        if seen is None or not isinstance(state, (tuple, list)):
            return None
        try:
            stored = self._as_stored()
            if stored is None or seen.looks != looks((*inputs, *stored, *state)) or seen.settings != self._settings() or not is_alone(self, inputs[0].device):
                return None
        except (RuntimeError, AttributeError, TypeError):  # what is wrong is said by those who check
            return None
        outputs, after = seen.again(inputs, self._valued(stored, inputs[0].dtype) if self._bounds else stored, state)
        return (outputs[0] if self.Output is None else self.Output(*outputs)), self.State(*after)

    def _settings(self) -> tuple[Any, ...]:
        """What decides, beside tensors, how a step is made."""
        return (self._backend, self._schedule, self._tiles and dict(self._tiles), self._backend == "auto" and reference_wanted(), *BACKENDS.values())

    def initial_state(self, batch_size: int) -> Any:
        """The state that `forward` starts from: a named tuple of [batch_size, ...], each in memory of its own."""
        if not isinstance(batch_size, torch.SymInt):  # as it is while torch.export looks on
            if isinstance(batch_size, bool) or not isinstance(batch_size, numbers.Integral) or int(batch_size) < 0:
                raise ValueError(f"batch_size: expected a whole number, got {batch_size!r}")
            batch_size = int(batch_size)
        kind, _, values, _ = self._begin(())
        carried = self._carried(None, self._initial_values(values, kind), batch_size, kind)
        return self.State(*(c.clone(memory_format=torch.contiguous_format) for c in carried))

    def __prepare_scriptable__(self) -> Any:
        """What torch.jit.script asks first. Raises TypeError: it takes no function of any number of inputs."""
        raise TypeError(f"{type(self).__name__}: torch.jit.script cannot read it; torch.export.export takes it, with any batch and number of steps")

    def extra_repr(self) -> str:
        header = [f"{n}={v}" for n, v in self._sizes.items()] + [f"{n}={v:g}" for n, v in self._hypers.items()]
        return ", ".join(header)

    # What a call is made of

    def _solved_for(self) -> list[tuple[str, tuple[int, ...], str]]:
        """The fields of the state that recurrences solve for."""
        return [field for field in self._fields if any(field[0] in states for states in self._states.values())]

    def _recomputed(
        self, groups: tuple[tuple[Tensor, ...], ...], enter: Callable[[tuple], tuple], reset: Tensor | None, lead: tuple, kind: dict, products: torch.dtype,
        guess: dict[str, Tensor], all_states: bool,
    ) -> tuple[tuple, tuple, Callable[[], dict[str, Tensor]]]:  # fmt: skip
        """`_run`, of whose streams and states nothing is kept for the backward pass. groups: its first four arguments; enter: what makes the third of it."""

        def run(reset: Tensor | None, *flat: Tensor) -> tuple[tuple, tuple, dict[str, Tensor]]:
            left = iter(flat)
            values, read, carried, initial = (tuple(next(left) for _ in g) for g in groups)
            outputs, fields, states = self._run(values, read, enter(carried), initial, reset, lead, kind, products, guess, all_states)
            return outputs, fields, states() if all_states else {}

        # tensors one by one: of those in a tuple it would not notice that they were changed
        outputs, fields, states = checkpoint(run, reset, *(t for g in groups for t in g), use_reentrant=False)
        return outputs, fields, lambda: states

    def _scan(self, name: str, call: Call, kind: dict) -> Results:
        """Runs the recurrence called `name` on the backend of the layer, and what follows it entry by entry. Returns what `Backend.run` does."""
        if not isinstance(call.first[0], Tensor):  # the rank before has it
            return scanned(self, name, call, kind)
        backend = backend_for(self, name, kind["device"], (call.first[0].shape[0], call.steps))
        if self._schedule in ("newton", "chunked") and self._schedule not in backend.schedules:
            say_schedule(type(self), name, "sequentially", f"{backend.name!r} has no {self._schedule} for it")
        if not torch.compiler.is_compiling():
            self._reports.pop(name, None)
        sequences, finals, follows = backend.run(self, name, call, kind)
        return sequences, finals, follows or self._follow(name, call, sequences, kind)

    def _follow(self, name: str, call: Call, sequences: tuple[Tensor, ...], kind: dict) -> tuple[Tensor, ...]:
        """What follows a recurrence entry by entry, in plain PyTorch."""
        if call.further is None:
            return ()
        count, (further, statics) = len(type(self)._states[name]), call.further
        given, streams = ([widened(s, kind["dtype"]) for s in group] for group in (call.streams, further))
        begins = (*call.first[:count], *call.initial[:count])
        return getattr(self, f"_exit_{name}")(kind, call.reset, *sequences, *begins, *given, *call.statics, *streams, *statics)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_seen"} | {"_reports": {}}

    def _packed(self, outputs: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> Any:
        """Outputs as they are returned; narrow ones where all inputs are."""
        if all(x.dtype in HALF for x in inputs):
            narrow = widest_dtype([x.dtype for x in inputs])
            outputs = tuple(o if o.is_complex() else o.to(narrow) for o in outputs)
        return outputs[0] if self.Output is None else self.Output(*outputs)

    def _initial(self, params: tuple[Tensor, ...], kind: dict) -> tuple:
        raise NotImplementedError

    def _run(
        self, params: tuple, inputs: tuple, state: tuple, initial: tuple, reset: Any, lead: tuple, kind: dict, products: torch.dtype,
        guess: dict[str, Tensor], all_states: bool,
    ) -> tuple[tuple, tuple, Callable[[], dict[str, Tensor]]]:  # fmt: skip
        """A call: outputs, the state that is left, and what makes the fields of the state after every step, [B, T, ...] by name, if `all_states`."""
        raise NotImplementedError

    def _initial_values(self, values: tuple[Tensor, ...], kind: dict) -> tuple[Tensor, ...]:
        dtypes = dtypes_of_fields(kind["dtype"])
        given = zip(self._initial(values, kind), self._fields, strict=True)
        return tuple(fill(v, shape, dtypes[number], kind["device"]) for v, (_, shape, number) in given)

    def _begin(self, inputs: tuple[Tensor, ...]) -> Begun:
        """What a call begins with; it computes in a dtype of at least float32, and as wide as any of params, consts and inputs. Raises ValueError where they
        are not on one device, and what `_held` does."""
        held, dtypes = self._held()
        own = [real_of(d) for d in dtypes] if dtypes else [self._kind["dtype"]]
        dtype = widest_dtype([torch.float32, *own, *(real_of(x.dtype) for x in inputs)])
        wide = complex_of(dtype)
        device = held[0].device if held else inputs[0].device if inputs else self._kind["device"]
        read = []
        for x, (name, _, is_complex) in zip(inputs, self._inputs[: len(inputs)], strict=True):
            if x.device != device:
                raise ValueError(f"{name}: expected on {device} as {'the layer' if held else self._inputs[0][0]}, got {x.device}")
            is_kept = x.dtype in HALF and dtype == torch.float32 and not is_complex
            read.append(x if is_kept else cast_to(x, wide if is_complex else dtype))
        if self._bounds:
            held = self._valued(held, dtype)
        if not dtypes <= {dtype, wide}:
            held = tuple(cast_to(t, wide if t.is_complex() else dtype) for t in held)
        products = dtype_of_products(dtype, [x.dtype for x in inputs], dtypes, device)
        return Begun({"dtype": dtype, "device": device}, products, held, tuple(read))

    def _carried(self, state: Any, initial: tuple[Tensor, ...], batch: int, kind: dict) -> tuple[Tensor, ...]:
        """What the first step sees: the state given, or the initial values."""
        if state is None:
            return tuple(i.expand(batch, *i.shape) for i in initial)
        given = check_state(state, self.State.__name__, self._fields, self._written, batch, kind)
        if not torch.compiler.is_compiling() and torch.jit.is_tracing():
            given = tuple(sized_in_traces(s, 1, shape) for s, (_, shape, _) in zip(given, self._fields, strict=True))
        return given


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
