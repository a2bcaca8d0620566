"""The graph of one step: real values, each entry of each given by a formula in entries of others.

A node has a shape and, but for leaves and a few others, a domain: its shape and behind it the axes that it sums over. `maps` says for
each argument along which axis of the domain each of its axes runs, so that a broadcast, a transposition and an outer product are
all the same thing: `maps`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import NOWHERE, Span
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.limits import VALUES, TooLarge

Shape = tuple[Dim, ...]
Map = tuple[int, ...]

# Leaves: values that a step reads. `data` is a Leaf for arrays, else what the name says.
ARRAYS = frozenset(("stream", "static", "old", "carry_gradient", "state_gradient", "follow_gradient", "dot"))
SCALARS = frozenset(("number", "size", "hyper", "counter"))
ROUNDS = frozenset(("round", "round_gradient", "round_slope"))  # what a round of a loop begins with; see repeats
# Nodes that are no formula of single entries.
STRUCTURAL = frozenset(("slice", "concat", "reshape", "cumsum", "diag", "diagonal", "result", "loop", "loop_back", "loop_along"))
REDUCTIONS = frozenset(("sum", "largest"))
SMALL_POWER = 16  # whole exponents up to it are multiplied out


@dataclass(frozen=True)
class Leaf:
    """An array that a step reads: the `index`-th real one of its kind. A static one may be a slice: `select` is its number, a node."""

    kind: str
    index: int
    select: int | None = None


@dataclass(frozen=True)
class Cut:
    """Where a slice begins: entry `offset` along an axis."""

    axis: int
    offset: Dim


@dataclass(frozen=True)
class Round:
    """The `index`-th value that the rounds of a loop begin with, or its gradient."""

    loop: int
    index: int


@dataclass(frozen=True)
class Loop:
    """Rounds `low` to `high`: `rounds` are the leaves that hold what a round begins with, `outputs` what it hands on.

    The arguments of its node are what the first round begins with, then what the rounds read from outside.
    """

    number: int
    counter: str
    low: Dim
    high: Dim
    rounds: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class LoopBack:
    """The rounds of `loop` backwards. `gradients` are the leaves with the gradient of what a round hands on, `outputs` that of what it
    begins with; `totals` are added up over the rounds. The arguments: what the first round of the loop begins with, the gradients of
    its results, then what the rounds read from outside."""

    loop: Loop
    gradients: tuple[int, ...]
    outputs: tuple[int, ...]
    totals: tuple[int, ...]


@dataclass(frozen=True)
class LoopAlong:
    """What goes along with the rounds of `loop`: `slopes` are the leaves with the slopes of what a round begins with, `outputs` those of what it hands
    on. The arguments: what the first round's are, the loop, then what is read from outside."""

    loop: Loop
    slopes: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """The `index`-th value that a loop leaves behind; of one backwards, of its `gradients` or its `totals`; of one along another, of its `slopes`."""

    kind: str  # rounds, gradients, totals, slopes: attributes of the loop
    index: int


# number: float; size: Dim; hyper, counter: its name; concat: the axis; cumsum: whether it runs backwards
Data = Leaf | Cut | Round | Loop | LoopBack | LoopAlong | Result | Dim | float | int | str | bool | None
D = TypeVar("D")


@dataclass(frozen=True)
class Node:
    """One value. Arguments are numbers of earlier nodes; `data` is what else its operation needs, of the type that the operation has."""

    op: str
    args: tuple[int, ...]
    shape: Shape
    maps: tuple[Map, ...] = ()
    summed: Shape = ()
    data: Data = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    def of(self, kind: type[D]) -> D:
        """Its data, of the type that its operation has."""
        assert isinstance(self.data, kind), (self.op, self.data)
        return self.data

    @property
    def leaf(self) -> Leaf:
        return self.of(Leaf)

    @property
    def cut(self) -> Cut:
        return self.of(Cut)

    @property
    def result(self) -> Result:
        return self.of(Result)

    @property
    def loop(self) -> Loop:
        """The loop that it runs, forwards or backwards, or that it goes along with."""
        return self.data.loop if isinstance(self.data, LoopBack | LoopAlong) else self.of(Loop)

    @property
    def back(self) -> LoopBack:
        return self.of(LoopBack)

    @property
    def along(self) -> LoopAlong:
        return self.of(LoopAlong)

    @property
    def domain(self) -> Shape:
        return self.shape + self.summed

    @property
    def is_leaf(self) -> bool:
        return self.op in ARRAYS or self.op in SCALARS or self.op in ROUNDS

    @property
    def is_elementwise(self) -> bool:
        return not (self.is_leaf or self.op in STRUCTURAL or self.op in REDUCTIONS or self.op == "product")


@dataclass
class Builder:
    """Nodes in the order in which they can be computed; the same node is made once."""

    nodes: list[Node] = field(default_factory=list)
    numbers: dict[Node, int] = field(default_factory=dict)
    span: Span = NOWHERE  # of what is being lowered
    most: int = VALUES  # nodes

    def __getitem__(self, n: int) -> Node:
        return self.nodes[n]

    def add(self, node: Node) -> int:
        """The number of a node, new or known. Raises TooLarge where there are too many, as everything does that makes nodes."""
        if node not in self.numbers:
            if len(self.nodes) >= self.most:
                raise TooLarge("the values of a step and their gradients", self.most)
            self.numbers[node] = len(self.nodes)
            self.nodes.append(replace(node, span=self.span))
        return self.numbers[node]

    # Leaves

    def leaf(self, kind: str, index: int, shape: Shape, select: int | None = None) -> int:
        args = () if select is None else (select,)
        return self.add(Node(kind, args, shape, data=Leaf(kind, index, select)))

    def number(self, value: float) -> int:
        return self.add(Node("number", (), (), data=float(value)))

    def number_of(self, n: int) -> float | None:
        node = self.nodes[n]
        return node.of(float) if node.op == "number" else None

    # Formulas

    def apply(self, op: str, args: Sequence[int], maps: Sequence[Map], shape: Shape) -> int:
        """An elementwise node; arithmetic with nothing to do is left out."""
        args, maps = list(args), list(maps)
        for i, a in enumerate(args):
            args[i], maps[i] = self._through_copies(a, maps[i])
        known = self._simpler(op, args, maps, shape)
        return known if known is not None else self.add(Node(op, tuple(args), shape, tuple(maps)))

    def _simpler(self, op: str, args: list[int], maps: list[Map], shape: Shape) -> int | None:
        whole = tuple(range(len(shape)))
        values = [self.number_of(a) for a in args]
        if op == "copy" and maps[0] == whole and self.nodes[args[0]].shape == shape:
            return args[0]
        if (folded := _folded(op, values)) is not None:
            return self.apply("copy", [self.number(folded)], [()], shape)

        def keep(i: int) -> int:
            return self.apply("copy", [args[i]], [maps[i]], shape)

        match op, values:
            case "select", [float(), _, _]:
                return keep(1 if values[0] != 0 else 2)
            case "pow", [None, float() as exponent]:
                return self._power(args[0], maps[0], exponent, shape)
            case "*", [_, 1.0]:
                return keep(0)
            case "*", [1.0, _]:
                return keep(1)
            case "*", [-1.0, _]:
                return self.apply("neg", args[1:], maps[1:], shape)
            case "*", [_, -1.0]:
                return self.apply("neg", args[:1], maps[:1], shape)
            case ("+" | "-"), [_, 0.0]:
                return keep(0)
            case "+", [0.0, _]:
                return keep(1)
            case "/", [_, 1.0]:
                return keep(0)
            case "neg", _ if self.nodes[args[0]].op == "neg":
                inner, m = self._negated(args[0], maps[0])
                return self.apply("copy", [inner], [m], shape)
            case ("+" | "-"), _ if self.nodes[args[1]].op == "neg":
                inner, m = self._negated(args[1], maps[1])
                return self.apply("-" if op == "+" else "+", [args[0], inner], [maps[0], m], shape)
            case "+", _ if self.nodes[args[0]].op == "neg":
                inner, m = self._negated(args[0], maps[0])
                return self.apply("-", [args[1], inner], [maps[1], m], shape)
        return None

    def _negated(self, n: int, m: Map) -> tuple[int, Map]:
        """What a `neg` is of, and where its axes run."""
        node = self.nodes[n]
        return node.args[0], tuple(m[k] for k in node.maps[0])

    def _power(self, base: int, m: Map, exponent: float, shape: Shape) -> int | None:
        """A power with a small whole exponent by multiplication; None of another one, and below -1: its slope is no slope of a quotient,
        which is lost where the power of which it is the inverse is 0 or infinite."""
        if exponent == 0:
            return self.apply("copy", [self.number(1.0)], [()], shape)
        if exponent == 0.5:
            return self.apply("sqrt", [base], [m], shape)
        if exponent == -1:
            return self.apply("/", [self.number(1.0), base], [(), m], shape)
        if not (0 < exponent <= SMALL_POWER and exponent.is_integer()):
            return None
        whole = tuple(range(len(shape)))
        square, n = self.apply("copy", [base], [m], shape), int(exponent)
        result: int | None = None
        while n:
            if n & 1:
                result = square if result is None else self.apply("*", [result, square], [whole, whole], shape)
            n >>= 1
            if n:
                square = self.apply("*", [square, square], [whole, whole], shape)
        return result

    def pointwise(self, op: str, *args: int) -> int:
        """An elementwise node of arguments that are scalars or have one shape."""
        shape = max((self.nodes[a].shape for a in args), key=len)
        whole = tuple(range(len(shape)))
        return self.apply(op, args, [whole if self.nodes[a].shape else () for a in args], shape)

    def reduce(self, op: str, arg: int, axes: Sequence[int]) -> int:
        """`sum` or `largest` over some axes."""
        if not axes:
            return arg
        shape = self.nodes[arg].shape
        kept = [i for i in range(len(shape)) if i not in axes]
        place = {axis: k for k, axis in enumerate([*kept, *axes])}
        m = tuple(place[i] for i in range(len(shape)))
        return self.add(Node(op, (arg,), tuple(shape[i] for i in kept), (m,), tuple(shape[i] for i in axes)))

    def contract(self, a: int, b: int, maps: tuple[Map, Map], shape: Shape, summed: Shape) -> int:
        """Σ a·b over the `summed` axes. A `product` where it is one of a matrix that all rows of a batch share, or of two
        matrices, and both have these axes; else a sum of elementwise products, which costs as much."""
        (a, map_a), (b, map_b) = self._through_copies(a, maps[0]), self._through_copies(b, maps[1])
        domain = shape + summed
        covers = [m for m in (map_a, map_b) if set(m) == set(range(len(domain)))]
        shared = [n for n, m in ((a, map_a), (b, map_b)) if self._is_static_matrix(n) and _mixes(m, len(shape))]
        inside = set(range(len(shape), len(domain)))
        if summed and inside <= {*map_a} & {*map_b} and (not covers or shared):
            return self.add(Node("product", (a, b), shape, (map_a, map_b), summed))
        order = covers[0] if covers else tuple(range(len(domain)))  # entries in the order in which the larger argument has them
        placed = [tuple(order.index(k) for k in m) for m in (map_a, map_b)]
        whole = self.apply("*", (a, b), placed, tuple(domain[k] for k in order))
        total = self.reduce("sum", whole, [i for i, k in enumerate(order) if k >= len(shape)])
        left = [k for k in order if k < len(shape)]
        return self.apply("copy", [total], [tuple(left)], shape)

    def _through_copies(self, n: int, m: Map) -> tuple[int, Map]:
        """What a copy is of, and where its axes run."""
        while self.nodes[n].op == "copy":
            m = tuple(m[k] for k in self.nodes[n].maps[0])
            n = self.nodes[n].args[0]
        return n, m

    def _is_static_matrix(self, n: int) -> bool:
        node = self.nodes[n]
        if node.op in ("slice", "reshape"):
            return self._is_static_matrix(node.args[0])
        return node.op == "static" and len(node.shape) >= 2

    # Structure

    def slice(self, n: int, axis: int, offset: Dim, size: Dim) -> int:
        """Entries `offset` to `offset + size` along an axis; a formula is cut by cutting its arguments."""
        node = self.nodes[n]
        shape = (*node.shape[:axis], size, *node.shape[axis + 1 :])
        if shape == node.shape:
            return n
        if node.op == "slice" and node.cut.axis == axis:
            return self.slice(node.args[0], axis, node.cut.offset + offset, size)
        if node.op == "concat" and node.data == axis:
            start = Dim.of(0)
            for a in node.args:
                if start == offset and self.nodes[a].shape[axis] == size:
                    return a
                start = start + self.nodes[a].shape[axis]
        if node.is_elementwise:
            cut = [
                self.slice(a, m.index(axis), offset, size) if axis in m else a for a, m in zip(node.args, node.maps, strict=True)
            ]
            return self.apply(node.op, cut, node.maps, shape)
        return self.add(Node("slice", (n,), shape, data=Cut(axis, offset)))

    def concat(self, parts: Sequence[int], axis: int) -> int:
        """Values end to end along an axis."""
        if len(parts) == 1:
            return parts[0]
        first = self.nodes[parts[0]].shape
        size = first[axis]
        for p in parts[1:]:
            size = size + self.nodes[p].shape[axis]
        return self.add(Node("concat", tuple(parts), (*first[:axis], size, *first[axis + 1 :]), data=axis))

    def reshape(self, n: int, shape: Shape) -> int:
        """The same entries in the same order."""
        node = self.nodes[n]
        if node.shape == shape:
            return n
        if node.op == "reshape":
            return self.reshape(node.args[0], shape)
        whole = tuple(range(len(node.shape)))
        if node.is_elementwise and all(not m or (m == whole and self.nodes[a].shape == node.shape) for a, m in zip(node.args, node.maps, strict=True)):
            args = [self.reshape(a, shape) if m else a for a, m in zip(node.args, node.maps, strict=True)]
            return self.apply(node.op, args, [tuple(range(len(shape))) if m else () for m in node.maps], shape)
        if self._is_apart(n):  # a view could not name the entries in another shape
            n = self.add(Node("copy", (n,), node.shape, (whole,)))
        return self.add(Node("reshape", (n,), shape))

    def _is_apart(self, n: int) -> bool:
        """Whether it is a part of a value whose entries do not lie in a row: one that is cut along another axis than the first."""
        node = self.nodes[n]
        return node.op == "slice" and (node.cut.axis > 0 or self._is_apart(node.args[0]))

    def zeros(self, shape: Shape) -> int:
        return self.filled(0.0, shape)

    def filled(self, value: float, shape: Shape) -> int:
        """A number for every entry of a shape."""
        return self.apply("copy", [self.number(value)], [()], shape)


def _mixes(m: Map, kept: int) -> bool:
    """Whether an argument of a contraction has both an axis that is kept and one that is summed over."""
    return any(k < kept for k in m) and any(k >= kept for k in m)


def _folded(op: str, values: Sequence[float | None]) -> float | None:
    """What an operation makes of numbers; None where one of them is none, and of an operation that computes nothing."""
    row = OPERATIONS.get(op)
    if row is None or row.number is None or not values:
        return None
    numbers = [v for v in values if v is not None]
    return row.number(*numbers) if len(numbers) == len(values) else None
