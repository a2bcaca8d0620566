"""The plan: when each equation of a cell is computed. Emitters read it; nothing in it is text."""

from dataclasses import dataclass, field
from functools import cached_property

from rnndsl.checks.cell import SCALAR, Apply, Cell, Expr, Let, Ref, Repeat, Type, Update, Variable, walk
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Span


@dataclass(frozen=True)
class Gemm:
    """Several `products` W_i @ operand as one: `results` are the row blocks of `matrix @ operand`."""

    results: tuple[str, ...]
    matrix: Ref
    operand: Expr
    products: tuple[Apply, ...]

    @property
    def rows(self) -> tuple[Dim, ...]:
        return tuple(p.args[0].type.axes[0] for p in self.products)


Operation = Let | Update | Repeat | Gemm


def names_of(operation: Operation) -> tuple[str, ...]:
    """The locals that an operation binds for those after it."""
    match operation:
        case Let():
            return (operation.name,)
        case Repeat() | Gemm():
            return operation.results
    return ()


def inner_names(repeat: Repeat) -> set[str]:
    """Every name that a repeat binds, for its rounds or for those after it."""
    return {repeat.counter, *(p.name for p in repeat.passed), *(let.name for let in repeat.body)}


def expressions_of(operation: Operation) -> list[Expr]:
    """The expressions that an operation computes."""
    match operation:
        case Repeat():
            return [*(p.start for p in operation.passed), *(let.value for let in operation.body)]
        case Gemm():
            return [operation.matrix, operation.operand]
    return [operation.value]


@dataclass(frozen=True)
class Map:
    """Operations computed for all steps at once."""

    body: tuple[Operation, ...]


@dataclass(frozen=True)
class Scan:
    """One component of the recurrence: states that depend on each other's past, solved together.

    `streams` are the values of each step that its equations read, computed by earlier stages.
    """

    states: tuple[str, ...]
    body: tuple[Operation, ...]
    streams: tuple[Ref, ...]

    @cached_property
    def carried(self) -> tuple[tuple[str, int], ...]:
        """The past values that its equations read, (state, lag), the nearest first; each state of the step before is among them."""
        furthest = dict.fromkeys(self.states, 1)
        refs = (n for o in self.body for e in expressions_of(o) for n in walk(e) if isinstance(n, Ref) and n.role == "state")
        for ref in refs:
            if ref.name in furthest:
                furthest[ref.name] = max(furthest[ref.name], ref.lag)
        return tuple((s, lag) for lag in range(1, max(furthest.values(), default=0) + 1) for s in self.states if lag <= furthest[s])


Stage = Map | Scan


@dataclass(frozen=True)
class Carry:
    """One field of the state tuple: `source[t-lag]` as the next step sees it; lag 0 of the clock is its step number."""

    field: str
    source: str
    role: str  # state, input, clock
    lag: int
    type: Type


@dataclass(frozen=True)
class Plan:
    """A cell as stages: `constants` once a call, then `stages` in order, then the outputs."""

    cell: Cell
    constants: tuple[Let, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[tuple[str, Expr, Span], ...]
    carries: tuple[Carry, ...]
    static: frozenset[str] = field(default_factory=frozenset)  # locals that depend on params alone

    def variable(self, name: str) -> Variable:
        """The declared variable of that name."""
        return next(v for v in self.cell.variables if v.name == name)

    @property
    def given(self) -> tuple[Ref, ...]:
        """Inputs, then the step number where the cell reads it: what the step of a whole cell is given, in this order."""
        return (*(Ref(v.name, "input", v.type) for v in self.cell.of_role("input")), *([Ref("t", "clock", SCALAR)] if self.cell.uses_clock else []))

    @property
    def carried(self) -> tuple[tuple[str, str, int], ...]:
        """Source, role and lag of the fields of the state tuple, but for the step number: what the step of a whole cell carries, in this order."""
        return tuple((c.source, c.role, c.lag) for c in self.carries if c.role != "clock")

    @property
    def scans(self) -> tuple[Scan, ...]:
        return tuple(s for s in self.stages if isinstance(s, Scan))
