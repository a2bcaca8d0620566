"""Where the values of a step lie in C: in arguments, in the state, among the weights, in variables and in a scratch whose parts they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.export.c.interface import Interface, Value
from rnndsl.export.c.text import NEG, C, Functions, index, number, operation
from rnndsl.export.c.work import Scratch, Work
from rnndsl.kernel.program import Sink
from rnndsl.kernel.schedule import Group, viewed

_LEAVES = frozenset(("stream", "static", "old"))


@dataclass(frozen=True)
class Memory:
    """Where values lie: an array, or a variable of its own. Entry i is at `step` · i + `first`, and further terms of whole numbers."""

    name: str
    is_array: bool = True
    step: int = 1
    first: int = 0
    further: tuple[tuple[str, int], ...] = ()
    scales: str = ""  # of weights in int8: the array of the rows' scales


@dataclass(frozen=True)
class View:
    """A value as a part of what lies in memory: strides along its own axes."""

    base: int
    offset: int
    strides: tuple[int, ...]


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far apart entries lie along each axis."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


class Places:
    """Where the values of one step lie. weights: where each static array does. counter: the type of positions."""

    def __init__(self, work: Work, face: Interface, weights: Sequence[Memory], source: Source, names: KernelNames, functions: Functions, counter: str):
        self.work, self.face, self.weights, self.source, self.functions, self.counter = work, face, weights, source, functions, counter
        self.nodes, self.real = work.nodes, functions.real
        self.names = names.child()
        self.wanted = dict(work.program.names)
        self.locals = {n for n, name in self.wanted.items() if "." not in name}  # what the program itself names
        self.memory: dict[int, Memory] = {}  # of leaves and values in memory
        self.next: dict[Sink, Memory] = {}  # of sinks into states and rounds: where they go
        self.scratch = Scratch([])
        self.offsets: dict[str, int] = {}  # in the scratch, of the pointers into it
        self.beside: dict[Sink, Memory] = {}  # of sinks that go beside what they replace: where that lies
        self.clock = ""  # the step number, where a formula reads it
        self._place_leaves()
        self._place_values()

    def _place_leaves(self) -> None:
        inputs, fields, outputs = (_parts(v) for v in (self.face.inputs, self.face.fields, self.face.outputs))
        self.state = [Memory(f"s->{v.c}", step=1 + v.is_complex, first=part) for v, part in fields]
        self.outputs = [Memory(v.c, step=1 + v.is_complex, first=part) for v, part in outputs]
        given = [Memory(v.c, step=1 + v.is_complex, first=part) for v, part in inputs]
        for n in sorted(self.work.used):
            node = self.nodes[n]
            if node.op == "stream" and node.leaf.index == len(given):
                self.clock = self.names("t.steps", "t")
                self.memory[n] = Memory(self.clock, is_array=False)
            elif node.op in _LEAVES:
                self.memory[n] = {"stream": given, "old": self.state, "static": self.weights}[node.op][node.leaf.index]

    def _place_values(self) -> None:
        work, groups = self.work, self.work.groups
        end = len(groups)
        last: dict[int, int] = {}
        for i, g in enumerate(groups):
            for base, _ in work.reads(g):
                last[self._held(base)] = i
        further = {(a.name, a.part) for a, lag in work.step.carries if lag > 1}
        shifted = {i for i, (a, lag) in enumerate(work.step.carries) if lag == 1 and (a.name, a.part) in further}  # read when the step ends
        for i, g in enumerate(groups):
            if g.single in work.inner:
                self._place_rounds(g.single, i, max(i, last.get(g.single, i)))
            for s in g.sinks:
                if s.target.kind == "sequence":
                    self._place_state(s, i, end, shifted)
            for n in self._made(g):
                if n in work.kept and n not in self.memory:
                    self.memory[n] = self._taken(n, i, last.get(n, i))

    def _held(self, base: int) -> int:
        """Results of a loop lie where its rounds leave them: what holds them is the loop."""
        node = self.nodes[base]
        return node.args[0] if node.op == "result" else base

    def _made(self, g: Group) -> list[int]:
        found = [*g.nodes, *g.sums]
        if g.single is not None and self.nodes[g.single].op not in ("loop", "result"):
            found.append(g.single)
        return found

    def _taken(self, n: int, first: int, last: int, what: str = "") -> Memory:
        """Memory of a value: a variable where it is one number, else a part of the scratch."""
        name = self.names.of(self._name(n), what) if what else self._name(n)
        if self.work.volume(n) == 1 and not what:
            return Memory(name, is_array=False)
        self.offsets[name] = self.scratch.take(self.work.volume(n), first, last)
        return Memory(name)

    def _place_state(self, s: Sink, i: int, end: int, shifted: set[int]) -> None:
        """A new state goes where the old one lies, or beside it until the step ends."""
        index_, old = s.target.index, self.state[s.target.index]
        leaf = next((n for n, m in self.memory.items() if self.nodes[n].op == "old" and self.nodes[n].leaf.index == index_), None)
        if index_ not in shifted and (leaf is None or self.work.in_place(leaf, s, self.work.groups)):
            self.next[s] = old
        else:
            self.next[s] = self._taken(s.node, i, end, "next")
            self.beside[s] = old
        if s.node in self.work.kept and s.node not in self.memory:
            self.memory[s.node] = self.next[s]

    def _place_rounds(self, n: int, i: int, last: int) -> None:
        loop = self.nodes[n].loop
        groups = self.work.inner[n]
        for j, leaf in enumerate(loop.rounds):
            self.memory[leaf] = self._taken(leaf, i, last, "round")
            for r in self.work.used:
                if self.nodes[r].op == "result" and self.nodes[r].args == (n,) and self.nodes[r].result.index == j:
                    self.memory[r] = self.memory[leaf]
        for g in groups:
            for s in g.sinks:
                leaf = loop.rounds[s.target.index]
                free = self.work.in_place(leaf, s, groups)
                self.next[s] = self.memory[leaf] if free else self._taken(leaf, i, i, "next")
                if not free:
                    self.beside[s] = self.memory[leaf]
                if s.node in self.work.kept and s.node not in self.memory and free:
                    self.memory[s.node] = self.next[s]
            for m in self._made(g):
                if m in self.work.kept and m not in self.memory:
                    self.memory[m] = self._taken(m, i, i)

    def _name(self, n: int) -> str:
        """The identifier of a computed value."""
        wanted = self.wanted.get(n)
        if wanted is None and self.nodes[n].op == "product":
            wanted = "_".join(self._plain_name(a) for a in self.nodes[n].args)
        return self.names(("value", n), wanted or "v")

    def _plain_name(self, a: int) -> str:
        base = viewed(self.nodes, a)
        step = self.work.step
        match self.nodes[base].op:
            case "static":
                return step.statics[self.nodes[base].leaf.index].label
            case "stream":
                return step.streams[self.nodes[base].leaf.index].label
            case "old":
                return step.carries[self.nodes[base].leaf.index][0].label
        return self.wanted.get(base, "v")

    def is_in_place(self, s: Sink) -> bool:
        """Whether a sink goes where what it replaces lies."""
        if s.target.kind == "output":
            return False
        return s not in self.beside

    def view(self, n: int) -> View:
        """Where a value lies."""
        node = self.nodes[n]
        if node.op == "slice":
            inner = self.view(node.args[0])
            axis = node.cut.axis
            return View(inner.base, inner.offset + self.work.size(node.cut.offset) * inner.strides[axis], inner.strides)
        if node.op == "reshape":
            inner = self.view(node.args[0])
            return View(inner.base, inner.offset, row_major(self.work.shape(n)))
        return View(n, 0, row_major(self.work.shape(n)))

    def entry(self, n: int, places: list[str]) -> str:
        """An entry of a value in memory, at positions along its axes."""
        view = self.view(n)
        return self.at(self._memory(view.base), places, view.strides, self.work.shape(n), view.offset)

    def _memory(self, base: int) -> Memory:
        """Where a base lies; of a slice of weights, which one is part of that."""
        m = self.memory[base]
        node = self.nodes[base]
        if node.op != "static" or node.leaf.select is None:
            return m
        volume = self.work.volume(base)
        chosen = self.work.number(node.leaf.select)
        if chosen is not None:
            return Memory(m.name, True, m.step, m.first + volume * (int(chosen) - 1), scales=m.scales)
        return Memory(m.name, True, m.step, m.first - volume, ((self._whole(node.leaf.select), volume),), m.scales)

    def at(self, m: Memory, places: list[str], strides: tuple[int, ...], shape: tuple[int, ...], offset: int = 0) -> str:
        if not m.is_array:
            return m.name
        terms = [(p, s * m.step) for p, s, size in zip(places, strides, shape, strict=True) if size > 1]
        return f"{m.name}[{index([*m.further, *terms], offset * m.step + m.first)}]"

    def _whole(self, n: int) -> str:
        """A scalar that depends on the counter of a loop, as a whole number."""
        node = self.nodes[n]
        if node.op == "counter":
            return self._counter(node.of(str))
        return f"({self.counter})({self._scalar(n).code})"

    def _counter(self, name: str) -> str:
        return self.names(("counter", name), name)

    def _scalar(self, n: int) -> C:
        node, known = self.nodes[n], self.work.number(n)
        if known is not None:
            return number(known, self.real)
        if node.op == "counter":
            return C(f"({self.real}){self._counter(node.of(str))}", NEG)
        return operation(node.op, [self._scalar(a) for a in node.args], self.functions)


def _parts(values: tuple[Value, ...]) -> list[tuple[Value, int]]:
    """The real arrays that values are: each with 0, and the imaginary part of a complex one with 1."""
    return [(v, part) for v in values for part in range(1 + v.is_complex)]
