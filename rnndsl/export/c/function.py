"""The step of a cell as the lines of a C function: plain loops over its entries, each value after the line of the program that says it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.export.c.interface import Interface, Value
from rnndsl.export.c.text import ATOM, COMPARE, NEG, C, Functions, comment, index, number, operation
from rnndsl.export.c.work import Scratch, Work
from rnndsl.kernel.graph import Map
from rnndsl.kernel.program import Sink
from rnndsl.kernel.schedule import Group, viewed

_TOGETHER = 4  # products that one loop adds up
WIDTH = 110  # of a line, about: longer formulas are written in parts
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


class Function:
    """Writes one step. weights: where each static array lies. counter: the type of positions."""

    def __init__(self, work: Work, face: Interface, weights: Sequence[Memory], source: Source, names: KernelNames, functions: Functions, counter: str):
        self.work, self.face, self.weights, self.source, self.functions, self.counter = work, face, weights, source, functions, counter
        self.nodes, self.real = work.nodes, functions.real
        self.names = names.child()
        self.wanted = dict(work.program.names)
        self.locals = {n for n, name in self.wanted.items() if "." not in name}  # what the program itself names
        self.lines: list[str] = []
        self.origin: int | None = None
        self.memory: dict[int, Memory] = {}  # of leaves and values in memory
        self.next: dict[Sink, Memory] = {}  # of sinks into states and rounds: where they go
        self.scratch = Scratch([])
        self.offsets: dict[str, int] = {}  # in the scratch, of the pointers into it
        self.beside: dict[Sink, Memory] = {}  # of sinks that go beside what they replace: where that lies
        self.clock = ""  # the step number, where a formula reads it
        self._place_leaves()
        self._place_values()

    # Where values lie

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

    # Lines

    def put(self, text: str, depth: int = 1) -> None:
        self.lines.append("  " * depth + text)

    def note(self, n: int, depth: int) -> None:
        """Names the line of the program that what follows comes from."""
        line = self.source.line_of(self.nodes[n].span.start)
        if line != self.origin:
            self.origin = line
            self.put(comment(f"{self.source.name}:{line}  {self.source.line_text(line).strip()[:90]}"), depth)

    def write(self) -> list[str]:
        """All lines of the function's body."""
        if self.clock:
            self.put(f"const {self.real} {self.clock} = ({self.real})s->{self.face.clock};")
        for g in self.work.groups:
            self._group(g, 1)
        self._end()
        used = {w for line in self.lines for w in _words(line)}
        head = [f"  {self.real} scratch[{self.scratch.size}];"] if self.scratch.size else []
        pointers = [f"  {self.real} *const {name} = scratch{f' + {at}' if at else ''};" for name, at in self.offsets.items() if name in used]
        unused = [f"  (void){v.c};" for v in (*self.face.inputs, *self.face.outputs) if v.c not in used]
        unused += [] if "s" in used else ["  (void)s;"]
        return [*head, *pointers, *unused, *self.lines]

    def _end(self) -> None:
        """What the next step is to see."""
        carries = self.work.step.carries
        fields = [(i, lag) for i, (_, lag) in enumerate(carries)]
        nearer = {(a.name, a.part, lag): i for i, (a, lag) in enumerate(carries)}
        for i, lag in sorted(fields, key=lambda f: -f[1]):
            if lag > 1:
                a = carries[i][0]
                self._copy(self.state[nearer[a.name, a.part, lag - 1]], self.state[i], prod(map(self.work.size, a.shape)), 1)
        for s, old in self.beside.items():
            if s.target.kind == "sequence":
                self._copy(self.next[s], old, self.work.volume(s.node), 1)
        if self.face.clock:
            self.put(f"if (s->{self.face.clock} < UINT32_MAX) ++s->{self.face.clock};")

    def _copy(self, source: Memory, target: Memory, count: int, depth: int) -> None:
        if source != target:
            depth, (i,) = self._open(["i0"], (count,), depth)
            self.put(f"{self.at(target, [i], (1,), (count,))} = {self.at(source, [i], (1,), (count,))};", depth)

    def _open(self, names: list[str], shape: tuple[int, ...], depth: int, block: bool = False) -> tuple[int, list[str]]:
        """Opens loops over axes; the depth inside, and the position along each axis."""
        for name, size in zip(names, shape, strict=True):
            if size != 1:
                self.put(f"for ({self.counter} {name} = 0; {name} < {size}; ++{name}){' {' if block else ''}", depth)
                depth += 1
        return depth, [name if size != 1 else "0" for name, size in zip(names, shape, strict=True)]

    def _close(self, to: int, depth: int) -> None:
        for d in range(depth - 1, to - 1, -1):
            self.put("}", d)

    def _group(self, g: Group, depth: int) -> None:
        if g.single is None:
            Loops(self, g).write(depth)
            return
        n = g.single
        op = self.nodes[n].op
        if op == "result":
            return
        self.note(n, depth)
        write: Callable[[int, int], None] = getattr(self, f"_{op}")
        write(n, depth)

    # Operations that are no formula of single entries

    def _target(self, n: int, depth: int) -> None:
        """Declares a value that is one variable."""
        if not self.memory[n].is_array:
            self.put(f"{self.real} {self.memory[n].name};", depth)

    def own(self, n: int, places: list[str]) -> str:
        """An entry of a value that is being made, in its own memory."""
        shape = self.work.shape(n)
        return self.at(self.memory[n], places, row_major(shape), shape)

    def _product(self, n: int, depth: int) -> None:
        self._target(n, depth)
        shape = self.work.shape(n)
        names = [f"i{k}" for k in range(len(shape))]
        inner, places = self._open(names, shape, depth, block=True)
        total = self.names.of(self._name(n), "sum") if shape else self._name(n)
        self.sum_products([(n, places, total)], inner, declare=self.memory[n].is_array or total != self.memory[n].name)
        if self.memory[n].is_array or total != self.memory[n].name:
            self.put(f"{self.own(n, places)} = {total};", inner)
        self._close(depth, inner)

    def sum_products(self, wanted: "list[tuple[int, list[str], str]]", depth: int, declare: bool = True) -> None:
        """Adds up entries of products that sum over as many terms, each in a variable: (product, positions of the entry, variable)."""
        summed = tuple(map(self.work.size, self.nodes[wanted[0][0]].summed))
        for n, _, total in wanted:
            self.note(n, depth)
            self.put(f"{f'{self.real} ' if declare else ''}{total} = {self.functions.zero};", depth)
        several = len(wanted) > 1
        inner, more = self._open([f"j{k}" for k in range(len(summed))], summed, depth, block=several)
        after = []
        for n, places, total in wanted:
            factors, scale = self._factors(n, [*places, *more])
            self.put(f"{total} += {' * '.join(factors)};", inner)
            after += [f"{total} *= {scale};"] if scale else []
        if several:
            self._close(depth, inner)
        for line in after:
            self.put(line, depth)

    def _factors(self, n: int, where: list[str]) -> tuple[list[str], str]:
        """The factors of a term of a product, and what the sum of them is still to be multiplied by."""
        node = self.nodes[n]
        factors, after = [], ""
        for a, m in zip(node.args, node.maps, strict=True):
            at = [where[k] for k in m]
            factors.append(self._argument(a, at).within(NEG))
            scale = self._scale(a, at)
            if scale:
                factors[-1] = f"({self.real}){factors[-1]}"
                if all(k < len(node.shape) for k in m[:-1]):  # one row: its scale can wait
                    after = scale
                else:
                    factors.append(scale)
        return factors, after

    def _argument(self, a: int, places: list[str]) -> C:
        known = self.work.number(a)
        if known is not None:
            return number(known, self.real)
        if self.nodes[a].op == "counter":
            return self._scalar(a)
        return C(self.entry(a, places))

    def _scale(self, a: int, places: list[str]) -> str:
        """The scale of the row of weights that an entry is in."""
        if self.nodes[a].op != "static" or not self.memory[a].scales:
            return ""
        m, shape = self._memory(a), self.work.shape(a)
        row = Memory(m.scales, True, 1, m.first // shape[-1], tuple((t, f // shape[-1]) for t, f in m.further))
        return self.at(row, places[:-1], row_major(shape[:-1]), shape[:-1])

    def _concat(self, n: int, depth: int) -> None:
        self._target(n, depth)
        axis, start = self.nodes[n].of(int), 0
        strides = row_major(self.work.shape(n))
        for a in self.nodes[n].args:
            shape = self.work.shape(a)
            inner, places = self._open([f"i{k}" for k in range(len(shape))], shape, depth)
            to = self.at(self.memory[n], places, strides, shape, start * strides[axis])
            self.put(f"{to} = {self._argument(a, places).code};", inner)
            start += shape[axis]

    def _cumsum(self, n: int, depth: int) -> None:
        self._target(n, depth)
        shape = self.work.shape(n)
        names = [f"i{k}" for k in range(len(shape))]
        inner, places = self._open(names[:-1], shape[:-1], depth, block=True)
        total = self.names.of(self._name(n), "sum")
        self.put(f"{self.real} {total} = {self.functions.zero};", inner)
        deepest, last = self._open(names[-1:], shape[-1:], inner, block=True)
        places += last
        self.put(f"{total} += {self._argument(self.nodes[n].args[0], places).code};", deepest)
        self.put(f"{self.own(n, places)} = {total};", deepest)
        self._close(depth, deepest)

    def _diag(self, n: int, depth: int) -> None:
        self._target(n, depth)
        shape = self.work.shape(n)
        names = [f"i{k}" for k in range(len(shape))]
        inner, places = self._open(names, shape, depth)
        here = self._argument(self.nodes[n].args[0], places[:-1]).within(COMPARE)
        same = f"{places[-1]} == {places[-2]} ? {here} : {self.functions.zero}" if shape[-1] > 1 else here
        self.put(f"{self.own(n, places)} = {same};", inner)

    def _loop(self, n: int, depth: int) -> None:
        node, loop = self.nodes[n], self.nodes[n].loop
        for start, leaf in zip(node.args, loop.rounds, strict=False):
            shape = self.work.shape(leaf)
            inner, places = self._open([f"i{k}" for k in range(len(shape))], shape, depth)
            to = self.at(self.memory[leaf], places, row_major(shape), shape)
            self.put(f"{to} = {self._argument(start, places if self.nodes[start].shape else []).code};", inner)
        name = self._counter(loop.counter)
        low, high = self.work.size(loop.low), self.work.size(loop.high)
        self.put(f"for ({self.counter} {name} = {low}; {name} <= {high}; ++{name}) {{", depth)
        self.origin = None
        for g in self.work.inner[n]:
            self._group(g, depth + 1)
        for g in self.work.inner[n]:
            for s in g.sinks:
                if s in self.beside:
                    self._copy(self.next[s], self.beside[s], self.work.volume(s.node), depth + 1)
        self.put("}", depth)
        self.origin = None


class Loops:
    """The loops of one group of formulas. `i0`, `i1`, … are the positions along its axes."""

    def __init__(self, f: Function, group: Group):
        self.f, self.g = f, group
        self.shape = tuple(f.work.size(d) for d, _ in group.domain)
        self.mine = set(group.nodes)
        self.texts: dict[int, C] = {}
        self.totals: dict[int, str] = {}  # of sums that variables hold
        self.counts: dict[int, int] = {}
        for n in (*group.nodes, *group.sums):
            for a in f.nodes[n].args:
                self.counts[a] = self.counts.get(a, 0) + 1
        for s in group.sinks:
            self.counts[s.node] = self.counts.get(s.node, 0) + 1

    def write(self, depth: int) -> None:
        f = self.f
        self.places: list[str] = []
        inner, outer = depth, self._kept_outside()
        for k in range(len(self.shape) + 1):
            if k == outer:
                for n in self.g.sums:
                    self._begin_sum(n, inner)
            if k < len(self.shape):
                inner, place = f._open([f"i{k}"], self.shape[k : k + 1], inner, block=True)
                self.places += place
        sums: dict[int, list[int]] = {}
        for n in self.g.sums:
            sums.setdefault(f.nodes[n].args[0], []).append(n)
        self._products(inner)
        for n in self.g.nodes:
            self._node(n, inner, sums.get(n, []))
        for n in self.g.sums:
            if f.nodes[n].args[0] not in self.mine:
                whole = tuple(range(len(self.shape)))
                self._add(n, self._argument(f.nodes[n].args[0], whole, inner).code, inner)
        self._store(inner)
        opened = inner
        for k in range(len(self.shape) - 1, -1, -1):
            if self.shape[k] != 1:
                opened -= 1
                f.put("}", opened)
            if k == outer:
                self._end_sums(opened)
        f.origin = None if inner > depth else f.origin

    def _kept_outside(self) -> int:
        """How many axes are looped over outside of all that is summed over, where all sums have these in common: then variables hold them. 0 elsewhere."""
        for n in self.g.sums:
            node = self.f.nodes[n]
            if node.maps[0] != tuple(range(len(self.shape))) or node.shape != self.f.nodes[self.g.sums[0]].shape:
                return 0
        return len(self.f.nodes[self.g.sums[0]].shape) if self.g.sums else 0

    def _node(self, n: int, depth: int, sums: list[int]) -> None:
        f, node = self.f, self.f.nodes[n]
        args = [self._argument(a, m, depth) for a, m in zip(node.args, node.maps, strict=True)]
        text = operation(node.op, args, f.functions)
        kept = n in f.work.kept
        is_number = node.op == "copy" and args[0].literal is not None
        several = self.counts.get(n, 0) + kept > 1 and not is_number
        own_name = n in f.locals and text.binds < ATOM and not any(s.node == n for s in self.g.sinks)
        if several or own_name or len(text.code) > WIDTH - 2 * depth - 20 or (kept and not f.memory[n].is_array):
            text = self._named(n, text, depth)
        self.texts[n] = text
        for reduction in sums:
            self._add(reduction, text.code, depth)

    def _store(self, depth: int) -> None:
        """Puts away what is read elsewhere, last of all what goes where an old value lies: what others make of that is then made already."""
        f = self.f
        stores: list[tuple[bool, int, str]] = []
        for n in self.g.nodes:
            sinks = [s for s in self.g.sinks if s.node == n]
            if n in f.work.kept and f.memory[n].is_array and f.memory[n] not in [f.next.get(s) for s in sinks]:
                stores.append((False, n, f.own(n, self._own_places(n))))
            stores += [(f.is_in_place(s), n, self._sink(s)) for s in sinks]
        stores.sort(key=lambda s: s[0])
        replacing = [n for is_late, n, _ in stores if is_late]
        for n in replacing[1:]:
            if self.texts[n].binds < ATOM or "[" in self.texts[n].code:
                self.texts[n] = self._named(n, self.texts[n], depth)
        for _, n, to in stores:
            f.note(n, depth)
            f.put(f"{to} = {self.texts[n].code};", depth)

    def _named(self, n: int, text: C, depth: int) -> C:
        """A variable for a value."""
        f = self.f
        f.note(n, depth)
        is_variable = n in f.work.kept and not f.memory[n].is_array
        name = f.memory[n].name if is_variable else f.names(("variable", n), f.wanted.get(n) or "v")
        f.put(f"const {f.real} {name} = {text.code};", depth)
        return C(name)

    def _own_places(self, n: int) -> list[str]:
        return self.places[: len(self.f.nodes[n].shape)]

    def _argument(self, a: int, m: Map, depth: int) -> C:
        f = self.f
        if a in self.mine:
            return self.texts[a]
        places = [self.places[k] for k in m]
        return self.texts[a] if a in self.texts else f._argument(a, places)

    def _products(self, depth: int) -> None:
        """Adds up the products that this loop reads, a few at a time: what they multiply is then loaded once, and no sum waits for another."""
        f = self.f
        found: dict[tuple[int, ...], list[tuple[int, list[str], str]]] = {}
        for a in dict.fromkeys(a for n in self.g.nodes for a in f.nodes[n].args):
            n = viewed(f.nodes, a)
            if n in f.work.inlined:
                name = f._name(n) if a == n else f.names(("part", a), f._name(n))
                at = [_shifted(p, o) for p, o in zip(self.places, f.work.offset(a) or (), strict=True)]
                found.setdefault(tuple(map(f.work.size, f.nodes[n].summed)), []).append((n, at, name))
                self.texts[a] = C(name)
        for wanted in found.values():
            for k in range(0, len(wanted), _TOGETHER):
                f.sum_products(wanted[k : k + _TOGETHER], depth)

    def _sink(self, s: Sink) -> str:
        f = self.f
        shape = f.work.shape(s.node)
        memory = f.outputs[s.target.index] if s.target.kind == "output" else f.next[s]
        return f.at(memory, self._own_places(s.node), row_major(shape), shape)

    # Sums

    def _begin_sum(self, n: int, depth: int) -> None:
        f = self.f
        start = f.functions.zero if f.nodes[n].op == "sum" else "-INFINITY"
        f.note(n, depth)
        if not f.memory[n].is_array:
            self.totals[n] = f.memory[n].name
        elif self.places:
            self.totals[n] = f.names.of(f.memory[n].name, "sum")
        if n in self.totals:
            f.put(f"{f.real} {self.totals[n]} = {start};", depth)
            return
        shape = f.work.shape(n)
        inner, places = f._open([f"i{k}" for k in range(len(shape))], shape, depth)
        f.put(f"{f.own(n, places)} = {start};", inner)

    def _end_sums(self, depth: int) -> None:
        f = self.f
        for n in self.g.sums:
            if f.memory[n].is_array and n in self.totals:
                f.put(f"{f.own(n, self._own_places(n))} = {self.totals[n]};", depth)

    def _add(self, n: int, value: str, depth: int) -> None:
        f = self.f
        order = f.nodes[n].maps[0]
        to = self.totals.get(n) or f.own(n, [self.places[order.index(k)] for k in range(len(f.nodes[n].shape))])
        f.note(f.nodes[n].args[0] if f.nodes[n].args[0] in self.mine else n, depth)
        if f.nodes[n].op == "largest":
            f.put(f"{to} = {f.functions('max')}({to}, {value});", depth)
        else:
            f.put(f"{to} += {value};", depth)


def _shifted(place: str, by: int) -> str:
    """A position, further on along its axis."""
    return place if not by else str(int(place) + by) if place.isdigit() else f"({place} + {by})"


def _parts(values: tuple[Value, ...]) -> list[tuple[Value, int]]:
    """The real arrays that values are: each with 0, and the imaginary part of a complex one with 1."""
    return [(v, part) for v in values for part in range(1 + v.is_complex)]


def _words(line: str) -> list[str]:
    """The identifiers of a line, but for members of a struct, which have names of their own."""
    return re.findall(r"(?<![\w>])[A-Za-z]\w*", line.split("/*")[0])
