"""A cell as a picture: its states, streams and the edges between them; and the sparsity of each component's Jacobian."""

import io
from pathlib import Path
from typing import Any

from rnndsl.calculus.analysis import System
from rnndsl.files import write_whole
from rnndsl.tools import NoMatplotlib, Unfit
from rnndsl.tools.colours import INK, PAPER
from rnndsl.tools.graph import state_graph
from rnndsl.tools.layout import layout
from rnndsl.tools.picture_graph import draw_graph, draw_legend, legend, legend_high
from rnndsl.tools.picture_jacobian import draw_jacobian

_TITLE, _PANEL = 0.7, 2.4  # inches
_LARGEST = 1500  # square inches of a picture


def draw(system: System, path: str | Path) -> None:
    """Writes the picture, in the format of the path's suffix: .png or .svg. Raises Unfit, NoMatplotlib, OSError."""
    check_path(path)
    save(figure_of(system), path)


def check_path(path: str | Path) -> None:
    """Raises Unfit for a file that is no picture, NoMatplotlib where it is not installed."""
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise Unfit(f"{path}: a picture is a .png or a .svg file")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise NoMatplotlib from None


def as_svg(system: System, bare: bool = False) -> str:
    """The picture as the text of an SVG, to stand in a page; bare: without title and legend. Raises Unfit, NoMatplotlib."""
    text = io.StringIO()
    figure_of(system, bare).savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def figure_of(system: System, bare: bool = False) -> Any:
    """The picture as a figure of matplotlib's; bare: without title and legend. Raises NoMatplotlib, and Unfit for a cell that is too large."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoMatplotlib from None
    graph = state_graph(system)
    placed = layout(graph)
    solved = [c for c in system.components if not c.too_large and c.jacobian is not None]
    beside = len(solved) == 1  # one Jacobian stands beside the graph, several in a row below it
    panel = _PANEL + 1.1
    wide = placed.wide + panel if beside else max(placed.wide, panel * len(solved)) + 0.4
    lines = [] if bare else legend(graph, bool(solved), wide - 0.4)
    title, below = (0.1, 0.1) if bare else (_TITLE, legend_high(lines))
    drawn = max(placed.high, _PANEL + 0.6) if beside else placed.high + 0.2
    high = title + drawn + (panel if solved and not beside else 0) + below
    if wide * high > _LARGEST:
        raise Unfit(f"{system.plan.cell.name} is too large to show in a picture: {wide:.0f} by {high:.0f} inches; at most {_LARGEST} square inches")
    figure = Figure(figsize=(wide, high), dpi=160, facecolor=PAPER)

    def place(left: float, top: float, across: float, down: float, inches: bool = True) -> Any:
        """Axes at a place in inches from the upper left corner, with inches as their unit."""
        axes = figure.add_axes((left / wide, 1 - (top + down) / high, across / wide, down / high))
        if inches:
            axes.set_xlim(0, across)
            axes.set_ylim(0, down)
            axes.axis("off")
        return axes

    if not bare:
        figure.text(0.3 / wide, 1 - 0.36 / high, system.plan.cell.name, fontsize=15, fontweight="bold", color=INK, va="center")
    top = title + ((drawn - placed.high) / 2 if beside else 0)
    draw_graph(place(0, top, placed.wide, placed.high), graph, placed)
    for i, c in enumerate(solved):
        left = placed.wide + 0.8 if beside else 0.9 + i * max(panel, wide / len(solved))
        top = title + (drawn - _PANEL) / 2 if beside else title + drawn + 0.35
        draw_jacobian(place(left, top, _PANEL, _PANEL, inches=False), c)
    draw_legend(place(0.2, high - below, wide - 0.4, below), lines)
    return figure


def save(figure: Any, path: str | Path) -> None:
    """Writes a figure, in the format of the path's suffix, all of it or nothing. Raises OSError."""
    suffix = Path(path).suffix.lower()
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:], metadata={"Date": None} if suffix == ".svg" else None)
    write_whole(Path(path), picture.getvalue())
