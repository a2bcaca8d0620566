"""Step -> Channel: where channels meet nowhere in a step, the scalar equations of one of them.

The channels are the entries of a state; whatever else a step reads, one channel reads one entry of it. Where that entry lies is
linear in the channel's position, which holds for slices, transpositions, broadcasts and outer products alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Span
from rnndsl.kernel.adjoint import Adjoint
from rnndsl.kernel.graph import Builder, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array

NOTHING = Dim.of(0)


@dataclass(frozen=True)
class Access:
    """Which entry of an array a channel reads: number `offset` + Σ stride · (the channel's position along an axis of the grid)."""

    kind: str  # stream, static
    array: int
    offset: Dim
    strides: tuple[tuple[int, Dim], ...]  # (axis of the grid, stride)


@dataclass(frozen=True)
class Channel:
    """One channel of a step. Leaves of `builder` are numbered: a stream or static one by its access, an old one by its slot.

    `grid` are the axes of the states; `slots` the values that a channel carries, with their lag; `updates` what they become; `follows` what
    else is made of each step.
    """

    builder: Builder
    grid: Shape
    accesses: tuple[Access, ...]
    slots: tuple[tuple[Array, int], ...]
    updates: tuple[int, ...]
    names: tuple[tuple[int, str], ...]
    follows: tuple[tuple[Array, int], ...] = ()

    def numbered(self, kind: str) -> list[int]:
        """The numbers of the accesses of a kind, in order."""
        return [i for i, a in enumerate(self.accesses) if a.kind == kind]


@dataclass(frozen=True)
class Gradients:
    """What a channel's step hands back: gradients of its old slots and of what it reads, from the
    leaves `carry_gradient`, one a slot, and `follow_gradient`."""

    slots: tuple[int | None, ...]
    accesses: tuple[int | None, ...]


def slopes(channel: Channel, of: Sequence[int]) -> tuple[tuple[int | None, ...], ...]:
    """The derivatives of nodes in the old slots, with surrogates; None where one is zero. Extends the channel's graph. Raises Unsupported."""
    b = channel.builder
    last = len(b.nodes) - 1
    rows = []
    for n in of:
        adjoint = Adjoint(b)
        adjoint.seed(n, b.number(1.0))
        adjoint.run(last)
        rows.append(_of_slots(channel, adjoint))
    return tuple(rows)


def pullback(channel: Channel) -> Gradients:
    """The step backwards. Extends the channel's graph. Raises Unsupported."""
    b = channel.builder
    last = len(b.nodes) - 1
    adjoint = Adjoint(b)
    for i, update in enumerate(channel.updates):
        adjoint.seed(update, b.leaf("carry_gradient", i, ()))
    for i, (_, n) in enumerate(channel.follows):
        adjoint.seed(n, b.leaf("follow_gradient", i, ()))
    adjoint.run(last)
    slots = _of_slots(channel, adjoint)
    accesses = tuple(unless_zero(b, adjoint.gradient(b.leaf(a.kind, i, ()))) for i, a in enumerate(channel.accesses))
    return Gradients(slots, accesses)


def _of_slots(channel: Channel, adjoint: Adjoint) -> tuple[int | None, ...]:
    """The gradients of the old slots; None where one is zero."""
    b = channel.builder
    return tuple(unless_zero(b, adjoint.gradient(b.leaf("old", j, ()))) for j in range(len(channel.slots)))


def unless_zero(b: Builder, n: int | None) -> int | None:
    return None if n is None or b.number_of(n) == 0.0 else n


@dataclass
class ChannelRewriter:
    """Rewrites the nodes of a step: each becomes a scalar one for the axes of the grid that its own run along."""

    step: Step
    grid: Shape = field(init=False)
    builder: Builder = field(default_factory=Builder)
    accesses: dict[Access, int] = field(default_factory=dict)
    known: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises Unsupported where the states have different shapes: then they have no channels in common."""
        self.grid = self.step.carries[0][0].shape
        if any(array.shape != self.grid for array, _ in self.step.carries):
            raise Unsupported("its states have different shapes")

    def channel(self) -> Channel:
        """The channel. Raises Unsupported for what no channel has."""
        whole = tuple(range(len(self.grid)))
        local = dict(self.step.names)
        for n in range(len(self.step.builder.nodes)):  # in the order of the equations
            if n in local and self.step.builder[n].shape == self.grid and self._is_wanted(n):
                self.value(n, whole)
        updates = tuple(self.value(n, whole) for n in self.step.updates)
        if any(array.shape != self.grid for array, _ in self.step.outputs):
            raise Unsupported("what follows it has another shape")
        follows = tuple((array, self.value(n, whole)) for array, n in self.step.outputs)
        for (n, _), scalar in self.known.items():
            if n in local:
                self.named.setdefault(scalar, local[n])
        return Channel(self.builder, self.grid, tuple(self.accesses), self.step.carries, updates, tuple(self.named.items()), follows)

    def _is_wanted(self, n: int) -> bool:
        if not hasattr(self, "_wanted"):
            self._wanted: set[int] = set()
            stack = [*self.step.updates, *(n for _, n in self.step.outputs)]
            while stack:
                m = stack.pop()
                if m not in self._wanted:
                    self._wanted.add(m)
                    stack.extend(self.step.builder[m].args)
        return n in self._wanted

    def entry(self, n: int | None, zero: float = 0.0) -> int | None:
        """One channel's entry of a node that has the shape of the states; None for what is none, or the number that is a semiring's zero."""
        if n is None:
            return None
        found = self.value(n, tuple(range(len(self.grid))))
        return None if self.builder.number_of(found) == zero else found

    def value(self, n: int, axes: tuple[int, ...]) -> int:
        """The scalar node of a node whose axes run along these axes of the grid."""
        key = (n, axes)
        if key not in self.known:
            self.known[key] = self._value(n, axes)
        return self.known[key]

    def _value(self, n: int, axes: tuple[int, ...]) -> int:
        node, b = self.step.builder[n], self.builder
        if node.op in ("number", "size", "hyper"):
            return b.add(node)
        if node.op == "old":
            if axes != tuple(range(len(self.grid))):
                raise Unsupported("its channels meet")
            return b.leaf("old", node.leaf.index, ())
        if node.is_elementwise:
            b.span = node.span
            args = [self.value(a, tuple(axes[k] for k in m)) for a, m in zip(node.args, node.maps, strict=True)]
            b.span = node.span
            return b.apply(node.op, args, [()] * len(args), ())
        if node.op in ("stream", "static", "slice", "reshape"):
            forms = [(NOTHING, {axis: Dim.of(1)}) for axis in axes]
            return self._read(self._place(n, forms, node.span), node.span)
        raise Unsupported("its channels meet")

    def _read(self, access: Access, span: Span) -> int:
        self.builder.span = span
        return self.builder.leaf(access.kind, self.accesses.setdefault(access, len(self.accesses)), ())

    def _place(self, n: int, forms: list[tuple[Dim, dict[int, Dim]]], span: Span) -> Access:
        """Where a view's entry lies whose positions along its axes are linear forms (offset, strides along the grid's axes)."""
        node = self.step.builder[n]
        match node.op:
            case "stream" | "static":
                return self._entry(n, _flat(node.shape, forms))
            case "slice":
                axis, offset = node.cut.axis, node.cut.offset
                moved = [(o + offset, s) if k == axis else (o, s) for k, (o, s) in enumerate(forms)]
                return self._place(node.args[0], moved, span)
            case "copy":
                return self._place(node.args[0], [forms[k] for k in node.maps[0]], span)
            case "reshape":
                return self._flat_entry(node.args[0], _flat(node.shape, forms), span)
        raise Unsupported("its channels meet")

    def _flat_entry(self, n: int, form: tuple[Dim, dict[int, Dim]], span: Span) -> Access:
        """Where entry number `form` of a view lies, its entries counted row by row."""
        node = self.step.builder[n]
        match node.op:
            case "stream" | "static":
                return self._entry(n, form)
            case "reshape":
                return self._flat_entry(node.args[0], form, span)
            case "slice" if node.cut.axis == 0:
                skipped = node.cut.offset
                for d in node.shape[1:]:
                    skipped = skipped * d
                return self._flat_entry(node.args[0], (form[0] + skipped, form[1]), span)
        raise Unsupported("its channels meet")

    def _entry(self, n: int, form: tuple[Dim, dict[int, Dim]]) -> Access:
        node = self.step.builder[n]
        leaf, (offset, strides) = node.leaf, form
        if leaf.select is not None:
            number = self.step.builder.number_of(leaf.select)
            if number is None:
                raise Unsupported("it reads a slice whose number is not known")
            skipped = Dim.of(int(number) - 1)
            for d in node.shape:
                skipped = skipped * d
            offset = offset + skipped
        return Access(leaf.kind, leaf.index, offset, tuple(sorted(strides.items(), key=lambda s: s[0])))


def _flat(shape: Shape, forms: list[tuple[Dim, dict[int, Dim]]]) -> tuple[Dim, dict[int, Dim]]:
    """The number of an entry, counted row by row, from its positions along the axes."""
    offset, strides, size = NOTHING, dict[int, Dim](), Dim.of(1)
    for d, (o, s) in zip(reversed(shape), reversed(forms), strict=True):
        offset = offset + o * size
        for axis, stride in s.items():
            strides[axis] = strides.get(axis, NOTHING) + stride * size
        size = size * d
    return offset, strides
