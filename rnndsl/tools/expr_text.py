"""Typed expressions as text of the language, with as few brackets as its precedence allows."""

import math
from collections.abc import Callable

from rnndsl.checks.cell import Expr, Number, Ref
from rnndsl.checks.dims import Dim
from rnndsl.functions import COMPARISONS

COMPARE, ADD, MUL, NEG, AT, POW, ATOM = range(1, 8)
_LEVELS = {"+": ADD, "-": ADD, "*": MUL, "/": MUL, "@": AT, "^": POW, **dict.fromkeys(COMPARISONS, COMPARE)}
_RIGHT = frozenset(("@", "^"))


def size_text(dim: Dim | int) -> str:
    """A size with powers, `8*H^2 + 3*H`."""
    if isinstance(dim, int) or not dim.terms:
        return str(dim)
    parts = []
    for monomial, factor in dim.terms:
        up = [n if p == 1 else f"{n}^{p}" for n, p in monomial if p > 0]
        down = [n if p == -1 else f"{n}^{-p}" for n, p in monomial if p < 0]
        head = abs(factor.numerator)
        if head != 1 or not up:
            up.insert(0, str(head))
        if factor.denominator != 1:
            down.insert(0, str(factor.denominator))
        parts.append((factor < 0, "*".join(up) + "".join(f"/{d}" for d in down)))
    text = ("-" if parts[0][0] else "") + parts[0][1]
    return text + "".join(f" {'-' if negative else '+'} {part}" for negative, part in parts[1:])


def number_text(value: float | complex) -> str:
    """A literal of the language."""
    if isinstance(value, complex):
        return f"{value.imag:g}j"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == math.pi:
        return "pi"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def expr_text(expr: Expr, name: Callable[[Ref], str]) -> str:
    """An expression; `name` gives what each name is shown as."""
    return _text(expr, name)[0]


def _text(expr: Expr, name: Callable[[Ref], str]) -> tuple[str, int]:
    def within(e: Expr, level: int) -> str:
        text, binds = _text(e, name)
        return text if binds >= level else f"({text})"

    if isinstance(expr, Number):
        text = number_text(expr.value)
        return text, NEG if text.startswith("-") else ATOM
    if isinstance(expr, Ref):
        return name(expr), ATOM
    args = expr.args
    if expr.op in _LEVELS:
        level = _LEVELS[expr.op]
        right = expr.op in _RIGHT
        op = "^" if expr.op == "^" else f" {expr.op} "
        return f"{within(args[0], level + right)}{op}{within(args[1], level + (not right))}", level
    match expr.op:
        case "neg":
            return f"-{within(args[0], NEG)}", NEG
        case "broadcast":
            return _text(args[0], name)
        case "transpose":
            return f"{within(args[0], ATOM)}.T", ATOM
        case "slice":
            return f"{within(args[0], ATOM)}[{_text(args[1], name)[0]}]", ATOM
        case "split":
            count, place = expr.static
            return f"split({_text(args[0], name)[0]}, {size_text(count)})[{place}]", ATOM
        case "rows" | "merge":
            return f"{expr.op}({', '.join(_text(a, name)[0] for a in args)})", ATOM
    sizes = [size_text(s) for s in expr.static]
    return f"{expr.op}({', '.join([*(_text(a, name)[0] for a in args), *sizes])})", ATOM
