"""A leaderboard as a picture: a table of cells and tasks, coloured from chance to a perfect score, and a panel a task, score against length."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnndsl.explore import wording as say
from rnndsl.explore.board import Board, Column, Entry, Record, Row, board_of
from rnndsl.explore.lines import BANDS, DASHES, LIGHT, MARKS, style_of
from rnndsl.tools import Unfit
from rnndsl.tools.colours import GREY, INK, OWN, PAPER
from rnndsl.tools.picture import check_path, save

_ROW, _FIELD, _HEAD, _APART = 0.36, 1.12, 0.62, 0.14  # inches: of a row, a task's field, the names above, before baselines
_PANEL, _LARGEST, _ASPECT = 2.75, 4.6, 1.25  # inches: how wide a panel is at least and at most; width by height
_LINE = 0.135  # of the notes below
_EDGE = 0.25
_LONGEST = 30  # letters of a label
_SHAPE = 1.5  # width by height that looks well
_MARKS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D"}


@dataclass(frozen=True)
class _Layout:
    """In inches. panels: how many side by side; is_beside: whether they stand at the right of the table, or below it; panel: width of one."""

    label: float
    table_wide: float
    table_high: float
    panels: int
    is_beside: bool
    panel: float
    wide: float
    high: float


def draw(records: Sequence[Record], path: str | Path) -> None:
    """Writes the picture, in the format of the path's suffix: .png or .svg. Raises Unfit where no run has ended, NoMatplotlib, OSError."""
    check_path(path)
    from matplotlib.figure import Figure

    board = board_of(records)
    if not any(e.runs for c in board.columns for _, e in board.entries(c)):
        raise Unfit("no run has ended yet; there is nothing to draw")
    layout = _layout(board)
    notes = _notes(board, layout)
    foot = _LINE * len(notes)
    figure = Figure(figsize=(layout.wide + 2 * _EDGE, layout.high + foot + 2 * _EDGE), dpi=160, facecolor=PAPER)

    def place(left: float, top: float, wide: float, tall: float) -> Any:
        """Axes at a place in inches from the upper left corner."""
        whole_wide, whole_high = figure.get_size_inches()
        return figure.add_axes(((_EDGE + left) / whole_wide, 1 - (top + tall) / whole_high, wide / whole_wide, tall / whole_high))

    _table(place(0, 0, layout.table_wide, layout.table_high), board, layout)
    left, top = (layout.table_wide + 0.3, 0.0) if layout.is_beside else (0.0, layout.table_high + 0.1)
    for i, column in enumerate(board.columns):
        x, y = left + layout.panel * (i % layout.panels), top + layout.panel / _ASPECT * (i // layout.panels)
        _panel(place(x + 0.42, y + 0.36, layout.panel - 0.55, layout.panel / _ASPECT - 0.84), board, column)
    below = place(0, layout.high + 0.1, layout.wide, foot)
    below.axis("off")
    below.text(0, 1, "\n".join(notes), fontsize=7, color=INK, va="top", linespacing=1.35, parse_math=False, transform=below.transAxes)
    save(figure, path)


def _layout(board: Board) -> _Layout:
    """Panels beside the table or below it, whichever gives the better shape."""
    many = len(board.columns)
    label = 0.6 + 0.074 * max(len(_label(r)) for r in board.rows)
    table_wide = label + _FIELD * many
    table_high = _HEAD + _ROW * len(board.rows) + (_APART if board.baselines and board.cells else 0) + 0.05
    found = []
    for panels in range(1, many + 1):
        rows = -(-many // panels)
        beside, below = (min(_LARGEST, max(_PANEL, size)) for size in (table_high / rows * _ASPECT, table_wide / panels))
        found.append(_Layout(label, table_wide, table_high, panels, True, beside, table_wide + 0.3 + panels * beside, max(table_high, rows * beside / _ASPECT)))
        found.append(_Layout(label, table_wide, table_high, panels, False, below, max(table_wide, panels * below), table_high + 0.1 + rows * below / _ASPECT))

    def off(layout: _Layout) -> float:
        empty = 1 - (table_wide * table_high + many * layout.panel**2 / _ASPECT) / (layout.wide * layout.high)
        return abs(math.log(layout.wide / layout.high / _SHAPE)) + 1.5 * empty

    return min(found, key=off)


def _notes(board: Board, layout: _Layout) -> list[str]:
    """What the picture shows and how it came about, in lines."""
    shown = (
        "Solved seeds at the longest length of training and the worst seed's score, or the mean over seeds where a small score is a good one; the deeper the blue, "
        "the further the mean from chance. Each at the rate with the best mean score."
    )
    texts = [shown, *(f"{title}: {text}" for title, text in say.settings_lines(board.settings))]
    letters = int(layout.wide / 0.055)
    return [line for text in texts for line in textwrap.wrap(say.plain(text), letters, subsequent_indent="   ")]


def _label(row: Row) -> str:
    return say.short(row.label, _LONGEST)


def _style(number: int, many: int) -> dict[str, Any]:
    """What tells a row's lines from those of so many others."""
    size, style = 1.4 if many <= 8 else 1.1, style_of(number)
    dashes = (0, DASHES[style.dash]) if DASHES[style.dash] else "-"
    return {"color": LIGHT[style.colour], "linestyle": dashes, "marker": _MARKS[MARKS[style.mark]], "markersize": 2.4 * size, "linewidth": size}


def _table(axes: Any, board: Board, layout: _Layout) -> None:
    """One unit is an inch, from the upper left corner."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    blue = LinearSegmentedColormap.from_list("way", [PAPER, "#7fb0dd", OWN])
    axes.set_xlim(0, layout.table_wide)
    axes.set_ylim(layout.table_high, 0)
    axes.axis("off")
    for i, column in enumerate(board.columns):
        x = layout.label + _FIELD * (i + 0.5)
        name = "\n".join(textwrap.wrap(say.plain(column.name).replace("_", " "), 14)[:2])
        axes.text(x, _HEAD - 0.2, name, ha="center", va="bottom", fontsize=8.5, fontweight="bold", color=INK, linespacing=1.0, parse_math=False)
        axes.text(x, _HEAD - 0.06, f"chance {say.chance_text(column)}", ha="center", va="bottom", fontsize=6.5, color=INK)
    top = _HEAD
    for number, row in enumerate(board.rows):
        if row.is_baseline and number and not board.rows[number - 1].is_baseline:
            axes.plot([0, layout.table_wide], [top + _APART / 2] * 2, color=GREY, linewidth=0.8)
            top += _APART
        middle = top + _ROW / 2
        axes.plot([0.04, 0.19, 0.34], [middle] * 3, markevery=[1], **_style(number, len(board.rows)))
        axes.text(0.46, middle, _label(row), va="center", fontsize=8.5, color=INK, style="italic" if row.is_baseline else "normal", parse_math=False)
        for i, column in enumerate(board.columns):
            left, entry = layout.label + _FIELD * i, row.entries.get(column.name)
            way = 0.0 if entry is None else column.way(entry.mean)
            axes.add_patch(Rectangle((left + 0.02, top + 0.02), _FIELD - 0.04, _ROW - 0.04, facecolor=blue(way), edgecolor="#d5dce3", linewidth=0.5))
            _field(axes, left + _FIELD / 2, middle, entry, PAPER if way > 0.6 else INK)
        top += _ROW


def _field(axes: Any, x: float, y: float, entry: Entry | None, ink: str) -> None:
    """What is said of an entry, in two lines."""
    first, second = ("–", "") if entry is None else _said(entry)
    axes.text(x, y - 0.065 if second else y, first, ha="center", va="center", fontsize=8.5, fontweight="bold", color=ink)
    axes.text(x, y + 0.085, second, ha="center", va="center", fontsize=6.5, color=ink)


def _said(entry: Entry) -> tuple[str, str]:
    if not entry.runs or entry.diverged == len(entry.runs):
        return say.solved_text(entry), ""
    if entry.column.is_rising and entry.column.has_goal:
        return say.solved_text(entry), f"worst {say.score_text(entry.worst, entry.column)}"
    spread = "" if entry.spread is None else f"± {say.score_text(entry.spread, entry.column)}"
    parts = [spread, f"{entry.solved} solved" if entry.column.has_goal else "", f"{len(entry.runs)}{say.unfinished_text(entry)}" if say.unfinished_text(entry) else ""]
    return say.score_text(entry.mean, entry.column), ", ".join(p for p in parts if p)


def _panel(axes: Any, board: Board, column: Column) -> None:
    """Scores by length; where all sequences are of one length, scores on the way."""
    entries = [(i, r.entries[column.name]) for i, r in enumerate(board.rows) if column.name in r.entries and r.entries[column.name].runs]
    is_far = column.test[1] > column.train[1]
    scores = [column.chance]
    for number, entry in entries:
        points = [(n, mean) for n, mean, _, _ in entry.by_length] if is_far else entry.curve("score")
        scores += [score for _, score in points if math.isfinite(score)]
        style = _style(number, len(board.rows))
        axes.plot([x for x, _ in points], [y for _, y in points], **style, markevery=1 if is_far else [-1])
        if is_far and len(entries) <= BANDS and len(entry.runs) > 1 and points:
            lengths, _, low, high = zip(*entry.by_length, strict=True)
            axes.fill_between(lengths, low, high, color=style["color"], alpha=0.12, linewidth=0)
    measured = "" if column.is_rising else f", {say.plain(column.metric)}"
    axes.set_title(say.plain(column.name).replace("_", " ") + measured + ("" if is_far else ", in training"), fontsize=8.5, color=INK, loc="left", fontweight="bold", parse_math=False)
    axes.axhline(column.chance, color=GREY, linewidth=0.9, linestyle=":")
    axes.annotate("chance", (1, column.chance), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points", ha="right", va="bottom", fontsize=6, color=INK)
    if is_far:
        _length_axis(axes, column, sorted({n for _, e in entries for n, *_ in e.by_length}))
    _score_axis(axes, column, scores)
    axes.set_xlabel("steps of a sequence" if is_far else "steps of the optimiser", fontsize=7, color=INK, labelpad=2)
    axes.grid(True, axis="y", which="major", color="#e4e9ee", linewidth=0.7)
    axes.tick_params(which="both", labelsize=6.5, colors=INK, length=0, pad=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def _length_axis(axes: Any, column: Column, lengths: Sequence[int]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xticks(lengths, [str(n) for n in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(column.train[1], color=INK, linewidth=0.9, linestyle="--")
    axes.annotate("training", (column.train[1], 0), xycoords=("data", "axes fraction"), xytext=(3, 2), textcoords="offset points", fontsize=6, color=INK, va="bottom")


def _score_axis(axes: Any, column: Column, scores: Sequence[float]) -> None:
    if column.is_rising:
        axes.set_ylim(min(scores) - 0.04, 1.03)
    elif min(scores) > 0 and max(scores) > 30 * min(scores):
        axes.set_yscale("log")
