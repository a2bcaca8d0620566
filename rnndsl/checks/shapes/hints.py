"""What to write instead where shapes do not fit: another order, a transpose, another name, a matrix in front."""

from collections.abc import Sequence

from rnndsl.checks.cell import Expr, Ref, Type
from rnndsl.checks.dims import Dim
from rnndsl.checks.names.words import shorten
from rnndsl.checks.shapes.rules import merging
from rnndsl.checks.shapes.scope import Scope
from rnndsl.checks.suggest import is_outer_axis
from rnndsl.diagnostics import Source, Span
from rnndsl.syntax import ast


def grouping(scope: Scope, places: Sequence[ast.Expr]) -> str | None:
    """How a chain of `@` is grouped, where brackets do not say it."""
    right = places[1]
    if isinstance(right, ast.Binary) and right.op == "@":
        text = scope.out.source.slice
        between = text(Span(places[0].span.end, right.span.start))
        if "(" not in between:
            return f"`@` groups from the right: `{shorten(text(places[0].span))} @ ({shorten(text(right.span))})`"
    return None


def misfit(scope: Scope, op: str, this: Expr, other: Expr, place: ast.Expr, other_place: ast.Expr, index: int) -> str | None:
    """What would fit: another order, a transpose, another name, a matrix in front."""
    for headed, bare in ((this.type, other.type), (other.type, this.type)):
        if headed.heads and not bare.heads and bare.axes[: len(headed.heads)] == headed.heads:
            return f"head axes stand before a semicolon: declare `{Type(headed.heads, bare.axes[len(headed.heads) :])}`"
    text, other_text = (_operand(p, scope.out.source) for p in (place, other_place))
    if hint := headed_twin(op, this.type, other.type, *(shorten(scope.out.source.slice(p.span), 30) for p in (place, other_place))):
        return hint
    a, b = (this, other) if index == 0 else (other, this)
    a_text, b_text = (text, other_text) if index == 0 else (other_text, text)
    ranks = (a.type.rank, b.type.rank)
    if op == "*" and ranks in ((2, 1), (1, 2)):
        left, right, vector = (a_text, b_text, b) if ranks == (2, 1) else (b_text, a_text, a)
        matrix = a if ranks == (2, 1) else b
        if matrix.type.axes[1] == vector.type.axes[0] and matrix.type.axes[0] != matrix.type.axes[1]:
            return f"the product of a matrix and a vector is written `{left} @ {right}`"
    if {1, 2} == set(ranks) and op != "@":
        whole, part = (a.type, b.type) if ranks == (2, 1) else (b.type, a.type)
        if whole.axes[1:] == part.axes and is_outer_axis(str(whole.axes[0])):
            return f"there is no batch or time axis in a cell: is {whole} meant to be {part}?"
        return "a vector scales a matrix as `diag(a) @ S` (its rows) or `S @ diag(a)` (its columns)"
    if op == "@":
        if ranks == (1, 2) and b.type.axes[1] == a.type.axes[0]:
            return f"the other order fits: `{b_text} @ {a_text}`"
        if b.type.rank == 2 and a.type.axes[-1] == b.type.axes[1]:
            return f"the transpose fits: `{a_text} @ {b_text}.T`"
        if a.type.rank == 2 and a.type.axes[0] == b.type.axes[0]:
            return f"the transpose fits: `{a_text}.T @ {b_text}`"
        return _named_misfit(scope, this, other)
    return _named_misfit(scope, this, other) or _projection(scope, this, other, text, other_text)


def headed_twin(op: str, this: Type, other: Type, text: str, other_text: str) -> str | None:
    """`merge` or `heads`, where a vector [H] meets the same entries as [N; H/N]."""
    for one, one_text, whole, whole_text in ((this, text, other, other_text), (other, other_text, this, text)):
        if not one.heads or whole.heads or one.rank > 1 or not whole.axes:
            continue
        merged = merging([one])
        if op == "@" and whole.rank == 2 and merged.axes[0] in whole.axes:
            return f"`merge({one_text})` is {merged}, all heads end to end"
        if whole.axes == merged.axes and len(one.heads) == 1:
            return f"`heads({whole_text}, {one.heads[0]})` is {one}, and `merge({one_text})` is {merged}"
        if whole.axes == merged.axes:
            return f"`merge({one_text})` is {merged}, all heads end to end"
    return None


def _named_misfit(scope: Scope, wrong: Expr, other: Expr) -> str | None:
    """A state or input that has the shape which a wrong input or state lacks."""
    if not isinstance(wrong, Ref) or wrong.role not in ("input", "state") or wrong.type.rank != 1:
        return None
    if other.type.rank == 2:
        needed = (other.type.axes[1],)
    else:
        return None
    for name, role in scope.roles.items():
        if role in ("state", "input") and name != wrong.name and name in scope.types and scope.types[name].axes == needed:
            shown = f"the state `{name}[t-1]`" if role == "state" else f"the input `{name}`"
            return f"did you mean {shown}, which is {scope.types[name]}?"
    return None


def matrix_of(scope: Scope, axes: tuple[Dim, ...]) -> str | None:
    """A param or const of a certain shape."""
    fits = (n for n, t in scope.types.items() if scope.roles.get(n) in ("param", "const") and t == Type((), axes, t.is_complex))
    return next(fits, None)


def _projection(scope: Scope, this: Expr, other: Expr, text: str, other_text: str) -> str | None:
    """A product with a matrix, that makes a vector as long as another; an input is made to fit the rest."""
    if this.type.rank != 1 or other.type.rank != 1 or this.type.heads != other.type.heads:
        return None
    if isinstance(other, Ref) and other.role == "input" and not (isinstance(this, Ref) and this.role == "input"):
        this, other, text = other, this, other_text
    new, old = other.type.axes[0], this.type.axes[0]
    matrix = matrix_of(scope, (new, old))
    if matrix:
        return f"`{matrix} @ {text}` is [{new}]"
    heads = ", ".join(map(str, this.type.heads)) + "; " if this.type.heads else ""
    return f"a matrix makes [{new}] of [{old}]: `param W: [{heads}{new}, {old}]`, then `W @ {text}`"


def _operand(expr: ast.Expr, source: Source) -> str:
    """The text of an expression, in brackets where another operator would take it apart."""
    text = shorten(source.slice(expr.span), 30)
    return f"({text})" if isinstance(expr, ast.Binary | ast.Prefix) else text
