"""A cell as evaluation has it, with known sizes: noise is its mean, a `repeat` runs a number of rounds, and what no step can compute has a name."""

from dataclasses import dataclass, field, replace

from rnndsl.checks.cell import Apply, Cell, Draw, Expr, Let, Number, Ref, Repeat, Returned, Statement, Variable, walk
from rnndsl.checks.dims import Dim


def evaluation(cell: Cell, sizes: dict[str, int]) -> Cell:
    """The cell without noise, whose repeats lie between numbers, and where functions of params alone are locals. Other sizes stay what they are called."""
    made = _Evaluation(sizes)
    for v in cell.of_role("noise"):
        made.body.append(Let(v.name, _mean(v), span=v.span))
    for s in cell.body:
        made.statement(s)
    outputs = tuple(Returned(o.name, made.expr(o.value, frozenset()), span=o.span) for o in cell.outputs)
    return replace(cell, variables=tuple(v for v in cell.variables if v.role != "noise"), body=tuple(made.body), outputs=outputs)


@dataclass
class _Evaluation:
    sizes: dict[str, int]
    body: list[Statement] = field(default_factory=list)
    count: int = 0  # of names

    def statement(self, s: Statement) -> None:
        if isinstance(s, Repeat):
            low, high = (Dim.of(int(d.evaluate(self.sizes))) for d in (s.low, s.high))
            inner = frozenset((s.counter, *(let.name for let in s.body)))
            self.body.append(replace(s, low=low, high=high, body=tuple(replace(let, value=self.expr(let.value, inner)) for let in s.body)))
        else:
            self.body.append(replace(s, value=self.expr(s.value, frozenset())))

    def expr(self, expr: Expr, inner: frozenset[str]) -> Expr:
        """An expression of a statement; `inner` are the names that change from round to round."""
        match expr:
            case Ref(role="noise"):
                return replace(expr, role="local")
            case Apply():
                made = replace(expr, args=tuple(self.expr(a, inner) for a in expr.args))
                return made if expr.op != "expm" or any(isinstance(n, Ref) and n.name in inner for n in walk(made)) else self._name(made)
        return expr

    def _name(self, expr: Apply) -> Ref:
        """A function that no step can compute, which stands ahead of the statement that reads it."""
        self.count += 1
        name = f"{expr.op}.{self.count}"  # as none in a program is called
        self.body.append(Let(name, expr, span=expr.span))
        return Ref(name, "local", expr.type, span=expr.span)


def _mean(noise: Variable) -> Expr:
    assert isinstance(noise.draw, Draw)
    first, *rest = noise.draw.args
    mean = Apply("/", (Apply("+", (first, rest[0]), noise.type), Number(2.0)), noise.type) if noise.draw.name == "uniform" else first
    return Apply("broadcast", (mean,), noise.type, span=noise.span)
