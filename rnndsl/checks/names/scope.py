"""What is known of a cell while its names are checked, and how an unknown one is reported."""

from collections import ChainMap
from collections.abc import Container
from dataclasses import dataclass, field

from rnndsl.diagnostics import Collector, Span
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast

STATIC = frozenset(("size", "hyper"))  # roles that are known when a layer is built
PARAMS = STATIC | {"param", "const"}


@dataclass
class Scope:
    """The names of a cell, their roles and what has been read and assigned so far."""

    cell: ast.CellDef
    functions: dict[str, ast.FunctionDef]
    out: Collector
    roles: dict[str, str] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    assigned: dict[str, Span] = field(default_factory=dict)  # states and locals that have a value so far
    locals: dict[str, Span] = field(default_factory=dict)  # every local, and where it is first assigned
    counters: dict[str, Span] = field(default_factory=dict)  # of the repeats
    clashing: set[str] = field(default_factory=set)  # names declared twice: their uses may mean either
    unknown: set[str] = field(default_factory=set)  # names reported as undefined: told once
    repeated: set[str] = field(default_factory=set)  # states that a repeat assigns, which is told there

    @property
    def values(self) -> Container[str]:
        """Every name that has a value in the equations."""
        return ChainMap[str, object](self.roles, self.locals, self.counters)  # type: ignore[arg-type]

    @property
    def states(self) -> list[str]:
        return [n for n, r in self.roles.items() if r == "state"]

    def told(self, name: str) -> bool:
        """Whether a name has been reported, so that its uses give no second message."""
        return name in self.unknown or name in self.clashing or self.out.full

    def undefined(self, name: ast.Name, hint: str | None) -> None:
        """Reports a name that nothing declares, once a cell."""
        if self.told(name.id):
            return
        self.unknown.add(name.id)
        written = self.out.source.slice(name.span)
        if written.endswith("ᵀ"):
            hint = f"a transpose is written `{written[:-1]}.T`"
        if name.id in self.functions or name.id in FUNCTIONS:
            self.out.error("function-value", f"`{name.id}` is a function, not a value", name.span, "a function is called",
                           hint=f"write `{name.id}(…)`")  # fmt: skip
        else:
            self.out.error("undefined", f"`{written}` is not defined", name.span, "nothing declares this name", hint=hint)

    def declaring_hint(self, name: str) -> str:
        """Where an unknown name may be declared."""
        if "input" not in self.roles.values():
            return f"declare it: `input {name}: [D]`"
        return f"declare it, as in `param {name}: [H]`, or assign it on a line above"
