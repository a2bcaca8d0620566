"""The graph of a cell's states: inputs, hoisted streams, states and outputs in columns, and what reads what."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnndsl.calculus.analysis import Component, System
from rnndsl.checks.cell import MOVING, Expr, Ref, Update, walk
from rnndsl.plan.ir import Plan, Scan, expressions_of, names_of
from rnndsl.tools.names import Shown


@dataclass(frozen=True)
class Node:
    """A value of a cell, by its name."""

    text: str
    kind: str  # input, noise, stream, state, output

    @property
    def label(self) -> str:
        """Its name as the picture shows it: a draw and what is returned are marked."""
        return {"noise": "~ ", "output": "→ "}.get(self.kind, "") + self.text


@dataclass(frozen=True)
class Edge:
    """From what is read to what reads it; `recurrent` where the value of the step before is read."""

    source: str
    target: str
    recurrent: bool = False


@dataclass(frozen=True)
class Graph:
    columns: tuple[tuple[str, ...], ...]
    nodes: dict[str, Node]
    edges: tuple[Edge, ...]


def state_graph(system: System) -> Graph:
    """The graph of a cell."""
    return _Builder(system).build()


class _Builder:
    def __init__(self, system: System):
        self.system, self.plan = system, system.plan
        self.shown = Shown(self.plan.cell)
        self.definitions = _definitions(self.plan)
        self.nodes: dict[str, Node] = {}
        self.columns: list[list[str]] = []
        self.edges: dict[tuple[str, str, bool], Edge] = {}

    def build(self) -> Graph:
        inputs = [v for role in ("input", "noise") for v in self.plan.cell.of_role(role)]
        first = [self._node(f"input {v.name}", v.name, v.role) for v in inputs]
        if self.plan.cell.uses_clock:
            first.append(self._node("input t", "t", "input"))
        self.columns.append(first)
        for c in self.system.components:
            self._component(c)
        outputs = []
        for name, value, _ in self.plan.outputs:
            key = self._node(f"output {name}", name, "output")
            outputs.append(key)
            for ref in self._sources([value]):
                self._edge(ref, key)
        self.columns.append(outputs)
        columns = tuple(tuple(c) for c in self.columns if c)
        return Graph(columns, self.nodes, tuple(self.edges.values()))

    def _node(self, key: str, text: str, kind: str) -> str:
        self.nodes[key] = Node(text, kind)
        return key

    def _edge(self, ref: Ref, target: str) -> None:
        source = f"{'state' if ref.role == 'state' else 'input'} {ref.name}"
        if source in self.nodes:
            recurrent = ref.lag > 0
            self.edges.setdefault((source, target, recurrent), Edge(source, target, recurrent))

    def _sources(self, expressions: Iterable[Expr]) -> list[Ref]:
        """Inputs and states that expressions read, through any locals."""
        found: dict[tuple[str, str, bool], Ref] = {}
        seen: set[str] = set()
        stack = list(expressions)
        while stack:
            for n in walk(stack.pop()):
                if isinstance(n, Ref) and n.role == "local" and n.name not in seen:
                    seen.add(n.name)
                    stack.extend(self.definitions.get(n.name, ()))
                elif isinstance(n, Ref) and n.role in MOVING:
                    found.setdefault((n.role, n.name, n.lag > 0), n)
        return list(found.values())

    def _component(self, c: Component) -> None:
        streams: list[str] = []
        states = [self._node(f"state {s}", s, "state") for s in c.states]
        if c.scan is None:
            update = next(o for s in self.plan.stages for o in s.body if isinstance(o, Update) and o.state == c.states[0])
            self.columns.append(states)
            for ref in self._sources([update.value]):
                self._edge(ref, states[0])
            return
        for ref in c.scan.streams:
            if ref.role == "local":
                key = self._node(f"stream {ref.name}", self.shown(ref.name), "stream")
                streams.append(key)
                for source in self._sources([ref]):
                    self._edge(source, key)
        self.columns += [streams, states]
        inside = _definitions_of(c.scan)
        for o in c.scan.body:
            if isinstance(o, Update):
                self._update(o, c.scan, inside)

    def _update(self, o: Update, scan: Scan, inside: dict[str, list[Expr]]) -> None:
        """Edges to one state: from the streams and states that its equation reads, through locals of the scan."""
        target = f"state {o.state}"
        streams = {r.name for r in scan.streams if r.role == "local"}
        seen: set[str] = set()
        stack: list[Expr] = [o.value]
        while stack:
            for n in walk(stack.pop()):
                if not isinstance(n, Ref):
                    continue
                if n.role == "local" and n.name in streams:
                    self.edges.setdefault((f"stream {n.name}", target, False), Edge(f"stream {n.name}", target))
                elif n.role == "local" and n.name in inside and n.name not in seen:
                    seen.add(n.name)
                    stack.extend(inside[n.name])
                elif n.role in MOVING:
                    self._edge(n, target)


def _definitions(plan: Plan) -> dict[str, list[Expr]]:
    """What each local of a plan is computed from."""
    found: dict[str, list[Expr]] = {}
    for stage in plan.stages:
        for name, expressions in _bound(stage.body).items():
            found.setdefault(name, []).extend(expressions)
    return found


def _definitions_of(scan: Scan) -> dict[str, list[Expr]]:
    return _bound(scan.body)


def _bound(body: Iterable) -> dict[str, list[Expr]]:
    found: dict[str, list[Expr]] = {}
    for o in body:
        for name in names_of(o):
            found.setdefault(name, []).extend(expressions_of(o))
    return found
