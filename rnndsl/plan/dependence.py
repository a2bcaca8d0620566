"""Which states a value depends on, and the components of states that depend on each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rnndsl.checks.cell import GIVEN, Cell, Expr, Let, Ref, Repeat, Update, walk
from rnndsl.plan.ir import expressions_of, inner_names

STATIC, STREAM = -2, -1  # levels below those of the components, which count from 0


@dataclass(frozen=True)
class Dependence:
    """What each local and state update reads, and the order of the components.

    A value's level is STATIC if it depends on params alone, STREAM if on inputs too, else the place of the last component
    whose states it reads.
    """

    components: tuple[tuple[str, ...], ...]  # in the order in which they can be solved
    recurrent: tuple[bool, ...]  # whether a component reads its own past
    levels: dict[str, int]  # of locals
    place: dict[str, int]  # of each state: its component

    def level(self, expr: Expr) -> int:
        """The level of an expression."""
        return max((self.level_of(n) for n in walk(expr) if isinstance(n, Ref)), default=STATIC)

    def level_of(self, ref: Ref) -> int:
        """The level of one name."""
        match ref.role:
            case "state":
                return self.place[ref.name]
            case "local":
                return self.levels[ref.name]
            case "input" | "noise" | "clock":
                return STREAM
        return STATIC


def analyse(cell: Cell) -> Dependence:
    """The dependence analysis of a cell (the strongly connected components are Tarjan's, 1972)."""
    reads: dict[str, set[str]] = {}  # locals: states that they depend on
    streams: set[str] = set()  # locals that depend on an input

    def read(expr: Expr) -> tuple[set[str], bool]:
        states: set[str] = set()
        stream = False
        for n in walk(expr):
            if isinstance(n, Ref):
                if n.role == "state":
                    states.add(n.name)
                elif n.role == "local":
                    states |= reads.get(n.name, set())
                    stream |= n.name in streams
                elif n.role in GIVEN:
                    stream = True
        return states, stream

    def bind(let: Let) -> None:
        reads[let.name], stream = read(let.value)
        if stream:
            streams.add(let.name)

    needs: dict[str, set[str]] = {}
    for statement in cell.body:
        match statement:
            case Let():
                bind(statement)
            case Update():
                needs[statement.state] = read(statement.value)[0]
            case Repeat():
                found = [read(e) for e in expressions_of(statement)]
                names = inner_names(statement)  # a block is computed as a whole
                reads.update((n, set().union(*(states for states, _ in found))) for n in names)
                if any(stream for _, stream in found):
                    streams |= names
    components = strongly_connected(needs)
    place = {s: i for i, component in enumerate(components) for s in component}
    recurrent = tuple(len(c) > 1 or c[0] in needs[c[0]] for c in components)
    levels = {n: max((place[s] for s in reads[n]), default=STREAM if n in streams else STATIC) for n in reads}
    return Dependence(components, recurrent, levels, place)


def strongly_connected(graph: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Components of a graph, each after those that it points to; members keep the graph's order."""
    order = {n: i for i, n in enumerate(graph)}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node], key=order.__getitem__):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            cut = stack.index(node)
            found.append(tuple(sorted(stack[cut:], key=order.__getitem__)))
            del stack[cut:]

    for node in graph:
        if node not in index:
            visit(node)
    return tuple(found)
