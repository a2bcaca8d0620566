"""The statements of a plan as lines of Python: each names the line of the program that it comes from."""

from collections.abc import Sequence

from rnndsl.checks.cell import Apply, Expr, Let, Ref, Repeat, Type, Update
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source, Span
from rnndsl.emit.mixed_text import MixedText
from rnndsl.emit.naming import Names
from rnndsl.emit.part import Part, unpacked
from rnndsl.emit.torch_text import TorchText
from rnndsl.plan.ir import Gemm, Operation, Plan
from rnndsl.plan.recurrence import product_name
from rnndsl.source import printable


class Statements(Part):
    """Writes operations, of all steps at once or of one. Products of inputs may be half values; what reads those in arithmetic finds wide ones."""

    def __init__(self, plan: Plan, source: Source, names: Names, used: set[str], has_kernels: bool = True):
        super().__init__(plan, names, used)
        self.source = source
        for v in plan.cell.variables:  # declared names come first, and keep their spelling
            names(v.name)
        self.plain = self.printer(has_lead=True)
        self.mixed = MixedText(self._name, self._has_lead, lambda n: self.names(n), self.used, wide=self.wide, has_kernels=has_kernels)
        self.text: TorchText = self.mixed
        self.mixed.narrow |= {v.name for v in self.cell.of_role("input") if not v.type.is_complex}
        self.widened: list[str] = []  # lines that give narrow values their wide names
        self.origin: int | None = None  # the line of the program that was named last
        self.nested = False  # inside a method of one step: values are not expanded
        self.whole: set[Gemm] = set()  # products that a recurrence takes whole

    def provenance(self, span: Span, indent: str) -> None:
        """Names the line of the program that the next statement comes from."""
        line = self.source.line_of(span.start)
        if line == self.origin:
            return
        self.origin = line
        self.out.append(f"{indent}# {self.source.cited(line, 100)}")

    def operation(self, operation: Operation, indent: str) -> None:
        """The lines of an operation."""
        match operation:
            case Let():
                if not operation.name.startswith("W_") or "." not in operation.name:  # a stack of matrices has no line
                    self.provenance(operation.span, indent)
                name = self.names(operation.name)
                if self.text is self.mixed and not indent and self.mixed.is_product(operation.value):
                    self.out.append(f"{name} = {self.mixed.as_it_is(operation.value).code}")
                    self._narrow([operation.name])
                else:
                    value = self.text.tensor(operation.value).code
                    self.out.append(f"{indent}{name} = {self._of_rounds(value, operation.value, operation.name) if indent else value}")
            case Update():
                self.provenance(operation.span, indent)
                t = self.plan.variable(operation.state).type
                value = self.text.tensor(operation.value, t).code
                if not indent and not self.nested:
                    value = self.expanded(value, t)
                self.out.append(f"{indent}{self.names(operation.state)} = {value}")
            case Gemm():
                self._gemm(operation, indent)
            case Repeat():
                self.provenance(operation.span, indent)
                for p in operation.passed:  # one variable is what a round begins with and what it leaves
                    self.names.keep(p.last, self.names(p.name))
                    self.out.append(f"{indent}{self.names(p.name)} = {self._of_rounds(self.text.text(p.start).code, p.start, p.last)}")
                low, high = self.text.dim(operation.low), self.text.dim(operation.high + Dim.of(1))
                self.out.append(f"{indent}for {self.names(operation.counter)} in range({low}, {high}):")
                for let in operation.body:
                    self.operation(let, indent + "    ")

    def _of_rounds(self, code: str, value: Expr, name: str) -> str:
        """What a repeat binds a name to: where that is of all steps it has their axes in every round, so that its shape is the same in each."""
        return code if self.nested or name in self.plan.static or self.text.lead(value) else self.expanded(code, value.type)

    def expanded(self, value: str, t: Type, by: str = "expand_to") -> str:
        """A value as a full [B, T, heads, axes]."""
        self.used.add(by)
        dtype = 'complex_of(kind["dtype"])' if t.is_complex else 'kind["dtype"]'
        if t.is_complex:
            self.used.add("complex_of")
        return f"{by}({value}, {self.full_shape(t)}, {dtype})"

    def full_shape(self, t: Type, lead: str = "*lead") -> str:
        """[B, T, heads, axes]."""
        sizes = "".join(f", {self.text.dim(d)}" for d in t.heads + t.axes)
        return f"({lead}{sizes})" if sizes or lead != "*lead" else "lead"

    def _gemm(self, g: Gemm, indent: str) -> None:
        """One matrix product and its row blocks, unless a recurrence takes it whole."""
        heads = g.matrix.type.heads or g.operand.type.heads
        total = g.matrix.type.axes[0]
        product = Apply("@", (g.matrix, g.operand), Type(heads, (total,), g.matrix.type.is_complex))
        shown = ", ".join(printable(self.source.slice(p.span)) for p in g.products)
        self.origin = None
        line = f"{indent}# {shown}"
        self.out.append(line if len(line) < 110 else line[:109] + "…")
        if g in self.whole:
            self.out.append(f"{indent}{self._name(Ref(product_name(g), 'local', product.type))} = {self.text.as_it_is(product).code}")
        else:
            self.split(g, self.text.as_it_is(product).within(6), indent)
            if self.text is self.mixed and self.mixed.is_product(product):
                self._narrow(g.results)

    def _narrow(self, names: Sequence[str]) -> None:
        """Values that may be half have names; what reads them in arithmetic finds wide ones."""
        self.mixed.narrow |= set(names)
        lines = [self.widening(n) for n in names]
        self.widened += lines
        self.out += lines

    def widening(self, name: str) -> str:
        """The line that gives a narrow value its wide name."""
        return f'{self.wide(name)} = {self.names(name)}.to(kind["dtype"])'

    def wide(self, name: str) -> str:
        return self.names(("wide", name), f"{self.names(name)}_wide")

    def split(self, g: Gemm, product: str, indent: str) -> None:
        """Names for the row blocks of a merged product."""
        names = [self.names(r) for r in g.results]
        sizes = ", ".join(self.text.dim(d) for d in g.rows)
        self.out.extend(indent + part for part in unpacked(names, f"{product}.split([{sizes}], -1)"))
