"""Recurrence -> Step: the equations of one step as a graph of real values. A complex value is a pair of real ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import pi, sqrt

from rnndsl.checks.cell import SCALAR, Apply, Expr, Let, Number, Ref, Repeat, Returned, Type, Update
from rnndsl.checks.dims import Dim
from rnndsl.kernel import complexes
from rnndsl.kernel.graph import Builder, Map, Node
from rnndsl.kernel.limits import SLOTS, TooLarge, Unsupported
from rnndsl.kernel.repeats import lower_repeat, unroll
from rnndsl.kernel.values import Array, Value, parts_of
from rnndsl.plan.ir import Gemm, Operation, Plan, Scan
from rnndsl.plan.recurrence import Recurrence, product_name, product_type

COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_DIRECT = frozenset(
    "tanh sigmoid relu exp log sqrt abs sign softplus logsigmoid elu sin cos floor heaviside max min logaddexp".split()
)


@dataclass(frozen=True)
class Step:
    """One step: `updates` are the nodes of the values that the carries (state[t-lag], by lag) take next."""

    builder: Builder
    streams: tuple[Array, ...]
    statics: tuple[Array, ...]
    carries: tuple[tuple[Array, int], ...]  # and their lag
    updates: tuple[int, ...]
    names: tuple[tuple[int, str], ...]  # of nodes that are locals of the program
    outputs: tuple[tuple[Array, int], ...] = ()


def lower(plan: Plan, recurrence: Recurrence, unroll: bool = False) -> Step:
    """The step of a recurrence, without what follows it; a `repeat` stays a loop, or is unrolled where its rounds are known.

    Raises Unsupported.
    """
    return _lower(plan, replace(recurrence, exit=None), unroll)


def lower_with_exit(plan: Plan, recurrence: Recurrence) -> Step:
    """The step of a recurrence and what follows it, as its outputs; a `repeat` is unrolled. Raises Unsupported."""
    return _lower(plan, recurrence, True)


def _lower(plan: Plan, recurrence: Recurrence, unroll: bool) -> Step:
    lags = plan.cell.lags("state")
    states = recurrence.scan.states
    most = max((lags.get(s, 1) for s in states), default=1)
    carried = [(s, "state", lag) for lag in range(1, max(1, most) + 1) for s in states if lag <= max(1, lags.get(s, 1))]
    return Lowering(plan, recurrence, unroll).step(carried)


def lower_cell(plan: Plan) -> Step:
    """One step of a whole cell, from inputs and params to outputs. Raises Unsupported."""
    cell = plan.cell
    if cell.of_role("noise"):
        raise Unsupported("noise")
    for statement in cell.body:
        for let in statement.body if isinstance(statement, Repeat) else [statement]:
            if isinstance(let, Let) and let.name in plan.static and let.value.type.rank > 1:
                raise Unsupported("a matrix that is made of params")  # once a call is enough
    streams = [Ref(v.name, "input", v.type) for v in cell.of_role("input")] + ([Ref("t", "clock", SCALAR)] if cell.uses_clock else [])
    statics = [Ref(v.name, v.role, v.type) for v in cell.variables if v.role in ("param", "const")]
    scan = Scan(tuple(v.name for v in cell.of_role("state")), cell.body, tuple(streams))
    carried = [(c.source, c.role, c.lag) for c in plan.carries if c.role != "clock"]
    return Lowering(plan, Recurrence(scan, (), (), tuple(streams), tuple(statics))).step(carried, plan.cell.outputs)


@dataclass
class Lowering:
    """Lowers expressions into `builder`, with `locals` bound."""

    plan: Plan
    recurrence: Recurrence
    unroll: bool = False
    builder: Builder = field(default_factory=Builder)
    locals: dict[str, Value] = field(default_factory=dict)
    places: dict[tuple, int] = field(default_factory=dict)  # (kind, name, role, lag) -> the first of its arrays

    def step(self, carried: list[tuple[str, str, int]], returned: Sequence[Returned] = ()) -> Step:
        """The step that carries some values, (name, role, lag), and returns others. Raises Unsupported."""
        if len(carried) > SLOTS:
            raise TooLarge(f"{len(carried):,} past values of its states", SLOTS)
        r = self.recurrence
        streams = [((ref.name, ref.role, ref.lag), ref.type) for ref in r.streams]
        streams += [((product_name(g), "local", 0), product_type(g)) for g in r.products]
        streams += [((s.name, s.role, s.lag), s.type) for s in (r.exit.streams if r.exit else ())]
        stream_arrays = self._arrays("stream", streams)
        statics = self._arrays("static", [((s.name, s.role, 0), s.type) for s in (*r.statics, *(r.exit.statics if r.exit else ()))])
        types = {name: self.plan.variable(name).type for name, _, _ in carried}
        carries = self._arrays("old", [((name, role, lag), types[name]) for name, role, lag in carried])
        carry_lags = [lag for name, _, lag in carried for _ in parts_of(name, types[name])]
        for g in r.products:
            self._cut(g, self._leaf("stream", (product_name(g), "local", 0), product_type(g)))
        new: dict[str, Value] = {}
        for operation in (*r.operations, *(r.exit.body if r.exit else ())):
            self.operation(operation, new)
        if r.exit:
            returned = [Returned(ref.name, ref) for ref in r.exit.returned]
        updates: list[int] = []
        for name, role, lag in carried:
            if lag > 1:
                value = self._leaf("old", (name, role, lag - 1), types[name])
            else:
                value = new[name] if role == "state" else self._leaf("stream", (name, role, 0), types[name])
            updates.extend(self.fitted(value, types[name]))
        outputs = tuple(
            (array, p)
            for o in returned
            for array, p in zip(parts_of(o.name, o.value.type), self.fitted(self.value(o.value), o.value.type), strict=True)
        )
        names: dict[int, str] = {}
        for name, value in self.locals.items():
            for part, suffix in zip(value.parts, ("_re", "_im") if len(value.parts) == 2 else ("",), strict=True):
                names.setdefault(part, name.replace("[t]", "") + suffix)
        return Step(
            self.builder, stream_arrays, statics, tuple(zip(carries, carry_lags, strict=True)), tuple(updates), tuple(names.items()), outputs
        )

    def _arrays(self, kind: str, named: Sequence[tuple[tuple, Type]]) -> tuple[Array, ...]:
        arrays: list[Array] = []
        for key, t in named:
            self.places[(kind, *key)] = len(arrays)
            arrays.extend(parts_of(key[0], t))
        return tuple(arrays)

    def _leaf(self, kind: str, key: tuple, t: Type, select: int | None = None) -> Value:
        """A value that a step is given. Raises Unsupported for one that it is not."""
        if (kind, *key) not in self.places:
            raise Unsupported(f"{key[0]}, which the step is not given")
        first = self.places[(kind, *key)]
        shape = t.heads + t.axes
        return Value(tuple(self.builder.leaf(kind, first + i, shape, select) for i in range(1 + t.is_complex)), t)

    # Operations

    def operation(self, operation: Operation, new: dict[str, Value]) -> None:
        """Binds the locals of an operation, or the new value of a state in `new`."""
        match operation:
            case Let():
                self.builder.span = operation.span
                self.locals[operation.name] = self.value(operation.value)
            case Update():
                self.builder.span = operation.span
                t = self.plan.variable(operation.state).type
                value = Value(self.fitted(self.value(operation.value), t), t)
                new[operation.state] = self.locals[f"{operation.state}[t]"] = value
            case Gemm():
                self.builder.span = operation.products[0].span
                t = product_type(operation)
                self._cut(operation, self._matmul(self.value(operation.matrix), self.value(operation.operand), t))
            case Repeat():
                if self.unroll:
                    unroll(self, operation)
                else:
                    lower_repeat(self, operation)

    def _cut(self, gemm: Gemm, whole: Value) -> None:
        """Binds the results of a merged product to its row blocks."""
        offset = Dim.of(0)
        for name, rows, product in zip(gemm.results, gemm.rows, gemm.products, strict=True):
            self.builder.span = product.span
            axis = len(whole.type.heads)
            self.locals[name] = self.map_parts(whole, product.type, partial(self._rows, axis, offset, rows))
            offset = offset + rows

    def _rows(self, axis: int, offset: Dim, size: Dim, part: int) -> int:
        return self.builder.slice(part, axis, offset, size)

    # Values

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

    def value(self, expr: Expr) -> Value:
        """The value of an expression. Raises Unsupported."""
        match expr:
            case Number():
                if isinstance(expr.value, complex):
                    return Value((self.builder.number(expr.value.real), self.builder.number(expr.value.imag)), expr.type)
                return Value((self.builder.number(expr.value),), expr.type)
            case Ref():
                return self._ref(expr)
            case Apply():
                return self._apply(expr)

    def _ref(self, ref: Ref) -> Value:
        match ref.role:
            case "size":
                return Value((self.builder.add(Node("size", (), (), data=Dim.of(ref.name))),), SCALAR)
            case "hyper" | "counter":
                if ref.role == "counter" and ref.name in self.locals:
                    return self.locals[ref.name]
                return Value((self.builder.add(Node(ref.role, (), (), data=ref.name)),), SCALAR)
            case "state" if ref.name in self.recurrence.scan.states:
                if ref.lag == 0 and f"{ref.name}[t]" in self.locals:
                    return self.locals[f"{ref.name}[t]"]
                return self._leaf("old", (ref.name, "state", ref.lag), ref.type)
        if ref.role == "local" and ref.name in self.locals:
            return self.locals[ref.name]
        if ("old", ref.name, ref.role, ref.lag) in self.places:  # an earlier input
            return self._leaf("old", (ref.name, ref.role, ref.lag), ref.type)
        kind = "stream" if ("stream", ref.name, ref.role, ref.lag) in self.places else "static"
        return self._leaf(kind, (ref.name, ref.role, ref.lag), ref.type)

    def _apply(self, expr: Apply) -> Value:
        if expr.op == "slice":
            return self._selected(expr)
        method = getattr(self, f"_{expr.op}", None) if expr.op.isidentifier() else None
        args = [self.value(a) for a in expr.args]
        if method is not None:
            return method(expr, args)
        if expr.op == "@":
            return self._matmul(args[0], args[1], expr.type)
        if any(a.type.is_complex for a in args):
            return complexes.apply(self, expr.op, args, expr.type)
        if expr.op in COMPARE:
            return Value((self.elementwise(COMPARE[expr.op], args, expr.type),), expr.type)
        if expr.op == "^":
            return self.make("pow", expr.type, *args)
        if expr.op in ("+", "-", "*", "/", "neg") or expr.op in _DIRECT:
            return Value((self.elementwise(expr.op, args, expr.type),), expr.type)
        raise Unsupported(expr.op)

    def _selected(self, expr: Apply) -> Value:
        """`W[k]`: a slice of a param along its leading head axis."""
        base, index = expr.args
        assert isinstance(base, Ref)
        (k,) = self.value(index).parts
        return self._leaf("static", (base.name, base.role, 0), expr.type, select=k)

    # Arithmetic on values of one type, for the compound functions

    def make(self, op: str, t: Type, *args: "Value | float") -> Value:
        """A real elementwise value; numbers are numbers."""
        values = [a if isinstance(a, Value) else Value((self.builder.number(a),), SCALAR) for a in args]
        return Value((self.elementwise(op, values, t),), t)

    def integer_power(self, base: Value, n: int, t: Type, times: Callable[[Value, Value], Value]) -> Value:
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

    def _where(self, expr: Apply, args: list[Value]) -> Value:
        condition, a, b = args
        if condition.type.is_complex:
            condition = Value((complexes.nonzero(self, condition),), self.real(condition.type))
        if not expr.type.is_complex:
            return self.make("select", expr.type, condition, a, b)
        t = self.real(expr.type)
        pairs = [complexes.parts(self, v) for v in (a, b)]
        return Value(tuple(self.make("select", t, condition, pairs[0][i], pairs[1][i]).parts[0] for i in (0, 1)), expr.type)

    def _silu(self, expr: Apply, args: list[Value]) -> Value:
        return self.make("*", expr.type, args[0], self.make("sigmoid", expr.type, args[0]))

    def _gelu(self, expr: Apply, args: list[Value]) -> Value:
        (x,), t = args, expr.type
        inner = self.make("+", t, x, self.make("*", t, 0.044715, self.make("*", t, x, self.make("*", t, x, x))))
        gate = self.make("+", t, 1.0, self.make("tanh", t, self.make("*", t, sqrt(2 / pi), inner)))
        return self.make("*", t, self.make("*", t, 0.5, x), gate)

    def _mod(self, expr: Apply, args: list[Value]) -> Value:
        (a, b), t = args, expr.type
        return self.make("-", t, a, self.make("*", t, b, self.make("floor", t, self.make("/", t, a, b))))

    def _surrogate(self, expr: Apply, args: list[Value]) -> Value:
        return self.make("surrogate", expr.type, *args)

    def _broadcast(self, expr: Apply, args: list[Value]) -> Value:
        return Value(self.fitted(args[0], expr.type), expr.type)

    # Parts of complex values

    def _re(self, expr: Apply, args: list[Value]) -> Value:
        return Value(args[0].parts[:1], expr.type)

    def _im(self, expr: Apply, args: list[Value]) -> Value:
        return Value((args[0].parts[1] if args[0].type.is_complex else self.builder.number(0.0),), expr.type)

    def _conj(self, expr: Apply, args: list[Value]) -> Value:
        if not args[0].type.is_complex:
            return args[0]
        re, im = complexes.parts(self, args[0])
        return Value((re.parts[0], self.make("neg", im.type, im).parts[0]), expr.type)

    # Along a vector

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

    def _sum(self, expr: Apply, args: list[Value]) -> Value:
        return self.total(args[0])

    def mean(self, value: Value) -> Value:
        total = self.total(value)
        t = self.real(total.type)
        n = self.length(value)
        return Value(tuple(self.make("/", t, Value((p,), t), n).parts[0] for p in total.parts), total.type)

    def _mean(self, expr: Apply, args: list[Value]) -> Value:
        return self.mean(args[0])

    def _dot(self, expr: Apply, args: list[Value]) -> Value:
        wide = Type(expr.type.heads, args[0].type.axes, expr.type.is_complex)
        if expr.type.is_complex:
            return self.total(complexes.apply(self, "*", args, wide))
        return self.total(self.make("*", wide, *args))

    def squares(self, value: Value) -> Value:
        """|v|², entry by entry."""
        t = self.real(value.type)
        parts = [Value((p,), t) for p in value.parts]
        square = self.make("*", t, parts[0], parts[0])
        return square if len(parts) == 1 else self.make("+", t, square, self.make("*", t, parts[1], parts[1]))

    def _norm(self, expr: Apply, args: list[Value]) -> Value:
        return self.make("root", expr.type, self.total(self.squares(args[0])))

    def _normalize(self, expr: Apply, args: list[Value]) -> Value:
        v = args[0]
        if v.type.is_complex:
            total = self.total(complexes.apply(self, "*", [v, v], v.type))
            small = Value((self.builder.number(1e-12),), SCALAR)
            return complexes.apply(self, "/", [v, complexes.apply(self, "sqrt", [complexes.apply(self, "+", [total, small], total.type)], total.type)], v.type)
        total = self.total(self.make("*", v.type, v, v))
        return self.scaled(v, self.make("rsqrt", total.type, self.make("+", total.type, total, 1e-12)))

    def _layernorm(self, expr: Apply, args: list[Value]) -> Value:
        v = self.full(args[0])
        centred = self.make("-", v.type, v, self.mean(v))
        variance = self.mean(self.make("*", v.type, centred, centred))
        return self.scaled(centred, self.make("rsqrt", variance.type, self.make("+", variance.type, variance, 1e-5)))

    def _rmsnorm(self, expr: Apply, args: list[Value]) -> Value:
        v = self.full(args[0])
        square = self.mean(self.make("*", v.type, v, v))
        return self.scaled(v, self.make("rsqrt", square.type, self.make("+", square.type, square, 1e-5)))

    def _softmax(self, expr: Apply, args: list[Value]) -> Value:
        v = self.full(args[0])
        exponentials = self.make("exp", v.type, self.make("-", v.type, v, self.total(v, "largest")))
        return self.make("/", v.type, exponentials, self.total(exponentials))

    def _cumsum(self, expr: Apply, args: list[Value]) -> Value:
        v = self.full(args[0])
        return Value(tuple(self.builder.add(Node("cumsum", (p,), self.builder[p].shape, data=False)) for p in v.parts), expr.type)

    # Shapes

    def _outer(self, expr: Apply, args: list[Value]) -> Value:
        t = expr.type
        heads = len(t.heads)
        columns = [Value(v.parts, Type(v.type.heads, v.type.axes, v.type.is_complex)) for v in args]

        def times(i: int, j: int) -> Value:
            parts = [columns[0].parts[i], columns[1].parts[j]]
            maps = []
            for v, p, axis in zip(columns, parts, (heads, heads + 1), strict=True):
                maps.append(() if not self.builder[p].shape else (*range(len(v.type.heads)), axis))
            real = self.real(t)
            shape = real.heads + real.axes if any(maps) else ()
            return Value((self.builder.apply("*", parts, maps, shape),), real)

        return complexes.bilinear(self, args, t, times)

    def _matmul(self, a: Value, b: Value, t: Type) -> Value:
        """a @ b: every pair of ranks, heads broadcasting."""
        for scaled in (self._diagonal_left(a, b, t), self._diagonal_right(a, b, t)):
            if scaled is not None:
                return scaled
        heads, rows, columns = len(t.heads), a.type.rank - 1, b.type.rank - 1
        kept = heads + rows + columns

        def times(i: int, j: int) -> Value:
            left, right = self.full(Value((a.parts[i],), self.real(a.type))), self.full(Value((b.parts[j],), self.real(b.type)))
            map_a = (*range(len(a.type.heads)), *([heads] if rows else []), kept)
            map_b = (*range(len(b.type.heads)), kept, *([heads + rows] if columns else []))
            shape = t.heads + t.axes
            node = self.builder.contract(left.parts[0], right.parts[0], (map_a, map_b), shape, (b.type.axes[0],))
            return Value((node,), self.real(t))

        return complexes.bilinear(self, [a, b], t, times)

    def _diagonal_left(self, a: Value, b: Value, t: Type) -> Value | None:
        """diag(a) @ B scales the rows of B."""
        return self._scaling(a, b, t, 0) if a.type.rank == 2 else None

    def _diagonal_right(self, a: Value, b: Value, t: Type) -> Value | None:
        """A @ diag(b) scales the columns of A."""
        return self._scaling(b, a, t, t.rank - 1) if b.type.rank == 2 else None

    def _scaling(self, d: Value, other: Value, t: Type, axis: int) -> Value | None:
        nodes = [self.builder[p] for p in d.parts]
        if not all(n.op == "diag" for n in nodes):
            return None
        vectors = [n.args[0] for n in nodes]
        heads = len(t.heads)

        def times(i: int, j: int) -> Value:
            parts = [vectors[i], other.parts[j]]
            maps = [(*range(len(d.type.heads)), heads + axis), self.map_to(other, other.parts[j], t)]
            return Value((self.builder.apply("*", parts, maps, t.heads + t.axes),), self.real(t))

        return complexes.bilinear(self, [d, other], t, times)

    def _transpose(self, expr: Apply, args: list[Value]) -> Value:
        heads = len(expr.type.heads)
        flip = (*range(heads), heads + 1, heads)
        shape = expr.type.heads + expr.type.axes
        return self.map_parts(args[0], expr.type, lambda p: self.builder.apply("copy", [p], [flip], shape))

    def _diag(self, expr: Apply, args: list[Value]) -> Value:
        shape = expr.type.heads + expr.type.axes
        v = self.full(args[0])
        return Value(tuple(self.builder.add(Node("diag", (p,), shape)) for p in v.parts), expr.type)

    def _merge(self, expr: Apply, args: list[Value]) -> Value:
        return self._reshaped(args[0], expr.type)

    def _heads(self, expr: Apply, args: list[Value]) -> Value:
        return self._reshaped(args[0], expr.type)

    def _reshape(self, expr: Apply, args: list[Value]) -> Value:
        return self._reshaped(args[0], expr.type)

    def _reshaped(self, value: Value, t: Type) -> Value:
        shape = t.heads + t.axes
        value = self.full(value)
        if not value.type.heads and not value.type.rank:  # a scalar becomes a vector or matrix of one entry
            return Value(tuple(self.builder.apply("copy", [p], [()], shape) for p in value.parts), t)
        return Value(tuple(self.builder.reshape(p, shape) for p in value.parts), t)

    def _split(self, expr: Apply, args: list[Value]) -> Value:
        _count, i = expr.static
        size = expr.type.axes[-1]
        axis = len(args[0].type.heads) + args[0].type.rank - 1
        offset = size * Dim.of(int(i))  # type: ignore[arg-type]
        return self.map_parts(args[0], expr.type, lambda p: self.builder.slice(p, axis, offset, size))

    def _concat(self, expr: Apply, args: list[Value]) -> Value:
        axis = len(expr.type.heads)
        count = 1 + expr.type.is_complex
        full = [self.fitted(v, Type(expr.type.heads, v.type.axes, expr.type.is_complex)) for v in args]
        return Value(tuple(self.builder.concat([f[i] for f in full], axis) for i in range(count)), expr.type)

    def _eye(self, expr: Apply, args: list[Value]) -> Value:
        ones = self.builder.apply("copy", [self.builder.number(1.0)], [()], expr.type.axes[:1])
        return Value((self.builder.add(Node("diag", (ones,), expr.type.axes)),), expr.type)

    def _ones(self, expr: Apply, args: list[Value]) -> Value:
        return Value((self.builder.apply("copy", [self.builder.number(1.0)], [()], expr.type.axes),), expr.type)
