"""Line charts of a page: where lines, ticks and labels stand, in the units of an SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnndsl.explore.board import Board, Column
from rnndsl.explore.lines import BANDS, Style, style_of
from rnndsl.explore.wording import chance_text, short

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 200, 18, 40  # around the plot
_PLOT_WIDE, _PLOT_HIGH = 440, 210
_LINE_HIGH = 14
_LONGEST = 22  # letters of a label
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line in the units of what is shown. number: of the row; band: lowest and highest at each point."""

    label: str
    number: int
    points: tuple[Point, ...]
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Line:
    """A line in the picture. path, band: of an SVG; marks: where a point is; end: its last; at: the height of its label."""

    label: str
    style: Style
    path: str
    band: str
    marks: tuple[Point, ...]
    end: Point
    at: float


@dataclass(frozen=True)
class Chart:
    """A whole one. across, up: ticks, a place and a text; standing, lying: lines across the plot, and what they say."""

    title: str
    x_title: str
    wide: float
    high: float
    left: float
    right: float
    top: float
    bottom: float
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    standing: tuple[tuple[float, str], ...]
    lying: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class _Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def at(self, value: float) -> float:
        low, high, v = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * ((v - low) / (high - low) if high > low else 0.5), 1)


def charts(board: Board, column: Column) -> list[Chart]:
    """What is to be seen of a task: scores by length, where there are longer sequences than in training; scores and losses on the way."""
    entries = [(i, r, r.entries[column.name]) for i, r in enumerate(board.rows) if column.name in r.entries]
    has_bands = len(entries) <= BANDS
    far = []
    for i, r, e in entries:
        band = tuple((n, low, high) for n, _, low, high in e.by_length) if has_bands else ()
        far.append(Series(r.label, i, tuple((n, mean) for n, mean, _, _ in e.by_length), band))
    score, loss = ([Series(r.label, i, tuple(e.curve(name))) for i, r, e in entries] for name in ("score", "loss"))
    name, up_to = column.metric, column.train[1]
    found = []
    if column.test[1] > up_to:
        lengths = sorted({int(x) for s in far for x, _ in s.points})
        found.append(_chart(f"{name} by length", "steps of a sequence", far, column, lengths=lengths))
    found.append(_chart(f"{name} on unseen sequences of {up_to} steps, in training", "steps of the optimiser", score, column))
    found.append(_chart("loss of the last batch, in training", "steps of the optimiser", loss, None))
    return [c for c in found if c is not None]


def _chart(title: str, x_title: str, series: Sequence[Series], column: Column | None, lengths: Sequence[int] = ()) -> Chart | None:
    """column: whose chance is shown. lengths: ticks of a logarithmic axis. None where there is no line."""
    high = max(_PLOT_HIGH, _LINE_HIGH * len(series))
    is_accuracy = column is not None and column.is_rising
    values = [y for s in series for _, y in s.points if math.isfinite(y)]
    chance = [column.chance] if column is not None else []
    is_log = not is_accuracy and bool(values) and min(values) > 0 and max(values) > 30 * min(values)
    kept = [Series(s.label, s.number, tuple(p for p in s.points if math.isfinite(p[1])), tuple(b for b in s.band if all(map(math.isfinite, b)))) for s in series]
    kept = [s for s in kept if s.points]
    if not kept:
        return None
    xs = [x for s in kept for x, _ in s.points]
    low, top = (min([*values, *chance]), 1.0) if is_accuracy else (min(values), max([*values, *chance]))
    ticks = _decades(low, top) if is_log else _nice(low, top)
    x = _Axis(min(xs) if lengths else 0, max(xs), _LEFT, _LEFT + _PLOT_WIDE, bool(lengths))
    y = _Axis(min(ticks[0], low), max(ticks[-1], top), _TOP + high, _TOP, is_log)
    across = [(x.at(n), str(n)) for n in lengths] if lengths else [(x.at(n), f"{n:,.0f}") for n in _nice(0, max(xs)) if n <= max(xs)]
    return Chart(
        title, x_title, _LEFT + _PLOT_WIDE + _RIGHT, _TOP + high + _BOTTOM, _LEFT, _LEFT + _PLOT_WIDE, _TOP, _TOP + high,
        lines=_lines(kept, x, y),
        across=tuple(across),
        up=tuple((y.at(v), f"{v:g}") for v in ticks),
        standing=((x.at(column.train[1]), "longest in training"),) if lengths and column else (),
        lying=((y.at(column.chance), f"chance {chance_text(column)}"),) if column else (),
    )  # fmt: skip


def _lines(series: Sequence[Series], x: _Axis, y: _Axis) -> tuple[Line, ...]:
    """Labels stand where lines end, and apart."""
    places = {s: [(x.at(a), y.at(b)) for a, b in s.points] for s in series}
    order = sorted(series, key=lambda s: places[s][-1][1])
    heights: list[float] = []
    for s in order:
        heights.append(max(places[s][-1][1], heights[-1] + _LINE_HIGH if heights else -math.inf))
    over = max(0.0, heights[-1] - y.start)
    for i in reversed(range(len(heights))):  # up again, from the lowest
        heights[i] = min(heights[i], y.start - _LINE_HIGH * (len(heights) - 1 - i)) if over else heights[i]
    at = dict(zip(order, heights, strict=True))
    found = []
    for s in series:
        path = "M" + " L".join(f"{a} {b}" for a, b in places[s])
        edge = [(x.at(a), y.at(b)) for a, b, _ in s.band] + [(x.at(a), y.at(b)) for a, _, b in reversed(s.band)]
        band = "M" + " L".join(f"{a} {b}" for a, b in edge) + "Z" if edge else ""
        label = short(s.label, _LONGEST)
        marks = tuple(places[s]) if len(places[s]) <= 8 else (places[s][-1],)
        found.append(Line(label, style_of(s.number), path, band, marks, places[s][-1], round(at[s], 1)))
    return tuple(found)


def _nice(low: float, high: float) -> list[float]:
    """Round numbers around a range, about five."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = min((m * size for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around a range."""
    return [10.0**i for i in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
