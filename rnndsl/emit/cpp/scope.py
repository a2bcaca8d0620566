"""What the parts of one C++ function have in common: how units divide the work, where values lie, and what they are called."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.text import Cpp, plus, product, times
from rnndsl.emit.naming import KernelNames
from rnndsl.kernel.graph import Leaf, Node
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program
from rnndsl.kernel.rounds import rounds_of
from rnndsl.kernel.schedule import DomainKey, Group, schedule, viewed
from rnndsl.kernel.separate import Split, classes_of, state_numbers
from rnndsl.kernel.step import Step

GIVEN = frozenset(("old", "state_gradient", "follow_gradient", "stream", "static", "carry_gradient"))  # leaves that lie in memory before a step
Target = tuple[str, int]  # a kind of what a program gives, and its number
Coordinates = tuple[tuple[Hashable, str], ...]  # what divides work: markers, as those of a domain, and how many parts each has
Domain = tuple  # of (size, marker): the marker says how units divide the axis: ("head", position), "block", or None


@dataclass(frozen=True)
class View:
    """Where a value lies: `base` is a leaf or a node with memory; `strides` are of the value's own axes."""

    base: int
    offset: str
    strides: tuple[str, ...]


@dataclass
class Scope:
    """What the parts of a function know: its program, how units divide it, where values lie, what they are called.

    The text so far is in `lines`.
    """

    program: Program
    step: Step
    split: Split
    direction: str
    source: Source
    file_names: KernelNames  # of sizes, which the functions of a file share
    hypers: tuple[str, ...]
    saved: tuple[int, ...] = ()  # products that a call forwards may leave to the call backwards
    states: Program | None = None  # what makes new states, where these lie in memory of units: see segments.py
    within: "Scope | None" = None  # the function that this is a part of: its nodes, names and memory are the same
    lines: list[str] = field(default_factory=list, init=False)
    has_rows: bool = field(default=False, init=False)  # whether a unit takes several rows of the batch, for a matrix that they share
    in_blocks: bool = field(default=False, init=False)  # whether units divide channels alone and go forwards: a small block leaves room for further rows
    has_crew: bool = field(default=False, init=False)  # whether several threads may work on a unit
    shared: dict[Target, Coordinates] = field(default_factory=dict, init=False)  # the gradients that several units add to: see sums.py

    def __post_init__(self) -> None:
        p = self.program
        self.nodes = p.nodes
        self.used = reachable(p.nodes, [s.node for s in p.sinks])
        classes, _ = classes_of(p, self.used, state_numbers(self.step))
        roots = {classes.find(("state", 0, k)): marker for k, (_, marker) in enumerate(self.state_domain(0))} if self.step.carries else {}
        self.local: dict[tuple[int, int], Hashable] = {}
        for n in self.used:
            for k in range(len(self.nodes[n].domain)):
                self.local[(n, k)] = roots.get(classes.find((n, k)))
        self.key = DomainKey(self.nodes, self.local)
        outermost = [s for s in p.sinks if s.loop is None]
        computed = reachable(self.nodes, [s.node for s in outermost], rounds=False)
        self.schedule = schedule(self.nodes, outermost, computed, self.key)
        self.loops = {n: rounds_of(self.nodes, p.sinks, n, self.key) for n in sorted(computed) if self.nodes[n].op in ("loop", "loop_back")}
        schedules = [self.schedule, *(s for r in self.loops.values() for s in (r.forward, r.backward) if s is not None)]
        self.kept = frozenset(n for s in schedules for n in s.kept)
        self.uniform = frozenset(n for s in schedules for n in s.uniform)
        self.taken: set[Hashable] = set()
        self.groups_written = 0
        self.names: KernelNames = self.within.names if self.within else self.file_names.child()
        self.value_names: dict[int, str] = self.within.value_names if self.within else {}
        self.wanted_names = dict(p.names)  # of nodes that are locals of the program
        self.other_names = self._other_names()  # of nodes that are not
        self.origin: int | None = None
        first = self.step.carries[0][0].shape if self.step.carries else ()
        self.head_counts: tuple[Dim, ...] = tuple(first[k] for k in self.split.heads)
        self.block_size: Dim | None = first[self.split.block[0]] if self.split.block else None

    # Small texts

    def dim(self, d: Dim) -> str:
        return cpp_text.dim(d, self.names)

    def put(self, text: str, depth: int = 0) -> None:
        self.lines.append("  " * depth + text if text else "")

    def extent(self, d: Dim, marker: Hashable) -> str | None:
        """The entries of an axis that one unit has; None where it has one, and no axis."""
        if isinstance(marker, tuple):
            return None
        return "EXTENT" if marker == "block" else self.dim(d)

    def volume(self, domain: Domain) -> str:
        """The entries of a domain that one unit has."""
        return product(e for a in domain if (e := self.extent(*a)) is not None)

    def full_volume(self, shape: tuple[Dim, ...]) -> str:
        return product(map(self.dim, shape))

    def shape_domain(self, n: int) -> Domain:
        return self.key(n, shape_only=True)

    def state_domain(self, carry: int) -> Domain:
        """The domain of a state."""
        shape = self.step.carries[carry][0].shape
        found: list[tuple[Dim, Hashable]] = []
        for k, d in enumerate(shape):
            marker: Hashable = ("head", k) if k in self.split.heads else None
            if self.split.block and k == self.split.block[carry]:
                marker = "block"
            found.append((d, marker))
        return tuple(found)

    def row_major(self, sizes: list[str | None]) -> tuple[str, ...]:
        strides = ["0"] * len(sizes)
        step = "1"
        for k in range(len(sizes) - 1, -1, -1):
            size = sizes[k]
            if size is not None:
                strides[k] = step
                step = times(step, size)
        return tuple(strides)

    @property
    def row(self) -> tuple[str, str]:
        """The sequence and the step of row r of a unit."""
        return ("b", "t + r") if self.direction == "rows" else ("b + r", "t")

    def open_rows(self, depth: int, apart: bool = True) -> str:
        """Opens a loop over the rows of a unit, which threads may divide where rows do nothing in common; gives what closes it."""
        if not self.has_rows:
            self.put("{", depth)
            self.put("constexpr long r = 0;", depth + 1)
        elif self.has_crew and apart:
            self.put("crew.rows(rows, [&](long r) {", depth)
            return "});"
        else:
            self.put(f"for (long r = 0; r < {'(ROWS == 1 ? 1 : rows)' if self.in_blocks else 'rows'}; ++r) {{", depth)
        return "}"

    # Where values lie

    def view(self, n: int) -> View:
        """Where a leaf, a value in memory, or a part of one lies."""
        node = self.nodes[n]
        if node.op == "slice":
            inner = self.view(node.args[0])
            axis, offset = node.cut.axis, node.cut.offset
            return View(inner.base, plus(inner.offset, times(self.dim(offset), inner.strides[axis])), inner.strides)
        if node.op == "reshape":
            inner = self.view(node.args[0])
            return View(inner.base, inner.offset, self.row_major([self.dim(d) for d in node.shape]))
        if node.op in GIVEN and not self.in_unit(n):
            return View(n, "0", self.row_major([self.dim(d) for d in node.shape]))
        if node.op in GIVEN:
            return View(n, "0", self.row_major([self.extent(*a) for a in self.state_domain(node.leaf.index)]))
        return View(n, "0", self.row_major([self.extent(*a) for a in self.shape_domain(n)]))

    def in_unit(self, base: int) -> bool:
        """Whether memory holds only what the unit itself has."""
        op = self.nodes[base].op
        return op not in GIVEN or op == "carry_gradient" or (op == "old" and self.states is not None)

    def place(self, marker: Hashable, variable: str, in_unit: bool) -> str:
        """The position along an axis, in memory that holds all of it or a unit's part."""
        if isinstance(marker, tuple):
            return "0" if in_unit else self.coordinate(marker)
        return f"start + {variable}" if marker == "block" and not in_unit else variable

    def pointer(self, base: int) -> str:
        """The name of the pointer to a base, for row r and step t."""
        node = self.nodes[base]
        if node.op == "static":
            name = self.leaf_name("statics", node.leaf.index)
            if node.leaf.select is not None:
                index = self.scalar(node.leaf.select).code
                size = self.full_volume(node.shape)
                return f"({name} + (long({index}) - 1) * {cpp_text.bracketed(size)})"
            return name
        return self.row_pointer(base)

    def base_name(self, base: int) -> str:
        node = self.nodes[base]
        if not isinstance(node.data, Leaf) or node.op not in GIVEN:
            return self.memory_of(base)
        index = node.leaf.index
        if node.op == "stream":
            return self.leaf_name("streams", index)
        if node.op == "static":
            return self.leaf_name("statics", index)
        if node.op == "follow_gradient":
            return self.names((node.op, index), f"d_{self.step.outputs[index][0].label}")
        array, lag = self.step.carries[index]
        plain = array.label
        wanted = {"old": f"{plain}_{lag}", "state_gradient": f"d_{plain}", "carry_gradient": f"d_{plain}_{lag}_next"}[node.op]
        return self.names((node.op, index), wanted)

    def leaf_name(self, kind: str, index: int) -> str:
        array = (self.step.streams if kind == "streams" else self.step.statics)[index]
        return self.names((kind, index), array.label)

    def row_pointer(self, base: int) -> str:
        """The identifier of the pointer to a base in memory, for row r and step t."""
        return self.names.of(self.base_name(base), "r")

    def base_pointer(self, base: int) -> str | None:
        """The declaration of the pointer of a base for row r and step t; None where it needs none."""
        node = self.nodes[base]
        name = self.row_pointer(base)
        if node.op == "static":
            return None
        if base in self.saved:
            return f"T* {name} = {self.saved_at(base)} + r * {self.saved_apart(base)};"
        if node.op == "old" and self.states is None:
            return f"const T* {name} = {self.old_call(node.leaf.index, *self.row)};"
        if node.op in ("stream", "state_gradient", "follow_gradient"):
            return f"const T* {name} = {self.base_name(base)}.at<const T>({', '.join(self.row)});"
        if node.op in ("carry_gradient", "old"):
            return f"const T* {name} = {self.base_name(base)} + r * {cpp_text.bracketed(self.volume(self.state_domain(node.leaf.index)))};"
        return f"T* {name} = {self.base_name(base)} + r * {cpp_text.bracketed(self.volume(self.shape_domain(base)))};"

    def ahead_of(self, base: int) -> str | None:
        """How far from what this step reads of a base that lies which a step AHEAD reads; None of what is in a cache anyway."""
        node = self.nodes[base]
        if self.direction not in ("forward", "backward"):
            return None
        if node.op in ("stream", "state_gradient", "follow_gradient"):
            return self.ahead(self.base_name(base))
        if node.op == "old" and self.direction == "backward" and self.states is None:
            first = state_numbers_exact(self.step)[node.leaf.index]
            return self.ahead(self.names(("sequence", first)))
        return None

    def ahead(self, array: str) -> str:
        """How far from what this step reads or writes of an array that lies which is soon asked for: some steps on, or, where a unit has rows, the next row,
        since many rows that lie a power of two apart would push each other out of a cache."""
        return f"ahead({array})" if self.has_crew else f"{array}.time * AHEAD"

    def lane_sum(self, n: int) -> str:
        """The identifier of a sum while it is in registers."""
        return self.names.of(self.name_of(n), "sum")

    def old_call(self, carry: int, b: str, t: str, extra: str = "") -> str:
        """What gives the pointer to a carried value as a step sees it."""
        array, lag = self.step.carries[carry]
        number = state_numbers_exact(self.step)[carry]
        sequence, first = self.names(("sequence", number), f"{array.label}_all"), self.names(("firsts", number), f"{array.label}_first")
        initial = self.names(("initial", carry), f"{array.label}_{lag}_initial")
        return f"old<T>(call, {sequence}, {first}, {initial}, {lag}, {b}, {t}{extra})"

    def memory_of(self, n: int) -> str:
        """The identifier of the memory of a computed value."""
        return self.names.of(self.name_of(n), "kept")

    def saved_name(self, n: int) -> str:
        """The identifier of the array of a product of all steps."""
        return self.names.of(self.name_of(n), "saved")

    def saved_at(self, n: int) -> str:
        """The identifier of the pointer to where a product of this step lies, for the first row."""
        return self.names.of(self.name_of(n), "at")

    def saved_apart(self, n: int) -> str:
        """The identifier of how far apart its rows lie."""
        return self.names.of(self.name_of(n), "apart")

    def name_of(self, n: int) -> str:
        """The identifier of a computed value."""
        if n not in self.value_names:
            self.value_names[n] = self.names(("value", n), self.wanted_names.get(n) or self.other_names.get(n, "v"))
        return self.value_names[n]

    def _other_names(self) -> dict[int, str]:
        """What values without a name in the program are called after: gradients after what they are of, products after their factors."""
        found: dict[int, str] = {}
        for s in self.program.sinks:
            match s.target.kind:
                case "stream_gradient":
                    found.setdefault(s.node, f"d_{self.step.streams[s.target.index].label}")
                case "static_gradient":
                    found.setdefault(s.node, f"d_{self.step.statics[s.target.index].label}")
                case "carry_gradient":
                    array, lag = self.step.carries[s.target.index]
                    found.setdefault(s.node, f"d_{array.label}_{lag}")
        for n in self.used:
            if self.nodes[n].op == "product":
                factors = sorted((self._plain_name(viewed(self.nodes, a)) for a in self.nodes[n].args), key=lambda factor: factor[0] != "static")
                found.setdefault(n, "_".join(name or ("d" if self.direction == "backward" else "v") for _, name in factors))
        return found

    def _plain_name(self, base: int) -> tuple[str, str]:
        """The kind of a leaf or value, and what it is called in the program, if anything."""
        node = self.nodes[base]
        match node.op:
            case "stream" | "static":
                return node.op, (self.step.streams if node.op == "stream" else self.step.statics)[node.leaf.index].label
            case "old":
                array, lag = self.step.carries[node.leaf.index]
                return node.op, f"{array.label}_{lag}"
        return node.op, self.wanted_names.get(base, "")

    @staticmethod
    def coordinate(marker: Hashable) -> str:
        """The name of a unit's place along a divided axis."""
        return f"n{marker[1]}" if isinstance(marker, tuple) else "block"

    def coordinates(self) -> Coordinates:
        """What divides the work beside rows of the batch."""
        found: list[tuple[Hashable, str]] = [(("head", k), self.dim(d)) for k, d in zip(self.split.heads, self.head_counts, strict=True)]
        if self.block_size is not None:
            found.append(("block", "BLOCKS"))
        return tuple(found)

    # Expressions

    def scalar(self, n: int, real: str = "T") -> Cpp:
        """A number, size, hyperparameter, counter or uniform scalar, as a number of the kernel's type, or of another."""
        node = self.nodes[n]
        match node.op:
            case "number":
                return cpp_text.number(node.of(float), real)
            case "size":
                return Cpp(f"{real}({self.dim(node.of(Dim))})", plain=True)
            case "hyper" if real != "T":
                return Cpp(f"call.hypers[{self.hypers.index(node.of(str))}]", plain=True)
            case "hyper":
                return Cpp(self.names(("hyper", node.of(str)), node.of(str)), plain=True)
            case "counter":
                return Cpp(f"T({self.names(('counter', node.of(str)), node.of(str))})", plain=True)
        if n in self.uniform:
            return Cpp(self.name_of(n) if real != "T" else f"T({self.name_of(n)})", plain=True)
        return cpp_text.operation(node.op, [self.scalar(a) for a in node.args])  # of a counter

    def write_step(self, depth: int) -> None:
        """All loops of a step."""
        raise NotImplementedError

    def write_group(self, group: Group, depth: int) -> None:
        """The loops of a group."""
        raise NotImplementedError

    def note(self, node: Node, depth: int) -> None:
        """Names the line of the program that what follows comes from."""
        line = self.source.line_of(node.span.start)
        if line == self.origin:
            return
        self.origin = line
        self.put(cpp_text.comment(self.source.cited(line, 100)), depth)


def state_numbers_exact(step: Step) -> list[int]:
    """For each carry, the number of the carry of the same array with lag 1."""
    first: dict[tuple[str, str], int] = {}
    return [first.setdefault((array.name, array.part), i) for i, (array, _) in enumerate(step.carries)]
