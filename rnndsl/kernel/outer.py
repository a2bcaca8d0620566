"""What is added to matrix states as sums of outer products, and what their rows are multiplied by."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rnndsl.kernel.graph import Builder, Map, Node, Shape
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.linear_values import Narrow, Part

_PRODUCTS = 64  # that a value is a sum of
_NO_SUM = "what is added is no sum of outer products"

Factor = tuple[int, Map]  # a value, and along which axes of a state its own run


@dataclass(frozen=True)
class Product:
    """A number times some values; same: where the row is the column alone, and 0 elsewhere."""

    number: float = 1.0
    factors: tuple[Factor, ...] = ()
    same: bool = False

    @property
    def key(self) -> tuple[Factor, ...]:
        """What is the same for products that differ by a number."""
        return tuple(sorted(self.factors))

    def times(self, number: float) -> "Product":
        return replace(self, number=self.number * number)

    def with_(self, other: "Product") -> "Product":
        return Product(self.number * other.number, self.factors + other.factors, self.same or other.same)


@dataclass
class Separation:
    """Values with the axes of a state, `shape`: what they are along heads and rows, and along heads and columns. Methods raise Unsupported."""

    builder: Builder
    heads: Map
    row: int
    column: int
    shape: Shape
    narrow: Narrow = field(init=False)

    def __post_init__(self) -> None:
        self.narrow = Narrow(self.builder)

    def in_heads(self, n: int) -> int | None:
        """A value that is the same for all entries of a head, [heads]; None where it is not."""
        return self.narrow.over(n, list(self.heads))

    def left(self, n: int) -> int | None:
        """A value that is the same for all columns, [heads, rows]; None where it is not."""
        return self.narrow.over(n, [*self.heads, self.row])

    def along_rows(self, n: int) -> int:
        """A value [heads] or [heads, rows] as [heads, rows]."""
        shape = (*(self.shape[k] for k in self.heads), self.shape[self.row])
        return self.builder.apply("copy", [n], [tuple(range(len(self.builder[n].shape)))], shape)

    def scaled(self, n: int, number: float) -> int:
        return self.builder.pointwise("*", n, self.builder.number(number))

    def of_row(self, part: Part | None) -> Product | None:
        """What a row is multiplied by, along the rows of a state."""
        if part is None:
            return None
        coefficient, axes = part
        if axes != (*self.heads, self.column):
            raise Unsupported("a row of a state is added along its rows")
        if self.left(coefficient) is None:
            raise Unsupported("columns of a state decay apart from one another, as well as rows")
        whole = tuple(range(len(self.shape)))
        products = list(self._products(coefficient, whole, distributed=False))
        return products[0]

    def outer_products(self, n: int | None) -> list[tuple[Product, Product]]:
        """A value as a sum of outer products: what stands along rows, and along columns."""
        if n is None:
            return []
        products = self.products(n, tuple(range(len(self.shape))))
        if any(p.same for p in products):
            raise Unsupported(_NO_SUM)
        return [self.sides(p) for p in products]

    def products(self, n: int, m: Map) -> list[Product]:
        """A value whose axes run as `m` says as a sum of products, each of whose factors is along rows or columns."""
        found = []
        for product in self._products(n, m, distributed=True):
            if product.number != 0:
                found.append(product)
            if len(found) > _PRODUCTS:
                raise Unsupported(f"what is added is a sum of more than {_PRODUCTS} products")
        return found

    def sides(self, product: Product) -> tuple[Product, Product]:
        """What of a product stands along rows, and along columns."""
        right = tuple(f for f in product.factors if self.column in f[1])
        left = tuple(f for f in product.factors if self.column not in f[1])
        return Product(product.number, left), Product(1.0, right)

    def on_rows(self, product: Product) -> int:
        """A product where the row is the column, along rows."""
        place = {self.column: self.row}
        return self.left_vector(Product(product.number, tuple((n, tuple(place.get(k, k) for k in m)) for n, m in product.factors)))

    def left_vector(self, product: Product) -> int:
        return self._vector(product, [*self.heads, self.row])

    def right_vector(self, product: Product) -> int:
        return self._vector(product, [*self.heads, self.column])

    def _vector(self, product: Product, axes: list[int]) -> int:
        b, shape = self.builder, tuple(self.shape[k] for k in axes)
        value: int | None = None
        for n, m in product.factors:
            factor = b.apply("copy", [n], [tuple(axes.index(k) for k in m)], shape)
            value = factor if value is None else b.pointwise("*", value, factor)
        if value is not None and product.number == 1:
            return value
        number = b.apply("copy", [b.number(product.number)], [()], shape)
        return number if value is None else b.pointwise("*", value, number)

    def _products(self, n: int, m: Map, distributed: bool) -> Iterator[Product]:
        """A value as a sum of products; sums within stay whole where they are along rows or columns alone, or nothing is to be distributed."""
        b = self.builder
        n, kept = self.narrow.of(n)
        m = tuple(m[k] for k in kept)
        n, m = _through(b, n, m)
        node = b[n]
        both = self.row in m and self.column in m

        def inner(i: int) -> Iterator[Product]:
            return self._products(node.args[i], tuple(m[k] for k in node.maps[i]), distributed)

        if node.op == "number":
            yield Product(node.of(float))
        elif node.op == "neg":
            for p in inner(0):
                yield p.times(-1.0)
        elif node.op == "*":
            others = list(inner(1))
            for p in inner(0):
                for q in others:
                    yield p.with_(q)
        elif node.op == "/" and both:
            one = b.apply("/", [b.number(1.0), node.args[1]], [(), tuple(range(len(b[node.args[1]].shape)))], b[node.args[1]].shape)
            for p in inner(0):
                for q in self._products(one, tuple(m[k] for k in node.maps[1]), distributed):
                    yield p.with_(q)
        elif both and distributed and node.op in ("+", "-"):
            yield from inner(0)
            for p in inner(1):
                yield p if node.op == "+" else p.times(-1.0)
        elif both and distributed and node.op == "select":
            yield from self._selected(n, m)
        elif both and node.op == "diag":
            yield Product(1.0, ((node.args[0], m[:-1]),), same=True)
        elif both and node.op == "product":
            yield from self._multiplied(node, m)
        elif both:
            raise Unsupported(_NO_SUM)
        else:
            yield Product(1.0, ((n, m),))

    def _multiplied(self, node: Node, m: Map) -> Iterator[Product]:
        """Of a product of two matrices: each product of one times each of the other."""
        b, between = self.builder, len(self.shape)
        if len(node.summed) != 1:
            raise Unsupported(_NO_SUM)
        shape, place = (*self.shape, *node.summed), (*m, between)
        maps = [tuple(place[k] for k in given) for given in node.maps]
        order = [0, 1] if self.row in maps[0] else [1, 0]
        before, after = (replace(self, row=r, column=c, shape=shape) for r, c in ((self.row, between), (between, self.column)))
        (first, at_first), (second, at_second) = ((node.args[i], maps[i]) for i in order)
        lefts, rights = before.products(first, at_first), after.products(second, at_second)
        for p in lefts:
            row, inner = before.sides(p)
            for q in rights:
                inner_too, column = after.sides(q)
                if p.same and q.same:
                    vector = b.pointwise("*", before.on_rows(p), after.on_rows(q))
                    yield Product(1.0, ((vector, (*self.heads, self.row)),), same=True)
                elif p.same:
                    vector = b.pointwise("*", before.on_rows(p), after.left_vector(inner_too))
                    yield Product(1.0, ((vector, (*self.heads, self.row)), *column.factors))
                elif q.same:
                    vector = b.pointwise("*", before.right_vector(inner), after.on_rows(q))
                    yield Product(row.number, (*row.factors, (vector, (*self.heads, self.column))))
                else:
                    each = b.pointwise("*", before.right_vector(inner), after.left_vector(inner_too))
                    total = b.reduce("sum", each, [len(self.heads)])
                    yield Product(row.number, (*row.factors, (total, self.heads), *column.factors))

    def _selected(self, n: int, m: Map) -> Iterator[Product]:
        """Of a choice by a condition that is along rows or columns alone: each side times 1 where it is chosen, else 0."""
        b, node = self.builder, self.builder[n]
        condition, place = node.args[0], tuple(m[k] for k in node.maps[0])
        shape = b[condition].shape
        whole = tuple(range(len(shape)))
        one, zero = b.number(1.0), b.number(0.0)
        for i, ends in ((1, (one, zero)), (2, (zero, one))):
            chosen = b.apply("select", [condition, *ends], [whole, (), ()], shape)
            for p in self._products(node.args[i], tuple(m[k] for k in node.maps[i]), True):
                for q in self._products(chosen, place, True):
                    yield p.with_(q)


def _through(b: Builder, n: int, m: Map) -> tuple[int, Map]:
    """What a copy is of, and where its axes run."""
    while b[n].op == "copy":
        m = tuple(m[k] for k in b[n].maps[0])
        n = b[n].args[0]
    return n, m
