"""The equations: assignments, unpacked splits, repeats and outputs."""

from dataclasses import replace

from rnndsl.checks.cell import SCALAR, Apply, Expr, Let, Ref, Repeat, Returned, Type, Update
from rnndsl.checks.dims import ONE, Dim
from rnndsl.checks.names.words import shorten
from rnndsl.checks.shapes.expressions import expression
from rnndsl.checks.shapes.fitting import fits
from rnndsl.checks.shapes.rules import Mismatch, elementwise, kind
from rnndsl.checks.shapes.scope import Scope, Stop
from rnndsl.checks.shapes.sizes import dimension
from rnndsl.syntax import ast


def assign(scope: Scope, s: ast.Assign, body: list, widen: dict[str, Type] | None = None) -> None:
    names = [t.name.id for t in s.targets]
    try:
        if len(s.targets) > 1:
            _unpack(scope, s, body, widen)
            return
        if isinstance(s.value, ast.Call) and s.value.function.id == "split":
            scope.report("split", "split gives several values", s.value.span, "one name on the left",
                         hint=f"write `{names[0]}1, {names[0]}2 = split(…, 2)`")  # fmt: skip
            raise Stop
        value = expression(scope, s.value, body)
        target = s.targets[0]
        if target.index is not None:
            declared = scope.types.get(names[0])
            if declared is None:
                raise Stop
            fits(scope, value, declared, s.value.span, f"the new value of `{names[0]}`", None)
            body.append(Update(names[0], value, span=s.span))
            return
        _bind(scope, names[0], value, s, body, widen)
    except Stop:
        scope.failed.update(n for n in names if scope.roles.get(n) != "state")


def _bind(scope: Scope, name: str, value: Expr, s: ast.Assign, body: list, widen: dict[str, Type] | None = None) -> None:
    old = scope.types.get(name) if name not in scope.failed else None
    new = value.type
    if old is not None and old != new:  # bound again in a repeat
        try:
            joined = elementwise((old, new))
        except Mismatch:
            joined = None
        if joined is None or (joined != old and widen is None):
            scope.report("shape-mismatch", f"`{name}` changes its shape inside the repeat", s.span,
                         f"it was {old}, this is {new}", hint="give the second value a name of its own")  # fmt: skip
            raise Stop
        if joined != old and widen is not None:
            widen[name] = joined
        if joined != new:
            value, new = Apply("broadcast", (value,), joined, span=value.span), joined
    scope.types[name] = new
    scope.varies[name] = scope.changes(value) or scope.varies.get(name, False)
    body.append(Let(name, value, span=s.span))


def _unpack(scope: Scope, s: ast.Assign, body: list, widen: dict[str, Type] | None) -> None:
    call = s.value
    count = len(s.targets)
    for target in s.targets:
        if target.index is not None:
            scope.report("split", "split gives locals", target.span, "a state is assigned by a line of its own",
                         hint=f"name the part first, then write `{target.name.id}[t] = …`")  # fmt: skip
            raise Stop
    if not isinstance(call, ast.Call) or call.function.id != "split":
        scope.report("split", "only split gives several values", call.span, f"one value for {count} names",
                     hint=f"write `{', '.join(t.name.id for t in s.targets)} = split(…, {count})`")  # fmt: skip
        raise Stop
    vector, parts = call.arguments
    if not (isinstance(parts, ast.Number) and parts.value == count):
        written = scope.out.source.slice(parts.span)
        scope.report("split", f"split into {shorten(written)} parts, but there are {count} names on the left", parts.span,
                     f"expected {count}", hint="the number of parts is written out")  # fmt: skip
        raise Stop
    value = expression(scope, vector, body)
    if value.type.rank != 1:
        scope.report("shape-mismatch", "split takes a vector", vector.span, f"this is {kind(value.type)}")
        raise Stop
    part = value.type.axes[0] / Dim.of(count)
    if part.number is not None and part.number.denominator != 1:
        scope.report("split", f"{value.type.axes[0]} entries do not split into {count} equal parts", s.value.span,
                     f"the vector is {value.type}")  # fmt: skip
        raise Stop
    value = scope.named(value, "parts", body, call.span)
    t = replace(value.type, axes=(part,))
    for i, target in enumerate(s.targets):
        _bind(scope, target.name.id, Apply("split", (value,), t, (count, i), span=call.span), s, body, widen)


def repeat(scope: Scope, s: ast.Repeat) -> None:
    low, high = scope.guard(lambda: dimension(scope, s.low)), scope.guard(lambda: dimension(scope, s.high))
    if low is None or high is None:
        return
    if (n := (high - low).number) is not None and n < 0:
        scope.report("repeat-bound", "this repeat never runs", s.low.span.to(s.high.span), f"{high} is below {low}")
        return
    if (n := (high - low).number) is not None and n >= 1000:
        scope.report("repeat-bound", "this repeat is too long", s.high.span, f"{n + 1} rounds", hint="at most 1000")
        return
    counter = s.variable.id
    scope.roles[counter], scope.types[counter] = "counter", SCALAR
    scope.counted = low, high
    scope.rebound = frozenset(target.name.id for inner in s.body if isinstance(inner, ast.Assign) for target in inner.targets)
    while True:  # a local that starts as a scalar and becomes a vector takes a second reading, and so may one that is made of it
        saved_types, saved_nodes = dict(scope.types), scope.nodes
        body: list[Let] = []
        widen: dict[str, Type] = {}
        for inner in s.body:
            if isinstance(inner, ast.Assign):
                assign(scope, inner, body, widen)
        if not widen:
            break
        scope.types, scope.nodes = saved_types, saved_nodes
        for name, t in widen.items():
            if name in scope.types:
                start = Ref(name, "local", scope.types[name], span=s.span)
                scope.body.append(Let(name, Apply("broadcast", (start,), t, span=s.span), span=s.span))
            scope.types[name] = t
    for name in {let.name for let in body}:
        if any(scope.changes(let.value) for let in body):
            scope.varies[name] = True
    scope.counted, scope.rebound = (ONE, ONE), frozenset()
    scope.body.append(Repeat(counter, low, high, tuple(body), span=s.span))


def outputs_of(scope: Scope, s: ast.Output) -> list[Returned]:
    found = []
    for r in s.returned:
        name = r.name
        if r.value is not None:
            value = scope.guard(lambda r=r: expression(scope, r.value, scope.body))
        elif scope.roles.get(name.id) == "state" and name.id in scope.types:
            value = Ref(name.id, "state", scope.types[name.id], span=name.span)
        else:
            value = scope.guard(lambda name=name: expression(scope, name, scope.body))
        if value is not None:
            found.append(Returned(name.id, value, span=r.span))
    return found
