"""Step -> Programs: what a kernel computes and where it puts it, forwards and backwards."""

from dataclasses import dataclass, replace

from rnndsl.checks.dims import Dim
from rnndsl.kernel.adjoint import Adjoint, Outer, in_order
from rnndsl.kernel.graph import Builder, Leaf, Map, Node, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.loops import inside, reachable
from rnndsl.kernel.step import Step

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


@dataclass(frozen=True)
class OuterLayout:
    """The axes of an outer product's static leaf, further ones counted on from its rank: those summed over, common to both factors, of the left one
    alone, of the right one alone. Factors lie in memory with their axes in this order."""

    further: list[int]
    common: list[int]
    left: list[int]
    right: list[int]
    sizes: dict[int, Dim]
    factors: tuple[tuple[Map, int], tuple[Map, int]]  # of the left and the right one: along which axes its own run, and its node

    @property
    def axes(self) -> list[int]:
        """The axes of the leaf, as a product of the factors has them."""
        return [*self.common, *self.left, *self.right]

    def shape(self, axes: list[int]) -> Shape:
        return tuple(self.sizes[k] for k in axes)

    def factor(self, left: bool) -> tuple[Map, int, list[int]]:
        """Along which axes those of a factor run, its node, and in which order it has them in memory."""
        m, node = self.factors[0 if left else 1]
        return m, node, [k for k in [*self.further, *self.common, *(self.left if left else self.right)] if k in m]


def outer_layout(program: Program, index: int) -> OuterLayout:
    """How the factors of an outer product lie in memory. Raises Unsupported where one of them is broadcast."""
    outer = program.outers[index]
    rank = len(program.nodes[outer.leaf].shape)
    left, right = set(outer.left_map), set(outer.right_map)
    further = sorted(k for k in left | right if k >= rank)
    if not set(further) <= left & right:
        raise Unsupported("a product with a broadcast matrix")
    sizes = dict(zip(outer.left_map, program.nodes[outer.left].shape, strict=True)) | dict(zip(outer.right_map, program.nodes[outer.right].shape, strict=True))
    common = sorted(k for k in left & right if k < rank)
    factors = ((outer.left_map, outer.left), (outer.right_map, outer.right))
    return OuterLayout(further, common, sorted(k for k in left - right if k < rank), sorted(k for k in right - left if k < rank), sizes, factors)


def _elementwise(builder: Builder, n: int) -> int:
    """A node that a loop computes: a copy of a leaf, a view, or the result of another operation."""
    return n if builder[n].is_elementwise else _copied(builder, n)


def _in_round(b: Builder, n: int, region: set[int]) -> int:
    """A node that the rounds of a loop compute, which is a copy of what is computed before them."""
    return n if n in region and b[n].is_elementwise else _copied(b, n)


def _copied(builder: Builder, n: int) -> int:
    shape = builder[n].shape
    return builder.add(Node("copy", (n,), shape, (tuple(range(len(shape))),)))


def _with_rounds(b: Builder, sinks: list[Sink]) -> tuple[Sink, ...]:
    """Sinks and what the rounds of the loops that they need hand on. A loop backwards first runs forwards; of its totals, those that nothing
    reads, since they are the gradients of what needs none, are left out."""
    found: dict[tuple[Target, int], Sink] = {}
    regions: dict[int, set[int]] = {}  # of the loops backwards: what their rounds compute
    needed = reachable(b.nodes, [s.node for s in sinks])
    totals = {(b[n].args[0], b[n].result.index) for n in needed if b[n].op == "result" and b[n].result.kind == "totals"}
    for n in sorted(needed):
        node = b[n]
        if node.op not in ("loop", "loop_back"):
            continue
        loop = node.loop
        groups = [("round", loop.outputs, inside(b.nodes, loop.rounds, loop.counter))]
        if node.op == "loop_back":
            regions[loop.number] = region = inside(b.nodes, (*loop.rounds, *node.back.gradients), loop.counter)
            groups += [("round_gradient", node.back.outputs, region), ("total", node.back.totals, region)]
        for name, outputs, region in groups:
            for j, o in enumerate(outputs):
                if name == "total" and (n, j) not in totals:
                    continue
                target = Target(name, j)
                found[target, loop.number] = Sink(target, _in_round(b, o, region), tuple(range(len(b[o].shape))), loop=loop.number)
    outermost = [replace(s, node=_elementwise(b, s.node)) for s in sinks if s.loop is None]
    rounds = [replace(s, node=_in_round(b, s.node, regions[s.loop])) for s in sinks if s.loop is not None]
    return (*outermost, *rounds, *found.values())


def forward(step: Step) -> Program:
    """The new value of each state, into its sequence, and the outputs; of a step without new values the outputs alone."""
    b = step.builder
    sinks = []
    for i, ((array, lag), n) in enumerate(zip(step.carries, step.updates, strict=bool(step.updates))):
        if lag == 1:
            sinks.append(Sink(Target("sequence", i), n, tuple(range(len(array.shape)))))
    for i, (array, n) in enumerate(step.outputs):
        sinks.append(Sink(Target("output", i), n, tuple(range(len(array.shape)))))
    found = _with_rounds(b, sinks)
    return Program(tuple(b.nodes), found, names=step.names)


def backward(step: Step) -> Program:
    """The gradients of streams, statics and old states from those of the new states and the outputs. Extends the step's graph. Raises Unsupported."""
    b = step.builder
    last = len(b.nodes) - 1
    adjoint = Adjoint(b)
    for i, ((array, lag), n) in enumerate(zip(step.carries, step.updates, strict=True)):
        adjoint.seed(n, b.leaf("carry_gradient", i, array.shape))
        if lag == 1:
            adjoint.seed(n, b.leaf("state_gradient", i, array.shape))
    for i, (array, n) in enumerate(step.outputs):
        adjoint.seed(n, b.leaf("follow_gradient", i, array.shape))
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
        if leaf.kind == "stream" and pieces and n not in adjoint.gradients:
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
        leaf = b[n].leaf
        sinks.append(Sink(Target("static_gradient", leaf.index, leaf.select), gradient, tuple(range(len(b[n].shape))), loop=number))
    computed = _with_rounds(b, sinks)
    return Program(tuple(b.nodes), computed, tuple(adjoint.outers), frozenset(partial), step.names)
