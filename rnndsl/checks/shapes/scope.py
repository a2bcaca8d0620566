"""What is known of a cell while its expressions get their types, and how a wrong one is reported."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rnndsl.checks.cell import MOVING, Expr, Let, Number, Ref, Type, walk
from rnndsl.checks.dims import ONE, Dim
from rnndsl.diagnostics import Collector, Related, Span
from rnndsl.syntax import ast


class Stop(Exception):
    """An expression whose error has been reported; what contains it is not looked at."""


@dataclass
class Inlining:
    """The arguments of the function whose body is being read, and where it was called."""

    function: ast.FunctionDef
    arguments: dict[str, Expr]
    called: Span


@dataclass
class Scope:
    """The names of a cell with their roles and types. `body` are its statements so far."""

    name: ast.Name  # of the cell
    functions: dict[str, ast.FunctionDef]
    out: Collector
    roles: dict[str, str] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    varies: dict[str, bool] = field(default_factory=dict)  # locals: whether they depend on an input, a state or time
    body: list = field(default_factory=list)
    inlining: list[Inlining] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)  # names whose type could not be found
    counted: tuple[Dim, Dim] = (ONE, ONE)  # from where to where the repeat that is being read goes
    rebound: frozenset[str] = frozenset()  # locals of the repeat that is being read
    nodes: int = 0
    fresh: int = 0

    def changes(self, expr: Expr) -> bool:
        """Whether a value depends on an input, a noise, a state or the step number."""
        return any(
            isinstance(n, Ref)
            and (n.role in MOVING or (n.role == "local" and self.varies.get(n.name, False)))
            for n in walk(expr)
        )

    def turns(self, expr: Expr) -> bool:
        """Whether a value may be another one in each round of the repeat that it stands in."""
        return any(isinstance(n, Ref) and (n.role == "counter" or n.name in self.rebound) for n in walk(expr))

    def named(self, value: Expr, stem: str, body: list, span: Span) -> Expr:
        """The value itself if it is a name or number, else a local bound to it."""
        if isinstance(value, Ref | Number):
            return value
        self.fresh += 1
        name = f"{stem}.{self.fresh}"  # a dot: no name of the user's
        self.types[name], self.varies[name] = value.type, self.changes(value)
        body.append(Let(name, value, span=span))
        return Ref(name, "local", value.type, span=span)

    def report(
        self,
        code: str,
        title: str,
        span: Span,
        label: str,
        *,
        hint: str | None = None,
        note: str | None = None,
        related: tuple[Related, ...] = (),
    ) -> None:
        """Reports an error, with the calls of functions in which it lies."""
        calls = [Related(i.called, f"in this call of `{i.function.name.id}`") for i in self.inlining]
        self.out.error(code, title, span, label, hint=hint, note=note, related=related + tuple(calls[:1] + calls[1:][-2:]))

    def guard(self, compute: Callable):
        """What a function gives, None where it stops."""
        try:
            return compute()
        except Stop:
            return None
