"""Plan -> the lines of a generated class: its declarations, its initial values, and one call."""

import json
import re
from dataclasses import dataclass, field

from rnndsl.check.cell import Cell, Expr, Hyper, Let, Ref, Repeat, Type, Update, Variable, walk
from rnndsl.check.dims import Dim
from rnndsl.diagnostics import Source, Span
from rnndsl.emit.naming import Names, field_names
from rnndsl.emit.torch_text import TorchText
from rnndsl.plan.ir import Carry, Gemm, Map, Operation, Plan, Scan


@dataclass(frozen=True)
class CellText:
    """What the module template needs of one cell."""

    name: str
    doc: list[str]
    state_class: str
    output_class: str | None
    fields: list[str]
    outputs: list[str]
    header: list[str]
    sizes: str
    hypers: str
    order: str
    declare_arguments: list[str]
    declare: list[str]
    initial: list[str]
    run: list[str]
    used: frozenset[str]


def cell_text(plan: Plan, source: Source, class_names: Names) -> CellText:
    """The text of one cell."""
    cell = plan.cell
    used: set[str] = {"Layer", "NamedTuple", "Tensor"}
    header = [f"{h.name}={_python(h.default)}" if isinstance(h, Hyper) else h for h in cell.header]
    if any("=" in a and "=" not in b for a, b in zip(header, header[1:], strict=False)):
        header = _defaults_everywhere(header)
    if any("math" in h for h in header):
        used.add("math")
    name = class_names(("cell", cell.name), cell.name)
    several = len(plan.outputs) > 1
    declare_names = Names()
    for h in cell.header:
        declare_names(_header_name(h), _header_name(h))
    return CellText(
        name=name,
        doc=_docstring(cell.doc or f"The cell {cell.name}."),
        state_class=class_names(("state", cell.name), f"{cell.name}State"),
        output_class=class_names(("output", cell.name), f"{cell.name}Output") if several else None,
        fields=field_names([c.field for c in plan.carries]),
        outputs=field_names([o[0] for o in plan.outputs]),
        header=header,
        sizes=_dict(cell.sizes),
        hypers=_dict([h.name for h in cell.hypers]),
        order=_tuple([quoted(_header_name(h)) for h in cell.header]),
        declare_arguments=[declare_names(_header_name(h)) for h in cell.header],
        declare=_Declare(plan, declare_names, used).lines(),
        initial=_Initial(plan, Names(), used).lines(),
        run=_Run(plan, source, Names(), used).lines(),
        used=frozenset(used),
    )


def _header_name(h: str | Hyper) -> str:
    return h.name if isinstance(h, Hyper) else h


def _defaults_everywhere(header: list[str]) -> list[str]:
    """Python wants a default on everything after the first: a size then defaults to None, which the layer refuses by name."""
    seen = False
    out = []
    for h in header:
        seen = seen or "=" in h
        out.append(h if "=" in h or not seen else f"{h}=None")
    return out


def _python(value: float) -> str:
    text = repr(value)
    return {"inf": "math.inf", "-inf": "-math.inf", "nan": "math.nan"}.get(text, text)


def _dict(names) -> str:
    return "{" + ", ".join(f"{quoted(n)}: {n}" for n in names) + "}"


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _docstring(doc: str) -> list[str]:
    """The docstring as lines of code; whatever it holds, it stays one string."""
    text = doc.strip()
    plain = all(c.isprintable() or c == "\n" for c in text) and '"""' not in text and "\\" not in text and not text.endswith('"')
    if not plain or not text:
        return [repr(doc)]
    lines = [line.strip() for line in text.split("\n")]
    return [f'"""{lines[0]}"""'] if len(lines) == 1 else [f'"""{lines[0]}', *lines[1:], '"""']


@dataclass
class _Part:
    """One method of the class being written."""

    plan: Plan
    names: Names
    used: set[str]
    out: list[str] = field(default_factory=list)

    @property
    def cell(self) -> Cell:
        return self.plan.cell

    def printer(self, has_lead: bool = False) -> TorchText:
        """A printer of expressions for this method."""
        lead = self._has_lead if has_lead else lambda ref: False
        return TorchText(self._name, lead, lambda n: self.names(n), self.used)

    def _has_lead(self, ref: Ref) -> bool:
        if ref.role == "local":
            return ref.name not in self.plan.static
        return ref.role in ("input", "noise", "state", "clock")

    def _name(self, ref: Ref) -> str:
        if ref.role in ("state", "input") and ref.lag:
            return self.names((ref.role, ref.name, ref.lag), f"{ref.name}_{ref.lag}")
        return self.names(ref.name)

    def shape(self, t: Type, text: TorchText) -> str:
        return text.dims(t.heads + t.axes)

    def header_values(self, expressions: list[str]) -> list[str]:
        """Lines that bind the sizes and hyperparameters which the code mentions."""
        words = set(re.findall(r"\w+", "\n".join(expressions)))
        lines = []
        for h in self.cell.header:
            name = _header_name(h)
            if self.names(name) in words:
                where = "_hypers" if isinstance(h, Hyper) else "_sizes"
                lines.append(f"{self.names(name)} = self.{where}[{quoted(name)}]")
        return lines


def unpacked(names: list[str], value: str, width: int = 110) -> list[str]:
    """`a, b = value`, over several lines where it is long."""
    if not names:
        return []
    line = f"{', '.join(names)}{',' if len(names) == 1 else ''} = {value}"
    if len(line) <= width:
        return [line]
    lines, row = ["("], "    "
    for n in names:
        if len(row) + len(n) > width:
            lines.append(row.rstrip())
            row = "    "
        row += f"{n}, "
    return [*lines, row.rstrip(), f") = {value}"]


def _call(targets: list[str], function: str, arguments: list[str]) -> list[str]:
    """A call on one line, or with an argument a line where that is long."""
    line = f"{', '.join(targets)} = {function}({', '.join(arguments)})"
    if len(line) <= 110:
        return [line]
    return [f"{', '.join(targets)} = {function}(", *(f"    {a}," for a in arguments), ")"]


def quoted(text: str) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def tensors(cell: Cell) -> list[Variable]:
    """Params and consts, in the order in which the layer holds them: consts after the consts that they are made of."""
    waiting = [v for v in cell.variables if v.role in ("param", "const")]
    done: list[Variable] = []
    names = {v.name for v in waiting if v.role == "const"}
    while waiting:
        ready = next(
            v
            for v in waiting
            if v.role == "param"
            or not ({n.name for n in walk(v.value) if isinstance(n, Ref)} & names if v.value is not None else set())
            - {d.name for d in done}
        )
        waiting.remove(ready)
        done.append(ready)
    return done


class _Declare(_Part):
    """`_declare`: the shapes, params and consts, in the order of the text."""

    def lines(self) -> list[str]:
        text = self.printer()
        for dim in self._divisions():
            self.out.append(f"{text.dim(dim)}  # {dim} must be a whole number")
        for v in self.cell.of_role("input"):
            self.out.append(f"self._input({quoted(v.name)}, {self.shape(v.type, text)}{', is_complex=True' if v.type.is_complex else ''})")
        for c, shown in zip(self.plan.carries, field_names([c.field for c in self.plan.carries]), strict=True):
            number = "int" if c.role == "clock" else "complex" if c.type.is_complex else "real"
            extra = f", {quoted(number)}" if number != "real" else ""
            self.out.append(f"self._field({quoted(shown)}, {self.shape(c.type, text)}{extra})")
        for v in tensors(self.cell):
            self.out.append(self._param(v, text) if v.role == "param" else self._const(v, text))
        return self.out

    def _divisions(self) -> list[Dim]:
        """Sizes of the equations that are fractions of others, none of them declared."""
        found: dict[Dim, None] = {}
        for expr in self.cell.expressions():
            for n in walk(expr):
                for d in n.type.heads + n.type.axes:
                    if d.divided()[1] != Dim.of(1):
                        found.setdefault(d)
        return list(found)

    def _param(self, v: Variable, text: TorchText) -> str:
        parts = [quoted(v.name), self.shape(v.type, text), f"rank={v.type.rank}"]
        if v.draw is not None:
            args = _tuple([text(a) for a in v.draw.args])
            parts.append(f"draw=({quoted(v.draw.name)}, {args})")
        if v.interval is not None and v.interval.high is None:
            parts.append(f"above={text(v.interval.low)}")
        elif v.interval is not None:
            assert v.interval.high is not None
            parts.append(f"between=({text(v.interval.low)}, {text(v.interval.high)})")
        if v.type.is_complex:
            parts.append("is_complex=True")
        return f"self._param({', '.join(parts)})"

    def _const(self, v: Variable, text: TorchText) -> str:
        parts = [quoted(v.name), self.shape(v.type, text)]
        if v.value is not None:
            parts.append(text(v.value, v.type))
        if v.type.is_complex:
            parts.append("is_complex=True")
        return f"{self.names(v.name)} = self._const({', '.join(parts)})"


class _Initial(_Part):
    """`_initial`: the initial value of each field, before it is broadcast to its shape."""

    def lines(self) -> list[str]:
        text = self.printer()
        values = [self._value(c, text) for c in self.plan.carries]
        self.out.append(f"return {_tuple(values)}")
        needed = _mentioned([v.name for v in tensors(self.cell)], self.names, self.out)
        head = unpacked(needed, "params") if any(n != "_" for n in needed) else []
        return [*head, *self.header_values(self.out), *self.out]

    def _value(self, c: Carry, text: TorchText) -> str:
        if c.role != "state":
            return "0"
        value = self.plan.variable(c.source).value
        return text(value, c.type) if value is not None else "0.0"


def _mentioned(names: list[str], give: Names, lines: list[str]) -> list[str]:
    """Identifiers for unpacking, `_` for what no line mentions."""
    words = set(re.findall(r"\w+", "\n".join(line for line in lines if not line.lstrip().startswith("#"))))
    return [give(n) if give(n) in words else "_" for n in names]


class _Run(_Part):
    """`_run`: one call over a whole sequence."""

    source: Source

    def __init__(self, plan: Plan, source: Source, names: Names, used: set[str]):
        super().__init__(plan, names, used)
        self.source = source
        for v in (*plan.cell.variables,):
            names(v.name)
        self.text = self.printer(has_lead=True)
        self.origin: int | None = None
        self.lagged: set[tuple[str, str, int]] = set()
        self.finals: dict[str, str] = {}

    def lines(self) -> list[str]:
        cell = self.cell
        if self.plan.constants:
            self._section("once a call")
        for let in self.plan.constants:
            self._operation(let, "")
        self._section("all steps at once") if any(isinstance(s, Map) for s in self.plan.stages) else None
        if cell.uses_clock:
            self.used.add("clock")
            clock = Ref("t", "clock", Type())
            steps, after = self.names("t.count", "t_count"), self.names("t.after", "t_after")
            self.out.append(f"{steps}, {after} = clock({self._first('t')}, reset, lead[1])")
            self.out.append(f'{self.text(clock)} = {steps}.to(kind["dtype"])')
            self.finals["t"] = after
        for v in cell.of_role("noise"):
            self._noise(v)
        for v in cell.of_role("input"):
            self._lags("input", v)
        for stage in self.plan.stages:
            if isinstance(stage, Map):
                for operation in stage.body:
                    self._operation(operation, "")
                    if isinstance(operation, Update):
                        self._lags("state", self.plan.variable(operation.state))
            else:
                self._scan(stage)
        self._return()
        return self._head() + self.out

    def _head(self) -> list[str]:
        """Unpacks the arguments, naming only what the body reads."""
        cell, plan = self.cell, self.plan
        lines: list[str] = []
        for names, value in (
            ([v.name for v in tensors(cell)], "params"),
            ([v.name for v in cell.of_role("input")], "inputs"),
        ):
            found = _mentioned(names, self.names, self.out)
            if any(n != "_" for n in found):
                lines.extend(unpacked(found, value))
        for kind, value in (("first", "state"), ("initial", "initial")):
            keys = [(kind, c.field) for c in plan.carries]
            for k in keys:
                self.names(k, f"{k[1]}_{k[0]}")
            found = _mentioned(keys, self.names, self.out)  # type: ignore[arg-type]
            if any(n != "_" for n in found):
                lines.extend(unpacked(found, value))
        return [*lines, *self.header_values(self.out)]

    def _first(self, field_name: str) -> str:
        return self.names(("first", field_name), f"{field_name}_first")

    def _start(self, field_name: str) -> str:
        return self.names(("initial", field_name), f"{field_name}_initial")

    def _section(self, title: str) -> None:
        self.out.append(f"# {title}")
        self.origin = None

    def _provenance(self, span: Span, indent: str) -> None:
        """Names the line of the program that the next statement comes from."""
        line = self.source.line_of(span.start)
        if line == self.origin:
            return
        self.origin = line
        shown = "".join(c if c.isprintable() else " " for c in self.source.line_text(line)).strip()
        name = "".join(c if c.isprintable() else " " for c in self.source.name)
        self.out.append(f"{indent}# {name}:{line}  {shown[:100]}")

    def _operation(self, operation: Operation, indent: str) -> None:
        match operation:
            case Let():
                if not operation.name.startswith("W_") or "." not in operation.name:  # a stack of matrices has no line
                    self._provenance(operation.span, indent)
                name = self.names(operation.name)
                self.out.append(f"{indent}{name} = {self._let(operation.value)}")
            case Update():
                self._provenance(operation.span, indent)
                t = self.plan.variable(operation.state).type
                value = self.text.tensor(operation.value, t).code
                if not indent:
                    value = self._expanded(value, t)
                self.out.append(f"{indent}{self.names(operation.state)} = {value}")
            case Gemm():
                self._gemm(operation, indent)
            case Repeat():
                self._provenance(operation.span, indent)
                low, high = self.text.dim(operation.low), self.text.dim(operation.high + Dim.of(1))
                self.out.append(f"{indent}for {self.names(operation.counter)} in range({low}, {high}):")
                for let in operation.body:
                    self._operation(let, indent + "    ")

    def _let(self, value: Expr) -> str:
        return self.text.tensor(value).code

    def _expanded(self, value: str, t: Type) -> str:
        """A value as a full [B, T, heads, axes]."""
        self.used.add("expand_to")
        dtype = 'complex_of(kind["dtype"])' if t.is_complex else 'kind["dtype"]'
        if t.is_complex:
            self.used.add("complex_of")
        return f"expand_to({value}, {self._full_shape(t)}, {dtype})"

    def _full_shape(self, t: Type) -> str:
        """[B, T, heads, axes]."""
        sizes = "".join(f", {self.text.dim(d)}" for d in t.heads + t.axes)
        return f"(*lead{sizes})" if sizes else "lead"

    def _gemm(self, g: Gemm, indent: str) -> None:
        """One matrix product and its row blocks."""
        from rnndsl.check.cell import Apply

        names = [self.names(r) for r in g.results]
        heads = g.matrix.type.heads or g.operand.type.heads
        total = g.matrix.type.axes[0]
        product = Apply("@", (g.matrix, g.operand), Type(heads, (total,), g.matrix.type.is_complex))
        sizes = ", ".join(self.text.dim(d) for d in g.rows)
        shown = ", ".join("".join(c if c.isprintable() else " " for c in self.source.slice(s)) for s in (p.span for p in g.products))
        self.origin = None
        line = f"{indent}# {shown}"
        self.out.append(line if len(line) < 110 else line[:109] + "…")
        self.out.extend(indent + part for part in unpacked(names, f"{self.text.text(product).within(6)}.split([{sizes}], -1)"))

    def _noise(self, v: Variable) -> None:
        assert v.draw is not None
        self.used.add("draw_noise")
        self._provenance(v.span, "")
        args = _tuple([self.text(a, v.type) for a in v.draw.args])
        name = self.names(v.name)
        self.out.append(f"{name} = draw_noise({quoted(v.draw.name)}, {args}, {self._full_shape(v.type)}, self.training, **kind)")

    def _lags(self, role: str, v: Variable) -> None:
        """Sequences of earlier steps, `x[t-1]`, and the values that the next call needs of them."""
        t = v.type
        carries = [c for c in self.plan.carries if c.source == v.name and c.role == role]
        lags = self.cell.lags(role).get(v.name, 0)
        scanned = any(v.name in s.states for s in self.plan.scans)
        outside = self._read_outside(role, v.name)
        sequence = self.names(v.name)
        for lag in range(1, lags + 1):
            c = next(c for c in carries if c.lag == lag)
            if c.field not in self.finals:
                self.used.add("last")
                self.finals[c.field] = f"last({sequence}, {self._first(c.field)})"
            if lag > outside and (scanned or lag == lags):
                break
            self.used.add("lagged")
            name = self._name(Ref(v.name, role, t, lag))
            self.out.append(f"{name} = lagged({sequence}, {self._first(c.field)}, {self._start(c.field)}, reset)")
            sequence = name
        for c in carries:
            if c.field not in self.finals and c.lag == 1:
                self.used.add("last")
                self.finals[c.field] = f"last({self.names(v.name)}, {self._first(c.field)})"

    def _read_outside(self, role: str, name: str) -> int:
        """The furthest lag at which something that is not the state's own scan reads a name."""
        furthest = max((v.lag for _, v, _ in self.plan.outputs if isinstance(v, Ref) and (v.role, v.name) == (role, name)), default=0)
        for stage in self.plan.stages:
            refs: list[Ref] = []
            if isinstance(stage, Scan):
                refs = list(stage.streams)
            else:
                for operation in stage.body:
                    refs.extend(n for e in _expressions(operation) for n in walk(e) if isinstance(n, Ref))
            furthest = max([furthest, *(r.lag for r in refs if r.role == role and r.name == name)])
        return furthest

    def _scan(self, stage: Scan) -> None:
        """A local function for one step, and its run over time."""
        self.used.add("scan")
        carries = [c for c in self.plan.carries if c.role == "state" and c.source in stage.states]
        carries.sort(key=lambda c: (c.lag, stage.states.index(c.source)))
        old = [self._name(Ref(c.source, "state", c.type, c.lag)) for c in carries]
        new = [self._name(Ref(c.source, "state", c.type, c.lag - 1)) for c in carries]
        streams = [self._name(r) for r in stage.streams]
        label = "_".join(stage.states)
        function = self.names(("step", label), f"step_{label}")
        self.out.append("")
        self.out.append(f"def {function}({', '.join([*old, *streams])}):")
        self.origin = None
        for operation in stage.body:
            self._operation(operation, "    ")
        self.out.append(f"    return {_tuple(new)}")
        self.out.append("")
        keep = len(stage.states)
        sequences = [self.names(s) for s in stage.states]
        finals = [self.names(("final", c.field), f"{c.field}_last") for c in carries]
        self.finals.update({c.field: f for c, f in zip(carries, finals, strict=True)})
        self.out.append(f"# {', '.join(stage.states)}: step by step")
        arguments = [
            function,
            _tuple(streams),
            _tuple([self._first(c.field) for c in carries]),
            _tuple([self._start(c.field) for c in carries]),
            "reset",
            f"keep={keep}",
            "steps=lead[1]",
        ]
        self.out.extend(_call([_tuple(sequences), _tuple(finals)], "scan", arguments))
        self.origin = None
        for s in stage.states:
            self._lags("state", self.plan.variable(s))

    def _return(self) -> None:
        values = [self._expanded(self.text.tensor(value).code, value.type) for _, value, _ in self.plan.outputs]
        self.out.append(f"return {_tuple(values)}, {_tuple([self.finals[c.field] for c in self.plan.carries])}")


def _expressions(operation: Operation) -> list[Expr]:
    match operation:
        case Repeat():
            return [let.value for let in operation.body]
        case Gemm():
            return [operation.operand]
    return [operation.value]


