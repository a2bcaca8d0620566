"""Whether the shapes of arguments fit a function or operator, and that of a value a declared one."""

from collections.abc import Sequence
from dataclasses import replace

from rnndsl.checks.cell import Expr, Type
from rnndsl.checks.names.words import shorten
from rnndsl.checks.shapes.hints import grouping, headed_twin, matrix_of, misfit
from rnndsl.checks.shapes.rules import Mismatch, Rule, kind
from rnndsl.checks.shapes.scope import Scope, Stop
from rnndsl.diagnostics import Related, Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast


def by_rule(scope: Scope, rule: Rule, args: Sequence[Expr], places: Sequence[ast.Expr], shown: str, op: str) -> Type:
    """Applies a shape rule; a mismatch is reported at the argument at fault."""
    try:
        return rule([a.type for a in args])
    except Mismatch as m:
        texts = [shorten(scope.out.source.slice(p.span)) for p in places]
        note = grouping(scope, places) if op == "@" else None
        if m.against is None:  # one argument is wrong by itself
            wrong = args[m.index].type
            title = m.title or f"`{op}` does not take {kind(wrong).split(' [')[0].removeprefix('complex ')}"
            scope.report("shape-mismatch", title, places[m.index].span, m.label, note=note,
                         hint=m.hint or _of_matrix(op, wrong))  # fmt: skip
            raise Stop from None
        this, other = args[m.index], args[m.against]
        names = [_called(texts[i], "this" if i == m.index else "the other") for i in (m.index, m.against)]
        label = m.label or f"{names[0]} is {this.type}, but {names[1]} is {other.type}"
        related = (Related(places[m.against].span, "" if names[1] != "the other" else f"this is {other.type}"),)
        expression = shown.format(*texts) if len(texts) < 3 else f"`{op}(…)`"
        title = f"{expression} cannot be multiplied" if op == "@" else f"the shapes in {expression} do not fit"
        hint = m.hint or misfit(scope, op, this, other, places[m.index], places[m.against], m.index)
        scope.report("shape-mismatch", title, places[m.index].span, label, hint=hint, note=note, related=related)
        raise Stop from None


def fits(scope: Scope, value: Expr, declared: Type, span: Span, what: str, shape_span: Span | None) -> None:
    """The value has the declared shape, or is a scalar or lacks head axes and broadcasts into it."""
    t = value.type
    related = (Related(shape_span, f"declared {declared}"),) if shape_span else ()
    if t.is_complex and not declared.is_complex:
        scope.report("complex", f"{what} is complex", span, f"this is {t}, expected {declared}", related=related,
                     hint="take its re(…), or declare `complex` before the shape")  # fmt: skip
        raise Stop
    if (t.axes and t.axes != declared.axes) or (t.heads and t.heads != declared.heads):
        expected = replace(declared, is_complex=t.is_complex)
        hint = headed_twin("=", t, declared, "…", "…")
        if hint:
            hint = f"`heads(…, {declared.heads[0]})` makes {declared} of it" if declared.heads else f"`merge(…)` makes {declared} of it"
        elif t.axes == declared.axes and not declared.heads:
            hint = f"declare head axes, `{t}`, or join them with merge(…)"
        elif t.axes == declared.axes[::-1] and t.rank == 2:
            hint = "its transpose fits: `.T`"
        elif t.rank == declared.rank == 1 and t.heads in ((), declared.heads):
            fitting = matrix_of(scope, (*declared.axes, *t.axes))
            hint = f"`{fitting} @ …` makes [{declared.axes[0]}] of [{t.axes[0]}]" if fitting else None
        scope.report("shape-mismatch", f"{what} has the wrong shape", span, f"this is {t}, expected {expected}", hint=hint,
                     related=related)  # fmt: skip
        raise Stop


def _of_matrix(function: str, t: Type) -> str | None:
    """What to write for a function of vectors that is given a matrix."""
    row = FUNCTIONS.get(function)
    if row is None or row.of_matrix is None or t.rank != 2 or t.heads:
        return None
    rows, columns = t.axes
    return row.of_matrix.format(rows=rows, columns=columns, entries=rows * columns)


def _called(text: str, otherwise: str) -> str:
    """An operand as a message names it: by its text where that is short."""
    return f"`{text}`" if len(text) <= 24 else otherwise
