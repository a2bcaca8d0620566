"""Nodes of a step as statements of tiles, each naming its origin: a tile has an axis for rows and then those of its node."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from rnndsl.checks.dims import Dim
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.layout import listed
from rnndsl.emit.triton.text import ATOM, Text
from rnndsl.emit.triton.tile.scope import Domain, Scope, View, statement
from rnndsl.kernel.graph import Map
from rnndsl.kernel.limits import Unsupported

LIKE = "zero"  # a number of the type that is computed in
_LONG = 16  # words in an expression, from which on it gets a statement of its own


@dataclass(frozen=True)
class Tile:
    """A value as text. rank: how many axes its node has, None where it is one number for all rows; long: the axes along which it has more than
    one entry, where the others have length 1; moves: whether rows differ."""

    text: Text
    rank: int | None = None
    long: frozenset[int] = frozenset()
    moves: bool = False

    @property
    def code(self) -> str:
        return self.text.lanes(LIKE)

    def placed(self, m: Map, rank: int) -> "Tile":
        """With its axes where `m` says, of `rank` in all."""
        if self.rank is None or (self.rank == rank and m == tuple(range(rank))):
            return self
        code = self.text.within(ATOM)
        order = sorted(range(len(m)), key=lambda i: m[i])
        if order != list(range(len(m))):
            code = f"tl.permute({self.text.code}, ({', '.join(map(str, (0, *(k + 1 for k in order))))}))"
        if len(m) < rank:
            code = f"{code}[{', '.join([':', *(':' if k in m else 'None' for k in range(rank))])}]"
        return Tile(Text(code), rank, frozenset(m[k] for k in self.long), self.moves)


class Values(Scope):
    """Writes statements. Raises Unsupported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tiles: dict[tuple[int, tuple[Hashable, ...] | None], Tile] = {}
        self.early: dict[tuple[int, tuple[Hashable, ...]], Tile] = {}  # parts of static leaves that are read before the first step
        self.matrices: set[int] = set()  # parts of static leaves that only products read, and so may stay in memory
        self.resident = ""  # the constant that says whether they are in registers
        self.kept: dict[int, tuple[str, str]] = {}  # values in memory of the program: where, and how many entries a row
        self.counts = Counter(a for n in self.used for a in self._read(n))
        self.counts.update(s.node for s in self.program.sinks)

    def _read(self, n: int) -> tuple[int, ...]:
        """The arguments that a node's text reads: of a surrogate its value alone."""
        node = self.nodes[n]
        return node.args[1:2] if node.op == "surrogate" else node.args

    # Values of nodes

    def tile(self, n: int, markers: tuple[Hashable, ...] | None = None) -> Tile:
        """A value. markers: how programs divide the axes along which a part of a leaf is read."""
        if n in self.uniform:
            return Tile(self.numbers.text(n))
        if self.nodes[n].op == "counter":
            return Tile(Text(f"tl.cast({self.counter(self.nodes[n].of(str))}, REAL)"))
        if (view := self.view(n)) is not None:
            assert markers is not None
            return self._of_leaf(n, view, markers)
        return self.tiles[n, None]

    def set(self, n: int, tile: Tile) -> None:
        self.tiles[n, None] = tile

    def argument(self, n: int, i: int) -> Tile:
        """An argument of a node with maps, placed in its domain."""
        node = self.nodes[n]
        domain, m = self.domain(n), node.maps[i]
        return self.tile(node.args[i], tuple(domain[k][1] for k in m)).placed(m, len(domain))

    def wanted(self, n: int, to: int | None = None) -> Tile:
        """A value that goes somewhere as it is, or where another does: an array is divided as what reads it."""
        return self.tile(n, tuple(marker for _, marker in self.shape_domain(n if to is None else to)))

    def full(self, tile: Tile, domain: Domain, axes: Iterable[int] | None = None, moves: bool | None = None) -> Tile:
        """A tile that has all entries along some axes, or all, and of every row."""
        need = set(range(len(domain)) if axes is None else axes)
        moves = tile.moves if moves is None else moves
        if tile.rank is not None and need <= tile.long and moves == tile.moves:
            return tile
        long = need | tile.long
        shape = ["ROWS" if moves else "1", *(self.extent(*a) if k in long else "1" for k, a in enumerate(domain))]
        return Tile(Text(f"spread({tile.code}, {listed(shape)})"), len(domain), frozenset(long), moves)

    def compute(self, nodes: Iterable[int]) -> None:
        """Writes the statements of some nodes, in their order."""
        for n in sorted(nodes, key=self.order):
            node = self.nodes[n]
            if n in self.uniform or node.is_leaf or self.view(n) is not None:
                continue
            self.state(n)

    def order(self, n: int) -> tuple[int, ...]:
        """What nodes are put in order by."""
        return (n,)

    def state(self, n: int) -> None:
        """A node, as a statement where it has a name, is read more than once or is long."""
        node = self.nodes[n]
        if node.op in ("loop", "loop_back"):
            self.note(node)
            self.rounds(n)
            return
        if node.op == "result":
            return  # the loop has left it
        tile = self._formula(n)
        code = tile.text
        inline = code.code.isidentifier() or (code.condition is not None and self.counts[n] == 1)
        if not inline and (self.counts[n] > 1 or n in self.local_names or len(re.findall(r"\w+", code.code)) > _LONG or not node.is_elementwise):
            tile = replace(tile, text=self.named(n, code))
        self.set(n, tile)

    def named(self, n: int, code: Text) -> Text:
        """A statement, and the name that it gives."""
        self.note(self.nodes[n])
        name = self.name_of(n)
        self.assign(name, code.lanes(LIKE))
        return Text(name, condition=f"{name} != 0" if code.condition else None)

    def name_of(self, n: int) -> str:
        return self.names(("value", n), self.local_names.get(n, "v"))

    def _formula(self, n: int) -> Tile:
        node = self.nodes[n]
        if node.is_elementwise:
            return self._elementwise(n)
        match node.op:
            case "sum" | "largest":
                return self._reduced(n, self._argument_of_sum(n))
            case "product":
                return self.product(n)
            case "diag":
                (a,) = (self.tile_of(node.args[0]),)
                return Tile(Text(f"with_diagonal({a.code})"), len(node.shape), frozenset(range(len(node.shape))), a.moves)
            case "diagonal":
                a = self.tile_of(node.args[0])
                return Tile(Text(f"diagonal_of({a.code})"), len(node.shape), frozenset(range(len(node.shape))), a.moves)
            case "cumsum":
                a = self.tile_of(node.args[0])
                size = self.dim(node.shape[-1])
                return Tile(Text(f"running_sum({a.code}, {size}, {bool(node.data)})"), len(node.shape), frozenset(range(len(node.shape))), a.moves)
            case "concat" | "slice" | "reshape":
                return self._rearranged(n)
        raise Unsupported(f"`{node.op}` in Triton")

    def tile_of(self, n: int) -> Tile:
        """A value with all of its entries."""
        return self.full(self.wanted(n), self.shape_domain(n))

    def _elementwise(self, n: int) -> Tile:
        node = self.nodes[n]
        read = range(1, 2) if node.op == "surrogate" else range(len(node.args))
        args = {i: self.argument(n, i) for i in read}
        texts = [args[i].text if i in args else Text("") for i in range(len(node.args))]
        code = triton_text.operation(node.op, texts, LIKE)
        tiles = [a for a in args.values() if a.rank is not None]
        if not tiles:
            return Tile(code)
        return Tile(code, len(node.shape), frozenset().union(*(a.long for a in tiles)), any(a.moves for a in tiles))

    def _argument_of_sum(self, n: int) -> Tile:
        """What a sum is of, its axes in their own order."""
        node, domain = self.nodes[n], self.domain(n)
        (m,) = node.maps
        return self.tile(node.args[0], tuple(domain[k][1] for k in m))

    def _reduced(self, n: int, arg: Tile) -> Tile:
        """A `sum` or `largest` of its argument."""
        node, domain = self.nodes[n], self.domain(n)
        (m,) = node.maps
        own = tuple(domain[k] for k in m)
        axes = [i for i, k in enumerate(m) if k >= len(node.shape)]
        return self.reduced("total" if node.op == "sum" else "largest", self.full(arg, own, axes), own, axes)

    def reduced(self, function: str, arg: Tile, own: Domain, axes: Sequence[int]) -> Tile:
        """A tile with some of its axes gone."""
        code = arg.code
        for axis in sorted(axes, reverse=True):
            d, marker = own[axis]
            size = "1" if isinstance(marker, tuple) else self.dim(d) if marker is None else f"{self.dim(d)} - start"
            code = f"{function}({code}, {axis + 1}, {size})"
        left = [k for k in range(len(own)) if k not in axes]
        return Tile(Text(code), len(left), frozenset(i for i, k in enumerate(left) if k in arg.long), arg.moves)

    # Leaves

    def _of_leaf(self, n: int, view: View, markers: tuple[Hashable, ...]) -> Tile:
        """A part of a stream or static value, read once."""
        if (n, markers) in self.early:
            return self.early[n, markers]
        if (n, markers) not in self.tiles:
            self.tiles[n, markers] = self._loaded(n, view, markers)
        return self.tiles[n, markers]

    def _loaded(self, n: int, view: View, markers: tuple[Hashable, ...]) -> Tile:
        node, leaf = self.nodes[n], self.nodes[view.leaf]
        domain = tuple(zip(node.shape, markers, strict=True))
        name = self.names(("value", n, markers), self.local_names.get(n) or self._label(view.leaf))
        tile = Tile(Text(name), len(domain), frozenset(range(len(domain))), leaf.op == "stream")
        lines = statement(name, self.read_view(view, domain), 12)
        if n in self.matrices:
            lines = [f"if {self.resident}:", *(f"    {line}" for line in lines)]
        if self.is_early(n):
            self.before += lines
            self.early[n, markers] = tile
        else:
            for line in lines:
                self.put(line)
        return tile

    def is_early(self, n: int) -> bool:
        """Whether a part of a leaf is the same in all steps, and in all rounds of loops."""
        view = self.view(n)
        leaf = None if view is None else self.nodes[view.leaf]
        return leaf is not None and leaf.op == "static" and (leaf.leaf.select is None or leaf.leaf.select in self.uniform)

    def _label(self, leaf: int) -> str:
        node = self.nodes[leaf]
        return (self.step.streams if node.op == "stream" else self.step.statics)[node.leaf.index].label

    def read_view(self, view: View, domain: Domain, extents: str | None = None, origins: str | None = None) -> str:
        """The code that reads a part of a leaf."""
        leaf = self.nodes[view.leaf]
        array = self.array(leaf.op, leaf.leaf.index)
        if view.offset != Dim.of(0):
            array = f"{array} + {self.dim(view.offset)}"
        own, origin, sizes, strides = self.in_array(domain, [self.dim(s) for s in view.strides])
        if leaf.op == "stream":
            where = [self.in_stream(leaf.leaf.index), "here"]
        else:
            where = [self.slice_of(view.leaf), "always"]
        return f"read({', '.join([array, *where, extents or own, origins or origin, sizes, strides, 'REAL'])})"

    def in_stream(self, i: int) -> str:
        """Where a row of a stream lies at a step."""
        array = self.array("stream", i)
        return f"row * {array}_rows + time * {array}_times"

    def slice_of(self, n: int) -> str:
        """Where a static leaf begins in its array."""
        leaf = self.nodes[n].leaf
        if leaf.select is None:
            return "once"
        return f"once + {self.slice_number(leaf.select)} * {triton_text.bracketed(self.count(tuple((d, None) for d in self.nodes[n].shape)))}"

    def slice_number(self, select: int) -> str:
        """The number of a slice, from 0."""
        number = self.numbers.nodes[select]
        if number.op == "number":
            return str(int(number.of(float)) - 1)
        if select in self.uniform:
            return f"({self.constants.name(f'int({self.numbers.python(select)})')} - 1)"
        return f"(tl.cast({self.tile(select).code}, tl.int64) - 1)"

    def counter(self, name: str) -> str:
        return self.names(("counter", name), name)

    # What takes memory

    def keep(self, n: int) -> tuple[str, str]:
        """Where a computed value lies in memory of the program, and how many entries a row has."""
        if n not in self.kept:
            domain = self.shape_domain(n)
            entries = self.row_major([self.own_size(*a) for a in domain])[-1]
            memory = self.room(entries)
            self.put_aside(n, self.tile_of(n).code, memory)
            self.kept[n] = (memory, entries)
        return self.kept[n]

    def _rearranged(self, n: int) -> Tile:
        """A value whose entries come from other places: through memory, since a thread has only some of them."""
        node, domain = self.nodes[n], self.shape_domain(n)
        self.note(node)
        strides: list[str] | None = None
        offset = "0"
        if node.op == "concat":
            sizes = [self.own_size(*a) for a in domain]
            *own, entries = self.row_major(sizes)
            memory = self.room(entries)
            at, axis = Dim.of(0), node.of(int)
            for a in node.args:
                begin = "0" if at == Dim.of(0) else triton_text.times(triton_text.bracketed(self.dim(at)), own[axis])
                self.put_aside(a, self.wanted(a).code, memory, begin, own, entries)
                at = at + self.nodes[a].shape[axis]
        else:
            memory, entries = self.keep(node.args[0])
            if node.op == "slice":
                inner = [self.own_size(*a) for a in self.shape_domain(node.args[0])]
                *strides, _ = self.row_major(inner)
                offset = triton_text.times(triton_text.bracketed(self.dim(node.cut.offset)), strides[node.cut.axis])
        self.put("tl.debug_barrier()")
        return Tile(Text(self.fetched(domain, memory, offset, strides, entries)), len(node.shape), frozenset(range(len(node.shape))), True)

    def product(self, n: int) -> Tile:
        """Written in products.py."""
        raise NotImplementedError

    def rounds(self, n: int) -> None:
        """Written in rounds.py."""
        raise NotImplementedError

