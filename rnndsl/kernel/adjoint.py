"""The step backwards: reverse accumulation over a graph, into the same graph.

With seeds for some nodes, gives the gradient of each leaf; elementwise derivatives are those of the calculus. The gradient
of a matrix is not summed up step by step: what it is an outer product of is set aside, for one product over all steps.
"""

from dataclasses import dataclass, field
from functools import cache

import sympy

from rnndsl.calculus import functions
from rnndsl.checks.dims import Dim
from rnndsl.functions import ENTRIES
from rnndsl.kernel import complexes
from rnndsl.kernel.complexes import Placed
from rnndsl.kernel.formulas import Converter
from rnndsl.kernel.graph import SCALARS, Builder, LoopBack, Map, Node, Result, Round, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.loops import inside, outside, reachable

_FORMULAS = functions.OPERATIONS | {"root": functions.root, "pow": functions.power}  # of operations of a graph


@dataclass(frozen=True)
class Outer:
    """Σ over rows and steps of `left` ⊗ `right` is the gradient of a static leaf; maps say along which of its axes theirs run,
    counting further ones, which are summed over, from its rank."""

    leaf: int
    left: int
    right: int
    left_map: Map
    right_map: Map
    loop: int | None = None  # the number of the loop in whose rounds it is


@dataclass
class Adjoint:
    """Gradients of nodes of `builder`, as nodes of it."""

    builder: Builder
    gradients: dict[int, list[int]] = field(default_factory=dict)
    pieces: dict[int, dict[tuple[int, Dim], tuple[Dim, int]]] = field(default_factory=dict)  # of slices that are apart: (axis, offset) -> (size, gradient)
    outers: list[Outer] = field(default_factory=list)
    results: dict[int, dict[int, int]] = field(default_factory=dict)  # of a loop: gradients of what its rounds leave behind
    slices: list[tuple[int, int, int]] = field(default_factory=list)  # (loop, static leaf, gradient), one in every round
    loop: int | None = None
    surrogates: bool = True  # whether surrogate derivatives stand for the true ones

    def seed(self, n: int, gradient: int) -> None:
        """Adds to the gradient of a node."""
        self.gradients.setdefault(n, []).append(gradient)

    def run(self, last: int, only: set[int] | None = None) -> None:
        """Goes back from node number `last` to the first, through all nodes or some."""
        for n in range(last, -1, -1):
            node = self.builder[n]
            if n in self.results:
                self._back_loop(node, self.results[n])
            if node.is_leaf or (only is not None and n not in only) or not (n in self.gradients or n in self.pieces):
                continue
            gradient = self.gradient(n)
            assert gradient is not None
            self.builder.span = node.span
            self._back(n, node, gradient)

    def gradient(self, n: int) -> int | None:
        """The gradient of a node so far; pieces of it are put together."""
        whole = self.total(n)
        pieces = self.pieces.get(n)
        if pieces:
            together = self._together(self.builder[n].shape, pieces)
            whole = together if whole is None else self.builder.pointwise("+", whole, together)
            self.gradients[n], self.pieces[n] = [whole], {}
        return whole

    def total(self, n: int) -> int | None:
        """The sum of the gradients of a node as a whole, apart from pieces."""
        found = self.gradients.get(n)
        if not found:
            return None
        total = found[0]
        for g in found[1:]:
            total = self.builder.pointwise("+", total, g)
        self.gradients[n] = [total]
        return total

    def _seed_piece(self, n: int, axis: int, offset: Dim, size: Dim, gradient: int) -> None:
        """Adds to the gradient of a slice of a node. One that is not surely apart from the others, or along another axis, is of the whole, zeros around it."""
        known = self.pieces.setdefault(n, {})
        key = (axis, offset)
        if key in known and known[key][0] == size:
            known[key] = (size, self.builder.pointwise("+", known[key][1], gradient))
        elif all(a == axis and (_is_before(offset + size, o) or _is_before(o + s, offset)) for (a, o), (s, _) in known.items()):
            known[key] = (size, gradient)
        else:
            self.seed(n, self._together(self.builder[n].shape, {key: (size, gradient)}))

    def _together(self, shape: Shape, pieces: dict[tuple[int, Dim], tuple[Dim, int]]) -> int:
        """Slices along one axis that do not overlap, with zeros between them."""
        ((axis, _), _), *_ = pieces.items()
        at = Dim.of(0)
        parts: list[int] = []

        def zeros(size: Dim) -> None:
            parts.append(self.builder.zeros((*shape[:axis], size, *shape[axis + 1 :])))

        for (_, offset), (size, gradient) in in_order(pieces):
            if offset != at:
                zeros(offset - at)
            parts.append(gradient)
            at = offset + size
        if at != shape[axis]:
            zeros(shape[axis] - at)
        return self.builder.concat(parts, axis)

    def _back(self, n: int, node: Node, gradient: int) -> None:
        b = self.builder
        match node.op:
            case "sum":
                self.seed(node.args[0], self._spread(gradient, node))
            case "product":
                self._back_product(node, gradient)
            case "result":
                self.results.setdefault(node.args[0], {})[node.result.index] = gradient
            case "largest":
                pass  # taken off what does not depend on it
            case "slice":
                self._seed_piece(node.args[0], node.cut.axis, node.cut.offset, node.shape[node.cut.axis], gradient)
            case "concat":
                at, axis = Dim.of(0), node.of(int)
                for a in node.args:
                    size = b[a].shape[axis]
                    self.seed(a, b.slice(gradient, axis, at, size))
                    at = at + size
            case "reshape":
                self.seed(node.args[0], b.reshape(gradient, b[node.args[0]].shape))
            case "cumsum":
                self.seed(node.args[0], b.add(Node("cumsum", (gradient,), node.shape, data=not node.of(bool))))
            case "diag":
                self.seed(node.args[0], b.add(Node("diagonal", (gradient,), b[node.args[0]].shape)))
            case "diagonal":
                self.seed(node.args[0], b.add(Node("diag", (gradient,), b[node.args[0]].shape)))
            case _:
                for i, a in enumerate(node.args):
                    if self._needs(a):
                        part = self.partial(n, i, gradient)
                        if part is not None:
                            self._seed_argument(a, node.maps[i], part)

    def _back_loop(self, node: Node, results: dict[int, int]) -> None:
        """The rounds of a loop backwards: what they begin with gets a gradient, and so does all that they read from outside."""
        b, loop = self.builder, node.loop
        last = len(b.nodes) - 1
        region = inside(b.nodes, loop.rounds, loop.counter)
        inner = Adjoint(b, loop=loop.number)
        leaves = tuple(b.add(Node("round_gradient", (), b[r].shape, data=Round(loop.number, j))) for j, r in enumerate(loop.rounds))
        for output, leaf in zip(loop.outputs, leaves, strict=True):
            inner.seed(output, leaf)
        inner.run(last, region)
        begins = [inner.gradient(r) for r in loop.rounds]
        outputs = tuple(g if g is not None else b.zeros(b[r].shape) for g, r in zip(begins, loop.rounds, strict=True))
        totals: list[tuple[int, int]] = []
        for n in sorted({*inner.gradients, *inner.pieces}):
            if n > last or n in loop.rounds or b[n].op in SCALARS or not (n not in region or b[n].op == "static"):
                continue
            gradient = inner.gradient(n)
            assert gradient is not None
            if n in region:
                self.slices.append((loop.number, n, gradient))
            else:
                totals.append((n, gradient))
        self.outers.extend(inner.outers)
        starts = node.args[: len(loop.rounds)]
        given = tuple(results[j] if j in results else b.zeros(b[r].shape) for j, r in enumerate(loop.rounds))
        body = LoopBack(loop, leaves, outputs, tuple(g for _, g in totals))
        wanted = (*outputs, *body.totals, *(g for k, _, g in self.slices if k == loop.number), *loop.outputs)
        wanted += tuple(n for o in inner.outers for n in (o.left, o.right))
        read = outside(b, (*loop.rounds, *leaves), loop.counter, wanted)
        back = b.add(Node("loop_back", (*starts, *given, *read), (), data=body))
        for j, (start, r) in enumerate(zip(starts, loop.rounds, strict=True)):
            if self._needs(start):
                self.seed(start, b.add(Node("result", (back,), b[r].shape, data=Result("gradients", j))))
        for i, (n, _) in enumerate(totals):
            self.seed(n, b.add(Node("result", (back,), b[n].shape, data=Result("totals", i))))

    def _needs(self, n: int) -> bool:
        return self.builder[n].op not in ("number", "size", "hyper", "counter")

    def _spread(self, gradient: int, node: Node) -> int:
        """The gradient of a sum, for every entry of its argument."""
        argument = self.builder[node.args[0]]
        places = [node.maps[0].index(k) for k in range(len(node.shape))]
        return self.builder.apply("copy", [gradient], [tuple(places)], argument.shape)

    def _seed_argument(self, a: int, m: Map, part: int) -> None:
        """Brings a gradient over a node's domain to the axes of an argument: sums over those that it lacks, then puts the rest in order."""
        b = self.builder
        shape = b[part].shape
        missing = [k for k in range(len(shape)) if k not in m]
        part = b.reduce("sum", part, missing)
        kept = [k for k in range(len(shape)) if k in m]
        order = tuple(m.index(k) for k in kept)  # axis i of the part runs along this axis of the argument
        self.seed(a, b.apply("copy", [part], [order], b[a].shape))

    def _back_product(self, node: Node, gradient: int) -> None:
        """Of a·b summed: each factor's gradient is the product of the other with the gradient."""
        b = self.builder
        kept = len(node.shape)
        for i in (0, 1):
            a, other = node.args[i], node.args[1 - i]
            m, m_other = node.maps[i], node.maps[1 - i]
            if not self._needs(a):
                continue
            if self._is_summed_after(a):
                place = {axis: k for k, axis in enumerate(m)}
                further = [axis for axis in range(len(node.domain)) if axis not in place]
                place.update({axis: len(m) + k for k, axis in enumerate(further)})
                left_map = tuple(place[axis] for axis in range(kept))
                self.outers.append(Outer(a, gradient, other, left_map, tuple(place[axis] for axis in m_other), self.loop))
                continue
            # domain of the new product: the axes of `a`, then what is summed over
            summed = [axis for axis in range(len(node.domain)) if axis not in m]
            place = {axis: k for k, axis in enumerate([*m, *summed])}
            map_g = tuple(place[axis] for axis in range(kept))
            map_o = tuple(place[axis] for axis in m_other)
            shape = tuple(node.domain[axis] for axis in m)
            self.seed(a, b.contract(gradient, other, (map_g, map_o), shape, tuple(node.domain[axis] for axis in summed)))

    def _is_summed_after(self, n: int) -> bool:
        """Whether one product after the kernel gives its gradient: of a static leaf that is the same in all rounds, or the slice of the round's number."""
        b, node = self.builder, self.builder[n]
        if node.op != "static":
            return False
        select = node.leaf.select
        return select is None or b[select].op == "counter" or not any(b[k].op == "counter" for k in reachable(b.nodes, [select]))

    def partial(self, n: int, i: int, gradient: int) -> int | None:
        """gradient · ∂node/∂argument i, over the node's domain; None where it is zero."""
        b, node = self.builder, self.builder[n]
        whole = tuple(range(len(node.shape)))

        def apply(op: str, *args: tuple[int, Map]) -> int:
            return b.apply(op, [a for a, _ in args], [m for _, m in args], node.shape)

        g = (gradient, whole)
        arguments = list(zip(node.args, node.maps, strict=True))
        match node.op, i:
            case ("copy" | "+", _) | ("-", 0):
                return gradient
            case ("-", 1) | ("neg", _):
                return apply("neg", g)
            case "*", _:
                return apply("*", g, arguments[1 - i])
            case "/", 0:
                return apply("/", g, arguments[1])
            case "/", 1:  # of y = a / b: -y / b, since b² may be 0 or infinite where that is not
                return apply("neg", (apply("*", g, (apply("/", (n, whole), arguments[1]), whole)), whole))
            case "select", 0:
                return None
            case "select", _:
                zero = (b.number(0.0), ())
                return apply("select", arguments[0], g if i == 1 else zero, zero if i == 1 else g)
            case "surrogate", _:
                if not self.surrogates:
                    return gradient if i == 1 else None
                if b.number_of(node.args[2]) == 0:  # not even 0 · inf
                    return None
                return apply("*", g, arguments[2]) if i == 0 else None
            case "rsqrt", _:  # -1/2 y³, one factor after the other, since y³ may be 0 where the gradient is large
                part = apply("*", (b.number(-0.5), ()), g)
                for _ in range(3):
                    part = apply("*", (part, whole), (n, whole))
                return part
            case "modulus", _:
                along = apply("*", g, (apply("/", arguments[i], (n, whole)), whole))
                at_zero = apply("eq", (n, whole), (b.number(0.0), ()))
                return apply("select", (at_zero, whole), (b.number(0.0), ()), (along, whole))
        if node.op in complexes.HOLOMORPHIC:
            return self._holomorphic(node, i, gradient)
        if node.op not in _FORMULAS:
            raise Unsupported(node.op)
        slope = derivative(node.op, len(node.args), i)
        return None if slope == 0 else self._formula(slope, arguments, node.shape, gradient)

    def _holomorphic(self, node: Node, i: int, gradient: int) -> int:
        """gradient · ∂node/∂argument i of one part of f(z): by ∂ re f / ∂ re z = ∂ im f / ∂ im z = re f', ∂ im f / ∂ re z =
        -∂ re f / ∂ im z = im f'."""
        b = self.builder
        whole = tuple(range(len(node.shape)))

        def make(op: str, *args: tuple[int, Map] | float) -> tuple[int, Map]:
            placed = [(b.number(a), ()) if isinstance(a, float) else a for a in args]
            return b.apply(op, [a for a, _ in placed], [m for _, m in placed], node.shape), whole

        function, part = complexes.HOLOMORPHIC[node.op]
        found = complexes.slope(function, i // 2, tuple(zip(node.args, node.maps, strict=True)), make)
        product = make("*", (gradient, whole), found[(i + part) % 2])
        return (make("neg", product) if (i % 2, part) == (1, 0) else product)[0]

    def _formula(self, formula: sympy.Expr, arguments: list[Placed], shape: Shape, gradient: int) -> int:
        """gradient · a formula of the calculus in the arguments of a node."""
        whole = tuple(range(len(shape)))
        found, m = _OfArguments(self.builder, arguments, shape).scaled((gradient, whole), formula)
        return found if m == whole else self.builder.apply("copy", [found], [m], shape)


class _OfArguments(Converter[Placed]):
    """Formulas in the arguments of a node, over its domain."""

    def __init__(self, builder: Builder, arguments: list[Placed], shape: Shape):
        super().__init__()
        self.builder, self.shape = builder, shape
        self.known |= dict(zip(_ARGUMENTS, arguments, strict=False))

    def number(self, value: float) -> Placed:
        return self.builder.number(value), ()

    def symbol(self, symbol: sympy.Symbol) -> Placed:
        raise AssertionError(symbol)

    def apply(self, op: str, *args: Placed) -> Placed:
        domain = self.shape if any(m for _, m in args) else ()
        found = self.builder.apply(ENTRIES[op].operation if op in ENTRIES else op, [a for a, _ in args], [m for _, m in args], domain)
        return found, tuple(range(len(domain)))


_ARGUMENTS = sympy.symbols("a b c")


@cache
def derivative(op: str, count: int, i: int) -> sympy.Expr:
    """∂op(a, b, …)/∂ its argument i, of the calculus' table."""
    arguments = _ARGUMENTS[:count]
    return _FORMULAS[op](*arguments).diff(arguments[i])


def _is_before(end: Dim, offset: Dim) -> bool:
    """Whether a slice ends where another begins or before, whatever the sizes are."""
    return end == offset or (offset - end).is_positive()


def in_order(pieces: dict[tuple[int, Dim], tuple[Dim, int]]) -> list[tuple[tuple[int, Dim], tuple[Dim, int]]]:
    """Pieces by their offset: sums of the same sizes, so any sizes put them in the right order."""
    return sorted(pieces.items(), key=lambda item: item[0][1].evaluate(dict.fromkeys(item[0][1].names, 1000)))
