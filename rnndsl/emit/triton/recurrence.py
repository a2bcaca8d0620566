"""A recurrence whose channels do not meet -> what the templates need of it."""

from collections.abc import Mapping, Sequence

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.bounds import Bounds
from rnndsl.calculus.family import AFFINE
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.part import tuple_text
from rnndsl.emit.step_form import form
from rnndsl.emit.triton import matrix
from rnndsl.emit.triton.function import Function
from rnndsl.emit.triton.matrix import Matrices, Semiring, pattern_of
from rnndsl.emit.triton.records import AccessText, ArrayText, FollowText, FunctionText, RecurrenceText, SlotText
from rnndsl.emit.triton.text import bracketed, dim, factor, times
from rnndsl.emit.triton.uniform import Constants
from rnndsl.kernel.channel_kernel import ChannelKernel
from rnndsl.kernel.channels import Access, Channel
from rnndsl.kernel.graph import Node
from rnndsl.kernel.linear import Exact, Matrix
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan


class _Functions:
    """The functions of a recurrence, written one behind the other, and the names that they share. Raises Unsupported."""

    def __init__(self, component: Component, kernel: ChannelKernel, source: Source, names: KernelNames, constants: Constants, name: str):
        channel = kernel.channel
        self.kernel, self.channel, self.name = kernel, channel, name
        self.source, self.names, self.constants = source, names, constants
        self.inner = names.child()
        self.reads = [self.inner(("access", i), _wanted_name(channel, kernel.step, i)) for i in range(len(channel.accesses))]
        self.slots = _slots(component.bounds, channel, self.inner)
        self.back = [self.inner(("d", s.index), f"d_{s.name}") for s in self.slots]
        self.outs = [self.inner(("follow", i), array.label) for i, (array, _) in enumerate(channel.follows)]
        self.outs_back = [self.inner(("d_follow", i), f"d_{name}") for i, name in enumerate(self.outs)]
        self.order = [*channel.numbered("stream"), *channel.numbered("static")]
        self.parameters = [*(s.old for s in self.slots), *(self.reads[i] for i in self.order)]
        self.zero = channel.builder.number(0.0)
        self.follows = [FollowText(i, n, ()) for i, n in enumerate(self.outs)]
        self.functions: list[FunctionText] = []
        self.matrices: list[FunctionText] = []
        self._step()
        if kernel.exact is not None:
            self._exact(kernel.exact)
        elif kernel.newton is not None:
            self._linear(kernel.newton)
        if kernel.back is not None:
            self._slopes(kernel.back)
        self._pullback()

    def _leaf(self, node: Node) -> str:
        index = node.leaf.index
        if node.op == "old":
            return self.slots[index].old
        if node.op == "follow_gradient":
            return self.outs_back[index]
        return self.back[index] if node.op == "carry_gradient" else self.reads[index]

    def _add(self, kind: str, doc: str, groups: Sequence[Sequence[int]], extra: Sequence[str] = (), called: Mapping[int, str] | None = None) -> None:
        parameters = [*self.parameters, *extra]
        f = Function(self.channel, self._leaf, self.names.inside(parameters), self.constants, self.source, self.slots[0].old, called or {})
        self.functions.append(FunctionText(f"{self.name}_{kind}", doc, parameters, f.lines(groups)))

    def _step(self) -> None:
        made = [n for _, n in self.channel.follows]
        self._add("step", f"One step: the new values of what is carried{', and what follows' if made else ''}.", [self.channel.updates, made])

    def _exact(self, exact: Exact) -> None:
        name = self.name
        bottom = self.zero if exact.family == AFFINE else self.channel.builder.number(float("-inf"))
        forward = Matrices(len(self.slots), Semiring(exact.family), pattern_of(exact.a))
        entries = [_or(exact.a[i][j], bottom) for i, j in forward.entries]
        self._add("coefficients", f"A step as a map, {exact.family}: its matrix, and what is added.", [entries, [_or(n, bottom) for n in exact.b]])
        self.matrices += [matrix.compose(f"{name}_compose", forward), matrix.scan(f"{name}_scan", f"{name}_compose"), matrix.apply(f"{name}_apply", forward)]

    def _linear(self, newton: Matrix) -> None:
        name = self.name
        forward = Matrices(len(self.slots), Semiring(AFFINE), pattern_of(newton))
        entries = [_or(newton[i][j], self.zero) for i, j in forward.entries]
        called = _derivatives([s.name for s in self.slots], self.slots, newton)
        self._add("linear", "One step, and the derivatives of the new values in the old.", [self.channel.updates, entries], called=called)
        self.matrices += [matrix.compose(f"{name}_compose", forward), matrix.scan(f"{name}_scan", f"{name}_compose"), matrix.product(f"{name}_product", forward)]

    def _slopes(self, back: Matrix) -> None:
        name, slots, rows = self.name, self.slots, self.kernel.follow_slopes
        backward = Matrices(len(slots), Semiring(AFFINE), pattern_of(back)).transposed
        entries = [_or(back[j][i], self.zero) for i, j in backward.entries]
        self.follows = [FollowText(i, n, tuple(j for j, e in enumerate(row) if e is not None)) for i, (n, row) in enumerate(zip(self.outs, rows, strict=True))]
        doc = f"The derivatives of a step's new values in the old, transposed{', and of what follows' if self.outs else ''}."
        called = _derivatives([s.name for s in slots], slots, back) | _derivatives(self.outs, slots, rows)
        self._add("slopes", doc, [entries, [e for row in rows for e in row if e is not None]], called=called)
        self.matrices += [
            matrix.compose(f"{name}_compose_back", backward),
            matrix.scan(f"{name}_scan_back", f"{name}_compose_back", reverse=True),
            matrix.apply(f"{name}_apply_back", backward),
            matrix.seeded(f"{name}_seeded", backward, [s.index for s in slots if s.is_kept], self.follows),
            matrix.shift(f"{name}_shift", len(slots)),
            matrix.shifted(f"{name}_shifted", f"{name}_shift"),
        ]

    def _pullback(self) -> None:
        gradients = self.kernel.pullback
        results = [[_or(n, self.zero) for n in gradients.slots]]
        results += [[n for i in self.channel.numbered(kind) if (n := gradients.accesses[i]) is not None] for kind in ("stream", "static")]
        called = {n: f"d_{self.slots[i].old}" for i, n in enumerate(gradients.slots) if n is not None}
        called |= {n: f"d_{self.reads[i]}" for i in reversed(self.order) if (n := gradients.accesses[i]) is not None}
        doc = "A step backwards: gradients of what is carried, of streams and of statics."
        self._add("pullback", doc, results, [*self.back, *self.outs_back], called)


def recurrence_text(
    plan: Plan, component: Component, kernel: ChannelKernel, source: Source, names: KernelNames, constants: Constants, label: str, name: str
) -> RecurrenceText:
    """The text of one recurrence; its functions begin with `name`. Raises Unsupported."""
    recurrence, step, channel, gradients = kernel.recurrence, kernel.step, kernel.channel, kernel.pullback
    written = _Functions(component, kernel, source, names, constants, name)
    sizes = {n: names(n) for n in plan.cell.sizes}
    values = {n: f"{names(n)}.value" for n in plan.cell.sizes}
    arrays = {kind: _arrays(channel, step, kind, written.inner) for kind in ("stream", "static")}
    accesses = {
        kind: [
            _access(channel, i, written.reads[i], arrays[kind], gradients.accesses[i] is not None, sizes, values)
            for i in channel.numbered(kind)
        ]
        for kind in ("stream", "static")
    }
    axes = sorted({axis for a in channel.accesses for axis, _ in a.strides})
    axes_back = sorted({axis for a in accesses["stream"] if a.has_gradient and a.is_direct for axis in a.axes})
    return RecurrenceText(
        label=label,
        name=name,
        title=", ".join(recurrence.scan.states),
        family=component.family,
        zero=Semiring(AFFINE if kernel.exact is None else kernel.exact.family).zero,
        grid=[factor(dim(d, values)) for d in channel.grid],
        positions=positions_of(channel, axes, sizes),
        positions_back=positions_of(channel, axes_back, sizes),
        slots=written.slots,
        follows=written.follows,
        own=(len(recurrence.streams) + len(recurrence.products), len(recurrence.statics)),
        follow_forms=form(tuple(array for array, _ in channel.follows)),
        stream_arrays=arrays["stream"],
        static_arrays=arrays["static"],
        streams=accesses["stream"],
        statics=accesses["static"],
        functions=[*written.functions, *written.matrices],
        is_parallel=kernel.back is not None,
        forms=tuple(form(a) for a in (step.streams, step.statics, tuple(array for array, _ in step.carries))),
        assumes=tuple(sorted({h for s in recurrence.scan.states for h in component.bounds[s].assumes})),
        operations=kernel.work,
    )


def _derivatives(of: Sequence[str], slots: Sequence[SlotText], matrix: Matrix) -> dict[int, str]:
    """What the derivatives of values in the old slots are called: `dc_dh` for that of c in h of the step before."""
    found: dict[int, str] = {}
    for name, row in zip(of, matrix, strict=True):
        for s, n in zip(slots, row, strict=True):
            if n is not None:
                found.setdefault(n, f"d{name}d{s.old if s.lag > 1 else s.name}")
    return found


def _or(n: int | None, otherwise: int) -> int:
    return otherwise if n is None else n


def _slots(bounds: dict[str, Bounds], channel: Channel, names: KernelNames) -> list[SlotText]:
    found = []
    for i, (array, lag) in enumerate(channel.slots):
        plain = f"{array.name}_{array.part}" if array.part else array.name
        box = bounds[array.name].box
        low, high = (box.low, box.high) if not array.part else (float("-inf"), float("inf"))
        value = names(("slot", i), plain if lag == 1 else f"{plain}_was_{lag - 1}")
        nearer = channel.slots.index((array, lag - 1)) if lag > 1 else -1
        found.append(SlotText(i, value, names(("old", i), f"{plain}_{lag}"), lag, nearer, low, high))
    return found


def _wanted_name(channel: Channel, step: Step, i: int) -> str:
    """What an access is called after: a local of the program, or its array."""
    access = channel.accesses[i]
    n = channel.builder.leaf(access.kind, i, ())
    local = dict(channel.names)
    array = (step.streams if access.kind == "stream" else step.statics)[access.array]
    return local.get(n, array.label)



def _arrays(channel: Channel, step: Step, kind: str, names: KernelNames) -> list[ArrayText]:
    """The arrays of a kind that are read at all."""
    given = step.streams if kind == "stream" else step.statics
    read = sorted({a.array for a in channel.accesses if a.kind == kind})
    return [ArrayText(i, names(("array", kind, i), f"{given[i].label}_array")) for i in read]


def _access(
    channel: Channel, i: int, name: str, arrays: Sequence[ArrayText], has_gradient: bool, sizes: dict[str, str], values: dict[str, str]
) -> AccessText:
    access = channel.accesses[i]
    array = next(a for a in arrays if a.index == access.array)
    others = [a for a in channel.accesses if (a.kind, a.array) == (access.kind, access.array)]
    whole = {axis for axis, _ in access.strides} == set(range(len(channel.grid)))
    strides = [dim(stride, values) for _, stride in access.strides]
    return AccessText(
        index=i,
        name=name,
        array=array.name,
        array_index=access.array,
        entry=entry_text(access, sizes),
        has_gradient=has_gradient,
        is_direct=access.kind == "stream" and whole and all(a.strides == access.strides for a in others),
        axes=tuple(axis for axis, _ in access.strides),
        place=f"{dim(access.offset, values)}, {tuple_text(strides)}",
    )


def entry_text(access: Access, sizes: dict[str, str]) -> str:
    """Where the entry of an access lies in its array, from the channel's positions."""
    entry = [times(f"i{axis}", dim(stride, sizes)) for axis, stride in access.strides]
    if access.offset != Dim.of(0):
        entry.insert(0, dim(access.offset, sizes))
    if not access.strides:
        entry.append("0 * channel")
    return " + ".join(entry)


def positions_of(channel: Channel, axes: list[int], sizes: dict[str, str]) -> list[str]:
    """Statements that give the channel's position along each axis that is asked for."""
    found = []
    for axis in axes:
        below = Dim.of(1)
        for d in channel.grid[axis + 1 :]:
            below = below * d
        text = "channel" if below == Dim.of(1) else f"channel // {bracketed(dim(below, sizes))}"
        if axis > 0:
            text = f"{text} % {bracketed(dim(channel.grid[axis], sizes))}"
        found.append(f"i{axis} = {text}")
    return found
