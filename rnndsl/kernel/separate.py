"""Which axes of the states can be computed apart: no value at one place along them depends on a state at another.

Axes that run together (those of an elementwise operation) are of one class. A class is separable if nothing sums over it, no
operation rearranges it, and every state has it once.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from rnndsl.kernel.graph import ROUNDS
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program, Sink
from rnndsl.kernel.step import Step

OWN = frozenset(("old", "carry_gradient", "state_gradient"))  # leaves that have the axes of a state


@dataclass
class Classes:
    """Classes of axes: a union-find over (node, axis) and ("state", carry, axis)."""

    parent: dict[Hashable, Hashable] = field(default_factory=dict)

    def find(self, a: Hashable) -> Hashable:
        parent = self.parent
        while (up := parent.get(a, a)) != a:
            parent[a] = a = parent.get(up, up)  # shortens the way for the next one
        return a

    def join(self, a: Hashable, b: Hashable) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[a] = b


@dataclass(frozen=True)
class Split:
    """Axes of the states that units of work divide: `heads` one index a unit, `block` one further axis in blocks, the columns or the rows of a matrix.

    heads: positions in the shape of every state; block: that in the shape of each carried value, none where no axis is in blocks.
    """

    heads: tuple[int, ...] = ()
    block: tuple[int, ...] = ()

    def innermost(self, step: Step) -> "Split":
        """The same, with blocks along the last axis of every state or none: where the entries along it lie side by side in a vector."""
        last = tuple(len(array.shape) - 1 for array, _ in step.carries)
        return self if self.block == last else Split(self.heads)


@dataclass
class _Axes:
    """The axes of a program's values, their classes, and those that are summed over or rearranged. carries: see `classes_of`."""

    program: Program
    carries: list[int]
    classes: Classes = field(default_factory=Classes)
    whole: set[Hashable] = field(default_factory=set)

    def of(self, n: int) -> list[Hashable] | None:
        """The axes of a node, or None where each use may run along others."""
        node = self.program.nodes[n]
        if node.op in OWN:
            return [("state", self.carries[node.leaf.index], k) for k in range(len(node.shape))]
        if node.is_leaf and node.op not in ROUNDS:
            return None
        if node.op in ("slice", "reshape") and self.of(node.args[0]) is None:
            return None
        return [(n, k) for k in range(len(node.shape))]

    def same(self, a: list[Hashable] | None, b: list[Hashable] | None) -> None:
        """Axes that run together one by one, where both are known."""
        for i, j in zip(a or (), b or (), strict=False):
            self.classes.join(i, j)

    def compute(self, n: int) -> None:
        """What an operation has of the axes of its arguments."""
        node = self.program.nodes[n]
        if node.is_leaf or node.op in ("loop", "loop_back", "result"):
            return
        if node.maps:
            for a, m in zip(node.args, node.maps, strict=True):
                self.same(self.of(a), [(n, k) for k in m])
            self.whole.update((n, k) for k in range(len(node.shape), len(node.domain)))
        elif node.op in ("diag", "diagonal"):
            theirs, heads = self.of(node.args[0]) or [], min(len(node.shape), len(self.program.nodes[node.args[0]].shape)) - 1
            self.whole.update(theirs[heads:], ((n, k) for k in range(heads, len(node.shape))))
            self.same(theirs[:heads], [(n, k) for k in range(heads)])
        elif node.op != "slice" or self.of(n) is not None:
            for a in node.args:
                if (axes := self.of(a)) is not None:
                    self._rearrange(n, axes)

    def _rearrange(self, n: int, theirs: list[Hashable]) -> None:
        """What a rearrangement does to the axes of an argument: one is moved along, or all are."""
        node = self.program.nodes[n]
        if node.op not in ("slice", "concat", "cumsum"):
            self.whole.update(theirs)
            self.whole.update((n, k) for k in range(len(node.shape)))
            return
        moved = node.cut.axis if node.op == "slice" else node.of(int) if node.op == "concat" else len(node.shape) - 1
        for k in range(len(node.shape)):
            if k == moved:
                self.whole.update((theirs[k], (n, k)))
            else:
                self.classes.join(theirs[k], (n, k))

    def repeat(self, n: int) -> None:
        """What a loop hands from round to round keeps its axes."""
        node = self.program.nodes[n]
        if node.op == "loop":
            loop = node.loop
            for start, leaf, output in zip(node.args, loop.rounds, loop.outputs, strict=False):
                self.same(self.of(start), self.of(leaf))
                self.same(self.of(leaf), self.of(output))
        elif node.op == "loop_back":
            loop, back, count = node.loop, node.back, len(node.back.gradients)
            for k in range(count):
                for a in (loop.rounds[k], back.outputs[k], node.args[count + k]):
                    self.same(self.of(back.gradients[k]), self.of(a))
        elif node.op == "result":
            self.same(self.of(n), self.of(getattr(self.program.nodes[node.args[0]].data, node.result.kind)[node.result.index]))

    def written(self, sink: Sink) -> list[Hashable] | None:
        """The axes of what a sink writes, where they are known."""
        nodes, kind, index = self.program.nodes, sink.target.kind, sink.target.index
        if kind in ("sequence", "carry_gradient"):
            return [("state", self.carries[index], k) for k in sink.order]
        if kind == "round":  # also where a round computes it of none of what it begins with
            return self.of(next(n.loop for n in nodes if n.op in ("loop", "loop_back") and n.loop.number == sink.loop).rounds[index])
        if kind == "round_gradient":
            return self.of(next(n.back for n in nodes if n.op == "loop_back" and n.loop.number == sink.loop).gradients[index])
        return None


def classes_of(program: Program, used: set[int], carries: list[int]) -> tuple[Classes, set[Hashable]]:
    """The classes of axes of the `used` nodes, and the axes that are summed over or rearranged.

    carries: for each carry, the number of the first carry of its state: they share their axes.
    """
    axes = _Axes(program, carries)
    for n in sorted(used):
        axes.compute(n)
    for n in sorted(used):
        axes.repeat(n)
    for sink in program.sinks:
        axes.same(axes.of(sink.node), axes.written(sink))
    return axes.classes, axes.whole


def separate(program: Program, used: set[int], shapes: list[tuple[int, int]], carries: list[int], backwards: Program | None = None) -> Split:
    """How units divide the states. shapes: for each carry, its rank and how many of its axes are head axes; backwards: the program backwards, where there
    is one. In it sums over units are added up; but a gradient may have an axis in two places, as that of k in outer(k, k), by rows and by columns."""
    classes, whole = classes_of(program, used, carries)
    roots = {classes.find(a) for a in whole} | _twice(classes, program, used)
    states = sorted(set(carries))
    if backwards is not None:
        there = reachable(backwards.nodes, [s.node for s in backwards.sinks])
        back, _ = classes_of(backwards, there, carries)
        twice = _twice(back, backwards, there)
        roots |= {classes.find(a) for i in states for k in range(shapes[i][0]) if back.find(a := ("state", i, k)) in twice}

    def separable(k: int) -> dict[int, int]:
        """Where each state has the class of an axis of the first one: once, where it is separable."""
        root = classes.find(("state", states[0], k))
        found = {s: [j for j in range(shapes[s][0]) if classes.find(("state", s, j)) == root] for s in states}
        return {} if root in roots or any(len(at) != 1 for at in found.values()) else {s: at for s, (at,) in found.items()}

    def in_blocks(s: int, k: int) -> bool:
        """Whether an axis may be in blocks: the last one, and others that are no heads."""
        return k == shapes[s][0] - 1 or k >= shapes[s][1]

    candidates = (separable(k) for k in reversed(range(shapes[states[0]][0] if states else 0)) if in_blocks(states[0], k))
    block = next((at for at in candidates if at and all(in_blocks(s, k) for s, k in at.items())), {})
    heads = min((shapes[s][1] for s in states), default=0)
    apart = tuple(k for k in range(heads) if k not in block.values() and separable(k) == dict.fromkeys(states, k))
    return Split(apart, tuple(block[s] for s in carries) if block else ())


def _twice(classes: Classes, program: Program, used: set[int]) -> set[Hashable]:
    """The classes that a value has twice, which cannot be divided."""
    found: set[Hashable] = set()
    for n in used:
        roots = [classes.find((n, k)) for k in range(len(program.nodes[n].domain))]
        found.update(r for i, r in enumerate(roots) if r in roots[:i])
    return found


def state_numbers(step: Step) -> list[int]:
    """For each carry, the number of the first carry of its state: parts and lags of a state share their axes."""
    first: dict[str, int] = {}
    return [first.setdefault(array.name, i) for i, (array, _) in enumerate(step.carries)]
