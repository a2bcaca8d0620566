"""The checked cell: every name resolved, every shape known, functions inlined. What all later stages start from."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import NOWHERE, Source, Span


@dataclass(frozen=True)
class Type:
    """The shape of a value: head axes, the axes that equations see, and whether it is complex."""

    heads: tuple[Dim, ...] = ()
    axes: tuple[Dim, ...] = ()
    is_complex: bool = False

    @property
    def rank(self) -> int:
        return len(self.axes)

    def __str__(self) -> str:
        heads = ", ".join(map(str, self.heads)) + ";" if self.heads else ""
        axes = ", ".join(map(str, self.axes))
        return f"{'complex ' if self.is_complex else ''}[{heads}{' ' if heads and axes else ''}{axes}]"


SCALAR = Type()
GIVEN = frozenset(("input", "noise", "clock"))  # roles of what is there at every step before anything is computed
MOVING = GIVEN | {"state"}  # and of what has a value of its own at every step


# Expressions


@dataclass(frozen=True)
class Number:
    value: float | complex
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def type(self) -> Type:
        return Type(is_complex=isinstance(self.value, complex))


@dataclass(frozen=True)
class Ref:
    """A name. Roles: size, hyper, param, const, input, noise, state, local, counter (of a repeat), clock (`t`).

    `lag` counts steps back for states and inputs: `h[t]` is 0, `h[t-1]` is 1.
    """

    name: str
    role: str
    type: Type
    lag: int = 0
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    def moves(self, static: Container[str]) -> bool:
        """Whether it has a value of its own at every step. static: the locals that have none."""
        return self.role in MOVING or (self.role == "local" and self.name not in static)


@dataclass(frozen=True)
class Apply:
    """An operator or builtin applied to arguments; `static` holds what is not a value (sizes, a part's number)."""

    op: str
    args: tuple["Expr", ...]
    type: Type
    static: tuple[Dim | int, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Expr = Number | Ref | Apply


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node of an expression, parents first."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Apply):
            stack.extend(reversed(node.args))


# Declarations


@dataclass(frozen=True)
class Hyper:
    """A scalar hyperparameter and its default."""

    name: str
    default: float


@dataclass(frozen=True)
class Interval:
    """The open interval that a param is kept in; an end that is None is infinite."""

    low: Expr
    high: Expr | None


@dataclass(frozen=True)
class Draw:
    """An initialiser, or a distribution, which is drawn at every step or once a sequence."""

    name: str
    args: tuple[Expr, ...] = ()
    once: bool = False


@dataclass(frozen=True)
class Variable:
    """A declared input, state, param, const or noise."""

    name: str
    role: str
    type: Type
    span: Span = field(compare=False, repr=False)
    value: Expr | None = None  # a state's initial value, a const's value
    interval: Interval | None = None
    draw: Draw | None = None


# Equations


@dataclass(frozen=True)
class Let:
    """`name = value`; inside a repeat a name may be bound again."""

    name: str
    value: Expr
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Update:
    """`state[t] = value`."""

    state: str
    value: Expr
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Passed:
    """A local that the rounds of a repeat pass on: a round reads `name`, which is `start` in the first and later what `last` was before."""

    name: str
    start: Ref
    last: str


@dataclass(frozen=True)
class Repeat:
    """`counter` runs from `low` to `high`, both included.

    A plan binds each name once. There, `passed` says what a round takes from the one before, and `results` are the locals of the last round
    that are read after it.
    """

    counter: str
    low: Dim
    high: Dim
    body: tuple[Let, ...]
    passed: tuple[Passed, ...] = ()
    results: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


def always_runs(low: Dim, high: Dim) -> bool:
    """Whether a repeat has a round whatever the sizes are: each is at least 1, and the checks refuse one between numbers that never runs."""
    return low.number is not None and (high.number is not None or low.number <= 1)


Statement = Let | Update | Repeat


@dataclass(frozen=True)
class Returned:
    """One output."""

    name: str
    value: Expr
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Cell:
    name: str
    doc: str
    header: tuple[str | Hyper, ...]  # a size is its name
    variables: tuple[Variable, ...]
    body: tuple[Statement, ...]
    outputs: tuple[Returned, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    def of_role(self, role: str) -> tuple[Variable, ...]:
        """The variables of one role, in the order of their declaration."""
        return tuple(v for v in self.variables if v.role == role)

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(h for h in self.header if isinstance(h, str))

    @property
    def hypers(self) -> tuple[Hyper, ...]:
        return tuple(h for h in self.header if isinstance(h, Hyper))

    def expressions(self) -> Iterator[Expr]:
        """Every expression of the equations and outputs."""
        for statement in self.body:
            if isinstance(statement, Repeat):
                yield from (let.value for let in statement.body)
            else:
                yield statement.value
        yield from (o.value for o in self.outputs)

    def lags(self, role: str) -> dict[str, int]:
        """The furthest step back that each state or input is read at, where it is read at all."""
        found: dict[str, int] = {}
        for expr in self.expressions():
            for node in walk(expr):
                if isinstance(node, Ref) and node.role == role:
                    found[node.name] = max(found.get(node.name, 0), node.lag)
        return found

    @property
    def uses_clock(self) -> bool:
        return any(isinstance(n, Ref) and n.role == "clock" for e in self.expressions() for n in walk(e))


@dataclass(frozen=True)
class Program:
    """A checked file: its cells, in order, and the text that they came from."""

    source: Source
    cells: tuple[Cell, ...]
