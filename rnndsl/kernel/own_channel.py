"""D of J = D + N: of a step's Jacobian the part that stays in a channel, where N passes through a matrix.

It is made of the nodes of the step, forwards: the slope of a node in an old value is what each of its entries changes by with the entry in the same
place of that old value, or with entry i of a vector where the node is several such vectors in a row. A product R @ v moves what stands in place i
of v to place i of each block of its result by the diagonals of the blocks of R. Other operations that mix channels belong to N as a whole. The rounds
of a loop carry slopes along. Newton's method with D in place of J measures the same residual, so it has the same solution; only its rounds differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.kernel.adjoint import Adjoint
from rnndsl.kernel.graph import Builder, LoopAlong, Map, Node, Result, Round, Shape
from rnndsl.kernel.linear import Matrix
from rnndsl.kernel.loops import inside, outside, reachable
from rnndsl.kernel.step import Step

_BLOCKS = 32  # of a matrix, at most
_FACTORS = ("+", "-", "neg", "copy", "select")  # whose slopes are no factors
Slopes = dict[int, int]  # of a node in old values, by the number of each


def own_channel(step: Step) -> Matrix:
    """∂ new / ∂ old of carried values of one channel, as nodes of the step: an array of all channels an entry, None where it is zero."""
    found = _OwnChannel(step.builder, [array.shape for array, _ in step.carries])
    found.run(sorted(reachable(step.builder.nodes, list(step.updates), rounds=False)))
    rows = [found.slopes.get(n, {}) for n in step.updates]
    shapes = found.shapes
    return tuple(tuple(row.get(j) if shapes[i] == shapes[j] else None for j in range(len(shapes))) for i, row in enumerate(rows))


@dataclass
class _OwnChannel:
    """Slopes of the nodes of `builder` in old values of these shapes."""

    builder: Builder
    shapes: list[Shape]
    slopes: dict[int, Slopes] = field(default_factory=dict)

    def run(self, numbers: Sequence[int]) -> None:
        """Gives nodes their slopes, in the order in which they are computed."""
        for n in numbers:
            if n not in self.slopes:
                self.builder.span = self.builder[n].span
                self.slopes[n] = {j: s for j, s in self._of(n, self.builder[n]).items() if self._is_aligned(n, j)}

    def _of(self, n: int, node: Node) -> Slopes:
        match node.op:
            case "old":
                return {node.leaf.index: self.builder.filled(1.0, node.shape)}
            case "product":
                return self._of_product(node.args, node.maps, node)
            case "sum" if self.builder[node.args[0]].op == "*":  # a product that is written out
                inner = self.builder[node.args[0]]
                return self._of_product(inner.args, tuple(tuple(node.maps[0][k] for k in m) for m in inner.maps), node)
            case "slice":
                cut = node.cut
                return {
                    j: self.builder.slice(s, cut.axis, cut.offset, node.shape[cut.axis])
                    for j, s in self._given(node.args[0]).items()
                    if _times(cut.offset, self.shapes[j][cut.axis]) is not None
                }
            case "concat":
                return self._of_concat(node)
            case "cumsum":
                return self._given(node.args[0])
            case "loop":
                self._loop(n, node)
        return self._of_entries(n, node) if node.is_elementwise else {}

    def _given(self, n: int) -> Slopes:
        return self.slopes.get(n, {})

    def _is_aligned(self, n: int, j: int) -> bool:
        """Whether a node is one or several values like an old one."""
        shape, unit = self.builder[n].shape, self.shapes[j]
        return len(shape) == len(unit) and all(_times(a, b) for a, b in zip(shape, unit, strict=True))

    def _add(self, into: Slopes, j: int, slope: int) -> None:
        into[j] = self.builder.pointwise("+", into[j], slope) if j in into else slope

    def _of_entries(self, n: int, node: Node) -> Slopes:
        """Of an operation entry by entry, the chain rule over arguments that run along all of its axes in order."""
        b, whole = self.builder, tuple(range(len(node.shape)))
        adjoint = Adjoint(b, surrogates=False)
        found: Slopes = {}
        for i, (a, m) in enumerate(zip(node.args, node.maps, strict=True)):
            given = self._given(a) if m == whole else {}
            factor = None if node.op in _FACTORS or not given else adjoint.partial(n, i, self.builder.filled(1.0, node.shape))
            for j, slope in given.items():
                part = adjoint.partial(n, i, slope) if node.op in _FACTORS else factor and b.pointwise("*", factor, slope)
                if part is not None:
                    self._add(found, j, part)
        return found

    def _of_concat(self, node: Node) -> Slopes:
        """Slopes end to end, with zeros for what has none."""
        b, axis = self.builder, node.of(int)
        found: Slopes = {}
        for j in sorted({j for a in node.args for j in self._given(a)}):
            if all(_times(b[a].shape[axis], self.shapes[j][axis]) for a in node.args):
                found[j] = b.concat([s if (s := self._given(a).get(j)) is not None else b.zeros(b[a].shape) for a in node.args], axis)
        return found

    def _of_product(self, args: Sequence[int], maps: Sequence[Map], node: Node) -> Slopes:
        """Of Σ x·y over one axis: where x has an axis of the sum in place of one of y that is kept, its slopes go by the diagonals of y's blocks."""
        rank = len(node.shape)
        found: Slopes = {}
        for i in (0, 1) if len(args) == 2 and len(node.summed) == 1 else ():
            (x, other), (m, m_other) = (args[i], args[1 - i]), (maps[i], maps[1 - i])
            kept = [k for k in range(rank) if k not in m]
            if len(kept) != 1 or tuple(kept[0] if k == rank else k for k in m) != tuple(range(rank)) or not {kept[0], rank} <= set(m_other):
                continue
            for j, slope in self._given(x).items():
                part = self._by_diagonals(slope, other, m_other, kept[0], node.shape, self.shapes[j])
                if part is not None:
                    self._add(found, j, part)
        return found

    def _by_diagonals(self, slope: int, matrix: int, m: Map, axis: int, shape: Shape, unit: Shape) -> int | None:
        """The slope of a product along `axis` of its result, [shape], from that of its argument. m: where the axes of the matrix run, the axis that is
        summed over being the one behind those of the result."""
        b, rank, size = self.builder, len(shape), unit[axis]
        if len(unit) != rank:
            return None
        rows, columns = _times(shape[axis], size), _times(b[slope].shape[axis], size)
        if not rows or not columns or rows * columns > _BLOCKS:
            return None
        others = tuple(k for k in m if k not in (axis, rank))
        order = tuple([*others, axis, rank].index(k) for k in m)
        whole = b.apply("copy", [matrix], [order], tuple(b[matrix].shape[m.index(k)] for k in (*others, axis, rank)))
        domain = (*shape[:axis], size, *shape[axis + 1 :])

        def block(row: int, column: int) -> int:
            cut = b.slice(b.slice(whole, len(others), size * Dim.of(row), size), len(others) + 1, size * Dim.of(column), size)
            diagonal = b.add(Node("diagonal", (cut,), b[cut].shape[:-1]))
            own = b.slice(slope, axis, size * Dim.of(column), size)
            return b.apply("*", [diagonal, own], [(*others, axis), tuple(range(rank))], domain)

        def total(row: int) -> int:
            found = block(row, 0)
            for column in range(1, columns):
                found = b.pointwise("+", found, block(row, column))
            return found

        return b.concat([total(row) for row in range(rows)], axis)

    # Loops

    def _loop(self, n: int, node: Node) -> None:
        """Gives the results of a loop their slopes, which a loop beside it carries along from round to round."""
        b, loop = self.builder, node.loop
        starts = node.args[: len(loop.rounds)]
        body = sorted(inside(b.nodes, loop.rounds, loop.counter) & reachable(b.nodes, list(loop.outputs), rounds=False))
        carried = {(i, j): None for i, start in enumerate(starts) for j in self._given(start)}
        while True:
            leaves = {key: b.add(Node("round_slope", (), b[loop.rounds[key[0]]].shape, data=Round(loop.number, k))) for k, key in enumerate(carried)}
            inner = _OwnChannel(b, self.shapes, dict(self.slopes))
            for i, r in enumerate(loop.rounds):
                inner.slopes[r] = {j: leaf for (k, j), leaf in leaves.items() if k == i}
            inner.run(body)
            reached = {(i, j): None for i, o in enumerate(loop.outputs) for j in inner._given(o)}
            if reached.keys() <= carried.keys():
                break
            carried |= reached
        if not carried:
            return

        def slope_of(among: "_OwnChannel", value: int, j: int) -> int:
            known = among._given(value).get(j)
            return b.zeros(b[value].shape) if known is None else known

        begins = [slope_of(self, starts[i], j) for i, j in carried]
        outputs = tuple(slope_of(inner, loop.outputs[i], j) for i, j in carried)
        along = LoopAlong(loop, tuple(leaves.values()), outputs)
        read = outside(b, (*loop.rounds, *along.slopes), loop.counter, outputs)
        beside = b.add(Node("loop_along", (*begins, n, *read), (), data=along))
        for k, (i, j) in enumerate(carried):
            result = b.add(Node("result", (n,), b[loop.outputs[i]].shape, data=Result("rounds", i)))
            self.slopes.setdefault(result, {})[j] = b.add(Node("result", (beside,), b[result].shape, data=Result("slopes", k)))


def _times(size: Dim, unit: Dim) -> int | None:
    """How many times a unit a size is, from 0 to a few; None where it is not."""
    return next((k for k in range(_BLOCKS + 1) if unit * Dim.of(k) == size), None)
