"""The graph of a cell drawn: boxes and edges where `layout` has placed them, and a legend of what there is."""

from collections.abc import Sequence
from typing import Any

from rnndsl.tools.colours import BLUE, GREY, INK, MIXED, OWN, PAPER, RED
from rnndsl.tools.graph import Graph
from rnndsl.tools.layout import TALL, Layout, Point

_ROUND, _SQUARE = "round,pad=0,rounding_size=0.12", "square,pad=0"
# Of each kind of node: its box, its fill, its border, how wide that is and how it is drawn, and what the legend calls it.
_STYLES: dict[str, tuple[str, str, str, float, str, str]] = {
    "input": (_ROUND, "#eef2f6", "#7b8794", 1.0, "-", "input"),
    "noise": (_ROUND, "#f6effb", "#8757b3", 1.2, "--", "~ noise"),
    "stream": (_ROUND, PAPER, "#7b8794", 1.0, "-", "computed for all steps at once"),
    "state": (_ROUND, "#dbeafe", BLUE, 2.0, "-", "state"),
    "output": (_SQUARE, "#e3f4e7", "#3f7d55", 1.2, "-", "\N{RIGHTWARDS ARROW} output"),
}
_LETTER, _LINE = 0.063, 0.27  # inches of a letter of the legend, and of a line of it

Entry = tuple[str, str, float]  # a kind of node, edge or pixel, what it is called, and how wide that is


def legend(graph: Graph, has_jacobian: bool, wide: float) -> list[list[Entry]]:
    """The lines of the legend of what a picture shows, in at most so many inches."""
    kinds = [k for k in _STYLES if any(n.kind == k for n in graph.nodes.values())]
    names = [(k, _STYLES[k][-1]) for k in kinds] + [("same", "same step")]
    names += [("before", "reads the step before")] if any(e.recurrent for e in graph.edges) else []
    names += [("own", "Jacobian: channel by channel"), ("mixed", "through what mixes channels")] if has_jacobian else []
    lines: list[list[Entry]] = [[]]
    for kind, name in names:
        entry = (kind, name, 0.62 + _LETTER * len(name))
        if lines[-1] and sum(w for *_, w in lines[-1]) + entry[2] > wide:
            lines.append([])
        lines[-1].append(entry)
    return lines


def legend_high(lines: Sequence[Sequence[Entry]]) -> float:
    """Inches of a legend."""
    return 0.25 + _LINE * len(lines)


def draw_legend(axes: Any, lines: Sequence[Sequence[Entry]]) -> None:
    """Draws a legend from the lower left corner of axes in inches."""
    for i, line in enumerate(lines):
        x, y = 0.1, 0.15 + _LINE * (len(lines) - 1 - i)
        for kind, name, wide in line:
            if kind in _STYLES:
                _box(axes, kind, x + 0.17, y, 0.17, 0.075)
            elif kind in ("own", "mixed"):
                axes.fill([x + 0.09, x + 0.25, x + 0.25, x + 0.09], [y - 0.08, y - 0.08, y + 0.08, y + 0.08], color=OWN if kind == "own" else MIXED)
            else:
                axes.add_patch(_arrow(((x, y), (x + 0.36, y)), kind == "before"))
            axes.text(x + 0.44, y, name, fontsize=8, va="center", color=INK)
            x += wide


def draw_graph(axes: Any, graph: Graph, placed: Layout) -> None:
    """Draws the boxes and the edges between them on axes in inches."""
    for key, box in placed.boxes.items():
        node = graph.nodes[key]
        _box(axes, node.kind, box.x, box.y, box.half, TALL / 2)
        size = 10.5 if len(node.label) < 12 else 8.5 if len(node.label) < 17 else 7
        bold = "bold" if node.kind == "state" else "normal"
        axes.text(box.x, box.y, node.label, ha="center", va="center", fontsize=size, color=INK, zorder=4, fontweight=bold)
    for route in placed.routes:
        axes.add_patch(_arrow(route.points, route.edge.recurrent))


def _box(axes: Any, kind: str, x: float, y: float, half: float, tall: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape, fill, border, width, dashes, _ = _STYLES[kind]
    shape = shape.replace("0.12", f"{min(0.12, tall * 0.6):.3f}")
    axes.add_patch(FancyBboxPatch((x - half, y - tall), 2 * half, 2 * tall, boxstyle=shape, facecolor=fill, edgecolor=border, linewidth=width,
                                  linestyle=dashes, zorder=3))  # fmt: skip


def _arrow(points: Sequence[Point], recurrent: bool) -> Any:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    corners, codes = curve(points)
    return FancyArrowPatch(
        path=Path(corners, codes), arrowstyle="-|>,head_length=4.5,head_width=2.2", color=RED if recurrent else GREY, linewidth=1.6 if recurrent else 1.0,
        capstyle="butt", zorder=2,
    )  # fmt: skip


_MOVE, _LINETO, _THIRD, _FOURTH = 1, 2, 3, 4  # of matplotlib's paths


def curve(points: Sequence[Point]) -> tuple[list[Point], list[int]]:
    """The way through some corners as matplotlib has it: right angles are rounded, slopes begin and end level."""
    corners, codes = [points[0]], [_MOVE]
    for n in range(1, len(points)):
        (x0, y0), (x1, y1) = points[n - 1], points[n]
        if x0 != x1 and y0 != y1:
            middle = (x0 + x1) / 2
            corners += [(middle, y0), (middle, y1), (x1, y1)]
            codes += [_FOURTH] * 3
        elif n + 1 < len(points) and _turns(points[n - 1 : n + 2]):
            before, behind = _towards(points[n], points[n - 1]), _towards(points[n], points[n + 1])
            corners += [before, points[n], behind]
            codes += [_LINETO, _THIRD, _THIRD]
        else:
            corners.append((x1, y1))
            codes.append(_LINETO)
    return corners, codes


def _turns(three: Sequence[Point]) -> bool:
    """Whether a way turns at a right angle."""
    (ax, ay), (bx, by), (cx, cy) = three
    return (ax == bx and by == cy) or (ay == by and bx == cx)


def _towards(a: Point, b: Point) -> Point:
    """A tenth of an inch, or half the way, from one point towards another."""
    far = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    part = min(0.1, far / 2) / far if far else 0.0
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part
