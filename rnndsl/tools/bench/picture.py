"""A sweep as a picture: time against what was varied, both logarithmic, a panel a task, a line a candidate."""

from pathlib import Path
from typing import Any

from rnndsl.tools import Unfit
from rnndsl.tools.bench.report import heading, seconds_text
from rnndsl.tools.bench.run import COPY, Group, Result
from rnndsl.tools.colours import BLUE, GREY, INK, PAPER, RED
from rnndsl.tools.picture import check_path, save

_OURS = (BLUE, "#1f8a70", "#6b4fbb")
_OTHERS = {"loop": INK, "compile": "#b7791f", "nn": RED, "pararnn": "#a23b72", COPY: GREY}
_BOUND = "bound: a copy"
Line = tuple[list[int], list[float]]


def check_picture(path: str | Path, over: Any) -> None:
    """Raises Unfit where there is nothing to draw, or for a file that is no picture; NoMatplotlib where it is not installed."""
    if over is None:
        raise Unfit("a picture shows time against what is varied; give it with --over, as in --over T=64,256,1024")
    check_path(path)


def draw(result: Result, path: str | Path) -> None:
    """Writes the picture, in the format of the path's suffix: .png or .svg."""
    check_picture(path, result.over)
    assert result.over is not None
    from matplotlib.figure import Figure

    panels = {title: _lines(groups) for title, groups in result.series().items() if len(groups) > 1}
    if not panels:
        raise Unfit("nothing was measured at two values; there is no line to draw")
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(5.2 * across + 1.4, 3.7 * down + 1.0), dpi=160, facecolor=PAPER)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (title, found) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, found)
        seconds_over(axes, sorted({x for xs, _ in found.values() for x in xs}), letters=8)
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.set_xlabel(result.over[0], fontsize=9, color=INK)
    handles = {h.get_label(): h for axes in grid.flat for h in axes.get_lines()}
    names = sorted(handles, key=lambda n: (*_OTHERS, _BOUND).index(n) if n in (*_OTHERS, _BOUND) else -1)  # ours first
    figure.legend([handles[n] for n in names], names, loc="center right", frameon=False, fontsize=9, labelcolor=INK)
    first, second = heading(result)
    figure.suptitle(f"{first}\n{second}", fontsize=9.5, color=INK, x=0.02, ha="left", y=0.985)
    figure.tight_layout(rect=(0, 0, 1 - 1.35 / (5.2 * across + 1.4), 1 - 0.2 / (3.7 * down + 1.0)))
    save(figure, path)


def _lines(groups: dict[int, Group]) -> dict[str, Line]:
    """For each candidate, where it was measured and its medians in seconds."""
    found: dict[str, Line] = {}
    for at, g in groups.items():
        for e in g.measured():
            xs, ys = found.setdefault(e.name, ([], []))
            xs.append(at)
            ys.append(e.timing.median)
    return found


def _panel(axes: Any, found: dict[str, Line]) -> None:
    ours = iter(_OURS * 3)
    for name, (xs, ys) in found.items():
        colour = _OTHERS.get(name) or next(ours)
        known = name in _OTHERS
        axes.plot(
            xs, ys, label=_BOUND if name == COPY else name, color=colour, linewidth=1.4 if known else 2.2,
            linestyle="--" if name == COPY else "-", marker=None if name == COPY else "o", markersize=3.5, zorder=2 if known else 3,
        )  # fmt: skip


def seconds_over(axes: Any, ticks: list[int], letters: float) -> None:
    """Makes axes of seconds over what was measured at some values, both logarithmic. letters: the size of theirs."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: seconds_text(v).replace(".00", "").replace(".0 ", " ")))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color="#e4e9ee", linewidth=0.7)
    axes.tick_params(labelsize=letters, colors=INK, length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
