"""What the parts of one kernel have in common: how programs divide the work, how large tiles are, where values lie, what they are called."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.layout import WIDTH, assigned, called, listed
from rnndsl.emit.triton.text import bracketed, dim, times
from rnndsl.emit.triton.uniform import Constant, Constants, Uniform
from rnndsl.kernel.graph import Node
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program
from rnndsl.kernel.separate import OWN, Split, classes_of, state_numbers
from rnndsl.kernel.step import Step

Domain = tuple[tuple[Dim, Hashable], ...]  # axes: their size, and how programs divide them: ("head", position), "block", or None


@dataclass
class Sizes:
    """The numbers of a file that its sizes make: how large tiles are, and what fits into registers."""

    names: KernelNames  # of the file
    made: dict[object, Constant] = field(default_factory=dict)
    of: dict[str, KernelNames] = field(default_factory=dict)  # by what a number says, of what

    def constant(self, key: object, wanted: str, code: str) -> str:
        """The name of a number that Python code makes. It has two `_` in a row: kernels have given their own names before."""
        if key not in self.made:
            of, _, what = wanted.rpartition("_")
            self.made[key] = Constant(f"{self.of.setdefault(what, KernelNames())(key, of)}_{what}", code)
        return self.made[key].name

    def python(self, d: Dim) -> str:
        """A size in Python."""
        return dim(d, {n: f"{self.names(n)}.value" for n in d.names})

    def tile(self, d: Dim) -> str:
        """How long a tile is along an axis of this size."""
        if d.number is not None and 0 < d.number.numerator <= 2:
            return str(int(d.number))
        if (known := self.made.get(("tile", d))) is not None:  # asked of every axis of every value
            return known.name
        return self.constant(("tile", d), f"{d}_tile", f"power_of_two({self.python(d)})")

    def block(self, name: str, d: Dim) -> str:
        """How many columns, or rows, of the states of a recurrence a program has."""
        return self.constant(("block", name), f"{name}_block", f"columns({self.python(d)})")

    def blocks(self, name: str, d: Dim) -> str:
        """How many programs there are for all of them."""
        return self.constant(("blocks", name), f"{name}_blocks", f"-(-{bracketed(self.python(d))} // {self.block(name, d)}.value)")


@dataclass(frozen=True)
class View:
    """Where the entries of a value lie in an array: its leaf, that of the first one, and how far apart they are along each axis."""

    leaf: int
    offset: Dim
    strides: tuple[Dim, ...]


@dataclass
class Scope:
    """What the parts of a kernel know.

    `before` are the lines in front of the loop over time, `lines` those inside so far; `scratch` is what each row of a program has of memory of its own.
    """

    program: Program
    step: Step
    split: Split
    name: str  # of the recurrence: what the kernels begin with
    source: Source
    names: KernelNames
    sizes: Sizes
    constants: Constants
    before: list[str] = field(default_factory=list, init=False)
    lines: list[str] = field(default_factory=list, init=False)
    depth: int = field(default=0, init=False)
    scratch: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        p = self.program
        self.nodes = p.nodes
        self.used = reachable(p.nodes, [s.node for s in p.sinks])
        self.carries_of = state_numbers(self.step)
        classes, _ = classes_of(p, self.used, self.carries_of)
        roots = {classes.find(("state", self.carries_of[i], k)): marker for i in range(len(self.step.carries)) for k, (_, marker) in enumerate(self.state_domain(i)) if marker}
        self.local = {(n, k): roots.get(classes.find((n, k))) for n in self.used for k in range(len(self.nodes[n].domain))}
        self.local_names = dict(p.names)  # of nodes that are locals of the program
        self.numbers = Uniform(self.nodes, self.sizes.names, self.constants)
        self.uniform = self.numbers.among(sorted(self.used))
        self.loops = [self.nodes[n] for n in sorted(self.used) if self.nodes[n].op in ("loop", "loop_back")]
        self.origin: int | None = None

    # Lines

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def under(self, head: str) -> Iterator[None]:
        """The lines of a branch or loop."""
        self.put(head)
        self.depth += 1
        yield
        self.depth -= 1

    def assign(self, name: str, code: str) -> None:
        """A statement, broken where it is long."""
        for line in statement(name, code, 8 + 4 * self.depth):
            self.put(line)

    def call(self, function: str, arguments: Sequence[str]) -> None:
        """A call whose result nobody reads."""
        for line in called(function, arguments, 8 + 4 * self.depth).split("\n"):
            self.put(line.removeprefix(" " * (8 + 4 * self.depth)))

    def note(self, node: Node) -> None:
        """Names the line of the program that what follows comes from."""
        line = self.source.line_of(node.span.start)
        if line != self.origin:
            self.origin = line
            self.put(triton_text.comment(self.source.cited(line)[: WIDTH - 6]))

    # Axes

    def dim(self, d: Dim) -> str:
        return dim(d, {n: self.sizes.names(n) for n in d.names})

    def state_domain(self, carry: int) -> Domain:
        """The axes of a state."""
        shape = self.step.carries[carry][0].shape
        block = self.split.block[carry] if self.split.block else None
        return tuple((d, ("head", k) if k in self.split.heads else "block" if k == block else None) for k, d in enumerate(shape))

    def domain(self, n: int) -> Domain:
        """The axes of a value, and those that it sums over."""
        node = self.nodes[n]
        if node.op in OWN:
            return self.state_domain(node.leaf.index)
        return tuple((d, self.local.get((n, k))) for k, d in enumerate(node.domain))

    def shape_domain(self, n: int) -> Domain:
        return self.domain(n)[: len(self.nodes[n].shape)]

    def extent(self, d: Dim, marker: Hashable) -> str:
        """How long a tile is along an axis."""
        return "1" if isinstance(marker, tuple) else self.sizes.block(self.name, d) if marker == "block" else self.sizes.tile(d)

    def extents(self, domain: Domain) -> list[str]:
        return [self.extent(*a) for a in domain]

    def shape(self, domain: Domain, moves: bool = True) -> str:
        """The shape of a tile."""
        return listed(["ROWS" if moves else "1", *self.extents(domain)])

    @staticmethod
    def place_of(marker: Hashable) -> str:
        """The number of a program along an axis that programs divide."""
        return f"n{marker[1]}" if isinstance(marker, tuple) else "block"

    @staticmethod
    def origin_of(marker: Hashable) -> str:
        """Where a program's part of an axis begins."""
        return f"n{marker[1]}" if isinstance(marker, tuple) else "start" if marker == "block" else "0"

    def own_size(self, d: Dim, marker: Hashable) -> str:
        """How many entries along an axis memory has that belongs to one program."""
        return self.dim(d) if marker is None else self.extent(d, marker)

    def row_major(self, sizes: Sequence[str]) -> list[str]:
        """Strides of an array whose entries lie one behind the other, and last how many they are."""
        found, step = [], "1"
        for size in reversed(sizes):
            found.append(step)
            step = times(bracketed(step), size) if step != "1" else size
        return [*reversed(found), step]

    def count(self, domain: Domain) -> str:
        """How many entries an array has."""
        return self.row_major([self.dim(d) for d, _ in domain])[-1]

    def in_array(self, domain: Domain, strides: Sequence[str] | None = None) -> list[str]:
        """What `read` and `write` are told of a program's part of an array."""
        sizes = [self.dim(d) for d, _ in domain]
        given = list(strides) if strides is not None else self.row_major(sizes)[:-1]
        return [listed(self.extents(domain)), listed([self.origin_of(m) for _, m in domain]), listed(sizes), listed(given)]

    def in_program(self, domain: Domain, strides: Sequence[str] | None = None) -> list[str]:
        """What `read` and `write` are told of memory that belongs to a program."""
        sizes = [self.own_size(*a) for a in domain]
        given = list(strides) if strides is not None else self.row_major(sizes)[:-1]
        return [listed(self.extents(domain)), listed(["0"] * len(domain)), listed(sizes), listed(given)]

    # Memory of a program

    def room(self, entries: str) -> str:
        """Takes memory for so many entries a row; where it begins."""
        begin = " + ".join(self.scratch)
        self.scratch.append(bracketed(entries))
        return f"scratch + ROWS * ({begin})" if begin else "scratch"

    def put_aside(self, n: int, code: str, memory: str, offset: str = "0", strides: Sequence[str] | None = None, entries: str = "") -> None:
        """Writes a value to memory of the program."""
        domain = self.shape_domain(n)
        per_row = entries or self.row_major([self.own_size(*a) for a in domain])[-1]
        base = memory if offset == "0" else f"{memory} + {offset}"
        self.call("write", [base, f"lane * {bracketed(per_row)}", "everywhere", code, *self.in_program(domain, strides)])

    def fetched(self, domain: Domain, memory: str, offset: str, strides: Sequence[str] | None, entries: str) -> str:
        """A tile from memory of the program."""
        base = memory if offset == "0" else f"{memory} + {offset}"
        return f"read({', '.join([base, f'lane * {bracketed(entries)}', 'everywhere', *self.in_program(domain, strides), 'REAL'])})"

    # Arrays

    def array(self, kind: str, i: int) -> str:
        """What an array is called: a stream or a static one, or what belongs to a carried value."""
        if kind in ("stream", "static"):
            given = (self.step.streams if kind == "stream" else self.step.statics)[i]
            return self.names((kind, i), f"{given.label}_array")
        array, lag = self.step.carries[i]
        return self.names(("carry", i), f"{array.label}_{lag}")

    def view(self, n: int) -> View | None:
        """Where a part of a leaf lies; None of what is computed, or lies in no such order."""
        node = self.nodes[n]
        if node.op in ("stream", "static"):
            return View(n, Dim.of(0), _row_major(node.shape))
        if node.op not in ("slice", "reshape", "diagonal"):
            return None
        inner = self.view(node.args[0])
        if inner is None:
            return None
        if node.op == "slice":
            return View(inner.leaf, inner.offset + node.cut.offset * inner.strides[node.cut.axis], inner.strides)
        if node.op == "diagonal":
            *others, row, column = inner.strides
            return View(inner.leaf, inner.offset, (*others, row + column))
        if inner.strides != _row_major(self.nodes[node.args[0]].shape):
            return None
        return View(inner.leaf, inner.offset, _row_major(node.shape))


def statement(name: str, code: str, indent: int) -> list[str]:
    """The lines of a statement; a call is broken between its arguments."""
    head, inside = code.split("(", 1) if "(" in code else (code, "")
    arguments = _arguments(inside[:-1]) if head.isidentifier() and inside.endswith(")") else None
    if arguments is None:
        return assigned(name, code, indent)
    return [line.removeprefix(" " * indent) for line in called(f"{name} = {head}", arguments, indent).split("\n")]


def _arguments(inside: str) -> list[str] | None:
    """What stands between the commas of a call; None where a bracket closes that was opened before."""
    found, depth, begin = [], 0, 0
    for i, c in enumerate(inside):
        depth += (c in "([") - (c in ")]")
        if depth < 0:
            return None
        if c == "," and depth == 0:
            found.append(inside[begin:i].strip())
            begin = i + 1
    return [*found, inside[begin:].strip()]


def _row_major(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    found, step = [], Dim.of(1)
    for d in reversed(shape):
        found.append(step)
        step = step * d
    return tuple(reversed(found))
