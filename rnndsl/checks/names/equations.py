"""Equations: what is assigned, once and in its place. They are read in the order of the text."""

from rnndsl.checks.names.functions import calls_in
from rnndsl.checks.names.reads import read
from rnndsl.checks.names.scope import Scope
from rnndsl.checks.names.times import time_lag
from rnndsl.checks.names.uses import check_reserved
from rnndsl.checks.names.words import with_article
from rnndsl.checks.suggest import closest
from rnndsl.diagnostics import Related, Span
from rnndsl.syntax import ast


def locals_of(scope: Scope, statements: tuple[ast.Statement, ...]) -> dict[str, Span]:
    """Every local of the cell and where it is first assigned."""
    found: dict[str, Span] = {}
    for s in statements:
        if isinstance(s, ast.Assign):
            for target in s.targets:
                if target.index is None and target.name.id not in scope.roles:
                    found.setdefault(target.name.id, target.name.span)
        elif isinstance(s, ast.Repeat):
            for name, span in locals_of(scope, s.body).items():
                found.setdefault(name, span)
    return found


def statement(scope: Scope, s: ast.Statement, counter: ast.Name | None) -> None:
    """One line, or a repeat; `counter` of the repeat that it stands in."""
    match s:
        case ast.Assign():
            read(scope, s.value, counter)
            for target in s.targets:
                _target(scope, target, counter)
        case ast.Repeat():
            _repeat(scope, s, counter)
        case ast.Declaration() | ast.Output() if counter is not None:
            word = s.role if isinstance(s, ast.Declaration) else "output"
            scope.out.error("repeat-body", f"`{word}` cannot stand inside a repeat", s.span,
                            "only locals are assigned in a repeat", hint="put it outside the block")  # fmt: skip


def _repeat(scope: Scope, s: ast.Repeat, counter: ast.Name | None) -> None:
    if counter is not None:
        scope.out.error("nested-repeat", "repeats cannot be nested", s.variable.span, "inside another repeat",
                        related=(Related(counter.span, "the outer repeat"),))  # fmt: skip
        return
    for bound in (s.low, s.high):
        _bound(scope, bound)
    name = s.variable
    if check_reserved(name, scope.out):
        return
    if name.id in scope.roles or name.id in scope.locals:
        place = scope.places.get(name.id) or scope.locals[name.id]
        scope.out.error("redeclared", f"`{name.id}` has a meaning already", name.span, "the counter of a repeat",
                        related=(Related(place, "declared here"),), hint="give the counter a name of its own")  # fmt: skip
    for inner in s.body:
        statement(scope, inner, name)


def _bound(scope: Scope, expr: ast.Expr) -> None:
    if isinstance(expr, ast.Number) and not isinstance(expr.value, complex) and expr.value == expr.value // 1:
        return
    if isinstance(expr, ast.Name) and scope.roles.get(expr.id) == "size":
        scope.used.add(expr.id)
        return
    label = "not a number or a size"
    if isinstance(expr, ast.Name) and expr.id in scope.roles:
        label = f"`{expr.id}` is {with_article(scope.roles[expr.id])}"
    elif isinstance(expr, ast.Name):
        label = f"nothing declares `{expr.id}`"
    scope.out.error("repeat-bound", "the bound of a repeat is a whole number or a size", expr.span, label,
                    hint="the block is unrolled, so its length must be known when a layer is built")  # fmt: skip


def _target(scope: Scope, target: ast.Target, counter: ast.Name | None) -> None:
    name = target.name
    role = scope.roles.get(name.id)
    if role == "state":
        _assign_state(scope, target, counter)
        return
    if target.index is not None:
        no_state(scope, target)
        return
    if role is not None:
        title = f"`{name.id}` is {with_article(role)} and cannot be assigned"
        scope.out.error("redeclared", title, name.span, "assigned here", hint="give the result a name of its own",
                        related=(Related(scope.places[name.id], "declared here"),))  # fmt: skip
        return
    if check_reserved(name, scope.out):
        scope.assigned.setdefault(name.id, name.span)
        return
    if name.id in scope.functions and name.id in _called(scope):
        scope.out.error("redeclared", f"`{name.id}` is a function of this file", name.span, "assigned here",
                        related=(Related(scope.functions[name.id].name.span, "defined here"),))  # fmt: skip
    before = scope.assigned.get(name.id)
    if before is not None and counter is None:
        hint = f"give the second value a name of its own, such as `{name.id}2`"
        scope.out.error("reassigned", f"`{name.id}` is assigned twice", name.span, "assigned again here", hint=hint,
                        related=(Related(before, "first assigned here"),))  # fmt: skip
    scope.assigned.setdefault(name.id, name.span)
    scope.places.setdefault(name.id, name.span)


def _called(scope: Scope) -> set[str]:
    found: set[str] = set()

    def of(statements: tuple[ast.Statement, ...]) -> None:
        for s in statements:
            if isinstance(s, ast.Assign):
                found.update(c.function.id for c in calls_in(s.value))
            elif isinstance(s, ast.Output):
                found.update(c.function.id for r in s.returned if r.value for c in calls_in(r.value))
            elif isinstance(s, ast.Repeat):
                of(s.body)

    of(scope.cell.statements)
    return found


def _assign_state(scope: Scope, target: ast.Target, counter: ast.Name | None) -> None:
    name = target.name
    lag = time_lag(target.index)
    if counter is not None:
        scope.out.error("repeat-body", "no state is assigned inside a repeat", target.span, "assigned here",
                        hint=f"use a local inside, and write `{name.id}[t] = …` after `end`")  # fmt: skip
        scope.repeated.add(name.id)
        scope.assigned.setdefault(name.id, target.span)
        return
    if target.index is None:
        scope.out.error("bare-state", f"`{name.id}` is a state", name.span, "a state is assigned with its time",
                        hint=f"write `{name.id}[t] = …`")  # fmt: skip
    elif lag is None:
        scope.out.error("index", "this is not a time", target.span, "a state is assigned at `t`",
                        hint=f"write `{name.id}[t] = …`")  # fmt: skip
    elif lag != 0:
        hint = f"the new value is `{name.id}[t]`, the old one `{name.id}[t-1]`"
        scope.out.error("index", f"only `{name.id}[t]` can be assigned", target.span, "another step than `t`", hint=hint)
    if name.id in scope.assigned and name.id not in scope.repeated:
        scope.out.error("reassigned", f"the state `{name.id}` is assigned twice", target.span, "assigned again here",
                        related=(Related(scope.assigned[name.id], "first assigned here"),))  # fmt: skip
    scope.assigned.setdefault(name.id, target.span)


def no_state(scope: Scope, target: ast.Target) -> None:
    """Reports `z[t] = …` where `z` is not declared as a state."""
    name = target.name.id
    role = scope.roles.get(name)
    if scope.told(name):
        return
    scope.unknown.add(name)
    if role is not None:
        hint = "an equation names a result: `z = …`"
        if role in ("param", "const"):
            hint = f"{with_article(role)} is the same at every step; what changes is a state, `state {name}: […]`"
        scope.out.error("not-a-state", f"`{name}` is {with_article(role)}, not a state", target.span, "only a state is assigned at a time",
                        hint=hint, related=(Related(scope.places[name], "declared here"),))  # fmt: skip
        return
    near = closest(name, [s for s in scope.states if s not in scope.locals])
    hint = f"did you mean `{near}[t]`?" if near else f"declare it, `state {name}: [H]`, or write `{name} = …` if no step reads its past"
    scope.out.error("not-a-state", f"`{name}` is not declared", target.span, "only a state is assigned at a time", hint=hint)
