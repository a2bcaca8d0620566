"""A step as work in order: its loops, which products are summed inside others, which values take memory, and where this lies."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from rnndsl.checks.dims import Dim
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.graph import SCALARS, Map, Node
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program, Sink
from rnndsl.kernel.rounds import rounds_of
from rnndsl.kernel.schedule import DomainKey, Group, schedule, viewed
from rnndsl.kernel.step import Step


class Work:
    """The groups of a step, all sizes known. `inlined` are products that the one loop which reads them adds up, entry by entry."""

    def __init__(self, program: Program, step: Step, sizes: dict[str, int], hypers: dict[str, float]):
        self.program, self.step, self.sizes, self.hypers = program, step, sizes, hypers
        self.nodes: tuple[Node, ...] = tuple(map(_forwards, program.nodes))
        key = DomainKey(self.nodes, {})
        outermost = [s for s in program.sinks if s.loop is None]
        computed = reachable(self.nodes, [s.node for s in outermost], rounds=False)
        made = schedule(self.nodes, outermost, computed, key)
        self.rounds = {n: rounds_of(self.nodes, program.sinks, n, key).forward for n in sorted(computed) if self.nodes[n].op == "loop"}
        self.used = reachable(self.nodes, [s.node for s in program.sinks])
        self.numbers: dict[int, float | None] = {}
        self.inlined: set[int] = set()
        self.groups = self._merged(made.groups)
        self.inner = {n: self._merged(r.groups) for n, r in self.rounds.items()}
        kept = {n for s in (made, *self.rounds.values()) for n in s.kept}
        self.kept = {n for n in kept if n not in self.inlined and self.number(n) is None}

    # Sizes and numbers

    def size(self, d: Dim) -> int:
        """A size in whole numbers. Raises ValueError where it is none."""
        value = d.evaluate(self.sizes)
        if value.denominator != 1:
            raise ValueError(f"{d} is not a whole number: {value}")
        return int(value)

    def shape(self, n: int) -> tuple[int, ...]:
        return tuple(map(self.size, self.nodes[n].shape))

    def volume(self, n: int) -> int:
        return prod(self.shape(n))

    def number(self, n: int) -> float | None:
        """What numbers, sizes and hyperparameters alone come to, in double precision; None of anything else."""
        if n not in self.numbers:
            self.numbers[n] = self._number(n)
        return self.numbers[n]

    def _number(self, n: int) -> float | None:
        node = self.nodes[n]
        match node.op:
            case "number":
                return node.of(float)
            case "size":
                return float(node.of(Dim).evaluate(self.sizes))
            case "hyper":
                return self.hypers[node.of(str)]
        if not node.is_elementwise or node.shape:
            return None
        return self.applied(n, [self.number(a) for a in node.args])

    def applied(self, n: int, args: "list[float | None]") -> float | None:
        """An elementwise node of numbers; None where one of them is none."""
        known = [a for a in args if a is not None]
        if len(known) < len(args):
            return None
        op = self.nodes[n].op
        function = (lambda a: a) if op == "copy" else OPERATIONS[op].number
        return None if function is None else float(function(*known))

    # Groups

    def _merged(self, groups: tuple[Group, ...]) -> list[Group]:
        """Groups without the products that one of them takes in."""
        found = list(groups)
        for group in groups:
            n = group.single
            if n is not None and self.nodes[n].op == "product" and self._reader(n, groups) is not None:
                self.inlined.add(n)
                found.remove(group)
        return found

    def _reader(self, n: int, groups: tuple[Group, ...]) -> Group | None:
        """The one loop that reads a product, or parts of it, entry by entry; None where others do, or it is read otherwise."""
        whole = tuple(range(len(self.nodes[n].shape)))
        read = [(r, a, i) for r in self.used for i, a in enumerate(self.nodes[r].args) if viewed(self.nodes, a) == n and self.nodes[r].op != "slice"]
        place = [g for g in groups if any(r in g.nodes for r, _, _ in read)]
        if len(place) != 1 or len(place[0].domain) != len(whole) or not all(r in place[0].nodes for r, _, _ in read):
            return None
        return place[0] if all(self.nodes[r].maps[i] == whole and self.offset(a) is not None for r, a, i in read) else None

    def offset(self, a: int) -> tuple[int, ...] | None:
        """Where along each axis a part of a value begins; None of a value in another shape."""
        node = self.nodes[a]
        if node.op == "reshape":
            return None
        if node.op != "slice":
            return (0,) * len(node.shape)
        inner = self.offset(node.args[0])
        return None if inner is None else tuple(o + (self.size(node.cut.offset) if k == node.cut.axis else 0) for k, o in enumerate(inner))

    def reads(self, group: Group) -> Iterator[tuple[int, Map | None]]:
        """What a group reads from memory: bases, each with the axes of the group along which its own run where that is entry by entry."""
        mine = set(group.nodes)
        for n in (*group.nodes, *group.sums):
            node = self.nodes[n]
            maps = node.maps if node.is_elementwise else (tuple(range(len(group.domain))),)
            for a, m in zip(node.args, maps, strict=True):
                if viewed(self.nodes, a) in self.inlined:
                    for b in self.nodes[viewed(self.nodes, a)].args:
                        yield viewed(self.nodes, b), None
                elif a not in mine and self.nodes[a].op not in SCALARS:
                    yield viewed(self.nodes, a), (m if viewed(self.nodes, a) == a else None)
        if group.single is not None:
            for a in self.nodes[group.single].args:
                yield viewed(self.nodes, a), None
            for inner in self.inner.get(group.single, ()):
                yield from ((base, None) for base, _ in self.reads(inner))

    def in_place(self, leaf: int, sink: Sink, groups: list[Group]) -> bool:
        """Whether the new value of a leaf may be written where the old one lies: nothing reads that later, or elsewhere than entry by entry."""
        place = next(i for i, g in enumerate(groups) if sink in g.sinks)
        whole = tuple(range(len(groups[place].domain)))
        if len(self.nodes[sink.node].shape) != len(whole):
            return False
        later = any(base == leaf for g in groups[place + 1 :] for base, _ in self.reads(g))
        return not later and all(m == whole for base, m in self.reads(groups[place]) if base == leaf)


def _forwards(node: Node) -> Node:
    """A function with a derivative of its own is its value: nothing here goes backwards."""
    return replace(node, op="copy", args=node.args[1:2], maps=node.maps[1:2]) if node.op == "surrogate" else node


@dataclass
class Scratch:
    """Memory of a step: entries of one array, each value's from when it is made to when it is last read."""

    taken: list[tuple[int, int, int, int]]  # first and last group, begin and end
    size: int = 0

    def take(self, entries: int, first: int, last: int) -> int:
        """Where a value of some entries lies that lives from one group to another: the first gap that is large enough."""
        at = 0
        for begin, end in sorted((b, e) for f, t, b, e in self.taken if f <= last and first <= t):
            if at + entries <= begin:
                break
            at = max(at, end)
        self.taken.append((first, last, at, at + entries))
        self.size = max(self.size, at + entries)
        return at
