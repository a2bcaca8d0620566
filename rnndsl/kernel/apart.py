"""Program -> the same Program with products taken apart: where a merged product is only cut into pieces, or is one of pieces put together, each piece
is a product of its own. What rearranges values costs a kernel in which a thread has some of their entries more than another product does.
"""

from dataclasses import dataclass, field, replace

from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import Builder, Leaf, Node
from rnndsl.kernel.limits import TooLarge
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program, Sink, Target


def apart(program: Program, outputs: bool = False) -> Program:
    """The program with products taken apart, and outputs that are put together. One that has a loop, or would grow too large, stays as it is."""
    used = reachable(program.nodes, [s.node for s in program.sinks])
    if any(program.nodes[n].op in ("loop", "loop_back") for n in used):
        return program
    try:
        return _Apart(program, frozenset(("stream_gradient", "outer_left", "outer_right", *(["output"] if outputs else [])))).run()
    except TooLarge:
        return program


@dataclass
class _Apart:
    """Rewrites the nodes of a program into `builder`; `new` are their numbers there. joined: the kinds of sinks that take what is put together in pieces."""

    program: Program
    joined: frozenset[str]
    builder: Builder = field(default_factory=Builder)
    new: dict[int, int] = field(default_factory=dict)

    def run(self) -> Program:
        for n, node in enumerate(self.program.nodes):
            self.builder.span = node.span
            found = self._cut(node) if node.op == "slice" else self._joined(node) if node.op == "product" else None
            self.new[n] = self._same(node) if found is None else found
        sinks = tuple(piece for s in self.program.sinks for piece in self._sinks(s))
        outers = tuple(replace(o, leaf=self.new[o.leaf], left=self.new[o.left], right=self.new[o.right]) for o in self.program.outers)
        names = tuple((self.new[n], name) for n, name in self.program.names)
        return Program(tuple(self.builder.nodes), sinks, outers, self.program.partial, names)

    def _same(self, node: Node) -> int:
        data = node.data
        if isinstance(data, Leaf) and data.select is not None:
            data = replace(data, select=self.new[data.select])
        return self.builder.add(replace(node, args=tuple(self.new[a] for a in node.args), data=data))

    def _is_static(self, n: int) -> bool:
        """Whether a value is a part of a static array."""
        node = self.program.nodes[n]
        return node.op == "static" or (node.op in ("slice", "reshape") and self._is_static(node.args[0]))

    def _cut(self, node: Node) -> int | None:
        """A piece of a product along an axis that a static matrix alone has: the product of a piece of the matrix."""
        whole, axis = self.program.nodes[node.args[0]], node.cut.axis
        if whole.op != "product":
            return None
        for i, other in ((0, 1), (1, 0)):
            if axis in whole.maps[i] and axis not in whole.maps[other] and self._is_static(whole.args[i]):
                piece = self.builder.slice(self.new[whole.args[i]], whole.maps[i].index(axis), node.cut.offset, node.shape[axis])
                args = (piece, self.new[whole.args[other]]) if i == 0 else (self.new[whole.args[other]], piece)
                return self.builder.add(Node("product", args, node.shape, whole.maps, whole.summed))
        return None

    def _joined(self, node: Node) -> int | None:
        """A product that sums along pieces put together: the sum of the pieces' products with those of a static matrix."""
        for i, other in ((0, 1), (1, 0)):
            joined = self.program.nodes[node.args[i]]
            if joined.op != "concat" or not self._is_static(node.args[other]):
                continue
            axis = node.maps[i][joined.of(int)]
            if axis < len(node.shape) or axis not in node.maps[other]:
                continue
            place, total, at = axis - len(node.shape), None, Dim.of(0)
            for a in joined.args:
                size = self.program.nodes[a].shape[joined.of(int)]
                piece = self.builder.slice(self.new[node.args[other]], node.maps[other].index(axis), at, size)
                args = (self.new[a], piece) if i == 0 else (piece, self.new[a])
                summed = (*node.summed[:place], size, *node.summed[place + 1 :])
                product = self.builder.add(Node("product", args, node.shape, node.maps, summed))
                total = product if total is None else self.builder.pointwise("+", total, product)
                at = at + size
            return total
        return None

    def _sinks(self, s: Sink) -> list[Sink]:
        """A sink, or one for each of the pieces that are put together for it."""
        n = s.node
        while self.program.nodes[n].op == "copy" and self.program.nodes[n].maps == (tuple(range(len(s.order))),):
            (n,) = self.program.nodes[n].args
        node = self.program.nodes[n]
        axis = s.order[node.of(int)] if node.op == "concat" else -1
        if s.target.kind not in self.joined or node.op != "concat" or s.offset != Dim.of(0):
            return [replace(s, node=self.new[s.node], target=self._target(s))]
        found, at = [], Dim.of(0)
        for a in node.args:
            found.append(replace(s, node=self.new[a], target=self._target(s), axis=axis, offset=at))
            at = at + self.program.nodes[a].shape[node.of(int)]
        return found

    def _target(self, s: Sink) -> Target:
        return s.target if s.target.select is None else replace(s.target, select=self.new[s.target.select])
