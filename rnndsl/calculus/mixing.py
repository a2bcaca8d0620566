"""Operations that are not lane by lane: a rule an operation, found by its name."""

from collections.abc import Callable
from dataclasses import replace

import sympy

from rnndsl.calculus import family
from rnndsl.calculus.algebra import Algebra
from rnndsl.calculus.functions import imag_part, real_part, root
from rnndsl.calculus.lanes import COLUMN, HEAD, ROW, SHIFT_MAX, Value
from rnndsl.checks.cell import Apply
from rnndsl.checks.dims import Dim

Rule = Callable[[Algebra, Apply, list[Value]], Value]
RULES: dict[str, Rule] = {}


def mixes(*operations: str) -> Callable[[Rule], Rule]:
    """Says of a rule for which operations it is."""

    def known(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(operations, rule))
        return rule

    return known


@mixes("dot")
def _dot(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    t = replace(expr.type, axes=expr.args[0].type.axes)
    product = m.elementwise(Apply("*", expr.args, t, span=expr.span), args)
    if not product.depends:
        return m.opaque("sum", [product], expr.type, (), expr)
    return _sum(m, Apply("sum", expr.args[:1], expr.type, span=expr.span), [product])


@mixes("sum", "mean")
def _sum(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    return m.summed(expr, args[0])


@mixes("cumsum")
def _cumsum(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes)


@mixes("softmax")
def _softmax(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    v = m.named("v", v)
    top = m.spread(m.total(v, SHIFT_MAX, expr), v, expr.type, expr.span)
    e = m.named("e", m.along(expr, v, sympy.exp(v.formula - top.formula), top))
    total = m.spread(m.total(e, "sum", expr), v, expr.type, expr.span)
    return m.along(expr, v, e.formula / total.formula, total)


@mixes("norm")
def _norm(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    v = m.named("v", v)
    square = v.formula**2
    if v.type.is_complex:
        m.read_apart(v)
        square = real_part(v.formula) ** 2 + imag_part(v.formula) ** 2
    squares = replace(v, formula=square, family=family.NONLINEAR, type=replace(v.type, is_complex=False))
    square = m.total(squares, "sum", expr)
    return replace(square, formula=root(square.formula), type=expr.type, family=family.NONLINEAR)


@mixes("outer")
def _outer(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    placed = [m.placed(v, i, expr.type, expr.span) for i, v in enumerate(args)]
    return m.elementwise(Apply("*", expr.args, expr.type, span=expr.span), placed)


@mixes("transpose")
def _transpose(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    if v.formula in m.transposed:
        return m.transposed[v.formula]
    v = m.named("v", v)
    result = m.linear(expr, v, frozenset(), v.axes[::-1])
    m.transposed[result.formula] = v
    return result


@mixes("split")
def _split(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset(v.axes[:1] or (ROW,)), v.axes)


@mixes("concat")
def _concat(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    total: Value | None = None
    offset = Dim.of(0)
    for i, v in enumerate(args):
        if v.depends:
            v = m.fitted_heads(v, expr.type)
            placing = replace(expr, static=(offset,))
            part = m.linear(placing, v, frozenset(v.axes[:1] or (ROW,)), v.axes, i, kind=v.family)
            total = part if total is None else replace(part, formula=total.formula + part.formula, mixed=total.mixed | part.mixed)
        offset = offset + v.type.axes[0]
    assert total is not None
    if any(not v.depends for v in args):
        parts = [replace(v, formula=sympy.Integer(0)) if v.depends else v for v in args]
        rest = m.opaque("concat", [Value(p.formula, p.type) for p in parts], expr.type, ())
        total = replace(total, formula=total.formula + rest.formula)
    affine = all(v.family in (family.CONST, family.SHIFT, family.AFFINE) for v in args)
    return replace(total, family=family.AFFINE if affine else family.NONLINEAR)


@mixes("merge")
def _merge(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset((HEAD, ROW)), (ROW,))


@mixes("heads")
def _heads(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset((HEAD, ROW)), (ROW,) * expr.type.rank)


@mixes("reshape")
def _reshape(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset((ROW, COLUMN)), (ROW, COLUMN)[: expr.type.rank])


@mixes("diag")
def _diag(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    return m.linear(expr, v, frozenset((ROW, COLUMN)), (ROW, COLUMN))


@mixes("conj")
def _conj(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    if not v.type.is_complex:
        return v
    m.read_apart(v)
    return replace(v, formula=sympy.conjugate(v.formula), family=family.combine("conj", [v.family]))


@mixes("re")
def _re(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    if not v.type.is_complex:
        return v
    m.read_apart(v)
    return replace(v, formula=real_part(v.formula), type=expr.type, family=family.combine("re", [v.family]))


@mixes("im")
def _im(m: Algebra, expr: Apply, args: list[Value]) -> Value:
    (v,) = args
    if not v.type.is_complex:
        return Value(sympy.Integer(0), expr.type)
    m.read_apart(v)
    return replace(v, formula=imag_part(v.formula), type=expr.type, family=family.combine("im", [v.family]))
