"""Values of a step as linear functions of its matrix states: a constant, states times coefficients entry by entry, and rows that are read of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from rnndsl.kernel.graph import Builder, Map, Node, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.step import Step

if TYPE_CHECKING:
    from rnndsl.kernel.outer import Separation


class State(NamedTuple):
    """A state as it was, `old`, or `new`, and its number."""

    kind: str
    number: int


Rows = dict[State, int]  # Σ wᵀ S: of each state the vector along its rows that it is multiplied by and summed over
Part = tuple[int, Map]  # a coefficient of every entry, and along which axes those of a state, or of a row, run


@dataclass(frozen=True)
class Linear:
    """constant + Σ coefficient · state + Σ coefficient · row, entry by entry. Rows are known by their number."""

    constant: int | None = None
    states: dict[State, Part] = field(default_factory=dict)
    rows: dict[int, Part] = field(default_factory=dict)

    @property
    def moves(self) -> bool:
        return bool(self.states or self.rows)


class LinearValues:
    """Nodes as linear functions. row: the axis of a state that its rows run along; separation: what makes sums of outer products. Of what follows,
    `new` are the nodes that are new states, and rows are further streams, of which any function may be computed. Methods raise Unsupported."""

    def __init__(self, step: Step, separation: "Separation", new: dict[int, int] | None = None):
        self.builder, self.row, self.separation, self.follows, self.new = step.builder, separation.row, separation, new is not None, new or {}
        self.streams, self.narrow = len(step.streams), Narrow(step.builder)
        self.shape: Shape = step.carries[0][0].shape
        self.rows: list[Rows] = []
        self.known: dict[int, Linear] = {}
        self.dependent: list[bool] = []

    def depends(self, n: int) -> bool:
        """Whether a node is computed of states."""
        flags = self.dependent
        for k in range(len(flags), n + 1):
            node = self.builder[k]
            flags.append(node.op == "old" or k in self.new or any(flags[a] for a in node.args))
        return flags[n]

    def value(self, n: int) -> int:
        """A node without states in it, where rows are streams."""
        found = self.linear(n)
        if found.moves or found.constant is None:
            raise Unsupported("what follows reads its states entry by entry")
        return found.constant

    def linear(self, n: int) -> Linear:
        if n not in self.known:
            self.known[n] = self._linear(n)
        return self.known[n]

    def _linear(self, n: int) -> Linear:
        node, b = self.builder[n], self.builder
        if n in self.new or node.op == "old":
            if node.op == "old" and n not in self.new and node.shape != self.shape:
                raise Unsupported("it reads states of different shapes")
            state = State("new", self.new[n]) if n in self.new else State("old", node.leaf.index)
            return Linear(None, {state: (self.builder.filled(1.0, node.shape), tuple(range(len(node.shape))))})
        if not self.depends(n):
            return Linear(n)
        args = [self.linear(a) for a in node.args]
        b.span = node.span
        if not any(a.moves for a in args):
            return Linear(self._again(node, [a.constant for a in args]))
        if node.op == "sum":
            return self._summed(node, args[0])
        if node.op == "product" and (through := self._through(node)) is not None:
            return self.linear(through)
        if node.op == "product":
            factors = [self._lifted(a, m, node.domain) for a, m in zip(args, node.maps, strict=True)]
            kept = len(node.shape)
            domain = Node("sum", (node.args[0],), node.shape, (tuple(range(len(node.domain))),), node.summed)
            assert kept < len(node.domain)
            return self._summed(domain, self._times(*factors))
        if not node.is_elementwise:
            raise Unsupported(f"`{node.op}` of a state")
        placed = [self._lifted(a, m, node.shape) for a, m in zip(args, node.maps, strict=True)]
        match node.op:
            case "copy":
                return placed[0]
            case "+":
                return self._plus(*placed)
            case "-":
                return self._plus(placed[0], self._map(placed[1], lambda c: b.pointwise("neg", c)))
            case "neg":
                return self._map(placed[0], lambda c: b.pointwise("neg", c))
            case "*":
                return self._times(*placed)
            case "/" if not placed[1].moves and placed[1].constant is not None:
                by = placed[1].constant
                return self._map(placed[0], lambda c: b.pointwise("/", c, by))
            case "select" if not placed[0].moves and placed[0].constant is not None:
                return self._selected(placed[0].constant, placed[1], placed[2])
        raise Unsupported(f"`{node.op}` of a state is not affine")

    def _through(self, node: Node) -> int | None:
        """A matrix of the program, diag(a) + Σ p qᵀ, times one that depends on states, as a times that and p times what q reads of it."""
        b, kept = self.builder, len(node.shape)
        moving = next(i for i, a in enumerate(node.args) if self.depends(a))
        matrix, m, here, at = node.args[1 - moving], node.maps[1 - moving], node.args[moving], node.maps[moving]
        rows = [k for k in m if k < kept and k not in at]
        if self.depends(matrix) or len(rows) != 1 or len(node.summed) != 1:
            return None
        heads = tuple(range(len(self.shape) - 2))
        split = replace(self.separation, heads=heads, row=rows[0], column=kept, shape=node.domain)
        whole, total = tuple(range(kept)), None
        along = (*heads, rows[0])
        rest = tuple(k for k in range(kept) if k != rows[0])
        domain = (*(node.domain[k] for k in rest), *node.summed)
        try:
            products = split.products(matrix, m)
        except Unsupported:
            return None
        for product in products:
            if product.same:
                placed = b.apply("copy", [here], [tuple(rows[0] if k == kept else k for k in at)], node.shape)
                value = b.apply("*", [split.on_rows(product), placed], [along, whole], node.shape)
            else:
                left, right = split.sides(product)
                place = {k: i for i, k in enumerate((*rest, kept))}
                each = b.apply("*", [split.right_vector(right), here], [tuple(place[k] for k in (*heads, kept)), tuple(place[k] for k in at)], domain)
                read = b.reduce("sum", each, [len(rest)])
                value = b.apply("*", [split.left_vector(left), read], [along, rest], node.shape)
            total = value if total is None else b.pointwise("+", total, value)
        return b.zeros(node.shape) if total is None else total

    def _again(self, node: Node, args: list[int | None]) -> int:
        """A node with other arguments."""
        assert None not in args
        if node.is_elementwise:
            return self.builder.apply(node.op, args, node.maps, node.shape)  # type: ignore[arg-type]
        return self.builder.add(replace(node, args=tuple(args)))  # type: ignore[arg-type]

    def _lifted(self, a: Linear, m: Map, shape: Shape) -> Linear:
        """A value with its axes where `m` says, among those of a shape."""

        def lifted(c: int) -> int:
            return self.builder.apply("copy", [c], [m], shape)

        return Linear(
            None if a.constant is None else lifted(a.constant),
            {s: (lifted(c), tuple(m[k] for k in axes)) for s, (c, axes) in a.states.items()},
            {r: (lifted(c), tuple(m[k] for k in axes)) for r, (c, axes) in a.rows.items()},
        )

    def _map(self, a: Linear, f: Callable[[int], int]) -> Linear:
        return Linear(
            None if a.constant is None else f(a.constant),
            {s: (f(c), m) for s, (c, m) in a.states.items()},
            {r: (f(c), m) for r, (c, m) in a.rows.items()},
        )

    def _plus(self, a: Linear, b: Linear) -> Linear:
        def joined(x: dict, y: dict) -> dict:
            found = dict(x)
            for key, (c, m) in y.items():
                if key not in found:
                    found[key] = (c, m)
                    continue
                before, axes = found[key]
                if axes != m:
                    raise Unsupported("a state is added to its transpose")
                found[key] = (self.builder.pointwise("+", before, c), m)
            return found

        constants = [c for c in (a.constant, b.constant) if c is not None]
        constant = None if not constants else constants[0] if len(constants) == 1 else self.builder.pointwise("+", *constants)
        return Linear(constant, joined(a.states, b.states), joined(a.rows, b.rows))

    def _times(self, a: Linear, b: Linear) -> Linear:
        if a.moves and b.moves:
            raise Unsupported("two values that depend on its states are multiplied")
        moving, other = (a, b) if a.moves else (b, a)
        factor = other.constant
        return Linear() if factor is None else self._map(moving, lambda c: self.builder.pointwise("*", c, factor))

    def _selected(self, condition: int, yes: Linear, no: Linear) -> Linear:
        b = self.builder
        zero = b.number(0.0)
        first = self._map(yes, lambda c: b.pointwise("select", condition, c, zero))
        return self._plus(first, self._map(no, lambda c: b.pointwise("select", condition, zero, c)))

    def _summed(self, node: Node, a: Linear) -> Linear:
        """A sum over axes; over the rows of states it is a row."""
        (m,), kept = node.maps, len(node.shape)
        over = [k for k, place in enumerate(m) if place >= kept]

        place = {k: sum(j not in over for j in range(k)) for k in range(len(m))}

        def total(c: int) -> int:
            """Of a coefficient, along those axes alone that it changes along."""
            found, axes = self.narrow.of(c)
            if not set(over) <= set(axes):
                return self.builder.reduce("sum", c, over)
            value = self.builder.reduce("sum", found, [axes.index(k) for k in over])
            return self.builder.apply("copy", [value], [tuple(place[k] for k in axes if k not in over)], node.shape)

        constant = None if a.constant is None else self._constant(a.constant, over) or total(a.constant)
        states: dict[State, Part] = {}
        rows: dict[int, Part] = {}
        for number, (c, axes) in a.rows.items():
            if set(axes) & set(over):
                raise Unsupported("columns of a state are mixed, as well as rows")
            rows[number] = total(c), tuple(place[k] for k in axes)
        read: Rows = {}
        found: Map = ()
        for state, (c, axes) in a.states.items():
            if not set(axes) & set(over):
                states[state] = total(c), tuple(place[k] for k in axes)
                continue
            if over != [axes[self.row]]:
                raise Unsupported("columns of a state are mixed")
            if len(m) != len(axes):
                raise Unsupported("a state passes through a matrix that is not made of vectors")
            along = [*axes[: len(self.shape) - 2], axes[self.row]]
            vector = self.narrow.over(c, along)
            if vector is None:
                raise Unsupported("each column of a state is read by a vector of its own")
            here = tuple(place[k] for i, k in enumerate(axes) if i != self.row)
            if found and found != here:
                raise Unsupported("a state is added to its transpose")
            read[state], found = vector, here
        if read:
            shape = tuple(s for i, s in enumerate(self.shape) if i != self.row)
            number = self._row(read)
            if not self.follows:
                rows[number] = self.builder.filled(1.0, node.shape), found
            else:
                leaf = self.builder.leaf("stream", self.streams + number, shape)
                value = self.builder.apply("copy", [leaf], [found], node.shape)
                constant = value if constant is None else self.builder.pointwise("+", constant, value)
        return Linear(constant, states, rows)

    def _constant(self, n: int, over: list[int]) -> int | None:
        """The sum over rows of what is added to a state, without making the matrix: of u qᵀ it is (Σ u) q."""
        b, found = self.builder, None
        if over != [self.row] or b[n].shape != self.shape:
            return None
        try:
            products = self.separation.outer_products(n)
        except Unsupported:
            return None
        shape = tuple(s for i, s in enumerate(self.shape) if i != self.row)
        for left, right in products:
            total = b.reduce("sum", self.separation.left_vector(left), [len(self.shape) - 2])
            scale = b.apply("copy", [total], [tuple(range(len(shape) - 1))], shape)
            value = b.pointwise("*", self.separation.right_vector(right), scale)
            found = value if found is None else b.pointwise("+", found, value)
        return found

    def _row(self, read: Rows) -> int:
        if read not in self.rows:
            self.rows.append(read)
        return self.rows.index(read)


@dataclass
class Narrow:
    """Values without the axes along which they do not change."""

    builder: Builder
    known: dict[int, tuple[int, Map]] = field(default_factory=dict)

    def of(self, n: int) -> tuple[int, Map]:
        """A node that has the entries of another, and which of its axes it keeps."""
        if n not in self.known:
            self.known[n] = self._of(n)
        return self.known[n]

    def _of(self, n: int) -> tuple[int, Map]:
        node = self.builder[n]
        whole = tuple(range(len(node.shape)))
        if not node.is_elementwise:
            return n, whole
        args = [self.of(a) for a in node.args]
        kept = tuple(sorted({m[k] for (_, axes), m in zip(args, node.maps, strict=True) for k in axes}))
        if kept == whole and node.op != "copy":
            return n, whole
        place = {k: i for i, k in enumerate(kept)}
        maps = [tuple(place[m[k]] for k in axes) for (_, axes), m in zip(args, node.maps, strict=True)]
        self.builder.span = node.span
        return self.builder.apply(node.op, [a for a, _ in args], maps, tuple(node.shape[k] for k in kept)), kept

    def over(self, n: int, axes: list[int]) -> int | None:
        """A node along some axes alone, in that order; None where it changes along others."""
        found, kept = self.of(n)
        if not set(kept) <= set(axes):
            return None
        shape = self.builder[n].shape
        return self.builder.apply("copy", [found], [tuple(axes.index(k) for k in kept)], tuple(shape[k] for k in axes))
