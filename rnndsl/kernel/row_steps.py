"""Rounds of Newton's method as steps that stand by themselves: what each computes of one row, a step of one sequence, nothing passes to the next.

    once    what no row changes, of statics                            (one row)
    look    new values and D, of streams, statics and old values
    linear  what the adjoint of a row reads of its values              (once, where they are solved)
    pull    Jᵀ λ of every row, of that and of λ

and where no loop is asked to hand gradients on, two more:

    advance    new values alone
    gradients  those of streams and statics, of each row, of what `linear` makes and of λ

So whatever writes steps, writes rounds, and products with a matrix are of as many rows as it likes at once: of all steps of a chunk, or of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rnndsl.kernel.adjoint import Adjoint
from rnndsl.kernel.graph import SCALARS, Builder, Leaf, Loop, LoopAlong, LoopBack, Map, Node, Result, Round
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.loops import bodies, inside, reachable
from rnndsl.kernel.newton import NewtonStep
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array

_SCALAR, _STATIC, _ROW, _ADJOINT = range(4)  # how often a value changes
_OF_LEAF = {"static": _STATIC, "stream": _ROW, "old": _ROW, "carry_gradient": _ADJOINT}


Value = tuple[str, int]  # of every row: (`stream`, number) or (`old`, number) of a step, or (`made`, number) of its outputs


@dataclass(frozen=True)
class StaticProduct:
    """Σ over rows of left ⊗ right is the gradient of the static array `static`, of `rank` axes. maps: where the axes of the two run, along those of the
    array and, behind them, those that are summed over."""

    static: int
    left: Value
    right: Value
    maps: tuple[Map, Map]
    rank: int


@dataclass(frozen=True)
class RowGradients:
    """The step; of each stream the number of the output that is its gradient, -1 where it has none; of statics whose gradient is an output summed
    over rows, these two numbers; and the products of all rows that give others."""

    step: Step
    streams: tuple[int, ...]
    sums: tuple[tuple[int, int], ...]
    products: tuple[StaticProduct, ...]


@dataclass(frozen=True)
class RowSteps:
    """The steps. Statics of all but the first: those of the recurrence, then the outputs of `once`; streams of `pull` and `gradients`: those of the
    recurrence, then the outputs of `linear`, then λ of each carried value. Outputs of `look`: the new states, then entries of D; block: of each entry
    the number of its output, -1 where it is zero. gradients: None where nobody asks for them, or rounds of a loop hand some on."""

    once: Step
    look: Step
    linear: Step
    pull: Step
    block: tuple[tuple[int, ...], ...]
    advance: Step
    gradients: RowGradients | None


@dataclass(frozen=True)
class PartSteps:
    """The steps of a part of a step, whose outputs are values that it makes: what `RowSteps` has, but for D."""

    once: Step
    advance: Step
    linear: Step
    pull: Step
    gradients: RowGradients


def row_steps(newton: NewtonStep, gradients: bool = False) -> RowSteps:
    """The steps of a round. gradients: whether those of streams and statics are asked for. Raises Unsupported."""
    step = newton.step
    b = Builder(list(step.builder.nodes), dict(step.builder.numbers))
    entries = [e for row in newton.own for e in row if e is not None]
    numbers = iter(range(len(entries)))
    block = tuple(tuple(-1 if e is None else next(numbers) for e in row) for row in newton.own)
    kept = [i for i, (_, lag) in enumerate(step.carries) if lag == 1]
    new = [step.updates[i] for i in kept]
    seeds = [(Array(f"d_{array.label}_{lag}", "", array.shape), n) for (array, lag), n in zip(step.carries, step.updates, strict=True)]
    cut = _Cut(step, b, seeds, [*new, *entries], gradients)
    outputs = [*(replace(step.carries[i][0], name=f"new_{step.carries[i][0].name}") for i in kept), *cut.arrays(entries, "slope")]
    return RowSteps(cut.once, cut.look([*new, *entries], outputs), cut.linear, cut.pull, block, cut.look(new, outputs[: len(new)]), cut.gradients)


def part_steps(part: Step) -> PartSteps:
    """The steps of a part of a step, [B, C, ...] each. Raises Unsupported, also where rounds of a loop hand gradients on."""
    b = Builder(list(part.builder.nodes), dict(part.builder.numbers))
    made = [n for _, n in part.outputs]
    cut = _Cut(part, b, [(Array(f"d_{array.label}", "", array.shape), n) for array, n in part.outputs], made, True)
    gradients = cut.gradients
    if gradients is None:
        raise Unsupported("a loop in the rounds of another one, which multiply by slices of a param")
    return PartSteps(cut.once, cut.look(made, [array for array, _ in part.outputs]), cut.linear, cut.pull, gradients)


class _Cut:
    """A step and its adjoint, cut where values change less often. seeds: of each value that has a λ, the array of that; looked: what is made forwards."""

    def __init__(self, step: Step, b: Builder, seeds: Sequence[tuple[Array, int]], looked: Sequence[int], gradients: bool):
        self.step, self.b = step, b
        self.adjoint = _adjoint(b, seeds)
        self.pulled = _pulled(self.adjoint, step)
        self.asked = _Asked.of(self.adjoint) if gradients else None
        further = self.asked.wanted if self.asked is not None else []
        forwards, backwards = _Rates(b.nodes, looked), _Rates(b.nodes, [*self.pulled, *further])
        self.fixed = list(dict.fromkeys([*forwards.read(_STATIC), *backwards.read(_STATIC)]))
        self.saved = [n for n in backwards.read(_ROW) if b[n].op != "stream"]
        self.saved += [n for n in dict.fromkeys(further) if n not in self.saved and backwards.rates[n] == _ROW and b[n].op not in ("stream", "old")]
        self.names = dict(step.names)
        self.statics = (*step.statics, *self.arrays(self.fixed, "fixed"))
        self.streams = (*step.streams, *self.arrays(self.saved, "saved"), *(array for array, _ in seeds))
        self.own = {n: Leaf("static", len(step.statics) + k) for k, n in enumerate(self.fixed)}
        self.given = self.own | {n: Leaf("stream", len(step.streams) + k) for k, n in enumerate(self.saved)}
        count = len(step.streams) + len(self.saved)
        self.given |= {n: Leaf("stream", count + node.leaf.index) for n, node in enumerate(b.nodes) if node.op == "carry_gradient"}

    def arrays(self, nodes: Sequence[int], wanted: str) -> tuple[Array, ...]:
        return tuple(Array(self.names.get(n, wanted), "", self.b[n].shape) for n in nodes)

    @property
    def once(self) -> Step:
        return self._made(replace(self.step, streams=(), carries=()), {}, self.fixed, self.arrays(self.fixed, "fixed"))

    @property
    def linear(self) -> Step:
        return self.look(self.saved, self.arrays(self.saved, "saved"))

    @property
    def pull(self) -> Step:
        adjoints = [Array(f"d_{array.label}_{lag}", "", array.shape) for array, lag in self.step.carries]
        return self._made(replace(self.step, streams=self.streams, statics=self.statics, carries=()), self.given, self.pulled, adjoints)

    @property
    def gradients(self) -> RowGradients | None:
        asked, b, step = self.asked, self.b, self.step
        if asked is None:
            return None
        places = self.given | {n: Leaf("stream", node.leaf.index) for n, node in enumerate(b.nodes) if node.op == "stream"}
        places |= {n: Leaf("old", node.leaf.index) for n, node in enumerate(b.nodes) if node.op == "old" and n not in places}
        outputs = list(dict.fromkeys([*asked.streams.values(), *asked.statics.values(), *(n for n in asked.factors if n not in places)]))

        def value(n: int) -> Value:
            return (places[n].kind, places[n].index) if n in places else ("made", outputs.index(n))

        return RowGradients(
            self._made(replace(step, streams=self.streams, statics=self.statics), self.given, outputs, self.arrays(outputs, "gradient")),
            tuple(outputs.index(asked.streams[i]) if i in asked.streams else -1 for i in range(len(step.streams))),
            tuple((i, outputs.index(n)) for i, n in asked.statics.items()),
            tuple(StaticProduct(b[o.leaf].leaf.index, value(o.left), value(o.right), (o.left_map, o.right_map), len(b[o.leaf].shape)) for o in self.adjoint.outers),
        )

    def look(self, wanted: Sequence[int], made: Sequence[Array]) -> Step:
        """Some values, of streams, statics and old values."""
        return self._made(replace(self.step, statics=self.statics), self.own, wanted, made)

    def _made(self, of: Step, leaves: dict[int, Leaf], wanted: Sequence[int], made: Sequence[Array]) -> Step:
        copy = GraphCopy(self.b.nodes, leaves)
        numbers = copy.run(wanted)
        said = tuple((copy.new[n], name) for n, name in self.step.names if n in copy.new)
        return replace(of, builder=copy.builder, updates=(), names=said, outputs=tuple(zip(made, numbers, strict=True)))


def _adjoint(b: Builder, seeds: Sequence[tuple[Array, int]]) -> Adjoint:
    """A step backwards. λ are the leaves `carry_gradient`, of which those of states are of all that a step makes of them."""
    last = len(b.nodes) - 1
    adjoint = Adjoint(b)
    for i, (array, n) in enumerate(seeds):
        adjoint.seed(n, b.leaf("carry_gradient", i, array.shape))
    adjoint.run(last)
    return adjoint


def _pulled(adjoint: Adjoint, step: Step) -> list[int]:
    """Jᵀ λ, of each old value."""
    b = adjoint.builder
    old = [b.leaf("old", i, array.shape) for i, (array, _) in enumerate(step.carries)]
    found = [adjoint.gradient(n) for n in old]
    return [b.zeros(array.shape) if g is None else g for g, (array, _) in zip(found, step.carries, strict=True)]


@dataclass(frozen=True)
class _Asked:
    """The gradients of a row: of streams and statics, by their numbers, and the factors of those of matrices."""

    streams: dict[int, int]
    statics: dict[int, int]
    factors: list[int]

    @property
    def wanted(self) -> list[int]:
        return [*self.streams.values(), *self.statics.values(), *self.factors]

    @staticmethod
    def of(adjoint: Adjoint) -> "_Asked | None":
        """None where rounds of a loop hand some on, or a slice of a param has one."""
        b = adjoint.builder
        found: dict[str, dict[int, int]] = {"stream": {}, "static": {}}
        leaves = [n for n in range(len(b.nodes)) if b[n].op in found]
        given = [(b[n].leaf, gradient) for n in leaves if (gradient := adjoint.gradient(n)) is not None]
        loops = adjoint.slices or any(o.loop is not None for o in adjoint.outers)
        if loops or any(leaf.select is not None for leaf in [*(leaf for leaf, _ in given), *(b[o.leaf].leaf for o in adjoint.outers)]):
            return None
        for leaf, gradient in given:
            found[leaf.kind][leaf.index] = gradient
        return _Asked(found["stream"], found["static"], [n for o in adjoint.outers for n in (o.left, o.right)])


class _Rates:
    """How often each of the nodes changes that some wanted ones need; those in the rounds of loops apart."""

    def __init__(self, nodes: Sequence[Node], wanted: Sequence[int]):
        self.nodes = nodes
        self.needed = reachable(nodes, list(wanted))
        self.inner: set[int] = set()
        for n in self.needed:
            match nodes[n].data:
                case Loop() as loop if nodes[n].op == "loop":
                    self.inner |= inside(nodes, loop.rounds, loop.counter)
                case LoopBack(loop, leaves) | LoopAlong(loop, leaves):
                    self.inner |= inside(nodes, (*loop.rounds, *leaves), loop.counter)
        self.rates: dict[int, int] = {}
        for n in sorted(self.needed):
            node = nodes[n]
            self.rates[n] = _OF_LEAF.get(node.op, _SCALAR) if node.is_leaf else max((self.rates[a] for a in node.args), default=_SCALAR)

    def read(self, rate: int) -> list[int]:
        """What changes so often, and is computed, and read by what changes more often."""
        found: set[int] = set()
        for n in self.needed:
            if self.rates[n] > rate or n in self.inner:
                found.update(a for a in (*self.nodes[n].args, *bodies(self.nodes[n])) if self._is_apart(a, rate))
        return sorted(found)

    def _is_apart(self, n: int, rate: int) -> bool:
        op = self.nodes[n].op
        return self.rates[n] == rate and n not in self.inner and op not in ("static", "loop", "loop_back", "loop_along") and op not in SCALARS


@dataclass
class GraphCopy:
    """Nodes of a graph in another one, where some of them are leaves, and a loop and what goes along with it are one loop; new: their numbers there."""

    nodes: Sequence[Node]
    leaves: dict[int, Leaf]
    builder: Builder = field(default_factory=Builder)
    new: dict[int, int] = field(default_factory=dict)
    along: dict[int, int] = field(default_factory=dict)  # by the number of a loop

    def run(self, wanted: Sequence[int]) -> list[int]:
        """The numbers of some nodes, copied with all that they need."""
        needed: set[int] = set()
        stack = list(wanted)
        while stack:
            n = stack.pop()
            if n not in needed:
                needed.add(n)
                stack.extend(() if n in self.leaves else (*self.nodes[n].args, *bodies(self.nodes[n])))
        self.along = {self.nodes[n].loop.number: n for n in needed if self.nodes[n].op == "loop_along"}
        for n in sorted(needed):
            self._of(n)
        return [self.new[n] for n in wanted]

    def named(self, names: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
        """The names of those nodes that were copied, by their numbers there."""
        return tuple((self.new[n], name) for n, name in names if n in self.new)

    def _of(self, n: int) -> int:
        if n not in self.new:
            found = self._copied(n, self.nodes[n])
            self.builder.span = self.nodes[n].span
            self.new[n] = self.builder.add(found) if isinstance(found, Node) else found
        return self.new[n]

    def _copied(self, n: int, node: Node) -> Node | int:
        """A node as it is in the other graph, or the number of one that is there."""
        if n in self.leaves:
            return self.builder.leaf(self.leaves[n].kind, self.leaves[n].index, node.shape)
        data = node.data
        if node.op == "round_slope":
            loop, index = next((a.loop, a.slopes.index(n)) for a in (self.nodes[k].along for k in self.along.values()) if n in a.slopes)
            return Node("round", (), node.shape, data=Round(loop.number, len(loop.rounds) + index))
        match data:
            case Leaf(_, _, int() as select):
                data = replace(data, select=self._of(select))
            case Result("slopes", index):
                data = Result("rounds", len(self.nodes[node.args[0]].loop.rounds) + index)
            case LoopAlong(loop):
                return self._together(self.nodes[n], next(a for a in node.args if self.nodes[a].data == loop))
            case Loop(number) if number in self.along:
                return self._of(self.along[number])
            case Loop():
                data = self._loop(data)
            case LoopBack(loop, gradients, outputs, totals):
                data = LoopBack(self._loop(loop), self._all(gradients), self._all(outputs), self._all(totals))
        return replace(node, args=self._all(node.args), data=data)

    def _together(self, beside: Node, n: int) -> Node:
        """A loop, node n, and what goes along with it."""
        loop, along, node = beside.loop, beside.along, self.nodes[n]
        leaves, count = (*loop.rounds, *along.slopes), len(loop.rounds)
        args = self._all((*node.args[:count], *beside.args[: len(along.slopes)], *node.args[count:], *(a for a in beside.args[len(along.slopes) :] if a != n)))
        return Node("loop", args, (), data=replace(loop, rounds=self._all(leaves), outputs=self._all((*loop.outputs, *along.outputs))))

    def _loop(self, loop: Loop) -> Loop:
        return replace(loop, rounds=self._all(loop.rounds), outputs=self._all(loop.outputs))

    def _all(self, nodes: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._of(n) for n in nodes)
