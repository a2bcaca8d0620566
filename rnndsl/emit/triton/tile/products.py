"""Products: in registers where they fit, else a block of the results at a time, with what is read of a matrix from memory.

One with a matrix of params is a product of matrices where a program has rows enough; else it is multiplied and summed. Or several programs compute the same
steps together: each has a part of the results of every such product, and all meet before any reads what the others have.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

from rnndsl.checks.dims import Dim
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.layout import listed
from rnndsl.emit.triton.text import Text
from rnndsl.emit.triton.tile.scope import Domain, statement
from rnndsl.emit.triton.tile.values import LIKE, Tile, Values
from rnndsl.kernel.row_stages import levels_of


@dataclass(frozen=True)
class Blocks:
    """How a product is cut: which of its arguments is read from memory, and along which axis of its domain."""

    argument: int
    axis: int


@dataclass(frozen=True)
class Dot:
    """A product as one of matrices, [rows, summed] and [summed, columns], by axes of its domain: those that its values alone have, which are rows beside
    those of the batch; those that both factors have, of which a program has one entry; those of the matrix alone; those that are summed over."""

    values: list[int]
    both: list[int]
    columns: list[int]
    summed: list[int]


class Products(Values):
    """Writes products. divides: whether programs may compute them together."""

    divides: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.blocks = {n: b for n in sorted(self.used) if self.nodes[n].op == "product" and (b := self._blocks(n)) is not None}
        operands = [(self.nodes[n].args[b.argument], n, b.argument) for n, b in self.blocks.items()]
        readers = [(a, n, i) for n in self.used for i, a in enumerate(self.nodes[n].args)]
        self.matrices = {a for a, _, _ in operands if self._is_static(a)}
        self.matrices -= {a for a, n, i in readers if (a, n, i) not in operands} | {s.node for s in self.program.sinks}
        self.dots = {n: dot for n, b in self.blocks.items() if (dot := self._dot(n, b)) is not None}
        self.divided = frozenset(n for n, b in self.blocks.items() if self.divides and self.nodes[n].args[b.argument] in self.matrices and not self.domain(n)[b.axis][1])
        self.levels = levels_of(self.nodes, self.used, self.divided)
        self.pending: dict[int, tuple[str, str]] = {}  # those whose parts programs have written and not met since: where, and how many entries a row
        self.common: list[str] = []  # what each row has of memory that its programs share
        if self.matrices:
            self.resident = self.sizes.constant(("resident", self.entries), f"{self.name}_resident", f"in_registers({self.entries})")

    @property
    def entries(self) -> str:
        """How many entries the matrices have that products read, in Python."""
        return " + ".join(self._entries(self.shape_domain(a)) for a in sorted(self.matrices)) or "0"

    def widths(self, many: bool = False) -> list[str]:
        """How many entries of values a program has in registers for each of its rows, in Python. many: of so many rows that what may be a product of
        matrices is one."""
        found = []
        for n in sorted(self.used):
            node = self.nodes[n]
            if node.op in ("loop", "loop_back") or (many and self._is_static(n)) or self.is_elsewhere(n):
                continue
            entries = self._entries(self.shape_domain(n))
            found.append(self._fitting(entries, n in self.matrices) if self._is_static(n) else entries)
            if node.op == "product" and not (many and n in self.dots):
                found.append(self._fitting(self._entries(self.domain(n)), not self.matrices.isdisjoint(node.args)))
        return [f for f in dict.fromkeys(found) if f != "1"]

    def is_elsewhere(self, n: int) -> bool:
        """Whether no program has a value in registers as a whole."""
        return False

    def _fitting(self, entries: str, of_matrix: bool) -> str:
        return f"fitting({entries}, {self.resident}.value)" if of_matrix else f"fitting({entries})"

    def _is_static(self, n: int) -> bool:
        view = self.view(n)
        return view is not None and self.nodes[view.leaf].op == "static"

    def _blocks(self, n: int) -> Blocks | None:
        """How a product may be cut: along an axis of the result that only one of its arguments has, a static one if there is one."""
        node, domain = self.nodes[n], self.domain(n)
        for marker in (None, "block"):  # of a part of the axis that a program has only where there is no other
            for i in sorted((0, 1), key=lambda i: not self._is_static(node.args[i])):
                for k in node.maps[i]:
                    if k < len(node.shape) and k not in node.maps[1 - i] and domain[k][1] == marker:
                        return Blocks(i, k)
        return None

    def _dot(self, n: int, blocks: Blocks) -> Dot | None:
        """How a product is one of matrices, if it is."""
        node, domain, i = self.nodes[n], self.domain(n), blocks.argument
        values, matrix, summed = set(node.maps[1 - i]), set(node.maps[i]), set(range(len(node.shape), len(domain)))
        both = (values & matrix) - summed
        if node.args[i] not in self.matrices or self._is_static(node.args[1 - i]) or not summed <= values & matrix:
            return None
        if not all(isinstance(domain[k][1], tuple) for k in both) or any(domain[k][1] for k in summed):
            return None
        return Dot(sorted(values - matrix), sorted(both), sorted(matrix - values), sorted(summed))

    def _entries(self, domain: Domain) -> str:
        """How many entries a tile has, in Python."""
        extents = [e if e.isdigit() else f"{e}.value" for e in self.extents(domain) if e != "1"]
        return " * ".join(extents) or "1"

    def shares(self) -> list[str]:
        """How many entries the products have that programs compute together, in Python."""
        return [self._entries(self.domain(n)) for n in sorted(self.divided)]

    def order(self, n: int) -> tuple[int, ...]:
        """Products that are ready at a time stand together, so that programs meet once for all of them."""
        return self.levels[n], n not in self.divided, n

    def compute(self, nodes: Iterable[int]) -> None:
        super().compute(nodes)
        self._meet()

    def state(self, n: int) -> None:
        if self.nodes[n].op in ("loop", "loop_back") or not self.pending.keys().isdisjoint(self.nodes[n].args):
            self._meet()
        super().state(n)

    def product(self, n: int) -> Tile:
        node, domain = self.nodes[n], self.domain(n)
        kept = len(node.shape)
        args = [self.argument(n, i) for i in (0, 1)]
        summed = list(range(kept, len(domain)))

        def times(factors: Sequence[Tile]) -> Tile:
            a, b = factors
            code = triton_text.operation("*", [a.text, b.text], LIKE)
            whole = Tile(code, len(domain), a.long | b.long, a.moves or b.moves)
            return self.reduced("total", self.full(whole, domain, summed), domain, summed)

        found = times(args)
        blocks = self.blocks.get(n)
        self.note(node)
        if blocks is None:
            return found
        i = blocks.argument
        name = self.name_of(n)

        def of_block(block: Tile) -> Tile:
            return times([block if k == i else args[k] for k in (0, 1)])

        branches = iter(("if", *["elif"] * 2))
        if n in self.divided:
            with self.under(f"{next(branches)} TOGETHER:"):
                self._own_part(n, blocks, of_block)
        if n in self.dots:
            with self.under(f"{next(branches)} {self._as_dot(n)}:"):
                self._matmul(n, name)
        conditions = [f"in_registers({self._entries(domain)})", *([f"{self.resident}.value"] if node.args[i] in self.matrices else [])]
        direct = self.sizes.constant(("direct", *conditions), f"{self.name}_direct", " and ".join(conditions))
        whole = self.full(found, domain[:kept], moves=True).code
        with self.under(f"{next(branches)} {direct}:"):
            self.assign(name, whole)
        with self.under("else:"):
            self._in_blocks(n, name, blocks, of_block)
        return Tile(Text(name), kept, frozenset(range(kept)), True)

    def _in_blocks(self, n: int, name: str, blocks: Blocks, product: Callable[[Tile], Tile]) -> None:
        """Writes a product block by block to memory of the program, and reads it. product: that of a block, placed in the domain."""
        domain, axis = self.domain(n), blocks.axis
        kept = domain[: len(self.nodes[n].shape)]
        others = self._entries(tuple(a for k, a in enumerate(domain) if k != axis))
        size, marker = domain[axis]
        extent = self.extent(size, marker)
        long = f"{extent}.value" if marker else self.sizes.python(size)
        part = self.sizes.constant(("part", others, long), f"{self.name}_part", f"part_of({long}, {others})")
        around = dict(self.kept)
        code = self._block(n, blocks.argument, axis, part)
        self.kept = around  # only this branch has written it
        *_, entries = self.row_major([self.own_size(*a) for a in kept])
        memory = self.room(entries)
        with self.under(f"for at in range(0, {extent if marker else self.dim(size)}, {part}):"):
            block = self.names(("block", n), f"{self.name_of(n)}_block")
            self.assign(block, code)
            self._put_block(n, blocks, block, (part, "at"), (memory, entries), product)
        self.put("tl.debug_barrier()")
        self.assign(name, self.fetched(kept, memory, "0", None, entries))

    def _put_block(self, n: int, blocks: Blocks, block: str, part: tuple[str, str], memory: tuple[str, str], product: Callable[[Tile], Tile]) -> None:
        """Writes the product of a block to memory. block: what it is called; part: how long it is along its axis, and where it begins; memory: where, and how
        many entries a row has."""
        domain, m = self.domain(n), self.nodes[n].maps[blocks.argument]
        kept = len(self.nodes[n].shape)
        (long, begins), (place, entries) = part, memory
        view = self.view(self.nodes[n].args[blocks.argument])
        moves = view is None or self.nodes[view.leaf].op == "stream"
        found = product(Tile(Text(block), len(m), frozenset(range(len(m))), moves).placed(m, len(domain)))
        _, _, *lies = self.in_program(domain[:kept])
        extents = listed([long if k == blocks.axis else self.extent(*domain[k]) for k in range(kept)])
        origins = listed([begins if k == blocks.axis else "0" for k in range(kept)])
        self.call("write", [place, f"lane * {triton_text.bracketed(entries)}", "everywhere", found.code, extents, origins, *lies])

    # By several programs

    def _own_part(self, n: int, blocks: Blocks, product: Callable[[Tile], Tile]) -> None:
        """Writes a program's part of a product where all programs of its rows read it when they have met. What is written at one meeting may still be read
        while the next one is written, but not when that has been held: so there is memory for two."""
        domain, axis = self.domain(n), blocks.axis
        share = self._share(domain[axis][0])
        begins = f"member * {share}"
        *_, entries = self.row_major([self.own_size(*a) for a in domain[: len(self.nodes[n].shape)]])
        place = f"common + ROWS * ({' + '.join([*self.common, f'meetings % 2 * {triton_text.bracketed(entries)}'])})"
        self.common.append(f"2 * {triton_text.bracketed(entries)}")
        self.pending[n] = place, entries
        self._put_block(n, blocks, self._own_block(n, blocks, share, begins), (share, begins), (place, entries), product)

    def _own_block(self, n: int, blocks: Blocks, share: str, begins: str) -> str:
        """What a program's part of a matrix is called: read before the first step where registers hold those of all products, else in every step."""
        name, code = self.names(("own", n), f"{self.name_of(n)}_own"), self._block(n, blocks.argument, blocks.axis, share, begins)
        entries = " + ".join(self._entries(self.shape_domain(self.nodes[k].args[self.blocks[k].argument])) for k in sorted(self.divided))
        holding = self.sizes.constant(("holding", entries), f"{self.name}_holding", f"holding({entries})")
        is_early = self.is_early(self.nodes[n].args[blocks.argument])
        if is_early:
            self.before += [f"if TOGETHER >= {holding}:", *(f"    {line}" for line in statement(name, code, 12))]
        with self.under(f"if TOGETHER < {holding}:") if is_early else nullcontext():
            self.assign(name, code)
        return name

    def _share(self, d: Dim) -> str:
        """How many places along an axis are a program's own."""
        name, tile = self.names(("share", d), f"{d}_share"), self.sizes.tile(d)
        line = f"{name}: tl.constexpr = ({tile} + TOGETHER - 1) // TOGETHER if TOGETHER else {tile}"
        if line not in self.before:
            self.before.append(line)
        return name

    def _meet(self) -> None:
        """Waits for all programs of a row, and reads what they have written."""
        if not self.pending:
            return
        with self.under("if TOGETHER:"):
            self.put("meet(arrived, meetings, TOGETHER)")
            for n, (place, entries) in self.pending.items():
                self.assign(self.name_of(n), self.fetched(self.shape_domain(n), place, "0", None, entries))
            self.put("meetings += 1")
        self.pending = {}

    # As products of matrices

    @property
    def dot_rows(self) -> list[str]:
        """From how many rows of the batch on each product is one of matrices that may be, in Python."""
        return list(dict.fromkeys(f"rows_of_dot({', '.join(self._of_dot(n))})" for n in self.dots))

    def _of_dot(self, n: int) -> list[str]:
        """The rows of a product of matrices for each row of the batch, its sums and its columns, in Python."""
        dot, domain = self.dots[n], self.domain(n)
        return [self._entries(tuple(domain[k] for k in axes)) for axes in (dot.values, dot.summed, dot.columns)]

    def _as_dot(self, n: int) -> str:
        """The condition under which a product is one of matrices."""
        found = self._of_dot(n)
        rows = self.sizes.constant(("dots", *found), f"{self.name}_dots", f"rows_of_dot({', '.join(found)})")
        return f"PRECISION is not None and ROWS >= {rows}"

    def _factor(self, n: int, i: int) -> Tile:
        """A factor with all of its entries, along its own axes."""
        node, domain = self.nodes[n], self.domain(n)
        own = tuple(domain[k] for k in node.maps[i])
        return self.full(self.tile(node.args[i], tuple(marker for _, marker in own)), own, moves=i != self.blocks[n].argument)

    def _matmul(self, n: int, name: str) -> None:
        """Writes a product of matrices: at once, or a block of its sums at a time, with the values in memory of the program."""
        node, dot, i = self.nodes[n], self.dots[n], self.blocks[n].argument
        args = [self._factor(n, k) for k in (0, 1)]
        values = args[1 - i]
        for k in dot.summed:
            values = replace(values, text=Text(f"only({values.code}, {1 + node.maps[1 - i].index(k)}, {self.dim(self.domain(n)[k][0])})"))
        whole = self._flat(n, values, args[i], {})
        with self.under(f"if {self.resident}:"):
            self.assign(name, self._unfolded(n, whole))
        with self.under("else:"):
            self._matmul_in_blocks(n, name)

    def _matmul_in_blocks(self, n: int, name: str) -> None:
        dot, domain, i = self.dots[n], self.domain(n), self.blocks[n].argument
        axis = dot.summed[0]
        size, others = domain[axis][0], self._entries(tuple(domain[k] for k in (*dot.summed[1:], *dot.columns)))
        part = self.sizes.constant(("part of dot", size, others), f"{self.name}_dot_part", f"part_of_dot({self.sizes.python(size)}, {others})")
        around = dict(self.kept)
        blocks = [self._block(n, k, axis, part) for k in (0, 1)]
        self.kept = around  # only this branch has written it
        total = self.names(("sum", n), f"{self.name_of(n)}_sum")
        self.assign(total, f"tl.zeros({listed(self._flat_shape(n))}, REAL)")
        with self.under(f"for at in range(0, {self.dim(size)}, {part}):"):
            tiles = []
            for k, code in enumerate(blocks):
                tiles.append(Tile(Text(self.names(("block", n, k), f"{self.name_of(n)}_{'block' if k == i else 'values'}"))))
                self.assign(tiles[-1].code, code)
            self.assign(total, f"{total} + {self._flat(n, tiles[1 - i], tiles[i], {axis: part})}")
        self.assign(name, self._unfolded(n, total))

    def _block(self, n: int, i: int, axis: int, part: str, at: str = "at") -> str:
        """The code of a part of a factor along an axis, from memory. at: where it begins."""
        node, domain = self.nodes[n], self.domain(n)
        m, a = node.maps[i], node.args[i]
        own = tuple(domain[k] for k in m)
        extents = listed([part if k == axis else self.extent(*domain[k]) for k in m])
        view = self.view(a)
        if view is not None:
            return self.read_view(view, own, extents, listed([self._begins(domain[k][1], at if k == axis else "0") for k in m]))
        memory, entries = self.keep(a)
        self.put("tl.debug_barrier()")
        _, _, *lies = self.in_program(own)
        origins = listed([at if k == axis else "0" for k in m])
        return f"read({', '.join([memory, f'lane * {triton_text.bracketed(entries)}', 'everywhere', extents, origins, *lies, 'REAL'])})"

    def _begins(self, marker: Hashable, at: str) -> str:
        """Where in an array a part begins that begins in the program's own part `at` some entry."""
        origin = self.origin_of(marker)
        return at if origin == "0" else origin if at == "0" else f"{origin} + {at}"

    def _long(self, n: int, axes: list[int], extents: dict[int, str] | None = None) -> list[str]:
        return [(extents or {}).get(k) or self.extent(*self.domain(n)[k]) for k in axes]

    def _flat_shape(self, n: int) -> list[str]:
        dot = self.dots[n]
        return [_times(["ROWS", *self._long(n, dot.values)]), _times(self._long(n, dot.columns))]

    def _flat(self, n: int, values: Tile, matrix: Tile, extents: dict[int, str]) -> str:
        """The code of a product of two matrices. values, matrix: the factors, along their own axes, zero behind what is summed; extents: how long axes are
        of which there is a part."""
        node, dot, i = self.nodes[n], self.dots[n], self.blocks[n].argument

        def folded(arg: Tile, m: Sequence[int], before: list[int], behind: list[int], first: str) -> str:
            """A factor with two axes: those `before` and `behind`."""
            code, axes = arg.code, [*dot.both, *before, *behind]
            order = [0, *(1 + m.index(k) for k in axes)]
            if order != sorted(order):
                code = f"tl.permute({code}, {listed([str(k) for k in order])})"
            sides = [_times([first, *self._long(n, before, extents)]), _times(self._long(n, behind, extents))]
            return _shaped(code, [first, *self._long(n, axes, extents)], sides)

        left = folded(values, node.maps[1 - i], dot.values, dot.summed, "ROWS")
        return f"matmul({left}, {folded(matrix, node.maps[i], dot.summed, dot.columns, '1')}, PRECISION)"

    def _unfolded(self, n: int, code: str) -> str:
        """A product of two matrices with the axes that the product has."""
        dot = self.dots[n]
        axes = [*dot.both, *dot.values, *dot.columns]
        code = _shaped(code, self._flat_shape(n), ["ROWS", *self._long(n, axes)])
        if axes == sorted(axes):
            return code
        return f"tl.permute({code}, {listed(['0', *(str(1 + axes.index(k)) for k in range(len(axes)))])})"


def _times(extents: list[str]) -> str:
    return " * ".join(e for e in extents if e != "1") or "1"


def _shaped(code: str, have: list[str], want: list[str]) -> str:
    """A tile in another shape."""
    return code if have == want else f"tl.reshape({code}, {listed(want)})"
