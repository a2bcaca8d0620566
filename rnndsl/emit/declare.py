"""The methods of a generated class that say what it holds: `_declare` and `_initial`."""

from rnndsl.checks.cell import Repeat, Variable, always_runs, walk
from rnndsl.checks.dims import Dim
from rnndsl.checks.slices import open_slices
from rnndsl.emit.part import Part, quoted, tensors, tuple_text
from rnndsl.emit.torch_text import TorchText
from rnndsl.plan.ir import Carry
from rnndsl.plan.single import own_name


class Declare(Part):
    """`_declare`: the shapes, params and consts, in the order of the text."""

    def lines(self) -> list[str]:
        text = self.printer()
        for dim in self._divisions():
            self.out.append(f"{text.dim(dim)}  # {dim} must be a whole number")
        for repeat in (s for s in self.cell.body if isinstance(s, Repeat) and not always_runs(s.low, s.high)):
            for name in sorted(set(repeat.results) - {p.last for p in repeat.passed}):
                self.out.append(f"self._require_rounds({quoted(own_name(name))}, {text.dim(repeat.low)}, {text.dim(repeat.high)})")
        for s in dict.fromkeys(open_slices(self.cell)):
            numbers = ", ".join(text.dim(d) for d in (s.first, s.last, s.there, s.rounds))
            self.out.append(f"self._require_slices({quoted(s.name)}, {numbers})")
        for v in self.cell.of_role("input"):
            self.out.append(
                f"self._input({quoted(v.name)}, {self.shape(v.type, text)}{', is_complex=True' if v.type.is_complex else ''})"
            )
        for c in self.plan.carries:
            number = "int" if c.role == "clock" else "complex" if c.type.is_complex else "real"
            extra = f", {quoted(number)}" if number != "real" else ""
            self.out.append(f"self._field({quoted(self.fields[c.field])}, {self.shape(c.type, text)}{extra})")
        for v in self.cell.of_role("noise"):
            if any(factor < 0 for dim in v.type.heads + v.type.axes for _, factor in dim.terms):  # no other size can be below one
                self.out.append(f"self._require_positive({quoted(v.name)}, {self.shape(v.type, text)})")
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
            args = tuple_text([text(a) for a in v.draw.args])
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


class Initial(Part):
    """`_initial`: the initial value of each field, before it is broadcast to its shape."""

    def lines(self) -> list[str]:
        text = self.printer()
        values = [self._value(c, text) for c in self.plan.carries]
        self.out.append(f"return {tuple_text(values)}")
        head = self.unpacking([self.names(v.name) for v in tensors(self.cell)], "params")
        return [*head, *self.header_values(self.out), *self.out]

    def _value(self, c: Carry, text: TorchText) -> str:
        if c.role != "state":
            return "0"
        value = self.plan.variable(c.source).value
        return text(value, c.type) if value is not None else "0.0"
