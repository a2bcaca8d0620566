"""The step of a cell as the lines of a C function: plain loops over its entries, each value after the line of the program that says it."""

import re
from collections.abc import Callable, Sequence
from math import prod

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.export.c.interface import Interface
from rnndsl.export.c.loops import Loops
from rnndsl.export.c.places import Memory, Places, row_major
from rnndsl.export.c.text import COMPARE, NEG, C, Functions, comment, number
from rnndsl.export.c.work import Work
from rnndsl.kernel.schedule import Group


class Function(Places):
    """Writes one step."""

    def __init__(self, work: Work, face: Interface, weights: Sequence[Memory], source: Source, names: KernelNames, functions: Functions, counter: str):
        super().__init__(work, face, weights, source, names, functions, counter)
        self.lines: list[str] = []
        self.origin: int | None = None  # the line of the program that was named last

    def put(self, text: str, depth: int = 1) -> None:
        self.lines.append("  " * depth + text)

    def note(self, n: int, depth: int) -> None:
        """Names the line of the program that what follows comes from."""
        line = self.source.line_of(self.nodes[n].span.start)
        if line != self.origin:
            self.origin = line
            self.put(comment(self.source.cited(line, 90)), depth)

    def write(self) -> list[str]:
        """All lines of the function's body."""
        if self.clock:
            self.put(f"const {self.real} {self.clock} = ({self.real})s->{self.face.clock};")
        for g in self.work.groups:
            self._group(g, 1)
        self._end()
        used = {w for line in self.lines for w in _words(line)}
        pointers = [f"  {self.real} *const {name} = scratch{f' + {at}' if at else ''};" for name, at in self.offsets.items() if name in used]
        head = [f"  {self.real} scratch[{self.scratch.size}];"] if pointers else []
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


def _words(line: str) -> list[str]:
    """The identifiers of a line, but for members of a struct, which have names of their own."""
    return re.findall(r"(?<![\w>])[A-Za-z]\w*", line.split("/*")[0])
