"""Recurrence -> Step: the equations of one step as a graph of real values. A complex value is a pair of real ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from rnndsl.checks.cell import SCALAR, Apply, Expr, Let, Number, Ref, Repeat, Returned, Type, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.prelude import body_of
from rnndsl.functions import COMPOUNDS, ENTRIES
from rnndsl.kernel import operations
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.graph import Builder, Loop, Node, Result, Round
from rnndsl.kernel.limits import SLOTS, TooLarge, Unsupported
from rnndsl.kernel.loops import outside
from rnndsl.kernel.products import matmul
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array, Value, parts_of
from rnndsl.plan.ir import Gemm, Operation, Plan, Scan
from rnndsl.plan.recurrence import Recurrence, product_name, product_type

_PLAIN = ENTRIES.keys() | {"eye", "ones", "diag", "outer", "transpose", "broadcast"}  # of constants that no param has a part in


def lower(plan: Plan, recurrence: Recurrence, unroll: bool = False) -> Step:
    """The step of a recurrence, without what follows it; a `repeat` stays a loop, or is unrolled where its rounds are known.

    Raises Unsupported.
    """
    return lowered(plan, replace(recurrence, exit=None), unroll)[1]


def lowered(plan: Plan, recurrence: Recurrence, unroll: bool) -> tuple["Lowering", Step]:
    """The step of a recurrence, with what follows it as its outputs, and what has lowered it. Raises Unsupported."""
    lowering = Lowering(plan, recurrence, unroll)
    return lowering, lowering.step([(state, "state", lag) for state, lag in recurrence.scan.carried])


def lower_cell(plan: Plan) -> Step:
    """One step of a whole cell, from inputs and params to outputs. Raises Unsupported."""
    cell = plan.cell
    if cell.of_role("noise"):
        raise Unsupported("noise")
    for statement in cell.body:
        for let in statement.body if isinstance(statement, Repeat) else [statement]:
            if isinstance(let, Let) and let.name in plan.static and let.value.type.rank > 1:
                raise Unsupported("a matrix that is made of params")  # once a call is enough
    statics = tuple(Ref(v.name, v.role, v.type) for v in cell.variables if v.role in ("param", "const"))
    scan = Scan(tuple(v.name for v in cell.of_role("state")), cell.body, plan.given)
    return Lowering(plan, Recurrence(scan, (), (), plan.given, statics)).step(plan.carried, cell.outputs)


@dataclass
class Lowering:
    """Lowers expressions into `builder`, with `locals` bound."""

    plan: Plan
    recurrence: Recurrence
    unroll: bool = False
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    locals: dict[str, Value] = field(default_factory=dict)
    arguments: dict[str, Value] = field(default_factory=dict)  # of the function of the prelude that is being lowered
    places: dict[tuple, int] = field(default_factory=dict)  # (kind, name, role, lag) -> the first of its arrays
    made: dict[int, list[Value]] = field(default_factory=dict)  # of an expression, by identity: its values, one each time that it was lowered

    def step(self, carried: Sequence[tuple[str, str, int]], returned: Sequence[Returned] = ()) -> Step:
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
            self._cut(g, self.leaf("stream", (product_name(g), "local", 0), product_type(g)))
        new: dict[str, Value] = {}
        for operation in (*r.operations, *(r.exit.body if r.exit else ())):
            self.operation(operation, new)
        if r.exit:
            returned = [Returned(ref.name, ref) for ref in r.exit.returned]
        updates: list[int] = []
        for name, role, lag in carried:
            if lag > 1:
                value = self.leaf("old", (name, role, lag - 1), types[name])
            else:
                value = new[name] if role == "state" else self.leaf("stream", (name, role, 0), types[name])
            updates.extend(self.arithmetic.fitted(value, types[name]))
        outputs = tuple(
            (array, p)
            for o in returned
            for array, p in zip(parts_of(o.name, o.value.type), self.arithmetic.fitted(self.value(o.value), o.value.type), strict=True)
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

    def leaf(self, kind: str, key: tuple, t: Type, select: int | None = None) -> Value:
        """A value that a step is given. Raises Unsupported for one that it is not."""
        if (kind, *key) not in self.places:
            raise Unsupported(f"{key[0]}, which the step is not given")
        first = self.places[(kind, *key)]
        shape = t.heads + t.axes
        return Value(tuple(self.builder.leaf(kind, first + i, shape, select) for i in range(1 + t.is_complex)), t)

    @property
    def builder(self) -> Builder:
        return self.arithmetic.builder

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
                value = Value(self.arithmetic.fitted(self.value(operation.value), t), t)
                new[operation.state] = self.locals[f"{operation.state}[t]"] = value
            case Gemm():
                self.builder.span = operation.products[0].span
                t = product_type(operation)
                self._cut(operation, matmul(self.arithmetic, self.value(operation.matrix), self.value(operation.operand), t))
            case Repeat():
                if self.unroll:
                    self._unrolled(operation)
                else:
                    self._loop(operation)

    def _cut(self, gemm: Gemm, whole: Value) -> None:
        """Binds the results of a merged product to its row blocks."""
        offset = Dim.of(0)
        for name, rows, product in zip(gemm.results, gemm.rows, gemm.products, strict=True):
            self.builder.span = product.span
            axis = len(whole.type.heads)
            self.locals[name] = self.arithmetic.map_parts(whole, product.type, partial(self._rows, axis, offset, rows))
            offset = offset + rows

    def _rows(self, axis: int, offset: Dim, size: Dim, part: int) -> int:
        return self.builder.slice(part, axis, offset, size)

    # Repeats

    def _loop(self, repeat: Repeat) -> None:
        """Binds what a repeat leaves behind."""
        b = self.builder
        number = len([n for n in b.nodes if n.op == "loop"])
        passed = {p.last: p for p in repeat.passed}
        types = {let.name: let.value.type for let in repeat.body if let.name in passed or let.name in repeat.results}
        starts: list[int] = []
        leaves: list[int] = []
        for name, t in types.items():
            shape = t.heads + t.axes
            starts.extend(self.arithmetic.fitted(self.value(passed[name].start), t) if name in passed else [b.zeros(shape)] * (1 + t.is_complex))
            for _ in range(1 + t.is_complex):
                leaves.append(b.add(Node("round", (), shape, data=Round(number, len(leaves)))))
            if name in passed:
                self.locals[passed[name].name] = Value(tuple(leaves[-1 - t.is_complex :]), t)
        for let in repeat.body:
            self.operation(let, {})
        outputs = [p for name, t in types.items() for p in self.arithmetic.fitted(self.locals[name], t)]
        body = Loop(number, repeat.counter, repeat.low, repeat.high, tuple(leaves), tuple(outputs))
        node = b.add(Node("loop", (*starts, *outside(b, body.rounds, repeat.counter, outputs)), (), data=body))
        results = iter(b.add(Node("result", (node,), b[o].shape, data=Result("rounds", i))) for i, o in enumerate(outputs))
        for name, t in types.items():
            self.locals[name] = Value(tuple(next(results) for _ in range(1 + t.is_complex)), t)

    def _unrolled(self, repeat: Repeat) -> None:
        """Binds what a repeat leaves behind, round by round. Raises Unsupported where their number is a size."""
        low_end, high_end = repeat.low.number, repeat.high.number
        if low_end is None or high_end is None:
            raise Unsupported(f"the rounds of `repeat {repeat.counter}` are not a number but {repeat.low} to {repeat.high}")
        begins = [self.value(p.start) for p in repeat.passed]
        for k in range(int(low_end), int(high_end) + 1):
            self.locals[repeat.counter] = Value((self.builder.number(float(k)),), SCALAR)
            self.locals |= {p.name: value for p, value in zip(repeat.passed, begins, strict=True)}
            for let in repeat.body:
                self.operation(let, {})
            begins = [self.locals[p.last] for p in repeat.passed]
        self.locals |= {p.last: value for p, value in zip(repeat.passed, begins, strict=True)}  # of no rounds too
        for name in (repeat.counter, *(p.name for p in repeat.passed)):
            self.locals.pop(name, None)

    # Values

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
                value = self._apply(expr)
                self.made.setdefault(id(expr), []).append(value)
                return value

    def _ref(self, ref: Ref) -> Value:
        match ref.role:
            case "argument":
                return self.arguments[ref.name]
            case "size":
                return Value((self.builder.add(Node("size", (), (), data=Dim.of(ref.name))),), SCALAR)
            case "hyper" | "counter":
                if ref.role == "counter" and ref.name in self.locals:
                    return self.locals[ref.name]
                return Value((self.builder.add(Node(ref.role, (), (), data=ref.name)),), SCALAR)
            case "state" if ref.name in self.recurrence.scan.states:
                if ref.lag == 0 and f"{ref.name}[t]" in self.locals:
                    return self.locals[f"{ref.name}[t]"]
                return self.leaf("old", (ref.name, "state", ref.lag), ref.type)
        if ref.role == "local" and ref.name in self.locals:
            return self.locals[ref.name]
        if ("old", ref.name, ref.role, ref.lag) in self.places:  # an earlier input
            return self.leaf("old", (ref.name, ref.role, ref.lag), ref.type)
        if self.unroll and (value := self._plain_constant(ref)) is not None:
            return value
        kind = "stream" if ("stream", ref.name, ref.role, ref.lag) in self.places else "static"
        return self.leaf(kind, (ref.name, ref.role, ref.lag), ref.type)

    def _plain_constant(self, ref: Ref) -> Value | None:
        """A constant that no param has a part in, as what it is made of."""
        let = next((c for c in self.plan.constants if isinstance(c, Let) and c.name == ref.name), None)
        if let is None or any(isinstance(n, Ref) and n.role not in ("size", "hyper", "local") for n in walk(let.value)):
            return None
        inner = [n for n in walk(let.value) if isinstance(n, Ref) and n.role == "local"]
        if any(isinstance(n, Apply) and n.op not in _PLAIN for n in walk(let.value)) or any(self._plain_constant(n) is None for n in inner):
            return None
        return self.value(let.value)

    def _apply(self, expr: Apply) -> Value:
        if expr.op == "slice":
            return self._selected(expr)
        args = [self.value(a) for a in expr.args]
        if expr.op in COMPOUNDS:
            return self._compound(expr, args)
        return operations.apply(self.arithmetic, expr, args)

    def _compound(self, expr: Apply, args: list[Value]) -> Value:
        """A function of the prelude: what it stands for, of the values of its arguments."""
        around, self.arguments = self.arguments, dict(zip(COMPOUNDS[expr.op].parameters, args, strict=True))
        value = self.value(body_of(expr))
        self.arguments = around
        return value

    def _selected(self, expr: Apply) -> Value:
        """`W[k]`: a slice of a param along its leading head axis."""
        base, index = expr.args
        assert isinstance(base, Ref)
        (k,) = self.value(index).parts
        return self.leaf("static", (base.name, base.role, 0), expr.type, select=k)
