"""The functions of a file: a `def` sees its own arguments and nothing else, and none calls itself."""

from dataclasses import dataclass, field
from itertools import dropwhile

from rnndsl.checks.names.uses import check_attribute, check_call, check_reserved
from rnndsl.checks.suggest import unknown_value
from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME


def check_recursion(functions: dict[str, ast.FunctionDef], out: Collector) -> None:
    """Reports cycles of functions that call one another; every function is looked at once."""
    calls = {
        name: [c for e in (f.body, f.slope) if e is not None for c in calls_in(e) if c.function.id in functions]
        for name, f in functions.items()
    }
    done: set[str] = set()
    for root in functions:
        path: dict[str, int] = {root: 0}  # the functions being followed, and how many of their calls have been
        while path and root not in done:
            name = next(reversed(path))
            if path[name] == len(calls[name]):
                done.add(name)
                del path[name]
                continue
            call = calls[name][path[name]]
            path[name] += 1
            callee = call.function.id
            if callee in path:
                cycle = [n for n, _ in dropwhile(lambda pair: pair[0] != callee, path.items())]  # noqa: B023
                links = " calls ".join(f"`{n}`" for n in [*cycle[:4], *(["…"] if len(cycle) > 4 else []), callee])
                out.error("recursion", f"`{callee}` calls itself", call.function.span, links.replace("`…`", "…"),
                          hint="functions are inlined; use `repeat k in 1..L:` for a fixed number of rounds")  # fmt: skip
                return
            if callee not in done:
                path[callee] = 0


def calls_in(expr: ast.Expr) -> list[ast.Call]:
    """Every call in an expression."""
    found = []
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call):
            found.append(node)
        stack.extend(ast.children(node))
    return found


@dataclass
class FunctionNames:
    """The names of one `def`: it sees its own arguments, constants and functions, nothing else."""

    function: ast.FunctionDef
    functions: dict[str, ast.FunctionDef]
    out: Collector
    unknown: set[str] = field(default_factory=set)  # names already reported

    def check(self) -> None:
        f = self.function
        seen: dict[str, Span] = {}
        for p in f.parameters:
            if p.id in seen:
                self.out.error("redeclared", f"`{p.id}` is an argument twice", p.span, "the second one",
                               related=(Related(seen[p.id], "the first one"),))  # fmt: skip
            check_reserved(p, self.out)
            seen.setdefault(p.id, p.span)
        if f.slope is not None and len(f.parameters) != 1:
            self.out.error("surrogate", "a function with `grad` takes one argument", f.name.span,
                           f"this one takes {len(f.parameters)}",
                           hint="the surrogate is the derivative in that argument")  # fmt: skip
        for expr in (f.body, f.slope):
            if expr is not None:
                self._expr(expr, seen)

    def _expr(self, expr: ast.Expr, parameters: dict[str, Span]) -> None:
        f = self.function
        match expr:
            case ast.Name() if expr.id not in parameters:
                if expr.id in self.unknown:
                    return
                self.unknown.add(expr.id)
                title = f"`{expr.id}` is not an argument of `{f.name.id}`"
                label = "a function sees its arguments and nothing else"
                hint = unknown_value(expr.id, parameters, ()) or f"add it: `def {f.name.id}({', '.join([*parameters, expr.id])})`"
                if expr.id == TIME:
                    hint = f"give the step number as an argument: `{f.name.id}(…, t)`"
                self.out.error("undefined", title, expr.span, label, hint=hint)
            case ast.Index():
                if not any(d.code == "index" and f.span.start <= d.span.start < f.span.end for d in self.out.found):
                    hint = f"give what is indexed as an argument: `{f.name.id}({expr.base.id}[t-1])` where it is called"
                    self.out.error("index", "an argument of a function has no index", expr.span, "a value, not a stream", hint=hint)
                return
            case ast.Call():
                check_call(expr, self.functions, parameters, self.out)
        if check_attribute(expr, parameters, self.out):
            return
        for child in ast.children(expr):
            self._expr(child, parameters)
