"""What each operation of the language is as nodes: a handler an operation, found by its name."""

from collections.abc import Callable
from math import pi

from rnndsl.checks.cell import Apply, Type
from rnndsl.checks.dims import Dim
from rnndsl.functions import ENTRIES
from rnndsl.kernel import complexes
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.graph import Node
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.products import matmul
from rnndsl.kernel.values import Value

Handler = Callable[[Arithmetic, Apply, list[Value]], Value]
HANDLERS: dict[str, Handler] = {}


def lowers(*operations: str) -> Callable[[Handler], Handler]:
    """Says of a function which operations it lowers."""

    def known(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operations, handler))
        return handler

    return known


def apply(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    """The value of an operation on the values of its arguments. Raises Unsupported."""
    handler = HANDLERS.get(expr.op)
    return handler(m, expr, args) if handler is not None else elementwise(m, expr.op, args, expr.type)


def elementwise(m: Arithmetic, op: str, args: list[Value], t: Type) -> Value:
    """An operation that is one node for real arguments. Raises Unsupported."""
    if any(a.type.is_complex for a in args):
        return complexes.apply(m, op, args, t)
    if op not in ENTRIES:
        raise Unsupported(op)
    return m.make(ENTRIES[op].operation, t, *args)


@lowers("where")
def _where(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    condition, a, b = args
    if condition.type.is_complex:
        condition = Value((complexes.nonzero(m, condition),), m.real(condition.type))
    if not expr.type.is_complex:
        return m.make("select", expr.type, condition, a, b)
    t = m.real(expr.type)
    pairs = [complexes.parts(m, v) for v in (a, b)]
    return Value(tuple(m.make("select", t, condition, pairs[0][i], pairs[1][i]).parts[0] for i in (0, 1)), expr.type)


@lowers("surrogate")
def _surrogate(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return m.make("surrogate", expr.type, *args)


@lowers("broadcast")
def _broadcast(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return Value(m.fitted(args[0], expr.type), expr.type)


@lowers("re")
def _re(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return Value(args[0].parts[:1], expr.type)


@lowers("im")
def _im(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return Value((args[0].parts[1] if args[0].type.is_complex else m.builder.number(0.0),), expr.type)


@lowers("angle")
def _angle(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    (v,), t = args, expr.type
    if not v.type.is_complex:  # NaN of NaN; `floor` lets no gradient through
        return m.make("select", t, m.make("lt", t, v, 0.0), pi, m.make("select", t, m.make("ne", t, v, v), m.make("floor", t, v), 0.0))
    re, im = complexes.parts(m, v)
    zero = m.make("eq", t, m.make("modulus", t, re, im), 0.0)  # where the gradient is 0
    return m.make("angle", t, m.make("select", t, zero, 1.0, re), m.make("select", t, zero, 0.0, im))


@lowers("conj")
def _conj(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    if not args[0].type.is_complex:
        return args[0]
    re, im = complexes.parts(m, args[0])
    return Value((re.parts[0], m.make("neg", im.type, im).parts[0]), expr.type)


@lowers("sum")
def _sum(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return m.total(args[0])


@lowers("mean")
def _mean(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return m.mean(args[0])


@lowers("dot")
def _dot(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    wide = Type(expr.type.heads, args[0].type.axes, expr.type.is_complex)
    if expr.type.is_complex:
        return m.total(complexes.apply(m, "*", args, wide))
    return m.total(m.make("*", wide, *args))


@lowers("norm")
def _norm(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return m.make("root", expr.type, m.total(m.squares(args[0])))


@lowers("softmax")
def _softmax(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    v = m.full(args[0])
    exponentials = m.make("exp", v.type, m.make("-", v.type, v, m.total(v, "largest")))
    return m.make("/", v.type, exponentials, m.total(exponentials))


@lowers("cumsum")
def _cumsum(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    v = m.full(args[0])
    return Value(tuple(m.builder.add(Node("cumsum", (p,), m.builder[p].shape, data=False)) for p in v.parts), expr.type)


@lowers("outer")
def _outer(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    t = expr.type
    heads = len(t.heads)
    columns = [Value(v.parts, Type(v.type.heads, v.type.axes, v.type.is_complex)) for v in args]

    def times(i: int, j: int) -> Value:
        parts = [columns[0].parts[i], columns[1].parts[j]]
        maps = []
        for v, p, axis in zip(columns, parts, (heads, heads + 1), strict=True):
            maps.append(() if not m.builder[p].shape else (*range(len(v.type.heads)), axis))
        real = m.real(t)
        shape = real.heads + real.axes if any(maps) else ()
        return Value((m.builder.apply("*", parts, maps, shape),), real)

    return complexes.bilinear(m, args, t, times)


@lowers("transpose")
def _transpose(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    heads = len(expr.type.heads)
    flip = (*range(heads), heads + 1, heads)
    shape = expr.type.heads + expr.type.axes
    return m.map_parts(args[0], expr.type, lambda p: m.builder.apply("copy", [p], [flip], shape))


@lowers("diag")
def _diag(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    shape = expr.type.heads + expr.type.axes
    v = m.full(args[0])
    return Value(tuple(m.builder.add(Node("diag", (p,), shape)) for p in v.parts), expr.type)


@lowers("split")
def _split(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    _count, i = expr.static
    size = expr.type.axes[-1]
    axis = len(args[0].type.heads) + args[0].type.rank - 1
    offset = size * Dim.of(int(i))  # type: ignore[arg-type]
    return m.map_parts(args[0], expr.type, lambda p: m.builder.slice(p, axis, offset, size))


@lowers("concat")
def _concat(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    axis = len(expr.type.heads)
    count = 1 + expr.type.is_complex
    full = [m.fitted(v, Type(expr.type.heads, v.type.axes, expr.type.is_complex)) for v in args]
    return Value(tuple(m.builder.concat([f[i] for f in full], axis) for i in range(count)), expr.type)


@lowers("eye")
def _eye(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    ones = m.builder.apply("copy", [m.builder.number(1.0)], [()], expr.type.axes[:1])
    return Value((m.builder.add(Node("diag", (ones,), expr.type.axes)),), expr.type)


@lowers("ones")
def _ones(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return Value((m.builder.apply("copy", [m.builder.number(1.0)], [()], expr.type.axes),), expr.type)


def _reshaped(m: Arithmetic, value: Value, t: Type) -> Value:
    shape = t.heads + t.axes
    value = m.full(value)
    if not value.type.heads and not value.type.rank:  # a scalar becomes a vector or matrix of one entry
        return Value(tuple(m.builder.apply("copy", [p], [()], shape) for p in value.parts), t)
    return Value(tuple(m.builder.reshape(p, shape) for p in value.parts), t)


@lowers("merge", "heads", "reshape")
def _shaped(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return _reshaped(m, args[0], expr.type)


@lowers("@")
def _product(m: Arithmetic, expr: Apply, args: list[Value]) -> Value:
    return matmul(m, args[0], args[1], expr.type)
