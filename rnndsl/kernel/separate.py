"""Which axes of the states can be computed apart: no value at one place along them depends on a state at another.

Axes that run together (those of an elementwise operation) are of one class. A class is separable if nothing sums over it, no
operation rearranges it, and every state has it once.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from rnndsl.kernel.graph import ROUNDS
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
    """Axes of the states that units of work divide: `heads` one index a unit, `block` the last axis in blocks.

    `heads` are positions in the shape of every state.
    """

    heads: tuple[int, ...] = ()
    block: bool = False


def classes_of(program: Program, used: set[int], carries: list[int]) -> tuple[Classes, set[Hashable]]:
    """The classes of axes of the `used` nodes, and the axes that are summed over or rearranged.

    carries: for each carry, the number of the first carry of its state: they share their axes.
    """
    classes = Classes()
    whole: set[Hashable] = set()

    def axes(n: int) -> list[Hashable] | None:
        """The axes of a node, or None where each use may run along others."""
        node = program.nodes[n]
        if node.op in OWN:
            return [("state", carries[node.leaf.index], k) for k in range(len(node.shape))]
        if node.is_leaf and node.op not in ROUNDS:
            return None
        if node.op in ("slice", "reshape") and axes(node.args[0]) is None:
            return None
        return [(n, k) for k in range(len(node.shape))]

    for n in sorted(used):
        node = program.nodes[n]
        if node.is_leaf:
            continue
        if node.maps:
            for a, m in zip(node.args, node.maps, strict=True):
                theirs = axes(a)
                if theirs is not None:
                    for j, k in enumerate(m):
                        classes.join(theirs[j], (n, k))
            whole.update((n, k) for k in range(len(node.shape), len(node.domain)))
            continue
        if node.op == "slice" and axes(n) is None:
            continue
        if node.op in ("loop", "loop_back", "result"):
            continue
        if node.op in ("diag", "diagonal"):
            theirs, heads = axes(node.args[0]) or [], min(len(node.shape), len(program.nodes[node.args[0]].shape)) - 1
            whole.update(theirs[heads:], ((n, k) for k in range(heads, len(node.shape))))
            for k, axis in enumerate(theirs[:heads]):
                classes.join(axis, (n, k))
            continue
        for a in node.args:
            theirs = axes(a)
            if theirs is None:
                continue
            if node.op in ("slice", "concat", "cumsum"):
                moved = node.cut.axis if node.op == "slice" else node.of(int) if node.op == "concat" else len(node.shape) - 1
                for k in range(len(node.shape)):
                    if k == moved:
                        whole.update((theirs[k], (n, k)))
                    else:
                        classes.join(theirs[k], (n, k))
            else:
                whole.update(theirs)
                whole.update((n, k) for k in range(len(node.shape)))

    def same(a: int, b: int) -> None:
        first, second = axes(a), axes(b)
        for i, j in zip(first or (), second or (), strict=False):
            classes.join(i, j)

    for n in sorted(used):
        node = program.nodes[n]
        if node.op == "loop":
            loop = node.loop
            for start, leaf, output in zip(node.args, loop.rounds, loop.outputs, strict=False):
                same(start, leaf)
                same(leaf, output)
        elif node.op == "loop_back":
            loop, back, count = node.loop, node.back, len(node.back.gradients)
            for k in range(count):
                for a in (loop.rounds[k], back.outputs[k], node.args[count + k]):
                    same(back.gradients[k], a)
        elif node.op == "result":
            same(n, getattr(program.nodes[node.args[0]].data, node.result.kind)[node.result.index])
    def written(sink: Sink) -> list[Hashable] | None:
        """The axes of what a sink writes, where they are known."""
        kind, index = sink.target.kind, sink.target.index
        if kind in ("sequence", "carry_gradient"):
            return [("state", carries[index], k) for k in sink.order]
        if kind == "round":  # also where a round computes it of none of what it begins with
            return axes(next(n.loop for n in program.nodes if n.op in ("loop", "loop_back") and n.loop.number == sink.loop).rounds[index])
        if kind == "round_gradient":
            return axes(next(n.back for n in program.nodes if n.op == "loop_back" and n.loop.number == sink.loop).gradients[index])
        return None

    for sink in program.sinks:
        for one, other in zip(axes(sink.node) or (), written(sink) or (), strict=False):
            classes.join(one, other)
    return classes, whole


def separate(program: Program, used: set[int], shapes: list[tuple[int, int]], carries: list[int]) -> Split:
    """How units divide the states. shapes: for each carry, its rank and how many of its axes are head axes."""
    classes, whole = classes_of(program, used, carries)
    roots = {classes.find(a) for a in whole}
    for n in used:  # a class that a value has twice cannot be divided
        node = program.nodes[n]
        seen: set[Hashable] = set()
        for k in range(len(node.domain)):
            root = classes.find((n, k))
            if root in seen:
                roots.add(root)
            seen.add(root)
    states = sorted(set(carries))

    def separable(positions: dict[int, int]) -> bool:
        """Whether the axes at these places, one of each state, are of one separable class that no state has twice."""
        root = classes.find(("state", states[0], positions[states[0]]))
        for s in states:
            if [k for k in range(shapes[s][0]) if classes.find(("state", s, k)) == root] != [positions[s]]:
                return False
        return root not in roots

    last = {s: shapes[s][0] - 1 for s in states}
    block = bool(states) and all(k >= 0 for k in last.values()) and separable(last)
    heads = min((shapes[s][1] for s in states), default=0)
    apart = tuple(k for k in range(heads) if not (block and k in last.values()) and separable(dict.fromkeys(states, k)))
    return Split(apart, block)


def state_numbers(step: Step) -> list[int]:
    """For each carry, the number of the first carry of its state: parts and lags of a state share their axes."""
    first: dict[str, int] = {}
    return [first.setdefault(array.name, i) for i, (array, _) in enumerate(step.carries)]
