"""Step -> Programs: what a kernel computes and where it puts it, forwards and backwards."""

from dataclasses import dataclass, replace

from rnndsl.checks.dims import Dim
from rnndsl.kernel.adjoint import Adjoint, Outer, in_order
from rnndsl.kernel.graph import Builder, Leaf, Map, Node
from rnndsl.kernel.lowering import Step
from rnndsl.kernel.repeats import loop_of

_START = Dim.of(0)


@dataclass(frozen=True)
class Target:
    """What a step writes. Kinds: sequence, output, stream_gradient, carry_gradient, outer_left, outer_right, static_gradient; in the rounds of a
    loop also round, round_gradient, total.

    A static gradient is added to, over rows, steps and rounds; `select` is the node of the slice's number.
    """

    kind: str
    index: int
    select: int | None = None


@dataclass(frozen=True)
class Sink:
    """`node` goes to `target`: entry i along axis k of the node to entry i of the target's axis `order[k]`, shifted by `offset`
    along that of `axis`."""

    target: Target
    node: int
    order: Map
    axis: int = 0
    offset: Dim = _START
    loop: int | None = None  # the number of the loop in whose rounds it is


@dataclass(frozen=True)
class Program:
    """The nodes of a step, of which `sinks` say what is wanted."""

    nodes: tuple[Node, ...]
    sinks: tuple[Sink, ...]
    outers: tuple[Outer, ...] = ()
    partial: frozenset[int] = frozenset()  # streams of which only a part has a gradient
    names: tuple[tuple[int, str], ...] = ()


def _elementwise(builder: Builder, n: int) -> int:
    """A node that a loop computes: a copy of a leaf, a view, or the result of another operation."""
    node = builder[n]
    if node.is_elementwise:
        return n
    return builder.add(Node("copy", (n,), node.shape, (tuple(range(len(node.shape))),)))


def _rounds(b: Builder, kind: str) -> list[Sink]:
    """What the rounds of loops hand on. A loop backwards first runs forwards."""
    found: list[Sink] = []
    for node in list(b.nodes):
        if node.op not in ("loop", kind):
            continue
        groups = (("round", node.data.outputs),) if node.op == "loop" else (("round_gradient", node.data.outputs), ("total", node.data.totals))
        number = loop_of(node).number
        for name, outputs in groups:
            found.extend(Sink(Target(name, j), n, tuple(range(len(b[n].shape))), loop=number) for j, n in enumerate(outputs))
    return found


def forward(step: Step) -> Program:
    """The new value of each state, into its sequence, and the outputs."""
    b = step.builder
    sinks = []
    for i, ((array, lag), n) in enumerate(zip(step.carries, step.updates, strict=True)):
        if lag == 1:
            sinks.append(Sink(Target("sequence", i), _elementwise(b, n), tuple(range(len(array.shape)))))
    for i, (array, n) in enumerate(step.outputs):
        sinks.append(Sink(Target("output", i), _elementwise(b, n), tuple(range(len(array.shape)))))
    sinks.extend(replace(s, node=_elementwise(b, s.node)) for s in _rounds(b, "loop"))
    return Program(tuple(b.nodes), tuple(sinks), names=step.names)


def backward(step: Step) -> Program:
    """The gradients of streams, statics and old states from those of the new states. Extends the step's graph. Raises Unsupported."""
    b = step.builder
    last = len(b.nodes) - 1
    adjoint = Adjoint(b)
    for i, ((array, lag), n) in enumerate(zip(step.carries, step.updates, strict=True)):
        adjoint.seed(n, b.leaf("carry_gradient", i, array.shape))
        if lag == 1:
            adjoint.seed(n, b.leaf("state_gradient", i, array.shape))
    adjoint.run(last)
    sinks: list[Sink] = []
    partial = set()
    found_old = set()
    for n in range(last + 1):
        node = b.nodes[n]
        if not isinstance(node.data, Leaf) or node.op not in ("stream", "static", "old"):
            continue
        leaf = node.data
        whole = tuple(range(len(node.shape)))
        kind = {"stream": "stream_gradient", "static": "static_gradient", "old": "carry_gradient"}[leaf.kind]
        target = Target(kind, leaf.index, leaf.select)
        pieces = adjoint.pieces.get(n, {})
        if leaf.kind == "stream" and pieces and n not in adjoint.gradients and len({axis for axis, _ in pieces}) == 1:
            at = Dim.of(0)
            for (axis, offset), (size, gradient) in in_order(pieces):
                sinks.append(Sink(target, gradient, whole, axis, offset))
                if offset != at:
                    partial.add(leaf.index)
                at = offset + size
            if at != node.shape[axis]:
                partial.add(leaf.index)
            continue
        gradient_or_none = adjoint.gradient(n)
        if gradient_or_none is not None:
            if not (leaf.select is not None and b[leaf.select].op == "counter"):
                sinks.append(Sink(target, gradient_or_none, whole))
            if leaf.kind == "old":
                found_old.add(leaf.index)
        elif leaf.kind == "stream":
            partial.add(leaf.index)
    reached = {s.target.index for s in sinks if s.target.kind == "stream_gradient"}
    partial.update(i for i in range(len(step.streams)) if i not in reached)
    for i, (array, _lag) in enumerate(step.carries):
        if i not in found_old:
            sinks.append(Sink(Target("carry_gradient", i), b.zeros(array.shape), tuple(range(len(array.shape)))))
    for k, outer in enumerate(adjoint.outers):
        for side, n, m in (("outer_left", outer.left, outer.left_map), ("outer_right", outer.right, outer.right_map)):
            sinks.append(Sink(Target(side, k), n, m, loop=outer.loop))
    for number, n, gradient in adjoint.slices:
        leaf = b[n].data
        sinks.append(Sink(Target("static_gradient", leaf.index, leaf.select), gradient, tuple(range(len(b[n].shape))), loop=number))
    sinks.extend(_rounds(b, "loop_back"))
    computed = tuple(replace(s, node=_elementwise(b, s.node)) for s in sinks)
    return Program(tuple(b.nodes), computed, tuple(adjoint.outers), frozenset(partial), step.names)
