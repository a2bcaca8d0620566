"""A cell as evaluation has it, with known sizes: noise is its mean, and a `repeat` runs a number of rounds."""

from dataclasses import replace

from rnndsl.checks.cell import Apply, Cell, Draw, Expr, Let, Number, Ref, Repeat, Returned, Statement, Update, Variable
from rnndsl.checks.dims import Dim


def evaluation(cell: Cell, sizes: dict[str, int]) -> Cell:
    """The cell without noise, whose repeats lie between numbers. Other sizes stay what they are called."""
    means: list[Statement] = [Let(v.name, _mean(v), span=v.span) for v in cell.of_role("noise")]
    return replace(
        cell,
        variables=tuple(v for v in cell.variables if v.role != "noise"),
        body=(*means, *(_statement(s, sizes) for s in cell.body)),
        outputs=tuple(Returned(o.name, _fixed(o.value), span=o.span) for o in cell.outputs),
    )


def _mean(noise: Variable) -> Expr:
    assert isinstance(noise.draw, Draw)
    first, *rest = (_fixed(a) for a in noise.draw.args)
    mean = Apply("/", (Apply("+", (first, rest[0]), noise.type), Number(2.0)), noise.type) if noise.draw.name == "uniform" else first
    return Apply("broadcast", (mean,), noise.type, span=noise.span)


def _statement(s: Statement, sizes: dict[str, int]) -> Statement:
    match s:
        case Let():
            return replace(s, value=_fixed(s.value))
        case Update():
            return replace(s, value=_fixed(s.value))
        case Repeat():
            low, high = (Dim.of(int(d.evaluate(sizes))) for d in (s.low, s.high))
            return replace(s, low=low, high=high, body=tuple(replace(let, value=_fixed(let.value)) for let in s.body))


def _fixed(expr: Expr) -> Expr:
    """An expression that reads a noise as the local that is its mean."""
    match expr:
        case Ref(role="noise"):
            return replace(expr, role="local")
        case Apply():
            return replace(expr, args=tuple(_fixed(a) for a in expr.args))
    return expr
