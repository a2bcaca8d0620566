"""A cell as a picture: its states, streams and the edges between them; and the sparsity of each component's Jacobian."""

import io
from pathlib import Path
from typing import Any

from rnndsl.calculus.analysis import Component, System
from rnndsl.calculus.structure import LEFT, PER_HEAD, RIGHT
from rnndsl.files import write_whole
from rnndsl.tools import NoMatplotlib, Unfit
from rnndsl.tools.graph import Graph, state_graph
from rnndsl.tools.names import timed

INK, GREY, BLUE, RED, PAPER = "#1f2933", "#9aa5b1", "#2563a8", "#c2410c", "#ffffff"
_FILL = {"input": "#eef2f6", "stream": "#eef2f6", "state": "#dbeafe", "output": "#f1f5f1"}
_EDGE = {"input": "#7b8794", "stream": "#7b8794", "state": BLUE, "output": "#5f8a6b"}
_TITLE, _PANEL = 0.75, 2.4  # inches
_LARGEST = 1500  # square inches of a picture
_SIDE = 12  # pixels of one Jacobian block


def draw(system: System, path: str | Path) -> None:
    """Writes the picture, in the format of the path's suffix: .png or .svg."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise Unfit(f"{path}: a picture is a .png or a .svg file")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoMatplotlib from None
    graph = state_graph(system)
    solved = [c for c in system.components if not c.too_large and c.jacobian is not None]
    beside = len(solved) == 1  # one Jacobian stands beside the graph, several in a row below it
    rows = max(max((len(c) for c in graph.columns), default=1), 2)
    graph_wide, graph_high = 1.9 * len(graph.columns) + 0.6, 0.72 * rows + 1.0
    panel = _PANEL + 1.1
    wide = graph_wide + panel if beside else max(graph_wide, panel * len(solved)) + 0.4
    high = _TITLE + (max(graph_high, _PANEL + 0.6) if beside else graph_high + (panel if solved else 0))
    graph_high = high - _TITLE if beside else graph_high
    if wide * high > _LARGEST:
        raise Unfit(f"{system.plan.cell.name} is too large to show in a picture: {wide:.0f} by {high:.0f} inches; at most {_LARGEST} square inches")
    figure = Figure(figsize=(wide, high), dpi=160, facecolor=PAPER)

    def place(left: float, top: float, across: float, down: float) -> Any:
        """Axes at a place in inches from the upper left corner."""
        return figure.add_axes((left / wide, 1 - (top + down) / high, across / wide, down / high))

    figure.text(0.3 / wide, 1 - 0.36 / high, system.plan.cell.name, fontsize=15, fontweight="bold", color=INK, va="center")
    _graph(place(0.2, _TITLE - 0.1, graph_wide, graph_high), graph, graph_wide, graph_high)
    for i, c in enumerate(solved):
        left = graph_wide + 0.8 if beside else 0.9 + i * max(panel, wide / len(solved))
        top = _TITLE + 0.3 if beside else _TITLE + graph_high + 0.35
        _jacobian(place(left, top, _PANEL, _PANEL), c)
    save(figure, path)


def save(figure: Any, path: str | Path) -> None:
    """Writes a figure, in the format of the path's suffix, all of it or nothing. Raises OSError."""
    suffix = Path(path).suffix.lower()
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:], metadata={"Date": None} if suffix == ".svg" else None)
    write_whole(Path(path), picture.getvalue())


def _graph(axes: Any, graph: Graph, wide: float, high: float) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    axes.set_xlim(0, wide)
    axes.set_ylim(0, high)
    axes.axis("off")
    step = wide / max(len(graph.columns), 1)
    boxes: dict[str, tuple[float, float, float]] = {}
    floor = 0.45 if len(graph.columns) < 6 else 0.8  # the legend stands below
    for i, column in enumerate(graph.columns):
        for j, key in enumerate(column):
            y = floor + (high - floor) * (1 - (j + 0.5) / len(column))
            node = graph.nodes[key]
            half = min(max(0.075 * len(node.text) + 0.16, 0.34), step / 2 - 0.12)
            boxes[key] = (step * (i + 0.5), y, half)
    tall = 0.2
    for key, (x, y, half) in boxes.items():
        node = graph.nodes[key]
        box = FancyBboxPatch(
            (x - half, y - tall), 2 * half, 2 * tall, boxstyle="round,pad=0,rounding_size=0.12", facecolor=_FILL[node.kind],
            edgecolor=_EDGE[node.kind], linewidth=1.8 if node.kind == "state" else 1.0, zorder=3,
        )  # fmt: skip
        axes.add_patch(box)
        size = 10.5 if len(node.text) < 11 else 8.5 if len(node.text) < 16 else 7
        axes.text(x, y, node.text, ha="center", va="center", fontsize=size, color=INK, zorder=4,
                  fontweight="bold" if node.kind == "state" else "normal")  # fmt: skip
    for edge in graph.edges:
        (x0, y0, half0), (x1, y1, half1) = boxes[edge.source], boxes[edge.target]
        colour = RED if edge.recurrent else GREY
        if edge.source == edge.target:
            middle = x0 - 0.35 * half0
            start, end, bend = (middle - 0.14, y0 + tall), (middle + 0.14, y0 + tall), -1.7
        elif abs(x0 - x1) < 1e-6:
            start, end, bend = _within_a_column((x0, y0, half0), (x1, y1, half1), tall, edge.recurrent, _between(boxes, x0, y0, y1))
        else:
            start, end, bend = (x0 + half0, y0), (x1 - half1, y1), 0.0
            if x1 < x0:
                start, end, bend = (x0, y0 - tall), (x1, y1 - tall), -0.35
            elif edge.far:
                start, end, bend = (x0 + half0 * 0.6, y0 - tall), (x1 - half1 * 0.6, y1 - tall), min(0.22, 1.1 / abs(x1 - x0))
        arrow = FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>,head_length=4.5,head_width=2.2", color=colour,
            linewidth=1.6 if edge.recurrent else 1.0, shrinkA=1, shrinkB=1, zorder=2,
        )  # fmt: skip
        axes.add_patch(arrow)
    axes.plot([0.1, 0.45], [0.12, 0.12], color=RED, linewidth=1.6)
    axes.text(0.55, 0.12, "reads the step before", fontsize=8, va="center", color=INK)
    axes.plot([2.25, 2.6], [0.12, 0.12], color=GREY, linewidth=1.0)
    axes.text(2.7, 0.12, "same step", fontsize=8, va="center", color=INK)


Box = tuple[float, float, float]


def _between(boxes: dict[str, Box], x: float, y0: float, y1: float) -> bool:
    """Whether a box of the same column stands between two others."""
    return any(abs(b[0] - x) < 1e-6 and min(y0, y1) + 1e-6 < b[1] < max(y0, y1) - 1e-6 for b in boxes.values())


def _within_a_column(source: Box, target: Box, tall: float, recurrent: bool, blocked: bool) -> tuple[Any, Any, float]:
    """Straight down the right half where the way is free; the step before bows out on the right."""
    (x0, y0, half0), (x1, y1, half1) = source, target
    down = 1 if y0 > y1 else -1
    if recurrent or blocked:
        lift = 0.09 * down
        return (x0 + half0, y0 - lift), (x1 + half1, y1 + lift), -0.45 * down
    return (x0 + 0.4 * half0, y0 - down * tall), (x1 + 0.4 * half1, y1 + down * tall), 0.0


def block(c: Component, direct: bool, through: bool, side: int = _SIDE) -> list[list[int]]:
    """One block of a Jacobian as pixels: 0 empty, 1 from operations that mix channels, 2 channel by channel."""
    part, few = side // 3, side // 4

    def mixed(i: int, j: int) -> bool:
        if not through:
            return False
        match c.structure.kind:
            case _ if c.structure.kind == PER_HEAD:
                return i // part == j // part
            case _ if c.structure.kind == RIGHT:  # rows side by side, each a dense block
                return i // few == j // few
            case _ if c.structure.kind == LEFT:  # columns side by side: every few entries
                return i % few == j % few
        return True

    return [[2 if direct and i == j else 1 if mixed(i, j) else 0 for j in range(side)] for i in range(side)]


def blocks(c: Component) -> list[list[tuple[bool, bool]]]:
    """For each new state and slot: whether it is reached channel by channel, and whether through a mixing operation."""
    assert c.jacobian is not None and c.lanes is not None
    plain = c.jacobian.conjugates
    slots = [s.symbol for s in c.lanes.slots]
    reach: dict[Any, set] = {}
    for mix, p in zip(c.lanes.mixes, c.jacobian.operands, strict=True):
        keys = {plain.get(k, k) for k in p.by}
        reach[mix.symbol] = {k for k in keys if k in slots}.union(*(reach[k] for k in keys if k in reach))
    found = []
    for p in c.jacobian.updates:
        keys = {plain.get(k, k) for k in p.by}
        through = set().union(*(reach[k] for k in keys if k in reach))
        found.append([(s in keys, s in through) for s in slots])
    return found


def _jacobian(axes: Any, c: Component) -> None:
    from matplotlib.colors import ListedColormap

    assert c.jacobian is not None and c.lanes is not None
    grid = [[block(c, *b) for b in row] for row in blocks(c)]
    image = [[p for b in row for p in b[i]] for row in grid for i in range(_SIDE)]
    high, wide = len(image), len(image[0])
    axes.imshow(image, cmap=ListedColormap(["#f7f9fb", "#a9c7e8", "#123f73"]), vmin=0, vmax=2, interpolation="nearest", aspect="equal")
    for k in range(0, wide + 1, _SIDE):
        axes.axvline(k - 0.5, color=INK if k in (0, wide) else PAPER, linewidth=1.2 if k in (0, wide) else 2.5)
    for k in range(0, high + 1, _SIDE):
        axes.axhline(k - 0.5, color=INK if k in (0, high) else PAPER, linewidth=1.2 if k in (0, high) else 2.5)
    columns = [timed(s.state, s.lag) for s in c.lanes.slots]
    rows = [timed(s, 0) for s, _ in c.lanes.updates]
    axes.set_xticks([_SIDE * (i + 0.5) - 0.5 for i in range(len(columns))], columns, fontsize=9, color=INK)
    axes.set_yticks([_SIDE * (i + 0.5) - 0.5 for i in range(len(rows))], rows, fontsize=9, color=INK)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    for s in axes.spines.values():
        s.set_visible(False)
    kinds = {PER_HEAD: "dense in each head", LEFT: "mixes rows", RIGHT: "mixes columns"}
    text = kinds.get(c.structure.kind, c.structure.kind)
    axes.set_xlabel(f"{c.family}, {text}", fontsize=9, color=INK, labelpad=5)


