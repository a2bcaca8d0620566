"""Expressions of equations: every name has a value where it is read, and states are read with their time."""

from rnndsl.checks.names.order import early_hint
from rnndsl.checks.names.scope import Scope
from rnndsl.checks.names.times import mentions_time, time_lag
from rnndsl.checks.names.uses import check_attribute, check_call
from rnndsl.checks.names.words import with_article
from rnndsl.checks.suggest import closest, unknown_value
from rnndsl.diagnostics import Related
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME

MAX_LAG = 64  # each step back is one more carried field


def read(scope: Scope, expr: ast.Expr, counter: ast.Name | None) -> None:
    """An expression of an equation; `counter` of the repeat that it stands in."""
    match expr:
        case ast.Name():
            read_name(scope, expr, counter)
            return
        case ast.Index():
            _read_index(scope, expr, counter)
            return
        case ast.Call():
            check_call(expr, scope.functions, scope.values, scope.out, scope.states)
    if check_attribute(expr, scope.values, scope.out):
        return
    for child in ast.children(expr):
        read(scope, child, counter)


def read_name(scope: Scope, name: ast.Name, counter: ast.Name | None) -> None:
    """A name without an index."""
    scope.used.add(name.id)
    role = scope.roles.get(name.id)
    if role == "state" and name.id not in scope.clashing:
        scope.out.error("bare-state", f"`{name.id}` is a state", name.span, "a state is read with its time",
                        hint=f"write `{name.id}[t-1]` for the old value, `{name.id}[t]` for the new one")  # fmt: skip
    elif role is not None or name.id == TIME or (counter is not None and name.id == counter.id):
        return
    elif name.id in scope.locals:
        if name.id not in scope.assigned:
            scope.out.error("read-before-assigned", f"`{name.id}` is read before it is assigned", name.span,
                            "it has no value yet", related=(Related(scope.locals[name.id], "assigned here"),),
                            hint=early_hint(scope, name.id, name.span))  # fmt: skip
    else:
        if scope.told(name.id):
            return
        known = [*scope.roles, *scope.locals, *([counter.id] if counter else [])]
        if name.id in scope.counters:
            scope.out.error("undefined", f"`{name.id}` has no value here", name.span, "known inside its repeat alone",
                            related=(Related(scope.counters[name.id], "the counter of this repeat"),))  # fmt: skip
        else:
            scope.undefined(name, unknown_value(name.id, known, scope.states) or scope.declaring_hint(name.id))


def _read_index(scope: Scope, expr: ast.Index, counter: ast.Name | None) -> None:
    """A name with an index: a time, or the number of a slice."""
    name = expr.base.id
    scope.used.add(name)
    role = scope.roles.get(name)
    lag = time_lag(expr.arguments)
    if role in ("state", "input"):
        if lag is None:
            _no_time(scope, expr, role)
        elif lag < 0:
            scope.out.error("future", f"`{name}[t+{-lag}]` lies in the future", expr.span, "not known yet at step t",
                            hint=f"a cell may read `{name}[t]` and the past, `{name}[t-1]`")  # fmt: skip
        elif role == "state" and lag == 0 and name not in scope.assigned:
            _read_early(scope, expr)
        elif lag > MAX_LAG:
            scope.out.error("index", f"a lag of {lag} steps is too long", expr.span, f"at most {MAX_LAG} steps back")
    elif role in ("param", "const"):
        if mentions_time(expr):
            scope.out.error("index", f"`{name}` does not change with time", expr.span, f"`{name}` is {with_article(role)}",
                            hint=f"write `{name}`")  # fmt: skip
            return
        if len(expr.arguments) != 1:
            scope.out.error("index", "a slice is selected by one number", expr.span, f"{len(expr.arguments)} given",
                            hint=f"`{name}[k]` is slice k of the leading head axis; single entries are not selected")  # fmt: skip
            return
        _slice(scope, expr.arguments[0], counter)
    elif role in ("size", "hyper"):
        scope.out.error("index", f"`{name}` is {with_article(role)}", expr.span, "it has no index", hint=f"write `{name}`")
    elif role == "noise":
        scope.out.error("index", f"`{name}` is a noise", expr.span, "a noise is read without an index",
                        hint=f"write `{name}`; to keep an old draw, carry it in a state")  # fmt: skip
    elif name in scope.locals:
        if lag is None:
            label, hint = f"`{name}` is a local", f"single entries are not selected; `split` takes equal parts: `u, v = split({name}, 2)`"
        elif lag == 0:
            label, hint = f"`{name}` is a local, not a state", f"write `{name}`"
        else:
            label = f"`{name}` is a local: its old value is not kept"
            hint = f"to keep it, declare `state {name}: […]` and assign `{name}[t] = …`"
        scope.out.error("not-a-state", f"`{name}` has no index", expr.span, label, hint=hint)
    elif name == TIME:
        scope.out.error("index", f"`{name}` has no index", expr.span, "the step number", hint=f"write `{name}`, or `{name} - 1`")
    elif not scope.told(name):
        hint = unknown_value(name, [*scope.roles, *scope.locals], scope.states) or ""
        near = closest(name, scope.states)
        if near and lag is not None and lag >= 0:
            hint = f"did you mean `{near}[t{'-' + str(lag) if lag else ''}]`?"
        elif lag is not None and not hint:
            hint = f"declare it: `state {name}: [H]`"
        scope.undefined(expr.base, hint or scope.declaring_hint(name))


def _no_time(scope: Scope, expr: ast.Index, role: str) -> None:
    """Reports an index of a state or an input that is no time."""
    name = expr.base.id
    if len(expr.arguments) > 1:
        hint = f"write `{name}[t]` or `{name}[t-1]`; single entries are not selected"
    elif _other_step(scope, expr.arguments[0]):
        hint = f"the step is called `t`: `{name}[t]`, `{name}[t-1]`"
    elif mentions_time(expr):
        hint = f"a lag is a whole number, written out: `{name}[t-1]`, `{name}[t-2]`"
    elif role == "state":
        hint = f"write `{name}[t-1]` for the old value, `{name}[t]` for the new one; single entries are not selected"
    else:
        hint = f"write `{name}` for this step, `{name}[t-1]` for the one before; single entries are not selected"
    scope.out.error("index", "this is not a time", expr.span, f"`{name}` is {with_article(role)}, indexed by time", hint=hint)


def _other_step(scope: Scope, index: ast.Expr) -> bool:
    """Whether an index is a step by another name, `n-1`."""
    if isinstance(index, ast.Binary) and isinstance(index.right, ast.Number):
        index = index.left
    return isinstance(index, ast.Name) and index.id != TIME and index.id not in scope.values


def _read_early(scope: Scope, expr: ast.Index) -> None:
    """Reports `h[t]` before the line that assigns it, unless that line is missing or wrong, which is reported itself."""
    name = expr.base.id
    for s in scope.cell.statements:
        for target in s.targets if isinstance(s, ast.Assign) else ():
            if target.name.id == name and time_lag(target.index) == 0:
                here = s.span.start <= expr.span.start < s.span.end
                label = "this line assigns it" if here else "it has no value yet"
                related = () if here else (Related(target.span, "assigned here"),)
                scope.out.error("read-before-assigned", f"`{name}[t]` is read before it is assigned", expr.span, label,
                                hint=early_hint(scope, name, expr.span), related=related)  # fmt: skip
                return


def _slice(scope: Scope, index: ast.Expr, counter: ast.Name | None) -> None:
    match index:
        case ast.Name():
            scope.used.add(index.id)
            if scope.roles.get(index.id) != "size" and (counter is None or index.id != counter.id):
                _no_slice(scope, index, "not known when a layer is built")
        case ast.Number() | ast.Prefix(operand=ast.Number()):
            pass
        case ast.Binary(op="+" | "-"):
            _slice(scope, index.left, counter)
            _slice(scope, index.right, counter)
        case _:
            _no_slice(scope, index, "not a slice")


def _no_slice(scope: Scope, index: ast.Expr, label: str) -> None:
    scope.out.error("index", "a slice is selected by a number, a size or the repeat's counter, or a sum or difference of them", index.span, label)
