"""Arithmetic on values of the language, as nodes of a graph: broadcasting along heads, and what compound functions are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rnndsl.checks.cell import SCALAR, Type
from rnndsl.kernel.graph import Builder, Map, Node
from rnndsl.kernel.values import Value


@dataclass
class Arithmetic:
    """Makes values in `builder`. Every method may raise TooLarge."""

    builder: Builder = field(default_factory=Builder)

    def number(self, value: float) -> Value:
        """A number, a scalar that broadcasts."""
        return Value((self.builder.number(value),), SCALAR)

    def fitted(self, value: Value, t: Type) -> tuple[int, ...]:
        """The parts of a value broadcast to a full type."""
        shape = t.heads + t.axes
        parts = [self.builder.apply("copy", [p], [self.map_to(value, p, t)], shape) for p in value.parts]
        if t.is_complex and len(parts) == 1:
            parts.append(self.builder.zeros(shape))
        return tuple(parts)

    def map_to(self, value: Value, part: int, t: Type) -> Map:
        """Along which axes of a value of type `t` those of an argument run."""
        if not self.builder[part].shape:
            return ()
        heads = tuple(range(len(value.type.heads)))
        return heads + tuple(len(t.heads) + i for i in range(value.type.rank))

    def placed(self, value: Value, axis: int, t: Type) -> Value:
        """A vector along one axis of a matrix, as each of its columns or rows."""
        m = (*range(len(value.type.heads)), len(t.heads) + axis)
        shape = t.heads + t.axes
        return Value(tuple(self.builder.apply("copy", [p], [m if self.builder[p].shape else ()], shape) for p in value.parts), t)

    def map_parts(self, value: Value, t: Type, f: Callable[[int], int]) -> Value:
        """A value whose parts are those of another, each made into another of a new shape; a scalar that broadcasts stays one."""
        full = value.type.heads + value.type.axes
        return Value(tuple(f(p) if self.builder[p].shape == full else p for p in value.parts), t)

    def elementwise(self, op: str, values: Sequence[Value], t: Type) -> int:
        """One real node of the real parts of its arguments."""
        parts = [v.parts[0] for v in values]
        shape = t.heads + t.axes if any(self.builder[p].shape for p in parts) else ()
        maps = [self.map_to(v, p, t) for v, p in zip(values, parts, strict=True)]
        return self.builder.apply(op, parts, maps, shape)

    def real(self, t: Type) -> Type:
        return Type(t.heads, t.axes)

    def make(self, op: str, t: Type, *args: "Value | float") -> Value:
        """A real elementwise value; numbers are numbers."""
        values = [a if isinstance(a, Value) else Value((self.builder.number(a),), SCALAR) for a in args]
        return Value((self.elementwise(op, values, t),), t)

    def integer_power(self, base: Value, n: int, times: Callable[[Value, Value], Value]) -> Value:
        """A power above 0 by repeated multiplication."""
        result: Value | None = None
        square = base
        while n:
            if n & 1:
                result = square if result is None else times(result, square)
            n >>= 1
            if n:
                square = times(square, square)
        assert result is not None
        return result

    def full(self, value: Value) -> Value:
        """A value none of whose parts is a scalar that broadcasts."""
        return Value(self.fitted(value, value.type), value.type)

    def total(self, value: Value, op: str = "sum") -> Value:
        """`sum` or `largest` along the last axis."""
        value = self.full(value)
        last = len(value.type.heads) + value.type.rank - 1
        t = Type(value.type.heads, value.type.axes[:-1], value.type.is_complex)
        return Value(tuple(self.builder.reduce(op, p, [last]) for p in value.parts), t)

    def length(self, value: Value) -> Value:
        size = value.type.axes[-1]
        n = size.number
        return Value((self.builder.number(float(n)) if n is not None else self.builder.add(Node("size", (), (), data=size)),), SCALAR)

    def scaled(self, value: Value, factor: Value) -> Value:
        """A value times, part by part, a real scalar a head."""
        t = self.real(value.type)
        return Value(tuple(self.make("*", t, Value((p,), t), factor).parts[0] for p in value.parts), value.type)

    def mean(self, value: Value) -> Value:
        total = self.total(value)
        t = self.real(total.type)
        n = self.length(value)
        return Value(tuple(self.make("/", t, Value((p,), t), n).parts[0] for p in total.parts), total.type)

    def squares(self, value: Value) -> Value:
        """|v|², entry by entry."""
        t = self.real(value.type)
        parts = [Value((p,), t) for p in value.parts]
        square = self.make("*", t, parts[0], parts[0])
        return square if len(parts) == 1 else self.make("+", t, square, self.make("*", t, parts[1], parts[1]))
