"""What calls of functions of the prelude stand for, each function read and typed when it is first met."""

from functools import cache, lru_cache

from rnndsl.checks.cell import Apply, Expr, Number, Ref, Type
from rnndsl.checks.definitions import definition, source_of
from rnndsl.checks.shapes.expressions import inlined
from rnndsl.checks.shapes.scope import Scope
from rnndsl.diagnostics import NOWHERE, Collector, Span
from rnndsl.functions import COMPOUNDS


def body_of(call: Apply) -> Expr:
    """What a call stands for: an expression in its arguments, each a `Ref` of role argument, all of it at the place of the call.

    It is the same object while it is in use, so that what two stages find of a part of it can be told to belong together.
    """
    return _at(call.op, tuple(a.type for a in call.args), call.span)


def written_out(call: Apply) -> Expr:
    """What a call stands for, with its arguments in their places."""
    return _put(body_of(call), dict(zip(COMPOUNDS[call.op].parameters, call.args, strict=True)))


@cache
def _typed(name: str, types: tuple[Type, ...]) -> Expr:
    function = definition(name)
    scope = Scope(function.name, {}, Collector(source_of(name)))
    arguments = {p.id: Ref(p.id, "argument", t) for p, t in zip(function.parameters, types, strict=True)}
    return inlined(scope, function, dict(arguments), NOWHERE, None)


@lru_cache(1024)
def _at(name: str, types: tuple[Type, ...], span: Span) -> Expr:
    return _placed(_typed(name, types), span)


def _placed(expr: Expr, span: Span) -> Expr:
    match expr:
        case Number():
            return Number(expr.value, span=span)
        case Ref():
            return Ref(expr.name, expr.role, expr.type, expr.lag, span=span)
    return Apply(expr.op, tuple(_placed(a, span) for a in expr.args), expr.type, expr.static, span=span)


def _put(expr: Expr, arguments: dict[str, Expr]) -> Expr:
    if isinstance(expr, Ref):
        return arguments[expr.name] if expr.role == "argument" else expr
    if isinstance(expr, Number):
        return expr
    return Apply(expr.op, tuple(_put(a, arguments) for a in expr.args), expr.type, expr.static, span=expr.span)
