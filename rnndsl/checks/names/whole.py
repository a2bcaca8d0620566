"""A cell as a whole: what it returns, that every state gets its new value, and that nothing is there for nothing."""

from rnndsl.checks.names.reads import read, read_name
from rnndsl.checks.names.scope import Scope
from rnndsl.checks.names.words import word_of
from rnndsl.checks.suggest import closest
from rnndsl.diagnostics import Related
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME


def output(scope: Scope, s: ast.Output) -> None:
    """What a line of `output` returns."""
    for r in s.returned:
        key = f"output {r.name.id}"
        if key in scope.places:
            scope.out.error("redeclared", f"`{r.name.id}` is an output twice", r.name.span, "returned again here",
                            related=(Related(scope.places[key], "first returned here"),))  # fmt: skip
        scope.places.setdefault(key, r.name.span)
        if r.value is not None:
            read(scope, r.value, None)
        elif scope.roles.get(r.name.id) == "state":
            scope.used.add(r.name.id)
        elif r.name.id == TIME:
            scope.out.error("output-expression", "an output that is an expression needs a name", r.name.span, "the step number",
                            hint=f"write `output y = {TIME}`")  # fmt: skip
        elif r.name.id not in scope.roles and r.name.id not in scope.locals and r.name.id not in FUNCTIONS:
            near = closest(r.name.id, [*scope.roles, *scope.locals])
            hint = f"did you mean `{near}`?" if near else f"an expression is returned as `output {r.name.id} = …`"
            scope.undefined(r.name, hint)
        else:
            read_name(scope, r.name, None)


def check_whole(scope: Scope) -> None:
    """Reports what is missing, and warns of what is unused, once all equations have been read."""
    cell = scope.cell
    where = cell.name.span
    for name in scope.states:
        if name not in scope.assigned and name in scope.places and name not in scope.clashing:
            meant = [n for n in (f"{name}_t", f"{name}_new", f"new_{name}", f"{name}_next") if n in scope.locals]
            related = (Related(scope.locals[meant[0]], f"should this be `{name}[t]`?"),) if meant else ()
            scope.out.error("unassigned-state", f"the state `{name}` is never assigned", scope.places[name],
                            "it needs a new value every step", hint=f"add `{name}[t] = …`", related=related)  # fmt: skip
    inner = [i for s in cell.statements if isinstance(s, ast.Repeat) for i in s.body]
    if not any(isinstance(s, ast.Output) for s in (*cell.statements, *inner)):
        what = f"output {scope.states[-1]}" if scope.states else "output y = …"
        scope.out.error("missing-output", f"the cell `{cell.name.id}` returns nothing", where, "it has no `output`",
                        hint=f"end it with `{what}`")  # fmt: skip
    if not any(isinstance(s, ast.Declaration) and s.role == "input" for s in cell.statements) and not scope.unknown:
        scope.out.error("missing-input", f"the cell `{cell.name.id}` reads nothing", where, "it has no `input`",
                        hint="declare one: `input x: [D]`")  # fmt: skip
    for name, role in scope.roles.items():
        if name not in scope.used and role not in ("state",) and name in scope.places:
            _unused(scope, name, role)
    for name in scope.locals:
        if name not in scope.used:
            _unused(scope, name, "local")


def _unused(scope: Scope, name: str, role: str) -> None:
    if not scope.out.failed:
        scope.out.error("unused", f"`{name}` is never used", scope.places[name], f"this {word_of(role)} changes nothing",
                        severity="warning")  # fmt: skip
