"""Headers and declarations: names with a role, their sizes, constraints, draws and initial values."""

import keyword
from itertools import takewhile

from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS, LAYER_ATTRIBUTES
from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.checks.names.scope import PARAMS, STATIC, Scope
from rnndsl.checks.names.uses import check_attribute, check_call, check_reserved
from rnndsl.checks.names.words import counted, given, listed, with_article
from rnndsl.checks.suggest import closest, is_outer_axis, lookalike, unknown_value
from rnndsl.diagnostics import Related
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import ONCE, TIME

_SYNONYMS = {
    "xavier": "xavier_uniform", "glorot": "xavier_uniform", "glorot_uniform": "xavier_uniform", "glorot_normal": "xavier_normal",
    "kaiming": "kaiming_uniform", "he": "kaiming_uniform", "he_uniform": "kaiming_uniform", "he_normal": "kaiming_normal",
    "gaussian": "normal", "randn": "normal", "gauss": "normal", "rand": "uniform", "identity": "eye", "const": "constant",
    "dropout": "bernoulli", "orth": "orthogonal", "fill": "constant", "zero": "zeros", "one": "ones",
}  # fmt: skip


def header_name(scope: Scope, h: ast.HeaderName) -> None:
    """A size or a hyperparameter."""
    name = h.name
    if name.id in CONSTRUCTOR_ARGUMENTS or keyword.iskeyword(name.id) or name.id.startswith("__"):
        title = f"`{name.id}` cannot be an argument of the generated class's constructor"
        why = "a keyword of Python" if keyword.iskeyword(name.id) else "Python reserves such names"
        if name.id in CONSTRUCTOR_ARGUMENTS:
            why = "the constructor already has it"
        scope.out.error("constructor-name", title, name.span, why, hint="choose another name")
    declare(scope, name, "size" if h.default is None else "hyper")
    if h.default is not None:
        _fixed_value(scope, h.default, "a hyperparameter's default", frozenset())


def declare(scope: Scope, name: ast.Name, role: str) -> None:
    """Gives a name its role."""
    if check_reserved(name, scope.out):
        scope.roles.setdefault(name.id, role)
        return
    if name.id in scope.roles:
        related = (Related(scope.places[name.id], "first declared here"),) if name.id in scope.places else ()
        scope.out.error("redeclared", f"`{name.id}` is declared twice", name.span, "declared again here", related=related)
        scope.clashing.add(name.id)
        return
    is_special = len(name.id) > 4 and name.id.startswith("__") and name.id.endswith("__")
    if role in ("param", "const") and (name.id in LAYER_ATTRIBUTES or is_special):
        title = f"a {role} cannot be named `{name.id}`"
        label = "the generated layer already has an attribute of this name" if name.id in LAYER_ATTRIBUTES else "Python reserves such names"
        scope.out.error("attribute-clash", title, name.span, label, hint=f"choose another name, such as `{name.id.strip('_') if is_special else name.id}_`")
    scope.roles[name.id] = role
    scope.places[name.id] = name.span


def declaration(scope: Scope, d: ast.Declaration) -> None:
    """What stands beside the declared names: sizes, a value, a constraint, a draw."""
    outer = _outer_axes(scope, d)
    for size in (*d.shape.heads, *d.shape.axes[outer:]):
        _size(scope, size)
    if d.value is not None:
        what = "an initial value" if d.role == "state" else "a const's value"
        _fixed_value(scope, d.value, what, PARAMS if d.role == "state" else STATIC | {"const"})
    match d.constraint:
        case ast.Above(op=op) if op != ">":
            low = scope.out.source.slice(d.constraint.low.span)
            hint = f"write `> {low}`: the bound itself is excluded" if op == ">=" else f"write `in (lo, {low})`"
            hint = hint if op in (">=", "<", "<=") else "the bound itself is excluded"
            scope.out.error("constraint", f"`{op}` is not a constraint", d.constraint.span, "a param may be `> lo` or `in (lo, hi)`",
                            hint=hint)  # fmt: skip
        case ast.Above():
            _fixed_value(scope, d.constraint.low, "a constraint", STATIC)
        case ast.Between():
            _fixed_value(scope, d.constraint.low, "a constraint", STATIC)
            _fixed_value(scope, d.constraint.high, "a constraint", STATIC)
    if d.draw is not None:
        known, what = (DISTRIBUTIONS, "distribution") if d.role == "noise" else (INITIALISERS, "initialiser")
        _draw(scope, d.draw, known, what, PARAMS if d.role == "noise" else STATIC)
    if d.how is not None and d.how.id != ONCE:
        scope.out.error("noise", f"`{d.how.id}` says nothing of a noise", d.how.span, f"only `{ONCE}` may stand here",
                        hint=f"with `{ONCE}` a noise is drawn once a sequence, without it at every step")  # fmt: skip


def _draw(scope: Scope, draw: ast.Draw, known: dict[str, tuple[int, ...]], what: str, roles: frozenset[str]) -> None:
    name = draw.name.id
    if name not in known:
        near = _SYNONYMS.get(name.lower()) or closest(name, known)
        hint = f"did you mean `{near}`?" if near in known else f"{what}s are {', '.join(known)}"
        scope.out.error(f"unknown-{what}", f"there is no {what} `{name}`", draw.name.span, f"not a known {what}",
                        hint=hint)  # fmt: skip
    elif len(draw.arguments) not in known[name]:
        takes = " or ".join(map(counted, known[name]))
        title = f"`{name}` takes {takes} argument{'s' * (takes != '1')}"
        scope.out.error("arity", title, draw.span, given(len(draw.arguments)))
    for a in draw.arguments:
        _fixed_value(scope, a, f"the argument of {with_article(what)}", roles)


def _outer_axes(scope: Scope, d: ast.Declaration) -> int:
    """How many leading axes are those of sequences and steps, by names that the header does not have: they are reported together."""
    axes = d.shape.axes
    outer = list(takewhile(lambda a: isinstance(a, ast.Name) and a.id not in scope.roles and is_outer_axis(a.id), axes))
    if not outer:
        return 0
    rest = ", ".join(scope.out.source.slice(a.span) for a in axes[len(outer) :])
    label = "a shape is that of one step of one sequence"
    names = ", ".join(n.id for n in d.names)
    called = f"; the layer is called with [B, T{', ' * bool(rest)}{rest}]" if d.role == "input" else ""
    scope.out.error("outer-axis", "there is no batch or time axis in a cell", outer[0].span.to(outer[-1].span), label,
                    hint=f"write `{d.role} {names}: [{rest}]`{called}")  # fmt: skip
    return len(outer)


def _size(scope: Scope, expr: ast.Expr) -> None:
    """A size is whole numbers and dimensions under + - * / ^."""
    match expr:
        case ast.Name():
            scope.used.add(expr.id)
            _size_name(scope, expr)
        case ast.Number() if isinstance(expr.value, complex) or expr.value != expr.value // 1:
            scope.out.error("not-a-size", "a size is a whole number", expr.span, "not a whole number")
        case ast.Number():
            pass
        case ast.Binary(op="+" | "-" | "*" | "/" | "^") | ast.Prefix():
            for child in ast.children(expr):
                _size(scope, child)
        case _:
            scope.out.error("not-a-size", "a shape is made of numbers and sizes of the header", expr.span,
                            "not a size", hint="sizes may be combined, as in `[4*H]`")  # fmt: skip


def _size_name(scope: Scope, name: ast.Name) -> None:
    role = scope.roles.get(name.id)
    if role == "size" or scope.told(name.id):
        return
    scope.unknown.add(name.id)
    sizes = [n for n, r in scope.roles.items() if r == "size"]
    if role is None:
        hint = lookalike(name.id, sizes) or (
            f"did you mean `{near}`?"
            if (near := closest(name.id, sizes))
            else f"add it to the header: `{_header_with(scope, name.id)}`"
        )
        title = f"the size `{name.id}` is not in the header"
        scope.out.error("undefined-size", title, name.span, "not a size of this cell", hint=hint)
        return
    hint = ""
    if role == "hyper":
        hint = f"a size has no default; write `{name.id}` alone in the header, and its value where a layer is built"
    related = (Related(scope.places[name.id], "declared here"),) if name.id in scope.places else ()
    scope.out.error("not-a-size", "a shape is made of sizes", name.span, f"`{name.id}` is {with_article(role)}", hint=hint or None,
                    related=related)  # fmt: skip


def _header_with(scope: Scope, size: str) -> str:
    """The cell's header with a size more, before the hyperparameters."""
    names = [scope.out.source.slice(h.span) for h in scope.cell.header]
    sizes = sum(h.default is None for h in scope.cell.header)
    return f"cell {scope.cell.name.id}({', '.join([*names[:sizes], size, *names[sizes:]])}):"


def _fixed_value(scope: Scope, expr: ast.Expr, what: str, allowed: frozenset[str]) -> None:
    """An expression outside the equations: made of numbers and of names with one of the `allowed` roles."""
    match expr:
        case ast.Name():
            scope.used.add(expr.id)
            role = scope.roles.get(expr.id, "clock" if expr.id == TIME else None)
            words = {"size": "sizes", "hyper": "hyperparameters", "param": "params", "const": "consts"}
            made = f"it is made of {listed(['numbers'] + [words[r] for r in ('size', 'hyper', 'const', 'param') if r in allowed])}"
            if role is None and expr.id in scope.locals:
                scope.out.error("not-static", f"{what} cannot depend on a local", expr.span,
                                f"`{expr.id}` is a local, which changes every step",
                                related=(Related(scope.locals[expr.id], "assigned here"),))  # fmt: skip
            elif role is None:
                known = [n for n, r in scope.roles.items() if r in allowed]
                scope.undefined(expr, unknown_value(expr.id, known, ()) or (f"declare it, as in `param {expr.id}: [H]`" if "param" in allowed else made))
            elif role not in allowed:
                title = f"{what} cannot depend on {with_article(role)}"
                label = f"`{expr.id}` is {with_article(role)}"
                scope.out.error("not-static", title, expr.span, label, hint=made)
            return
        case ast.Index() if scope.roles.get(expr.base.id) in ("state", "input", "noise"):
            role = scope.roles[expr.base.id]
            scope.used.add(expr.base.id)
            scope.out.error("not-static", f"{what} cannot depend on {with_article(role)}", expr.span,
                            f"`{expr.base.id}` is {with_article(role)}")  # fmt: skip
            return
        case ast.Index():
            _fixed_value(scope, expr.base, what, allowed)
        case ast.Call():
            check_call(expr, scope.functions, scope.values, scope.out)
    if check_attribute(expr, scope.roles, scope.out):
        return
    for child in ast.children(expr):
        _fixed_value(scope, child, what, allowed)
