"""Program -> the lines of one C++ function: its units of work, its loop over time, the loops of each step."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit import cpp_text
from rnndsl.emit.cpp_names import CppNames
from rnndsl.emit.cpp_repeats import rounds_of, take_memory
from rnndsl.emit.cpp_text import Cpp, plus, times
from rnndsl.kernel.graph import ROUNDS, Leaf, Node
from rnndsl.kernel.lowering import Step
from rnndsl.kernel.program import Program, Sink
from rnndsl.kernel.repeats import loop_of
from rnndsl.kernel.schedule import DomainKey, Group, schedule, viewed
from rnndsl.kernel.separate import Split, classes_of, reachable
from rnndsl.kernel.values import Array

Domain = tuple  # of (size, marker): the marker says how units divide the axis: ("head", position), "block", or None
_VECTORS = {"forward": 8, "backward": 4, "step": 4}  # of a block of channels: what one unit computes at once


@dataclass(frozen=True)
class View:
    """Where a value lies: `base` is a leaf or a node with memory; `strides` are of the value's own axes."""

    base: int
    offset: str
    strides: tuple[str, ...]


@dataclass
class Function:
    """Writes one function. `lines` has its text afterwards."""

    program: Program
    step: Step
    split: Split
    direction: str
    label: str
    source: Source
    sizes: CppNames  # names of sizes, shared by the functions of a file
    hypers: tuple[str, ...]
    head_counts: tuple[Dim, ...] = ()
    block_size: Dim | None = None
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        p = self.program
        self.nodes = p.nodes
        self.used = reachable(p.nodes, [s.node for s in p.sinks])
        self.carry_of = state_numbers(self.step)
        classes, _ = classes_of(p, self.used, self.carry_of)
        self.roots: dict[Hashable, Hashable] = {}
        if self.step.carries:
            for position in self.split.heads:
                self.roots[classes.find(("state", 0, position))] = ("head", position)
            if self.split.block:
                self.roots[classes.find(("state", 0, len(self.step.carries[0][0].shape) - 1))] = "block"
        self.local: dict[tuple[int, int], Hashable] = {}
        for n in self.used:
            for k in range(len(self.nodes[n].domain)):
                self.local[(n, k)] = self.roots.get(classes.find((n, k)))
        self.key = DomainKey(self.nodes, self.local)
        outermost = [s for s in p.sinks if s.loop is None]
        computed = self._reached([s.node for s in outermost])
        self.schedule = schedule(self.nodes, outermost, computed, self.key)
        self.loops = {n: rounds_of(self.nodes, p.sinks, n, self.key) for n in sorted(computed) if self.nodes[n].op in ("loop", "loop_back")}
        schedules = [self.schedule, *(s for r in self.loops.values() for s in (r.forward, r.backward) if s is not None)]
        self.kept = frozenset(n for s in schedules for n in s.kept)
        self.uniform = frozenset(n for s in schedules for n in s.uniform)
        self.taken: set[Hashable] = set()
        self.counters: dict[str, str] = {}  # what stands for a counter, where it is not its name
        self.groups_written = 0
        self.names = self.sizes.child()
        self.value_names: dict[int, str] = {}
        self.origin: int | None = None
        self.has_rows = any(self._is_matrix_product(n) for n in self.used)
        first = self.step.carries[0][0].shape if self.step.carries else ()
        self.head_counts = tuple(first[k] for k in self.split.heads)
        self.block_size = first[-1] if self.split.block else None

    def _reached(self, wanted: list[int]) -> set[int]:
        """The nodes that some need, those of rounds of loops left out."""
        found: set[int] = set()
        stack = list(wanted)
        while stack:
            n = stack.pop()
            if n not in found:
                found.add(n)
                stack.extend(self.nodes[n].args)
        return found

    # Small texts

    def dim(self, d: Dim) -> str:
        return cpp_text.dim(d, self.sizes)

    def put(self, text: str, depth: int = 0) -> None:
        self.lines.append("  " * depth + text if text else "")

    def extent(self, d: Dim, marker: Hashable) -> str | None:
        """The entries of an axis that one unit has; None where it has one, and no axis."""
        if isinstance(marker, tuple):
            return None
        return "EXTENT" if marker == "block" else self.dim(d)

    def volume(self, domain: Domain) -> str:
        """The entries of a domain that one unit has."""
        found = "1"
        for d, marker in domain:
            e = self.extent(d, marker)
            if e is not None:
                found = times(found, e)
        return found

    def full_volume(self, shape: tuple[Dim, ...]) -> str:
        found = "1"
        for d in shape:
            found = times(found, self.dim(d))
        return found

    def shape_domain(self, n: int) -> Domain:
        return self.key(n, shape_only=True)

    def state_domain(self, carry: int) -> Domain:
        """The domain of a state."""
        shape = self.step.carries[carry][0].shape
        found: list[tuple[Dim, Hashable]] = []
        for k, d in enumerate(shape):
            marker: Hashable = ("head", k) if k in self.split.heads else None
            if self.split.block and k == len(shape) - 1:
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

    # Where values lie

    def view(self, n: int) -> View:
        """Where a leaf, a value in memory, or a part of one lies."""
        node = self.nodes[n]
        if node.op == "slice":
            inner = self.view(node.args[0])
            axis, offset = node.data
            return View(inner.base, plus(inner.offset, times(self.dim(offset), inner.strides[axis])), inner.strides)
        if node.op == "reshape":
            inner = self.view(node.args[0])
            return View(inner.base, inner.offset, self.row_major([self.dim(d) for d in node.shape]))
        if node.op in ("old", "state_gradient", "stream", "static"):
            return View(n, "0", self.row_major([self.dim(d) for d in node.shape]))
        if node.op == "carry_gradient":
            assert isinstance(node.data, Leaf)
            return View(n, "0", self.row_major([self.extent(*a) for a in self.state_domain(node.data.index)]))
        return View(n, "0", self.row_major([self.extent(*a) for a in self.shape_domain(n)]))

    def in_unit(self, base: int) -> bool:
        """Whether memory holds only what the unit itself has."""
        return self.nodes[base].op not in ("old", "state_gradient", "stream", "static")

    def place(self, marker: Hashable, variable: str, in_unit: bool) -> str:
        """The position along an axis, in memory that holds all of it or a unit's part."""
        if isinstance(marker, tuple):
            return "0" if in_unit else f"n{marker[1]}"
        return f"start + {variable}" if marker == "block" and not in_unit else variable

    def pointer(self, base: int) -> str:
        """The name of the pointer to a base, for row r and step t."""
        node = self.nodes[base]
        if node.op == "static":
            assert isinstance(node.data, Leaf)
            name = self.array_name("statics", node.data.index)
            if node.data.select is not None:
                index = self.scalar(node.data.select).code
                size = self.full_volume(node.shape)
                return f"({name} + (long({index}) - 1) * {cpp_text.bracketed(size)})"
            return name
        return f"{self.base_name(base)}_r"

    def base_name(self, base: int) -> str:
        node = self.nodes[base]
        if not isinstance(node.data, Leaf) or node.op not in ("old", "state_gradient", "stream", "static", "carry_gradient"):
            return self.name_of(base)
        index = node.data.index
        if node.op == "stream":
            return self.array_name("streams", index)
        if node.op == "static":
            return self.array_name("statics", index)
        array, lag = self.step.carries[index]
        plain = _array_name(array)
        wanted = {"old": f"{plain}_{lag}", "state_gradient": f"d_{plain}", "carry_gradient": f"d_{plain}_{lag}_next"}[node.op]
        return self.names((node.op, index), wanted)

    def array_name(self, kind: str, index: int) -> str:
        array = (self.step.streams if kind == "streams" else self.step.statics)[index]
        return self.names((kind, index), _array_name(array))

    def base_pointer(self, base: int) -> str | None:
        """The declaration of the pointer of a base for row r and step t; None where it needs none."""
        node = self.nodes[base]
        name = f"{self.base_name(base)}_r"
        if node.op == "static":
            return None
        if node.op == "old":
            assert isinstance(node.data, Leaf)
            return f"const T* {name} = {self.old_call(node.data.index, 'b + r', 't')};"
        if node.op in ("stream", "state_gradient"):
            return f"const T* {name} = {self.base_name(base)}.at<const T>(b + r, t);"
        if node.op == "carry_gradient":
            assert isinstance(node.data, Leaf)
            return f"const T* {name} = {self.base_name(base)} + r * {cpp_text.bracketed(self.volume(self.state_domain(node.data.index)))};"
        return f"T* {name} = {self.base_name(base)} + r * {cpp_text.bracketed(self.volume(self.shape_domain(base)))};"

    def old_call(self, carry: int, b: str, t: str, extra: str = "") -> str:
        array, lag = self.step.carries[carry]
        first = state_numbers_exact(self.step)[carry]
        plain = _array_name(array)
        return f"old<T>(call, {self.names(('sequence', first), f'{plain}_all')}, {self.names(('firsts', first), f'{plain}_first')}, {self.names(('initial', carry), f'{plain}_{lag}_initial')}, {lag}, {b}, {t}{extra})"

    def name_of(self, n: int) -> str:
        """The identifier of a computed value."""
        if n not in self.value_names:
            self.value_names[n] = self.names(("value", n), self._wanted_name(n))
        return self.value_names[n]

    def _wanted_name(self, n: int) -> str:
        known = dict(self.program.names)
        return known.get(n, "v")

    # Expressions

    def scalar(self, n: int) -> Cpp:
        """A number, size, hyperparameter, counter or uniform scalar."""
        node = self.nodes[n]
        match node.op:
            case "number":
                return cpp_text.number(node.data)
            case "size":
                return Cpp(f"T({self.dim(node.data)})", plain=True)
            case "hyper":
                return Cpp(self.names(("hyper", node.data), node.data), plain=True)
            case "counter":
                name = self.counters.get(node.data) or self.names(("counter", node.data), node.data)
                return Cpp(f"T({name})", plain=True)
        if n in self.uniform:
            return Cpp(self.name_of(n), plain=True)
        return cpp_text.operation(node.op, [self.scalar(a) for a in node.args])  # of a counter

    def range_of(self, n: int) -> tuple[str, str]:
        """The first and last value of a whole number that may depend on the counter of a loop."""
        ends = []
        for end in ("low", "high"):
            for loop in (loop_of(self.nodes[m]) for m in self.loops):
                self.counters[loop.counter] = self.dim(getattr(loop, end))
            ends.append(f"long({self.scalar(n).code})")
        self.counters.clear()
        return ends[0], ends[1]

    # The function

    def write(self) -> list[str]:
        """All lines."""
        self.lines = []
        self._arguments()
        self._uniform()
        self._units()
        return self.lines

    def _arguments(self) -> None:
        """Names for what the call holds."""
        step = self.step
        place = 0

        def array(name: str) -> None:
            nonlocal place
            self.put(f"const Array {name} = call.arrays[{place}];", 1)
            place += 1

        for i in range(len(step.streams)):
            array(self.array_name("streams", i))
        for i, static in enumerate(step.statics):
            self.put(f"const T* {self.array_name('statics', i)} = call.arrays[{place}].at<const T>(0, 0);", 1)
            place += 1
        firsts: dict[int, list[int]] = {}
        exact = state_numbers_exact(step)
        for i in range(len(step.carries)):
            firsts.setdefault(exact[i], []).append(place + i)
        place += len(step.carries)
        for first, places in firsts.items():
            array_ = step.carries[first][0]
            listed = ", ".join(f"call.arrays[{p}]" for p in places)
            self.put(f"const Array {self.names(('firsts', first), f'{_array_name(array_)}_first')}[] = {{{listed}}};", 1)
        for i, (a, lag) in enumerate(step.carries):
            name = self.names(("initial", i), f"{_array_name(a)}_{lag}_initial")
            if self.direction == "step":
                self.put(f"const Array {name}{{}};  // nothing is reset", 1)
            else:
                array(name)
        kept = [i for i, (_, lag) in enumerate(step.carries) if lag == 1]
        for i in kept:
            array(self.names(("sequence", i), f"{_array_name(step.carries[i][0])}_all"))
        if self.direction == "step":
            for i, (a, _) in enumerate(step.outputs):
                array(self.names(("output", i), f"{_array_name(a)}_out"))
        elif self.direction == "forward":
            for i, (a, lag) in enumerate(step.carries):
                array(self.names(("final", i), f"{_array_name(a)}_{lag}_final"))
        else:
            for i in kept:
                array(self.names(("state_gradient", i), f"d_{_array_name(step.carries[i][0])}"))
            for i, (a, lag) in enumerate(step.carries):
                array(self.names(("final_gradient", i), f"d_{_array_name(a)}_{lag}_final"))
            for i, a in enumerate(step.streams):
                array(self.names(("stream_gradient", i), f"d_{_array_name(a)}"))
            for i, a in enumerate(step.statics):
                self.put(f"T* {self.names(('static_gradient', i), f'd_{_array_name(a)}')} = call.arrays[{place}].at<T>(0, 0);", 1)
                place += 1
            for i, (a, lag) in enumerate(step.carries):
                array(self.names(("first_gradient", i), f"d_{_array_name(a)}_{lag}_first"))
            for i, (a, lag) in enumerate(step.carries):
                self.put(f"T* {self.names(('initial_gradient', i), f'd_{_array_name(a)}_{lag}_initial')} = call.arrays[{place}].at<T>(0, 0);", 1)
                place += 1
            for k in range(len(self.program.outers)):
                array(self.names(("outer_left", k), f"left{k}"))
                array(self.names(("outer_right", k), f"right{k}"))
        for i, h in enumerate(self.hypers):
            if any(self.nodes[n].op == "hyper" and self.nodes[n].data == h for n in self.used):
                self.put(f"const T {self.names(('hyper', h), h)} = T(call.hypers[{i}]);", 1)

    def _uniform(self) -> None:
        for n in sorted(self.uniform):
            node = self.nodes[n]
            one = cpp_text.operation(node.op, [self.scalar(a) for a in node.args])
            code = one.code.replace("L::fill", "T")
            self.put(f"const T {self.name_of(n)} = {code};", 1)

    def _coordinates(self) -> list[tuple[Hashable, str]]:
        """What divides the work beside rows of the batch: markers, and how many parts each has."""
        found: list[tuple[Hashable, str]] = [(("head", k), self.dim(d)) for k, d in zip(self.split.heads, self.head_counts, strict=True)]
        if self.block_size is not None:
            found.append(("block", "BLOCKS"))
        return found

    def _units(self) -> None:
        rows = "8" if self.has_rows else "1"
        self.put(f"constexpr long ROWS = {rows};", 1)
        if self.block_size is not None:
            size = self.dim(self.block_size)
            self.put(f"constexpr long BLOCK = block_of<T>({size}, {_VECTORS[self.direction]}), BLOCKS = ({size} + BLOCK - 1) / BLOCK, LAST = {size} - (BLOCKS - 1) * BLOCK;", 1)
        coordinates = self._coordinates()
        others = "1"
        for _, count in coordinates:
            others = times(others, count)
        self.put(f"constexpr long OTHERS = {others};", 1)
        self.put("const long share = " + ("rows_of(call.batch, call.threads, OTHERS, ROWS)" if self.has_rows else "1") + ";", 1)
        self.put("const long parts = (call.batch + share - 1) / share;", 1)
        self._packs()
        self._partials(coordinates)
        self.put("parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {", 1)
        self.put("long rest = unit;", 2)
        for marker, count in reversed(coordinates):
            name = f"n{marker[1]}" if isinstance(marker, tuple) else "block"
            self.put(f"const long {name} = rest % ({count});", 2)
            self.put(f"rest /= {cpp_text.bracketed(count)};", 2)
        self.put("const long part = rest, b = part * share, rows = std::min(share, call.batch - b);", 2)
        if self.block_size is not None:
            self.put("const long start = block * BLOCK;", 2)
            self.put("auto run = [&](auto extent) {", 2)
            self.put("constexpr long EXTENT = decltype(extent)::value;", 3)
            self._unit(3)
            self.put("};", 2)
            self.put("if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});", 2)
            self.put("else run(std::integral_constant<long, LAST>{});", 2)
        else:
            self._unit(2)
        self.put("});", 1)
        self._after(coordinates)

    def _unit(self, depth: int) -> None:
        """One unit: its memory, the loop over time, and what is left at the end."""
        for n in sorted(self.kept):
            self.put(f"T* {self.name_of(n)} = memory.take<T>(ROWS * {cpp_text.bracketed(self.volume(self.shape_domain(n)))});", depth)
        take_memory(self, depth)
        for n, name in self._gathers().items():
            self.put(f"T* {name} = memory.take<T>(ROWS * {cpp_text.bracketed(self.full_local(n))});", depth)
        if self.direction == "backward":
            self._begin_backward(depth)
            self.put("for (long t = call.steps - 1; t >= 0; --t) {", depth)
        else:
            self.put("for (long t = 0; t < call.steps; ++t) {", depth)
        for group in self.schedule.groups:
            self._group(group, depth + 1)
        if self.direction == "backward":
            self._end_step_backward(depth + 1)
        self.put("}", depth)
        if self.direction == "backward":
            self._end_backward(depth)

    # Carried gradients and what is added up

    def _accumulated(self) -> list[Sink]:
        return [s for s in self.program.sinks if s.target.kind == "static_gradient"]

    def sum_domain(self, sink: Sink) -> Domain:
        """What is added up for a static gradient: in the rounds of a loop, every slice of it."""
        domain = self.shape_domain(sink.node)
        if sink.target.select is None or sink.loop is None:
            return domain
        return ((self.step.statics[sink.target.index].shape[0], None), *domain)

    def _carry_name(self, i: int) -> str:
        array, lag = self.step.carries[i]
        return self.names(("carry_gradient", i), f"d_{_array_name(array)}_{lag}_next")

    def _new_carry_name(self, i: int) -> str:
        array, lag = self.step.carries[i]
        return self.names(("new_carry", i), f"d_{_array_name(array)}_{lag}")

    def _begin_backward(self, depth: int) -> None:
        for i in range(len(self.step.carries)):
            size = cpp_text.bracketed(self.volume(self.state_domain(i)))
            self.put(f"T *{self._carry_name(i)} = memory.take<T>(ROWS * {size}), *{self._new_carry_name(i)} = memory.take<T>(ROWS * {size});", depth)
            self.put(f"T* {self.names(('initial_sum', i), 'initial_sum')} = memory.take<T>({size});", depth)
            self.put(f"zero({self.names(('initial_sum', i))}, {size});", depth)
            self._copy(
                f"{self.names(('final_gradient', i))}.at<const T>(b + r, 0)", f"{self._carry_name(i)} + r * {size}", self.state_domain(i), depth, into_unit=True
            )
        for k, sink in enumerate(self._accumulated()):
            size = cpp_text.bracketed(self.volume(self.sum_domain(sink)))
            self.put(f"T* {self.names(('sum', k), 'sum')} = memory.take<T>({size});", depth)
            self.put(f"zero({self.names(('sum', k))}, {size});", depth)

    def _end_step_backward(self, depth: int) -> None:
        """A reset sends the gradient to the initial value, not to the step before."""
        if not self.step.carries:
            return
        self.put("for (long r = 0; call.reset.data && r < rows; ++r)", depth)
        self.put("if (call.resets(b + r, t)) {", depth + 1)
        for i in range(len(self.step.carries)):
            size = cpp_text.bracketed(self.volume(self.state_domain(i)))
            name = self._new_carry_name(i)
            self.put(f"reduce({name} + r * {size}, 1, {size}, {self.names(('initial_sum', i))});", depth + 2)
            self.put(f"zero({name} + r * {size}, {size});", depth + 2)
        self.put("}", depth + 1)
        for i in range(len(self.step.carries)):
            self.put(f"std::swap({self._carry_name(i)}, {self._new_carry_name(i)});", depth)

    def _end_backward(self, depth: int) -> None:
        for i in range(len(self.step.carries)):
            domain = self.state_domain(i)
            size = cpp_text.bracketed(self.volume(domain))
            self._copy(f"{self._carry_name(i)} + r * {size}", f"{self.names(('first_gradient', i))}.at<T>(b + r, 0)", domain, depth, into_unit=False)
            full = cpp_text.bracketed(self.full_volume(self.step.carries[i][0].shape))
            self._copy(self.names(("initial_sum", i)), f"{self.names(('initial_parts', i))} + part * {full}", domain, depth, into_unit=False, rows=False)
        for k, sink in enumerate(self._accumulated()):
            domain = self.sum_domain(sink)
            full = cpp_text.bracketed(self.full_volume(tuple(d for d, _ in domain)))
            index = self._partial_index(domain)
            self._copy(self.names(("sum", k)), f"{self.names(('parts', k))} + {cpp_text.bracketed(index)} * {full}", domain, depth, into_unit=False, rows=False)

    def _missing(self, domain: Domain) -> list[tuple[Hashable, str]]:
        """The coordinates of a unit that a value has no axis for."""
        there = {marker for _, marker in domain}
        return [c for c in self._coordinates() if c[0] not in there]

    def _partial_index(self, domain: Domain, batch: bool = True) -> str:
        """The number of a unit among those that have the same part of a value."""
        index = "part" if batch else "0"
        for marker, count in self._missing(domain):
            name = f"n{marker[1]}" if isinstance(marker, tuple) else "block"
            index = plus(times(index, count), name)
        return index

    def _partials(self, coordinates: list) -> None:
        """Memory for what units give parts of."""
        if self.direction != "backward":
            return
        self.put("Memory all;", 1)
        for k, sink in enumerate(self._accumulated()):
            count = "parts"
            domain = self.sum_domain(sink)
            for _, c in self._missing(domain):
                count = times(count, c)
            self.parts(self.names(('parts', k), 'parts_of_sum'), times(count, self.full_volume(tuple(d for d, _ in domain))))
        for i, (array, _) in enumerate(self.step.carries):
            self.parts(self.names(('initial_parts', i), 'parts_of_initial'), times('parts', self.full_volume(array.shape)))
        for i, count in self._shared_streams().items():
            full = self.full_volume(self.step.streams[i].shape)
            self.parts(self.names(('stream_parts', i), 'parts_of_stream'), times(count, times('call.batch * call.steps', full)))

    def parts(self, name: str, size: str) -> None:
        """Memory of a call, zero at first."""
        self.put(f"T* {name} = all.take<T>({size});", 1)
        self.put(f"zero({name}, {size});", 1)

    def _shared_streams(self) -> dict[int, str]:
        """Streams to whose gradient several units add: how many."""
        found: dict[int, dict[Hashable, str]] = {}
        for s in self.program.sinks:
            if s.target.kind == "stream_gradient":
                missing = self._missing(self.shape_domain(s.node))
                found.setdefault(s.target.index, {}).update(missing)
        counts = {}
        for i, missing_there in found.items():
            if missing_there:
                count = "1"
                for c in missing_there.values():
                    count = times(count, c)
                counts[i] = count
        return counts

    def _shared_index(self, i: int, domain: Domain) -> str:
        markers = {}
        for s in self.program.sinks:
            if s.target.kind == "stream_gradient" and s.target.index == i:
                markers.update(self._missing(self.shape_domain(s.node)))
        mine = {m for m, _ in self._missing(domain)}
        index = "0"
        for marker, count in markers.items():
            name = f"n{marker[1]}" if isinstance(marker, tuple) else "block"
            index = plus(times(index, count), name if marker in mine else "0")
        return index

    def _after(self, coordinates: list) -> None:
        if self.direction == "forward":
            for i, (array, _lag) in enumerate(self.step.carries):
                size = self.full_volume(array.shape)
                self.put("for (long b = 0; b < call.batch; ++b) {", 1)
                self.put(f"const T* from = {self.old_call(i, 'b', 'call.steps', ', true')};", 2)
                self.put(f"std::copy(from, from + {cpp_text.bracketed(size)}, {self.names(('final', i))}.at<T>(b, 0));", 2)
                self.put("}", 1)
            return
        if self.direction == "step":
            return
        for k, sink in enumerate(self._accumulated()):
            size = cpp_text.bracketed(self.full_volume(tuple(d for d, _ in self.sum_domain(sink))))
            name = self.names(("static_gradient", sink.target.index))
            if sink.target.select is not None and sink.loop is None:
                name += f" + (long({self.scalar(sink.target.select).code}) - 1) * {size}"
            count = "parts"
            for _, c in self._missing(self.sum_domain(sink)):
                count = times(count, c)
            self.put(f"reduce({self.names(('parts', k))}, {count}, {size}, {name});", 1)
        for i, (array, _) in enumerate(self.step.carries):
            parts = self.names(("initial_parts", i))
            self.put(f"reduce({parts}, parts, {self.full_volume(array.shape)}, {self.names(('initial_gradient', i))});", 1)
        for i, count in self._shared_streams().items():
            size = times("call.batch * call.steps", self.full_volume(self.step.streams[i].shape))
            self.put(f"zero({self.names(('stream_gradient', i))}.at<T>(0, 0), {size});", 1)
            self.put(f"reduce({self.names(('stream_parts', i))}, {count}, {size}, {self.names(('stream_gradient', i))}.at<T>(0, 0));", 1)

    def _copy(self, source: str, target: str, domain: Domain, depth: int, into_unit: bool, rows: bool = True) -> None:
        """Copies a unit's part of an array into the unit's memory, or back."""
        if rows:
            self.put("for (long r = 0; r < rows; ++r) {", depth)
            depth += 1
        else:
            self.put("{", depth)
            depth += 1
        self.put(f"const T* from = {source};", depth)
        self.put(f"T* to = {target};", depth)
        inner = self.row_major([self.extent(*a) for a in domain])
        outer = self.row_major([self.dim(d) for d, _ in domain])
        here, there = "0", "0"
        for k, (d, marker) in enumerate(domain):
            e = self.extent(d, marker)
            if e is not None:
                self.put(f"for (long i{k} = 0; i{k} < {e}; ++i{k})", depth)
                here = plus(here, times(f"i{k}", inner[k]))
            there = plus(there, times(self.place(marker, f"i{k}", False), outer[k]))
        a, bb = (there, here) if into_unit else (here, there)
        self.put(f"to[{bb}] = from[{a}];", depth + 1)
        self.put("}", depth - 1)

    # Groups

    def _group(self, group: Group, depth: int) -> None:
        self.origin = None
        if group.single is not None:
            from rnndsl.emit.cpp_single import write_single

            write_single(self, group.single, depth)
            return
        from rnndsl.emit.cpp_loops import write_loops

        write_loops(self, group, depth)

    def note(self, node: Node, depth: int) -> None:
        """Names the line of the program that what follows comes from."""
        line = self.source.line_of(node.span.start)
        if line == self.origin:
            return
        self.origin = line
        shown = "".join(c if c.isprintable() else " " for c in self.source.line_text(line)).strip()
        name = "".join(c if c.isprintable() else " " for c in self.source.name)
        text = f"// {name}:{line}  {shown[:100]}"
        self.put(text.rstrip("\\") if text.endswith("\\") else text, depth)

    # Products

    def _is_matrix_product(self, n: int) -> bool:
        from rnndsl.emit.cpp_single import matrix_product

        return self.nodes[n].op == "product" and matrix_product(self, n) is not None

    def _packs(self) -> None:
        from rnndsl.emit.cpp_single import write_pack

        for n in sorted(self.used):
            if self.direction != "step" and self._is_matrix_product(n):
                write_pack(self, n, 1)

    def _gathers(self) -> dict[int, str]:
        """Values that a product reads rows of and that lie elsewhere: each gets memory of its own."""
        from rnndsl.emit.cpp_single import matrix_product

        found: dict[int, str] = {}
        for n in sorted(self.used):
            if self.nodes[n].op == "product":
                p = matrix_product(self, n)
                if p is not None and not ((viewed(self.nodes, p.x) in self.kept or self.nodes[p.x].op in ROUNDS) and p.x == viewed(self.nodes, p.x)):
                    found[p.x] = self.names(("gather", p.x), f"{self.base_name(viewed(self.nodes, p.x))}_rows")
        return found

    def full_local(self, n: int) -> str:
        """The entries of any value that one unit has, its axes divided as those of the product that reads it."""
        from rnndsl.emit.cpp_single import gather_domain

        return self.volume(gather_domain(self, n))


def _array_name(array: Array) -> str:
    return f"{array.name}_{array.part}" if array.part else array.name


def state_numbers(step: Step) -> list[int]:
    """For each carry, the number of the first carry of its state: parts and lags of a state share their axes."""
    first: dict[str, int] = {}
    return [first.setdefault(array.name, i) for i, (array, _) in enumerate(step.carries)]


def state_numbers_exact(step: Step) -> list[int]:
    """For each carry, the number of the carry of the same array with lag 1."""
    first: dict[tuple[str, str], int] = {}
    return [first.setdefault((array.name, array.part), i) for i, (array, _) in enumerate(step.carries)]

