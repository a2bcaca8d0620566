"""Whether two cells are the same equations, under other names and in another order."""

from collections.abc import Iterator
from itertools import permutations

from rnndsl.checks.cell import Apply, Cell, Expr, Let, Number, Ref, Update

_SUMS = ("+", "*")  # the order of their operands does not matter
_MOST = 2000  # nodes of an equation with every local written out; the cells that are looked for have far fewer
_ZERO = Number(0.0)
Names = dict[str, str]


def same_cell(pattern: Cell, cell: Cell) -> Names | None:
    """The cell's name for each of the pattern's inputs, states and params; None where the equations differ.

    Names, locals, the order of lines and of the operands of sums and products do not matter; shapes are not compared.
    """
    ours, theirs = _written_out(pattern), _written_out(cell)
    if ours is None or theirs is None or len(ours) != len(theirs):
        return None
    states, own = [v.name for v in pattern.of_role("state")], [v.name for v in cell.of_role("state")]
    if len(states) != len(own) or len(pattern.outputs) != len(cell.outputs):
        return None
    for order in permutations(own):
        names: Iterator[Names] = iter([dict(zip(states, order, strict=True))])
        for a, b in zip(_in_order(ours, states), _in_order(theirs, list(order)), strict=True):
            names = _extended(names, a, b)
        if (found := next(names, None)) is not None:
            return found
    return None


def _written_out(cell: Cell) -> dict[str, Expr] | None:
    """Each state's update, initial value and each output, in inputs, params and old states alone; None for a cell with a repeat."""
    made: dict[str, Expr] = {}
    for s in cell.body:
        if not isinstance(s, Let | Update):
            return None
        made[s.name if isinstance(s, Let) else f"{s.state}[t]"] = _put_in(s.value, made, {})
    found = {f"new {v.name}": made[f"{v.name}[t]"] for v in cell.of_role("state")}
    found |= {f"first {v.name}": v.value or _ZERO for v in cell.of_role("state")}
    found |= {f"output {i}": _put_in(o.value, made, {}) for i, o in enumerate(cell.outputs)}
    sizes: dict[int, int] = {}
    return found if sum(_nodes(e, sizes) for e in found.values()) <= _MOST else None


def _in_order(found: dict[str, Expr], states: list[str]) -> list[Expr]:
    rest = [e for k, e in found.items() if k.startswith("output ")]
    return [found[f"{what} {s}"] for s in states for what in ("new", "first")] + rest


def _put_in(expr: Expr, made: dict[str, Expr], done: dict[int, Expr]) -> Expr:
    """The expression with locals and new states replaced by what they are."""
    if isinstance(expr, Ref):
        return made.get(f"{expr.name}[t]" if expr.role == "state" and expr.lag == 0 else expr.name if expr.role == "local" else "", expr)
    if isinstance(expr, Number):
        return expr
    if id(expr) not in done:
        done[id(expr)] = Apply(expr.op, tuple(_put_in(a, made, done) for a in expr.args), expr.type, expr.static)
    return done[id(expr)]


def _nodes(expr: Expr, known: dict[int, int]) -> int:
    if not isinstance(expr, Apply):
        return 1
    if id(expr) not in known:
        known[id(expr)] = 1 + sum(_nodes(a, known) for a in expr.args)
    return known[id(expr)]


def _extended(names: Iterator[Names], a: Expr, b: Expr) -> Iterator[Names]:
    for known in names:
        yield from _matches(a, b, known)


def _matches(a: Expr, b: Expr, names: Names) -> Iterator[Names]:
    """Every way to extend the names so that `a` becomes `b`."""
    if isinstance(a, Number) and isinstance(b, Number):
        if a.value == b.value:
            yield names
    elif isinstance(a, Ref) and isinstance(b, Ref):
        if (a.role, a.lag) == (b.role, b.lag):
            if a.name in names:
                if names[a.name] == b.name:
                    yield names
            elif b.name not in names.values():
                yield names | {a.name: b.name}
    elif isinstance(a, Apply) and isinstance(b, Apply) and a.op == b.op and _numbers(a) == _numbers(b):
        if a.op in _SUMS:
            yield from _in_any_order(_operands(a, a.op), _operands(b, b.op), names)
        elif len(a.args) == len(b.args):
            found: Iterator[Names] = iter([names])
            for x, y in zip(a.args, b.args, strict=True):
                found = _extended(found, x, y)
            yield from found


def _numbers(expr: Apply) -> list[int]:
    """What is static of an application, but for sizes: the number of a part of a split."""
    return [s for s in expr.static if isinstance(s, int)]


def _operands(expr: Expr, op: str) -> list[Expr]:
    if isinstance(expr, Apply) and expr.op == op:
        return [o for a in expr.args for o in _operands(a, op)]
    return [expr]


def _in_any_order(a: list[Expr], b: list[Expr], names: Names) -> Iterator[Names]:
    if len(a) != len(b):
        return
    if not a:
        yield names
        return
    for i, other in enumerate(b):
        for known in _matches(a[0], other, names):
            yield from _in_any_order(a[1:], b[:i] + b[i + 1 :], known)
