"""Program -> the lines of one C++ function: its units of work, its loop over time, the loops of each step."""

from rnndsl.emit.cpp import segments, sums
from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.arguments import arguments_of, read_by
from rnndsl.emit.cpp.loops import write_loops
from rnndsl.emit.cpp.products import (
    gather_domain,
    gathered,
    matrices,
    matrix_product,
    write_matrix_product,
    write_pack,
    write_plain_product,
)
from rnndsl.emit.cpp.repeats import take_memory, write_loop, write_loop_back
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.single import write_concat, write_cumsum, write_diag, write_diagonal
from rnndsl.emit.cpp.text import plus, product
from rnndsl.kernel.schedule import Group

_VECTORS = {"forward": 8, "backward": 4, "step": 4}  # of a block of channels: what one unit computes at once
_AHEAD = {"forward": 8, "backward": -8}  # steps: what they read is asked for so much earlier
_ROWS = 24  # that a unit takes where rows are steps: each reads the matrices of all products once


class Function(Scope):
    """Writes one function."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.products = [n for n in sorted(self.used) if self.nodes[n].op == "product" and matrix_product(self, n) is not None]
        vectors = all(len(array.shape) == 1 for array, _ in self.step.carries)
        self.in_blocks = self.block_size is not None and vectors and self.direction == "forward" and not self.products
        self.has_rows = bool(self.products) or self.in_blocks or self.direction == "rows"
        self.has_crew = bool(self.products) and self.direction in _AHEAD
        self.depth = 3 if self.block_size is not None else 2  # of the lines of a unit
        self.shared = sums.shared_of(self)
        self.again: Function | None = None
        if self.states is not None and self.direction == "backward":
            self.again = Function(self.states, self.step, self.split, "again", self.source, self.names, self.hypers, (), self.states, self)

    def write(self) -> list[str]:
        """All lines. Units have names of their own for the arguments, so that no store through a pointer may change these."""
        arguments = arguments_of(self)
        self._uniform()
        begin, end = self._units()
        before, unit, after = self.lines[:begin], self.lines[begin:end], self.lines[end:]
        return [*read_by(arguments, before + after, 1), *before, *read_by(arguments, unit, self.depth), *unit, *after]

    def _uniform(self) -> None:
        """What sizes and hyperparameters alone make, in double precision whatever T is."""
        for n in sorted(self.uniform | (self.again.uniform if self.again else frozenset())):
            node = self.nodes[n]
            one = cpp_text.operation(node.op, [self.scalar(a, "double") for a in node.args])
            self.put(f"const double {self.name_of(n)} = {one.code.replace('L::fill', 'double')};", 1)

    def _units(self) -> tuple[int, int]:
        """All units, and what is left when they are done; gives where among the lines one unit begins and ends."""
        rows = str(_ROWS if self.direction == "rows" else 8 if self.has_rows else 1)
        if self.has_crew:
            self.put(f"constexpr long MATRICES = {matrices(self, self.products)};", 1)
            rows = "rows_with(MATRICES)"
        if self.in_blocks:
            rows = "rows_beside<T>(BLOCK)"
        if self.again:
            self.put(f"constexpr long SEGMENT = {segments.segment(self)};", 1)
        if self.direction in _AHEAD:
            self.put(f"constexpr long AHEAD = {_AHEAD[self.direction]};", 1)
        if self.block_size is not None:
            size = self.dim(self.block_size)
            self.put(f"constexpr long BLOCK = block_of<T>({size}, {_VECTORS[self.direction]}), BLOCKS = ({size} + BLOCK - 1) / BLOCK, LAST = {size} - (BLOCKS - 1) * BLOCK;", 1)
        self.put(f"constexpr long ROWS = {rows};", 1)
        coordinates = self.coordinates()
        if self.direction == "rows":
            self.put("const Units units(call.steps, call.threads, call.batch, ROWS);", 1)
        else:
            more = ", MATRICES" if self.has_crew else ""
            self.put(f"const Units units(call, {product(count for _, count in coordinates)}, ROWS{more});", 1)
        if self.direction != "step":
            for n in self.products:
                write_pack(self, n, 1)
        if self.direction == "backward":
            sums.take_parts(self)
        if self.has_crew:
            self.put("parallel(call, units, [&](long unit, Memory& memory, Crew& crew) {", 1)
        else:
            self.put("parallel(call, units.count(), [&](long unit, Memory& memory) {", 1)
        number = "unit"  # of what is left when the coordinates so far are taken off
        for marker, count in reversed(coordinates):
            self.put(f"const long {self.coordinate(marker)} = {number} % {cpp_text.bracketed(count)};", 2)
            number += f" / {cpp_text.bracketed(count)}"
        if self.direction == "rows":
            self.put("const long part = unit / call.batch, b = unit % call.batch, t = units.first_row(part), rows = units.rows(part);", 2)
        else:
            self.put(f"const long part = {number}, b = units.first_row(part), rows = units.rows(part);", 2)
        if self.has_crew:
            self.put("const auto ahead = [&](const Array& a) { return rows > 1 ? a.batch : a.time * AHEAD; };", 2)
        if self.block_size is not None:
            self.put("const long start = block * BLOCK;", 2)
            self.put("auto run = [&](auto extent) {", 2)
            self.put("constexpr long EXTENT = decltype(extent)::value;", 3)
        begin = len(self.lines)
        self._unit(self.depth)
        end = len(self.lines)
        if self.block_size is not None:
            self.put("};", 2)
            self.put("if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});", 2)
            self.put("else run(std::integral_constant<long, LAST>{});", 2)
        self.put("});", 1)
        self._after()
        return begin, end

    def _unit(self, depth: int) -> None:
        """One unit: its memory, the loop over time, and what is left at the end."""
        both = [self, self.again] if self.again else [self]
        for n in sorted(frozenset().union(*(f.kept for f in both))):
            sizes = dict.fromkeys(f.volume(f.shape_domain(n)) for f in both if n in f.kept)
            self.put(f"T* {self.memory_of(n)} = memory.take<T>(ROWS * {cpp_text.bracketed(plus(*sizes))});", depth)
        take_memory(self, depth)
        for n, name in gathered(self).items():
            self.put(f"T* {name} = memory.take<T>(ROWS * {cpp_text.bracketed(self.volume(gather_domain(self, n)))});", depth)
        match self.direction:
            case "backward":
                sums.begin(self, depth)
                if self.again:
                    segments.write_backwards(self, self.again, depth)
                else:
                    self._write_steps("long t = call.steps - 1; t >= 0; --t", depth)
                sums.end(self, depth)
            case "rows":
                self.write_step(depth)
            case "forward" if self.states is not None:
                segments.write_forwards(self, depth)
            case _:
                self._write_steps("long t = 0; t < call.steps; ++t", depth)

    def _write_steps(self, each: str, depth: int) -> None:
        """The loop over time."""
        self.put(f"for ({each}) {{", depth)
        self.write_step(depth + 1)
        self.put("}", depth)

    def write_step(self, depth: int) -> None:
        """All loops of a step, and what gets added up of it."""
        for group in self.schedule.groups:
            self.write_group(group, depth)
        if self.direction == "backward":
            sums.end_step(self, depth)

    def _after(self) -> None:
        """What is left when all units are done."""
        if self.direction == "backward":
            sums.add_parts(self)
        elif self.direction == "forward" and self.states is None:
            for i, (array, _lag) in enumerate(self.step.carries):
                size = cpp_text.bracketed(self.full_volume(array.shape))
                self.put("for (long b = 0; b < call.batch; ++b)", 1)
                self.put(f"copy({self.old_call(i, 'b', 'call.steps', ', true')}, {self.names(('final', i))}.at<T>(b, 0), {size});", 2)

    def write_group(self, group: Group, depth: int) -> None:
        """The loops of a group, or its one operation."""
        self.origin = None
        if group.single is None:
            write_loops(self, group, depth)
            return
        n = group.single
        self.note(self.nodes[n], depth)
        match self.nodes[n].op:
            case "product":
                p = matrix_product(self, n)
                if p is not None:
                    write_matrix_product(self, n, p, depth)
                else:
                    write_plain_product(self, n, depth)
            case "result":
                pass  # the loop has left it there
            case op:
                _SINGLE[op](self, n, depth)


_SINGLE = {
    "concat": write_concat, "cumsum": write_cumsum, "diag": write_diag, "diagonal": write_diagonal, "loop": write_loop,
    "loop_back": write_loop_back,
}  # fmt: skip
