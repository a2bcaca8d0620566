"""Where the boxes of a cell's graph stand, in inches, and which way its edges go: between boxes, never behind one.

Boxes stand in columns. An edge that passes over a column has a slot of its own there, between the boxes; edges of one source share it.
Beside a column, edges between its own boxes go along lanes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rnndsl.tools.graph import Edge, Graph

TALL = 0.4  # inches of a box
_ROW, _SLOT = 0.76, 0.26  # of a box with the room around it, and of an edge that passes by
_GAP, _LANE = 0.62, 0.13  # between columns, and more for each lane
_MARGIN = 0.3
_WIDEST = 1.15  # half the width of a box

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """The middle of a box, and half its width."""

    x: float
    y: float
    half: float


@dataclass(frozen=True)
class Route:
    """The corners of an edge's way, to be rounded; straight: it is one line. The arrow is at its end."""

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """Everything placed; y grows upwards from 0."""

    wide: float
    high: float
    boxes: dict[str, Box]
    routes: tuple[Route, ...]


@dataclass
class _Column:
    """One column from left to right: slots from top to bottom, each the key of a box or the source of an edge that passes by."""

    keys: tuple[str, ...]
    passing: list[str] = field(default_factory=list)  # sources of edges that pass
    slots: list[tuple[str, bool]] = field(default_factory=list)  # and whether it is a box
    left: float = 0.0
    right: float = 0.0
    lanes: int = 0

    @property
    def high(self) -> float:
        return sum(_ROW if box else _SLOT for _, box in self.slots)


def layout(graph: Graph) -> Layout:
    """Places a graph."""
    return _Layout(graph).made()


class _Layout:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.columns = [_Column(keys) for keys in graph.columns]
        self.column_of = {key: i for i, keys in enumerate(graph.columns) for key in keys}
        self.rank = {key: (j + 0.5) / len(keys) for keys in graph.columns for j, key in enumerate(keys)}  # 0 above, 1 below
        self.half = {key: min(max(0.075 * len(n.label) + 0.16, 0.34), _WIDEST) for key, n in graph.nodes.items()}
        self.lane_of: dict[Edge, int] = {}
        self.boxes: dict[str, Box] = {}
        self.slot_y: dict[tuple[int, str], float] = {}

    def made(self) -> Layout:
        for edge in self.graph.edges:
            for i in self._over(edge):
                if edge.source not in self.columns[i].passing:
                    self.columns[i].passing.append(edge.source)
        for i, column in enumerate(self.columns):
            ranked = [(self.rank[k], k, True) for k in column.keys] + [(self._rank_in(i, k), k, False) for k in column.passing]
            column.slots = [(k, box) for _, k, box in sorted(ranked, key=lambda r: (r[0], not r[2]))]
        self._choose_lanes()
        high = max((c.high for c in self.columns), default=0.0)
        wide = self._place(high)
        return Layout(wide, high, self.boxes, tuple(Route(e, tuple(self._way(e))) for e in self.graph.edges))

    def _over(self, edge: Edge) -> range:
        """The columns that an edge passes."""
        low, high = sorted((self.column_of[edge.source], self.column_of[edge.target]))
        return range(low + 1, high)

    def _rank_in(self, i: int, source: str) -> float:
        """How far down the edges of a source pass a column: on the way to where most of them end."""
        ends = [self.rank[e.target] for e in self.graph.edges if e.source == source and i in self._over(e)]
        return (self.rank[source] + sum(ends) / len(ends)) / 2

    def _choose_lanes(self) -> None:
        """Lanes for the edges inside a column that do not go straight to the next box: the shortest inside."""
        for i, column in enumerate(self.columns):
            place = {key: n for n, (key, box) in enumerate(column.slots) if box}
            inside = [e for e in self.graph.edges if self.column_of[e.source] == self.column_of[e.target] == i and not self._is_straight(e) and e.source != e.target]
            taken: list[list[tuple[int, int]]] = []
            for e in sorted(inside, key=lambda e: abs(place[e.source] - place[e.target])):
                low, high = sorted((place[e.source], place[e.target]))
                lane = next((n for n, spans in enumerate(taken) if all(high < a or b < low for a, b in spans)), len(taken))
                if lane == len(taken):
                    taken.append([])
                taken[lane].append((low, high))
                self.lane_of[e] = lane
            column.lanes = len(taken)

    def _is_straight(self, edge: Edge) -> bool:
        """Whether an edge goes straight down to the next box of its column."""
        keys = self.columns[self.column_of[edge.source]].keys
        return not edge.recurrent and edge.target in keys and keys.index(edge.target) - keys.index(edge.source) == 1

    def _place(self, high: float) -> float:
        """Gives every box and slot its place; the width of it all."""
        x = _MARGIN
        for i, column in enumerate(self.columns):
            half = max((self.half[k] for k in column.keys), default=0.0)
            column.left, column.right = x, x + 2 * half
            y = high - (high - column.high) / 2
            for key, box in column.slots:
                tall = _ROW if box else _SLOT
                if box:
                    self.boxes[key] = Box(x + half, y - tall / 2 - 0.06, self.half[key])  # a loop stands above it
                else:
                    self.slot_y[i, key] = y - tall / 2
                y -= tall
            x = column.right + _GAP + _LANE * column.lanes
        last = self.columns[-1] if self.columns else _Column(())
        return last.right + _LANE * last.lanes + _MARGIN

    def _way(self, edge: Edge) -> Iterable[Point]:
        a, b = self.boxes[edge.source], self.boxes[edge.target]
        i, j = self.column_of[edge.source], self.column_of[edge.target]
        if edge.source == edge.target:
            x, y = a.x - 0.45 * a.half, a.y + TALL / 2
            return [(x - 0.1, y), (x - 0.1, y + 0.22), (x + 0.1, y + 0.22), (x + 0.1, y)]
        if i == j and self._is_straight(edge):
            x = a.x + 0.4 * min(a.half, b.half)
            return [(x, a.y - TALL / 2), (x, b.y + TALL / 2)]
        if i == j:
            x = self.columns[i].right + 0.14 + _LANE * self.lane_of[edge]
            up = 0.09 if a.y > b.y else -0.09
            return [(a.x + a.half, a.y - up), (x, a.y - up), (x, b.y + up), (b.x + b.half, b.y + up)]
        if j < i:  # to a column before: the same way backwards
            return list(self._across(edge.source, b, a, j, i))[::-1]
        return self._across(edge.source, a, b, i, j)

    def _across(self, source: str, left: Box, right: Box, i: int, j: int) -> Iterable[Point]:
        """From a box to one of a column further right, through the slots of those between."""
        yield left.x + left.half, left.y
        yield self.columns[i].right + _LANE * self.columns[i].lanes, left.y
        for k in range(i + 1, j):
            y = self.slot_y[k, source]
            yield self.columns[k].left - 0.06, y
            yield self.columns[k].right + _LANE * self.columns[k].lanes, y
        yield self.columns[j].left - 0.12, right.y
        yield right.x - right.half, right.y
