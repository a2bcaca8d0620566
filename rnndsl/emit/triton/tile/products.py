"""Products: in registers where they fit, else a block of the results at a time, with what is read of a matrix from memory."""

from dataclasses import dataclass

from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.layout import listed
from rnndsl.emit.triton.tile.scope import Domain
from rnndsl.emit.triton.tile.values import LIKE, Tile, Values


@dataclass(frozen=True)
class Blocks:
    """How a product is cut: which of its arguments is read from memory, and along which axis of its domain."""

    argument: int
    axis: int


class Products(Values):
    """Writes products."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.blocks = {n: found for n in sorted(self.used) if self.nodes[n].op == "product" and (found := self._blocks(n)) is not None}
        operands = [(self.nodes[n].args[b.argument], n, b.argument) for n, b in self.blocks.items()]
        readers = [(a, n, i) for n in self.used for i, a in enumerate(self.nodes[n].args)]
        self.matrices = {a for a, _, _ in operands if self._is_static(a)}
        self.matrices -= {a for a, n, i in readers if (a, n, i) not in operands} | {s.node for s in self.program.sinks}
        if self.matrices:
            entries = [self._entries(self.shape_domain(a)) for a in sorted(self.matrices)]
            self.resident = self.sizes.constant(("resident", *entries), f"{self.name}_resident", f"in_registers({' + '.join(entries)})")

    @property
    def widths(self) -> list[str]:
        """How many entries values have that are in registers, in Python."""
        whole = [n for n in sorted(self.used) if self.nodes[n].op not in ("loop", "loop_back")]
        found = [f"fitting({e})" if self._is_static(n) else e for n in whole for e in [self._entries(self.shape_domain(n))]]
        found += [f"fitting({self._entries(self.domain(n))})" for n in sorted(self.used) if self.nodes[n].op == "product"]
        return [f for f in dict.fromkeys(found) if f != "1"]

    def _is_static(self, n: int) -> bool:
        view = self.view(n)
        return view is not None and self.nodes[view.leaf].op == "static"

    def _blocks(self, n: int) -> Blocks | None:
        """How a product may be cut: along an axis of the result that only one of its arguments has, a static one if there is one."""
        node, domain = self.nodes[n], self.domain(n)
        for i in sorted((0, 1), key=lambda i: not self._is_static(node.args[i])):
            for k in node.maps[i]:
                if k < len(node.shape) and k not in node.maps[1 - i] and domain[k][1] is None:
                    return Blocks(i, k)
        return None

    def _entries(self, domain: Domain) -> str:
        """How many entries a tile has, in Python."""
        extents = [e if e.isdigit() else f"{e}.value" for e in self.extents(domain) if e != "1"]
        return " * ".join(extents) or "1"

    def product(self, n: int) -> Tile:
        node, domain = self.nodes[n], self.domain(n)
        kept = len(node.shape)
        args = [self.argument(n, i) for i in (0, 1)]
        summed = list(range(kept, len(domain)))

        def times(a: Tile, b: Tile, axes: Domain) -> Tile:
            code = triton_text.operation("*", [a.text, b.text], LIKE)
            whole = Tile(code, len(axes), a.long | b.long, a.moves or b.moves)
            return self.reduced("total", self.full(whole, axes, summed), axes, summed)

        found = times(args[0], args[1], domain)
        blocks = self.blocks.get(n)
        self.note(node)
        if blocks is None:
            return found
        entries = self._entries(domain)
        conditions = [f"in_registers({entries})"] + ([f"{self.resident}.value"] if node.args[blocks.argument] in self.matrices else [])
        direct = self.sizes.constant(("direct", *conditions), f"{self.name}_direct", " and ".join(conditions))
        name = self.name_of(n)
        self.put(f"if {direct}:")
        self.depth += 1
        self.assign(name, self.full(found, domain[:kept], moves=True).code)
        self.depth -= 1
        self.put("else:")
        self.depth += 1
        self.assign(name, self._in_blocks(n, blocks, args))
        self.depth -= 1
        return Tile(triton_text.Text(name), kept, frozenset(range(kept)), True)

    def _in_blocks(self, n: int, blocks: Blocks, args: list[Tile]) -> str:
        """Writes a product block by block to memory of the program; the code that reads it."""
        node, domain = self.nodes[n], self.domain(n)
        kept, i, axis = len(node.shape), blocks.argument, blocks.axis
        others = self._entries(tuple(a for k, a in enumerate(domain) if k != axis))
        size = domain[axis][0]
        part = self.sizes.constant(("part", others, size), f"{self.name}_part", f"part_of({self.sizes.python(size)}, {others})")
        m = node.maps[i]
        own = tuple(domain[k] for k in m)
        extents = listed([part if k == axis else self.extent(*domain[k]) for k in m])
        origins = [self.origin_of(domain[k][1]) for k in m]
        view = self.view(node.args[i])
        around = dict(self.kept)
        if view is not None:
            code = self.read_view(view, own, extents, listed(["at" if k == axis else o for k, o in zip(m, origins, strict=True)]))
            moves = self.nodes[view.leaf].op == "stream"
        else:
            memory, entries = self.keep(node.args[i])
            self.put("tl.debug_barrier()")
            inside = self.in_program(own)
            inside[0], inside[1] = extents, listed(["at" if k == axis else "0" for k in m])
            code = f"read({', '.join([memory, f'lane * {triton_text.bracketed(entries)}', 'everywhere', *inside, 'REAL'])})"
            moves = True
        self.kept = around  # only this branch has written it
        *_, entries = self.row_major([self.own_size(*a) for a in domain[:kept]])
        memory = self.room(entries)
        self.put(f"for at in range(0, {self.dim(size)}, {part}):")
        self.depth += 1
        block = self.names(("block", n), f"{self.name_of(n)}_block")
        self.assign(block, code)
        factor = Tile(triton_text.Text(block), len(m), frozenset(range(len(m))), moves).placed(m, len(domain))
        factors = [factor, args[1 - i]] if i == 0 else [args[1 - i], factor]
        product = triton_text.operation("*", [f.text for f in factors], LIKE)
        whole = Tile(product, len(domain), factors[0].long | factors[1].long, True)
        summed = list(range(kept, len(domain)))
        code = self.reduced("total", whole, domain, summed).code
        inside = self.in_program(domain[:kept])
        inside[0] = listed([part if k == axis else self.extent(*domain[k]) for k in range(kept)])
        inside[1] = listed(["at" if k == axis else "0" for k in range(kept)])
        self.call("write", [memory, f"lane * {triton_text.bracketed(entries)}", "everywhere", code, *inside])
        self.depth -= 1
        self.put("tl.debug_barrier()")
        return self.fetched(domain[:kept], memory, "0", None, entries)


