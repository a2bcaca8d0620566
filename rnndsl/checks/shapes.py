"""Named syntax tree -> Cell: every expression gets a type, functions are inlined, nothing is evaluated."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rnndsl.checks.builtins import BUILTINS, COMPARISONS, MATRIX_INITIALISERS, OPERATORS, Mismatch, join_heads, kind
from rnndsl.checks.cell import (
    SCALAR,
    Apply,
    Cell,
    Draw,
    Expr,
    Hyper,
    Interval,
    Let,
    Number,
    Ref,
    Repeat,
    Returned,
    Statement,
    Type,
    Update,
    Variable,
    walk,
)
from rnndsl.checks.dims import Dim
from rnndsl.checks.names import time_lag
from rnndsl.diagnostics import Collector, Related, Source, Span
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME

MAX_NODES = 20_000  # of one cell, after functions are inlined


class _Stop(Exception):
    """An expression whose error has been reported; what contains it is not looked at."""


def check_shapes(cell: ast.CellDef, functions: dict[str, ast.FunctionDef], out: Collector) -> Cell | None:
    """The typed cell, or None where something was reported."""
    before = sum(d.severity == "error" for d in out.found)
    checked = _CellShapes(cell, functions, out).check()
    return checked if sum(d.severity == "error" for d in out.found) == before else None


@dataclass
class _Inlining:
    """The arguments of the function whose body is being read, and where it was called."""

    function: ast.FunctionDef
    arguments: dict[str, Expr]
    called: Span


@dataclass
class _CellShapes:
    cell: ast.CellDef
    functions: dict[str, ast.FunctionDef]
    out: Collector
    roles: dict[str, str] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    varies: dict[str, bool] = field(default_factory=dict)  # locals: whether they depend on an input, a state or time
    body: list[Statement] = field(default_factory=list)
    counters: set[str] = field(default_factory=set)
    inlining: list[_Inlining] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)  # names whose type could not be found
    nodes: int = 0
    fresh: int = 0

    def check(self) -> Cell:
        header = self._header()
        declared = [s for s in self.cell.statements if isinstance(s, ast.Declaration)]
        for d in declared:
            shape = self._guard(lambda d=d: self._type(d.shape))
            for name in d.names:
                self.roles[name.id] = d.role
                if shape is None:
                    self.failed.add(name.id)
                else:
                    self.types[name.id] = shape
        # consts may be made of other consts, in any order
        variables = [v for d in declared for v in self._variables(d)]
        self._check_const_order(variables)
        for s in self.cell.statements:
            if isinstance(s, ast.Assign):
                self._assign(s, self.body)
            elif isinstance(s, ast.Repeat):
                self._repeat(s)
        outputs = [r for s in self.cell.statements if isinstance(s, ast.Output) for r in self._outputs(s)]
        self._check_dependence(variables, outputs)
        return Cell(
            self.cell.name.id, self.cell.doc or "", header, tuple(variables), tuple(self.body), tuple(outputs), span=self.cell.span
        )

    def _check_dependence(self, variables: list[Variable], outputs: list[Returned]) -> None:
        """A cell without a state has an output that changes with an input, or at least from step to step."""
        if any(v.role == "state" for v in variables) or self.out.failed or not outputs:
            return
        if not any(self._varies(o.value) for o in outputs):
            self._report("no-dependence", f"the cell `{self.cell.name.id}` has no state, and its outputs read no input",
                         outputs[0].span, "the same at every step",
                         hint="a value that does not change from step to step needs no cell")  # fmt: skip

    # Declarations

    def _header(self) -> tuple[str | Hyper, ...]:
        header: list[str | Hyper] = []
        for h in self.cell.header:
            name = h.name.id
            self.types[name] = SCALAR
            if h.default is None:
                self.roles[name] = "size"
                header.append(name)
            else:
                self.roles[name] = "hyper"
                header.append(Hyper(name, self._default(h)))
        return tuple(header)

    def _default(self, h: ast.HeaderName) -> float:
        assert h.default is not None
        default = h.default
        value = self._guard(lambda: fold(self._expr(default, None)))
        if value is None or isinstance(value, complex):
            if value is not None or not self.out.failed:
                self._report("hyperparameter", f"the default of `{h.name.id}` is not a real number", h.default.span, "expected a number")
            return 0.0
        return value

    def _type(self, shape: ast.Shape) -> Type:
        heads = tuple(self._dim(d) for d in shape.heads)
        axes = tuple(self._dim(d) for d in shape.axes)
        if len(axes) > 2:
            self._report("rank", "a value is a scalar, a vector or a matrix", shape.span, f"{len(axes)} axes",
                         hint="further axes are head axes, before a semicolon: `[N; K, V]`")  # fmt: skip
            raise _Stop
        return Type(heads, axes, shape.is_complex)

    def _dim(self, expr: ast.Expr) -> Dim:
        dim = self._dim_of(expr)
        number = dim.number
        if number is not None and (number.denominator != 1 or number < 1):
            self._report("not-a-size", "a size is a positive whole number", expr.span, f"this is {number}")
            raise _Stop
        return dim

    def _dim_of(self, expr: ast.Expr) -> Dim:
        match expr:
            case ast.Number(value=float() as n) if math.isfinite(n) and n == int(n) and abs(n) < 2**53:
                return Dim.of(int(n))
            case ast.Name() if self.inlining and expr.id in self.inlining[-1].arguments:
                return self._dim_of_argument(self.inlining[-1].arguments[expr.id], expr.span)
            case ast.Name() if self.roles.get(expr.id) == "size":
                return Dim.of(expr.id)
            case ast.Prefix():
                inner = self._dim_of(expr.operand)
                return -inner if expr.op == "-" else inner
            case ast.Binary(op="+" | "-" | "*" | "/" as op):
                left, right = self._dim_of(expr.left), self._dim_of(expr.right)
                if op == "/":
                    if not right.terms:
                        self._report("not-a-size", "a size is divided by zero", expr.span, "no number")
                        raise _Stop
                    try:
                        return left / right
                    except ValueError:
                        self._report("not-a-size", "a size is divided by a sum", expr.right.span, "a sum of sizes",
                                     hint="give that size a name of its own in the header")  # fmt: skip
                        raise _Stop from None
                if op == "*":
                    return self._dim_product(left, right, expr.span)
                return left + right if op == "+" else left - right
            case ast.Binary(op="^", left=base, right=ast.Number(value=float() as n)) if 0 <= n <= 8 and n == int(n):
                total, factor = Dim.of(1), self._dim_of(base)
                for _ in range(int(n)):
                    total = self._dim_product(total, factor, expr.span)
                return total
        label = "not a size"
        if isinstance(expr, ast.Name) and expr.id in self.roles | self.types:
            role = self.roles.get(expr.id, "local")
            label = f"`{expr.id}` is a{'n' if role == 'input' else ''} {'hyperparameter' if role == 'hyper' else role}"
        self._report("not-a-size", "a size is made of whole numbers and sizes of the header", expr.span, label)
        raise _Stop

    def _dim_product(self, left: Dim, right: Dim, span: Span) -> Dim:
        powers = [abs(p) for d in (left, right) for m, _ in d.terms for _, p in m]
        if len(left.terms) * len(right.terms) > 100 or sum(powers) > 1000:
            self._report("not-a-size", "this size is too complicated", span, "multiplied out, it has too many terms",
                         hint="give it a name of its own in the header")  # fmt: skip
            raise _Stop
        return left * right

    def _dim_of_argument(self, expr: Expr, span: Span) -> Dim:
        if isinstance(expr, Ref) and expr.role == "size":
            return Dim.of(expr.name)
        if isinstance(expr, Number) and isinstance(expr.value, float) and expr.value == expr.value // 1:
            return Dim.of(int(expr.value))
        self._report("not-a-size", "a size is made of whole numbers and sizes of the header", span, "not a size")
        raise _Stop

    def _variables(self, d: ast.Declaration) -> list[Variable]:
        found = []
        for name in d.names:
            if name.id in self.failed:
                continue
            t = self.types[name.id]
            value = self._guard(lambda t=t: self._initial(d, t)) if d.value is not None else None
            interval = self._guard(lambda: self._interval(d)) if d.constraint is not None else None
            draw = self._guard(lambda t=t, interval=interval: self._draw(d, t, interval)) if d.draw is not None else None
            found.append(Variable(name.id, d.role, t, name.span, value, interval, draw))
        return found

    def _initial(self, d: ast.Declaration, t: Type) -> Expr:
        assert d.value is not None
        value = self._expr(d.value, None)
        what = "initial value" if d.role == "state" else "value"
        self._fits(value, t, d.value.span, f"the {what}", d.shape.span)
        return value

    def _interval(self, d: ast.Declaration) -> Interval:
        assert d.constraint is not None
        low = self._scalar(d.constraint.low, "a constraint")
        high = self._scalar(d.constraint.high, "a constraint") if isinstance(d.constraint, ast.Between) else None
        a, b = fold(low), fold(high) if high is not None else None
        if isinstance(a, float) and isinstance(b, float) and not a < b:
            self._report("constraint", "this interval is empty", d.constraint.span, f"{a:g} is not below {b:g}")
        for bound in (a, b):
            if isinstance(bound, float) and not math.isfinite(bound):
                self._report("constraint", "the bound of a constraint is finite", d.constraint.span, "an infinite bound",
                             hint="leave the constraint out, or write `> lo`")  # fmt: skip
        if d.shape.is_complex:
            self._report("constraint", "a complex param has no order", d.constraint.span, "a constraint needs real values")
        return Interval(low, high)

    def _scalar(self, expr: ast.Expr, what: str) -> Expr:
        value = self._expr(expr, None)
        if value.type != SCALAR:
            self._report("shape-mismatch", f"{what} is a real scalar", expr.span, f"this is {kind(value.type)}")
            raise _Stop
        return value

    def _draw(self, d: ast.Declaration, t: Type, interval: Interval | None) -> Draw:
        assert d.draw is not None
        name = d.draw.name.id
        if d.role == "param" and name in MATRIX_INITIALISERS and t.rank != 2:
            self._report("initialiser", f"`{name}` fills a matrix", d.draw.span, f"the param is {kind(t)}",
                         related=(Related(d.shape.span, "its shape"),))  # fmt: skip
        if d.role == "param":
            args = tuple(self._scalar(a, "an initialiser's argument") for a in d.draw.arguments)
            self._initialiser_in_interval(d, name, args, interval)
            return Draw(name, args)
        if t.is_complex:
            self._report("noise", "a noise is real", d.shape.span, "complex", hint="add two noises: `a + 1j * b`")
        args = tuple(self._expr(a, None) for a in d.draw.arguments)
        for a, where in zip(args, d.draw.arguments, strict=True):
            self._fits(a, t, where.span, "the distribution's argument", d.shape.span)
        if name == "bernoulli" and isinstance(p := fold(args[0]), float) and not 0 <= p <= 1:
            self._report("noise", "a probability lies between 0 and 1", d.draw.arguments[0].span, f"this is {p:g}")
        return Draw(name, args)

    def _initialiser_in_interval(self, d: ast.Declaration, name: str, args: tuple[Expr, ...], interval: Interval | None) -> None:
        """A fixed initial value that the constraint excludes is an error; random ones are clamped when drawn."""
        if interval is None or d.draw is None:
            return
        low, high = fold(interval.low), fold(interval.high) if interval.high is not None else math.inf
        values = {"zeros": [0.0], "ones": [1.0], "constant": [fold(a) for a in args], "eye": [0.0]}
        fixed: list[float | complex | None] = values.get(name, [])  # type: ignore[assignment]
        for value in fixed:
            if all(isinstance(v, float) for v in (low, high, value)) and not low < value < high:  # type: ignore[operator]
                label = f"{value:g} is not above {low:g}" if high == math.inf else f"{value:g} is not between {low:g} and {high:g}"
                self._report("initialiser", "the initial value lies outside the constraint", d.draw.span, label,
                             related=(Related(d.constraint.span, "the constraint"),) if d.constraint else ())  # fmt: skip

    def _check_const_order(self, variables: list[Variable]) -> None:
        """Consts that are made of each other have no value."""
        uses = {
            v.name: {n.name for n in walk(v.value) if isinstance(n, Ref) and n.role == "const"}
            for v in variables
            if v.role == "const" and v.value is not None
        }
        wanted_by: dict[str, list[str]] = {}
        missing = {name: {n for n in needs if n in uses} for name, needs in uses.items()}
        for name, needs in missing.items():
            for n in needs:
                wanted_by.setdefault(n, []).append(name)
        ready = [name for name, needs in missing.items() if not needs]
        while ready:
            done = ready.pop()
            for name in wanted_by.get(done, ()):
                missing[name].discard(done)
                if not missing[name]:
                    ready.append(name)
        for v in variables:
            if missing.get(v.name):
                self._report("recursion", f"the const `{v.name}` is made of itself", v.span, "its value needs its value")
                return

    # Equations

    def _assign(self, s: ast.Assign, body: list, widen: dict[str, Type] | None = None) -> None:
        names = [t.name.id for t in s.targets]
        try:
            if len(s.targets) > 1:
                self._unpack(s, body)
                return
            if isinstance(s.value, ast.Call) and s.value.function.id == "split":
                self._report("split", "split gives several values", s.value.span, "one name on the left",
                             hint=f"write `{names[0]}1, {names[0]}2 = split(…, 2)`")  # fmt: skip
                raise _Stop
            value = self._expr(s.value, body)
            target = s.targets[0]
            if target.index is not None:
                declared = self.types.get(names[0])
                if declared is None:
                    raise _Stop
                self._fits(value, declared, s.value.span, f"the new value of `{names[0]}`", None)
                body.append(Update(names[0], value, span=s.span))
                return
            self._bind(names[0], value, s, body, widen)
        except _Stop:
            self.failed.update(n for n in names if self.roles.get(n) != "state")

    def _bind(self, name: str, value: Expr, s: ast.Assign, body: list, widen: dict[str, Type] | None = None) -> None:
        old = self.types.get(name) if name not in self.failed else None
        new = value.type
        if old is not None and old != new:  # bound again in a repeat
            try:
                joined = OPERATORS["+"]((old, new))
            except Mismatch:
                joined = None
            if joined is None or (joined != old and widen is None):
                self._report("shape-mismatch", f"`{name}` changes its shape inside the repeat", s.span,
                             f"it was {old}, this is {new}", hint="give the second value a name of its own")  # fmt: skip
                raise _Stop
            if joined != old and widen is not None:
                widen[name] = joined
            if joined != new:
                value, new = Apply("broadcast", (value,), joined, span=value.span), joined
        self.types[name] = new
        self.varies[name] = self._varies(value) or self.varies.get(name, False)
        body.append(Let(name, value, span=s.span))

    def _unpack(self, s: ast.Assign, body: list) -> None:
        call = s.value
        count = len(s.targets)
        for target in s.targets:
            if target.index is not None:
                self._report("split", "split gives locals", target.span, "a state is assigned by a line of its own",
                             hint=f"name the part first, then write `{target.name.id}[t] = …`")  # fmt: skip
                raise _Stop
        if not isinstance(call, ast.Call) or call.function.id != "split":
            self._report("split", "only split gives several values", call.span, f"one value for {count} names",
                         hint=f"write `{', '.join(t.name.id for t in s.targets)} = split(…, {count})`")  # fmt: skip
            raise _Stop
        vector, parts = call.arguments
        if not (isinstance(parts, ast.Number) and parts.value == count):
            written = self.out.source.slice(parts.span)
            self._report("split", f"split into {shorten(written)} parts, but there are {count} names on the left", parts.span,
                         f"expected {count}", hint="the number of parts is written out")  # fmt: skip
            raise _Stop
        value = self._expr(vector, body)
        if value.type.rank != 1:
            self._report("shape-mismatch", "split takes a vector", vector.span, f"this is {kind(value.type)}")
            raise _Stop
        part = value.type.axes[0] / Dim.of(count)
        if part.number is not None and part.number.denominator != 1:
            self._report("split", f"{value.type.axes[0]} entries do not split into {count} equal parts", s.value.span,
                         f"the vector is {value.type}")  # fmt: skip
            raise _Stop
        value = self._named(value, "parts", body, call.span)
        t = replace(value.type, axes=(part,))
        for i, target in enumerate(s.targets):
            self._bind(target.name.id, Apply("split", (value,), t, (count, i), span=call.span), s, body, {})

    def _repeat(self, s: ast.Repeat) -> None:
        low, high = self._guard(lambda: self._dim_of(s.low)), self._guard(lambda: self._dim_of(s.high))
        if low is None or high is None:
            return
        if (n := (high - low).number) is not None and n < 0:
            self._report("repeat-bound", "this repeat never runs", s.low.span.to(s.high.span), f"{high} is below {low}")
            return
        if (n := (high - low).number) is not None and n >= 1000:
            self._report("repeat-bound", "this repeat is too long", s.high.span, f"{n + 1} rounds", hint="at most 1000")
            return
        counter = s.variable.id
        self.roles[counter], self.types[counter] = "counter", SCALAR
        self.counters.add(counter)
        for _ in range(3):  # a local that starts as a scalar and becomes a vector takes a second reading
            saved_types, saved_nodes = dict(self.types), self.nodes
            body: list[Let] = []
            widen: dict[str, Type] = {}
            for inner in s.body:
                if isinstance(inner, ast.Assign):
                    self._assign(inner, body, widen)
            if not widen:
                break
            self.types, self.nodes = saved_types, saved_nodes
            for name, t in widen.items():
                if name in self.types:
                    start = Ref(name, "local", self.types[name], span=s.span)
                    self.body.append(Let(name, Apply("broadcast", (start,), t, span=s.span), span=s.span))
                self.types[name] = t
        for name in {let.name for let in body}:
            if any(self._varies(let.value) for let in body):
                self.varies[name] = True
        self.counters.discard(counter)
        self.body.append(Repeat(counter, low, high, tuple(body), span=s.span))

    def _outputs(self, s: ast.Output) -> list[Returned]:
        found = []
        for r in s.returned:
            name = r.name
            if r.value is not None:
                value = self._guard(lambda r=r: self._expr(r.value, self.body))
            elif self.roles.get(name.id) == "state" and name.id in self.types:
                value = Ref(name.id, "state", self.types[name.id], span=name.span)
            else:
                value = self._guard(lambda name=name: self._expr(name, self.body))
            if value is not None:
                found.append(Returned(name.id, value, span=r.span))
        return found

    def _named(self, value: Expr, stem: str, body: list, span: Span) -> Expr:
        """The value itself if it is a name or number, else a local bound to it."""
        if isinstance(value, Ref | Number):
            return value
        self.fresh += 1
        name = f"{stem}.{self.fresh}"  # a dot: no name of the user's
        self.types[name], self.varies[name] = value.type, self._varies(value)
        body.append(Let(name, value, span=span))
        return Ref(name, "local", value.type, span=span)

    # Expressions

    def _expr(self, expr: ast.Expr, body: list | None) -> Expr:
        """An expression with its type; `body` takes the lines that stand before it, None outside of the equations."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._report("too-large", f"the cell `{self.cell.name.id}` grows too large", self.cell.name.span,
                         f"over {MAX_NODES} operations after its functions are inlined")  # fmt: skip
            raise _Stop
        match expr:
            case ast.Number():
                return Number(expr.value, span=expr.span)
            case ast.Name():
                return self._name(expr)
            case ast.Index():
                return self._index(expr, body)
            case ast.Prefix():
                operand = self._expr(expr.operand, body)
                if expr.op == "+":
                    return operand
                if isinstance(operand, Number):
                    return Number(-operand.value, span=expr.span)
                return Apply("neg", (operand,), operand.type, span=expr.span)
            case ast.Binary():
                return self._binary(expr, body)
            case ast.Attribute():
                base = self._expr(expr.base, body)
                if base.type.rank != 2:
                    hint = "a vector is a row or a column as the product needs" if base.type.rank == 1 else None
                    self._report("shape-mismatch", "only a matrix has a transpose", expr.base.span,
                                 f"this is {kind(base.type)}", hint=hint)  # fmt: skip
                    raise _Stop
                return Apply("transpose", (base,), replace(base.type, axes=base.type.axes[::-1]), span=expr.span)
            case ast.Call():
                return self._call(expr, body)
        raise AssertionError(expr)

    def _name(self, expr: ast.Name) -> Expr:
        name = expr.id
        if self.inlining:
            return self.inlining[-1].arguments[name]
        if name in self.failed:
            raise _Stop
        if name == TIME:
            return Ref(TIME, "clock", SCALAR, span=expr.span)
        role = self.roles.get(name, "local")
        if name not in self.types:
            raise _Stop
        return Ref(name, role, self.types[name], span=expr.span)

    def _index(self, expr: ast.Index, body: list | None) -> Expr:
        name = expr.base.id
        if name in self.failed or name not in self.types:
            raise _Stop
        role, t = self.roles[name], self.types[name]
        if role in ("state", "input"):
            lag = time_lag(expr.arguments)
            assert lag is not None
            return Ref(name, role, t, lag, span=expr.span)
        if not t.heads:
            hint = f"declare the axis as a head axis: `{name}: [{t.axes[0]}; …]`" if t.axes else None
            self._report("index", f"`{name}` has no head axes to select from", expr.span, f"`{name}` is {kind(t)}", hint=hint)
            raise _Stop
        index = self._expr(expr.arguments[0], body)
        number = fold(index)
        if number is not None and (isinstance(number, complex) or number != number // 1 or number < 1):
            shown = shorten(self.out.source.slice(expr.arguments[0].span))
            self._report("index", "slices are counted from 1", expr.arguments[0].span, f"there is no slice {shown}")
            raise _Stop
        leading = t.heads[0].number
        if isinstance(number, float) and leading is not None and number > leading:
            self._report("index", f"`{name}` has {leading} slices", expr.arguments[0].span, f"there is no slice {number:g}")
            raise _Stop
        return Apply("slice", (Ref(name, role, t, span=expr.base.span), index), replace(t, heads=t.heads[1:]), span=expr.span)

    def _binary(self, expr: ast.Binary, body: list | None) -> Expr:
        left, right = self._expr(expr.left, body), self._expr(expr.right, body)
        op = expr.op
        if op in COMPARISONS:
            for side, where in ((left, expr.left), (right, expr.right)):
                if side.type.is_complex and op not in ("==", "!="):
                    self._report("complex", "complex values have no order", where.span, "this is complex",
                                 hint="compare abs(z), re(z) or im(z)")  # fmt: skip
                    raise _Stop
        t = self._rule(OPERATORS[op], (left, right), (expr.left, expr.right), f"`{{0}} {op} {{1}}`", expr.span, op)
        if op in COMPARISONS:
            t = replace(t, is_complex=False)
        return Apply(op, (left, right), t, span=expr.span)

    def _rule(
        self, rule: Callable[[Sequence[Type]], Type], args: Sequence[Expr], places: Sequence[ast.Expr], shown: str, span: Span, op: str
    ) -> Type:
        """Applies a shape rule; a mismatch is reported at the argument at fault."""
        try:
            return rule([a.type for a in args])
        except Mismatch as m:
            texts = [shorten(self.out.source.slice(p.span)) for p in places]
            note = self._grouping(places) if op == "@" else None
            if m.against is None:  # one argument is wrong by itself
                wrong = args[m.index].type
                title = m.title or f"`{op}` does not take {kind(wrong).split(' [')[0].removeprefix('complex ')}"
                self._report("shape-mismatch", title, places[m.index].span, m.label, note=note,
                             hint=m.hint or _of_matrix(op, wrong))  # fmt: skip
                raise _Stop from None
            this, other = args[m.index], args[m.against]
            names = [_called(texts[i], "this" if i == m.index else "the other") for i in (m.index, m.against)]
            label = m.label or f"{names[0]} is {this.type}, but {names[1]} is {other.type}"
            related = (Related(places[m.against].span, "" if names[1] != "the other" else f"this is {other.type}"),)
            expression = shown.format(*texts) if len(texts) < 3 else f"`{op}(…)`"
            title = f"{expression} cannot be multiplied" if op == "@" else f"the shapes in {expression} do not fit"
            hint = m.hint or self._misfit_hint(op, this, other, places[m.index], places[m.against], m.index)
            self._report("shape-mismatch", title, places[m.index].span, label, hint=hint, note=note, related=related)
            raise _Stop from None

    def _grouping(self, places: Sequence[ast.Expr]) -> str | None:
        """How a chain of `@` is grouped, where brackets do not say it."""
        right = places[1]
        if isinstance(right, ast.Binary) and right.op == "@":
            text = self.out.source.slice
            between = text(Span(places[0].span.end, right.span.start))
            if "(" not in between:
                return f"`@` groups from the right: `{shorten(text(places[0].span))} @ ({shorten(text(right.span))})`"
        return None

    def _misfit_hint(self, op: str, this: Expr, other: Expr, place: ast.Expr, other_place: ast.Expr, index: int) -> str | None:
        """What would fit: another order, a transpose, another name, a matrix in front."""
        for headed, bare in ((this.type, other.type), (other.type, this.type)):
            if headed.heads and not bare.heads and bare.axes[: len(headed.heads)] == headed.heads:
                return f"head axes stand before a semicolon: declare `{Type(headed.heads, bare.axes[len(headed.heads) :])}`"
        text, other_text = (_operand(p, self.out.source) for p in (place, other_place))
        a, b = (this, other) if index == 0 else (other, this)
        a_text, b_text = (text, other_text) if index == 0 else (other_text, text)
        ranks = (a.type.rank, b.type.rank)
        if op == "*" and ranks in ((2, 1), (1, 2)):
            left, right, vector = (a_text, b_text, b) if ranks == (2, 1) else (b_text, a_text, a)
            matrix = a if ranks == (2, 1) else b
            if matrix.type.axes[1] == vector.type.axes[0] and matrix.type.axes[0] != matrix.type.axes[1]:
                return f"the product of a matrix and a vector is written `{left} @ {right}`"
        if {1, 2} == set(ranks) and op != "@":
            return "a vector scales a matrix as `diag(a) @ S` (its rows) or `S @ diag(a)` (its columns)"
        if op == "@":
            if ranks == (1, 2) and b.type.axes[1] == a.type.axes[0]:
                return f"the other order fits: `{b_text} @ {a_text}`"
            if b.type.rank == 2 and a.type.axes[-1] == b.type.axes[1]:
                return f"the transpose fits: `{a_text} @ {b_text}.T`"
            if a.type.rank == 2 and a.type.axes[0] == b.type.axes[0]:
                return f"the transpose fits: `{a_text}.T @ {b_text}`"
            return self._named_misfit(this, other)
        return self._named_misfit(this, other) or self._projection(this, other, text, other_text)

    def _named_misfit(self, wrong: Expr, other: Expr) -> str | None:
        """A state or input that has the shape which a wrong input or state lacks."""
        if not isinstance(wrong, Ref) or wrong.role not in ("input", "state") or wrong.type.rank != 1:
            return None
        if other.type.rank == 2:
            needed = (other.type.axes[1],)
        else:
            return None
        for name, role in self.roles.items():
            if role in ("state", "input") and name != wrong.name and name in self.types and self.types[name].axes == needed:
                shown = f"the state `{name}[t-1]`" if role == "state" else f"the input `{name}`"
                return f"did you mean {shown}, which is {self.types[name]}?"
        return None

    def _matrix_of(self, axes: tuple[Dim, ...]) -> str | None:
        """A param or const of a certain shape."""
        fits = (n for n, t in self.types.items() if self.roles.get(n) in ("param", "const") and t == Type((), axes, t.is_complex))
        return next(fits, None)

    def _projection(self, this: Expr, other: Expr, text: str, other_text: str) -> str | None:
        """A product with a matrix, that makes a vector as long as another; an input is made to fit the rest."""
        if this.type.rank != 1 or other.type.rank != 1 or this.type.heads != other.type.heads:
            return None
        if isinstance(other, Ref) and other.role == "input" and not (isinstance(this, Ref) and this.role == "input"):
            this, other, text = other, this, other_text
        new, old = other.type.axes[0], this.type.axes[0]
        matrix = self._matrix_of((new, old))
        if matrix:
            return f"`{matrix} @ {text}` is [{new}]"
        heads = ", ".join(map(str, this.type.heads)) + "; " if this.type.heads else ""
        return f"a matrix makes [{new}] of [{old}]: `param W: [{heads}{new}, {old}]`, then `W @ {text}`"

    def _call(self, call: ast.Call, body: list | None) -> Expr:
        name = call.function.id
        if name in self.functions:
            return self._inline(call, body)
        special = {"heads": self._heads, "reshape": self._reshape, "eye": self._eye, "ones": self._ones, "split": self._split}
        if name in special:
            return special[name](call, body)
        args = [self._expr(a, body) for a in call.arguments]
        builtin = BUILTINS[name]
        if builtin.domain == "real":
            for a, where in zip(args, call.arguments, strict=True):
                if a.type.is_complex:
                    self._report("complex", f"`{name}` takes real values", where.span, "this is complex",
                                 hint="take re(z), im(z) or abs(z) first")  # fmt: skip
                    raise _Stop
        if name == "where" and args[0].type.is_complex:
            self._report("complex", "a condition is real", call.arguments[0].span, "this is complex",
                         hint="compare abs(z), re(z) or im(z)")  # fmt: skip
            raise _Stop
        if builtin.param_only:
            self._param_only(name, args, call)
        assert builtin.rule is not None
        shown = f"`{name}({{0}})`" if len(args) == 1 else f"`{name}({{0}}, {{1}})`"
        t = self._rule(builtin.rule, args, call.arguments, shown, call.span, name)
        if builtin.domain == "to-real":
            t = replace(t, is_complex=False)
        static = (len(args[0].type.heads),) if name == "merge" else ()
        return Apply(name, tuple(args), t, static, span=call.span)

    def _param_only(self, name: str, args: Sequence[Expr], call: ast.Call) -> None:
        for a, where in zip(args, call.arguments, strict=True):
            if self._varies(a):
                self._report("param-only", f"`{name}` is for params and consts only", where.span, "this changes with time",
                             hint=f"`{name}` is computed once a call; inputs, states and noises change every step")  # fmt: skip
                raise _Stop

    def _varies(self, expr: Expr) -> bool:
        """Whether a value depends on an input, a noise, a state or the step number."""
        return any(
            isinstance(n, Ref)
            and (n.role in ("input", "state", "noise", "clock") or (n.role == "local" and self.varies.get(n.name, False)))
            for n in walk(expr)
        )

    def _inline(self, call: ast.Call, body: list | None) -> Expr:
        function = self.functions[call.function.id]
        if len(self.inlining) > 50:
            self._report("too-deep", "functions call each other more than 50 deep", call.span, "too deep")
            raise _Stop
        values = [self._expr(a, body) for a in call.arguments]
        reads = _counts(function)
        # an argument that is read more than once is computed once; outside the equations there is no line to put it on
        arguments = {
            p.id: self._named(v, f"{function.name.id}_{p.id}", body, call.span) if reads.get(p.id, 0) > 1 and body is not None else v
            for p, v in zip(function.parameters, values, strict=True)
        }
        self.inlining.append(_Inlining(function, arguments, call.span))
        try:
            value = self._expr(function.body, body)
            if function.slope is None:
                return value
            slope = self._expr(function.slope, body)
        finally:
            self.inlining.pop()
        argument = arguments[function.parameters[0].id]
        if argument.type.is_complex:
            self._report("surrogate", "a surrogate derivative needs a real argument", call.span, "this is complex")
            raise _Stop
        for part, where in ((value, function.body), (slope, function.slope)):
            if replace(part.type, heads=()) not in (replace(argument.type, heads=()), SCALAR):
                self._report("surrogate", "a function with `grad` keeps the shape of its argument", where.span,
                             f"this is {part.type} for an argument {argument.type}",
                             related=(Related(call.span, "called here"),))  # fmt: skip
                raise _Stop
        return Apply("surrogate", (argument, value, slope), argument.type, span=call.span)

    def _heads(self, call: ast.Call, body: list | None) -> Expr:
        value = self._expr(call.arguments[0], body)
        count = self._dim(call.arguments[1])
        if value.type.rank != 1 or value.type.heads:
            what = f"this is {kind(value.type)}" + (", which has head axes already" if value.type.heads else "")
            self._report("shape-mismatch", "heads takes a vector without head axes", call.arguments[0].span, what)
            raise _Stop
        try:
            size = value.type.axes[0] / count
        except ValueError:
            self._report("not-a-size", "a vector is divided into a sum of sizes", call.arguments[1].span, "a sum of sizes",
                         hint="give that size a name of its own in the header")  # fmt: skip
            raise _Stop from None
        if size.number is not None and size.number.denominator != 1:
            self._report("shape-mismatch", f"{value.type.axes[0]} entries do not divide into {count} heads", call.span,
                         f"the vector is {value.type}")  # fmt: skip
            raise _Stop
        axes = () if size.number == 1 else (size,)
        return Apply("heads", (value,), Type((count,), axes, value.type.is_complex), (count, *axes), span=call.span)

    def _reshape(self, call: ast.Call, body: list | None) -> Expr:
        value = self._expr(call.arguments[0], body)
        axes = tuple(self._dim(a) for a in call.arguments[1:])
        old, new = Dim.of(1), Dim.of(1)
        for d in value.type.axes:
            old = old * d
        for d in axes:
            new = new * d
        if old != new:
            self._report("shape-mismatch", f"{old} entries cannot become {new}", call.span,
                         f"{kind(value.type)} into [{', '.join(map(str, axes))}]")  # fmt: skip
            raise _Stop
        return Apply("reshape", (value,), replace(value.type, axes=axes), (value.type.rank, *axes), span=call.span)

    def _eye(self, call: ast.Call, body: list | None) -> Expr:
        size = self._dim(call.arguments[0])
        return Apply("eye", (), Type((), (size, size)), (size,), span=call.span)

    def _ones(self, call: ast.Call, body: list | None) -> Expr:
        size = self._dim(call.arguments[0])
        return Apply("ones", (), Type((), (size,)), (size,), span=call.span)

    def _split(self, call: ast.Call, body: list | None) -> Expr:
        self._report("split", "split gives several values", call.span, "one value is needed here",
                     hint="split on a line of its own: `a, b = split(v, 2)`")  # fmt: skip
        raise _Stop

    # Reporting

    def _fits(self, value: Expr, declared: Type, span: Span, what: str, shape_span: Span | None) -> None:
        """The value has the declared shape, or is a scalar or lacks head axes and broadcasts into it."""
        t = value.type
        related = (Related(shape_span, f"declared {declared}"),) if shape_span else ()
        if t.is_complex and not declared.is_complex:
            self._report("complex", f"{what} is complex", span, f"this is {t}, expected {declared}", related=related,
                         hint="take its re(…), or declare `complex` before the shape")  # fmt: skip
            raise _Stop
        if (t.axes and t.axes != declared.axes) or (t.heads and t.heads != declared.heads):
            expected = replace(declared, is_complex=t.is_complex)
            hint = None
            if t.axes == declared.axes and not declared.heads:
                hint = f"declare head axes, `{t}`, or join them with merge(…)"
            elif t.axes == declared.axes[::-1] and t.rank == 2:
                hint = "its transpose fits: `.T`"
            elif t.rank == declared.rank == 1 and t.heads in ((), declared.heads):
                fitting = self._matrix_of((*declared.axes, *t.axes))
                hint = f"`{fitting} @ …` makes [{declared.axes[0]}] of [{t.axes[0]}]" if fitting else None
            self._report("shape-mismatch", f"{what} has the wrong shape", span, f"this is {t}, expected {expected}", hint=hint,
                         related=related)  # fmt: skip
            raise _Stop

    def _report(
        self,
        code: str,
        title: str,
        span: Span,
        label: str,
        *,
        hint: str | None = None,
        note: str | None = None,
        related: tuple[Related, ...] = (),
    ) -> None:
        calls = [Related(i.called, f"in this call of `{i.function.name.id}`") for i in self.inlining]
        self.out.error(code, title, span, label, hint=hint, note=note, related=related + tuple(calls[:1] + calls[1:][-2:]))

    def _guard(self, compute: Callable):
        try:
            return compute()
        except _Stop:
            return None


def _counts(function: ast.FunctionDef) -> dict[str, int]:
    """How often a function reads each argument; a surrogate reads its argument once more."""
    from rnndsl.checks.names import children

    found: dict[str, int] = {p.id: 1 for p in function.parameters} if function.slope is not None else {}
    stack: list[ast.Expr] = [e for e in (function.body, function.slope) if e is not None]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            found[node.id] = found.get(node.id, 0) + 1
        stack.extend(children(node))
    return found


_FOLD: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
}
_FOLD_ONE: dict[str, Callable[[float], float]] = {
    "neg": lambda a: -a, "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh, "sin": math.sin,
    "cos": math.cos, "abs": abs, "floor": math.floor, "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
}  # fmt: skip


def fold(expr: Expr | None) -> float | complex | None:
    """The value of an expression of numbers alone, or None."""
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Apply) and expr.args and (expr.op in _FOLD or expr.op in _FOLD_ONE):
        args = [fold(a) for a in expr.args]
        if all(isinstance(a, float) for a in args):
            try:
                value = _FOLD[expr.op](*args) if expr.op in _FOLD else _FOLD_ONE[expr.op](*args)  # type: ignore[arg-type]
            except (ZeroDivisionError, OverflowError, ValueError):
                return None
            return value if isinstance(value, complex) else float(value)
    return None


def _of_matrix(function: str, t: Type) -> str | None:
    """What to write for a function of vectors that is given a matrix."""
    if t.rank != 2 or t.heads:
        return None
    rows, columns = t.axes
    if function in ("sum", "mean"):
        return f"`S @ ones({columns})` adds up the rows of a matrix S, `ones({rows}) @ S` its columns"
    if function == "norm":
        return f"make a vector of it first: `norm(reshape(S, {rows * columns}))`"
    return None


def _called(text: str, otherwise: str) -> str:
    """An operand as a message names it: by its text where that is short."""
    return f"`{text}`" if len(text) <= 24 else otherwise


def _operand(expr: ast.Expr, source: Source) -> str:
    """The text of an expression, in brackets where another operator would take it apart."""
    text = shorten(source.slice(expr.span), 30)
    return f"({text})" if isinstance(expr, ast.Binary | ast.Prefix) else text


def shorten(text: str, limit: int = 40) -> str:
    """The text on one line, cut to `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def program_of(file: ast.File, source: Source, out: Collector) -> tuple[Cell, ...]:
    """Types every cell of a file whose names are right."""
    functions = {f.name.id: f for f in file.functions}
    cells = [check_shapes(c, functions, out) for c in file.cells]
    return tuple(c for c in cells if c is not None)


__all__ = ["check_shapes", "fold", "join_heads", "program_of"]
