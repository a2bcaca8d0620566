"""The leaderboard as a table for a terminal, and its runs as CSV."""

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unicodedata import combining, east_asian_width

from rnndsl.explore import wording as say
from rnndsl.explore.board import Board, Column, Entry, Record, Row
from rnndsl.tools.bench.report import seconds_text

_GAP, _BETWEEN = 2, 3  # columns between figures, and between tasks
_RUN = "cell key task metric_name size dim seed lr status steps metric beyond chance goal solved solved_at parameters seconds step_seconds".split()
_MORE = "about family structure growth error device machine threads torch python rnndsl".split()


@dataclass(frozen=True)
class _Figure:
    """A figure of an entry. chance: what stands there in the line of chance."""

    title: str
    of: Callable[[Entry], str]
    chance: Callable[[Column], str] = lambda _: ""


def _seconds(value: float | None) -> str:
    return say.NOTHING if value is None else seconds_text(value)


_ACCURACY = (
    _Figure("solved", say.solved_text), _Figure("beyond", say.beyond_text), _Figure("mean", say.mean_text, say.chance_text),
)  # fmt: skip
_VALUE = (_Figure("mean", say.mean_text, say.chance_text), _Figure("seeds", say.solved_text))
_GOAL = (_Figure("mean", say.mean_text, say.chance_text), _Figure("solved", say.solved_text))
_WORST = _Figure("worst", lambda e: say.score_text(e.worst, e.column))
_FAR = _Figure("longer", lambda e: say.score_text(e.beyond, e.column), say.chance_text)
_COSTS = (
    _Figure("steps", lambda e: say.count_text(e.solved_at)),
    _Figure("params", lambda e: say.short_count_text(e.parameters)),
    _Figure("a step", lambda e: _seconds(e.step_seconds)),
    _Figure("rate", lambda e: say.rate_text(e.lr)),
)  # fmt: skip
_PERPLEXITY = (_Figure("perplexity", lambda e: say.perplexity_text(e.mean)), _Figure("bits", lambda e: say.bits_text(e.mean)))


def table(board: Board, columns: int) -> str:
    """The whole page, at most so many columns wide: a row a cell, tasks side by side and below each other; what is amiss, what the figures are, how it was trained."""
    if not board.rows:
        return "The study has no runs yet.\n"
    names = _names(board, columns)
    lines: list[str] = []
    for block in _blocks(board, names, columns):
        lines += [*([""] if lines else []), *_block(board, names, block)]
    lines += _compiled(board, names, columns)
    for notes in (say.remarks(board), [say.EXPLAINED], [f"{title}: {text}" for title, text in say.settings_lines(board.settings)]):
        wrapped = [line for note in notes for line in textwrap.wrap(say.plain(note), columns, subsequent_indent="  ", break_on_hyphens=False)]
        lines += ["", *wrapped] if wrapped else []
    return "\n".join(lines) + "\n"


def _compiled(board: Board, names: dict[str, str], columns: int) -> list[str]:
    """What the compiler says of each cell."""
    rows = {r.cell: (r.family or "", r.structure or "", r.growth or "") for r in board.cells}
    if not rows:
        return []
    lead = max(map(_wide, names.values()))
    family, structure = (max(len(title), *(len(r[i]) for r in rows.values())) for i, title in enumerate(("family", "structure")))
    head = {"": ("family", "structure", "states")}
    gap = " " * _BETWEEN
    found = [gap.join([_left(_cut(say.plain(cell), lead), lead), f.ljust(family), s.ljust(structure), g]) for cell, (f, s, g) in {**head, **rows}.items()]
    return ["", *(_cut(line.rstrip(), columns, 1) for line in found)]


def _names(board: Board, columns: int) -> dict[str, str]:
    """What rows are called, by label, cut to a third of the page."""
    return {r.label: _cut(say.plain(r.label), columns // 3) for r in board.rows}


def _blocks(board: Board, names: dict[str, str], columns: int) -> list[dict[Column, tuple[_Figure, ...]]]:
    """Tasks that stand side by side, and their figures: as many as fit where all tasks do, else few."""
    lead = max(map(_wide, names.values()))

    def width(block: dict[Column, tuple[_Figure, ...]]) -> int:
        return lead + sum(_BETWEEN + _group_wide(board, c, figures) for c, figures in block.items())

    for more in range(len(_COSTS) + 2, -1, -1):
        whole = {c: _figures(c, more) for c in board.columns}
        if width(whole) <= columns:
            return [whole]
    blocks: list[dict[Column, tuple[_Figure, ...]]] = [{}]
    for c in board.columns:
        if blocks[-1] and width({**blocks[-1], c: _figures(c, 0)}) > columns:
            blocks.append({})
        blocks[-1][c] = _figures(c, 0)
    return blocks


def _figures(column: Column, more: int) -> tuple[_Figure, ...]:
    """The figures of a task, those that must be and so many more."""
    first: tuple[_Figure, ...] = _VALUE if not column.has_goal else _ACCURACY if column.is_rising else _GOAL
    if column.is_rising and column.test[1] <= column.train[1]:
        first = tuple(f for f in first if f.title != "beyond")
    further = (_FAR,) if column.test[1] > column.train[1] else ()
    costs = _COSTS if column.has_goal else _COSTS[1:]
    return first + ((_PERPLEXITY if column.metric == "nats" else ()) + further + (_WORST,) + costs)[:more]


def _block(board: Board, names: dict[str, str], block: dict[Column, tuple[_Figure, ...]]) -> list[str]:
    lead = max(map(_wide, names.values()))
    widths = {c: _widths(board, c, figures) for c, figures in block.items()}
    totals = {c: _group_wide(board, c, figures) for c, figures in block.items()}

    def line(name: str, parts: Sequence[str]) -> str:
        return (" " * _BETWEEN).join([_left(name, lead), *parts]).rstrip()

    def figures(texts: Callable[[Column], list[str]]) -> list[str]:
        gap = " " * _GAP
        return [gap.join(_right(t, w) for t, w in zip(texts(c), widths[c], strict=True)).rjust(totals[c]) for c in block]

    rule = line("─" * lead, ["─" * totals[c] for c in block])

    def row(r: Row) -> str:
        return line(names[r.label], figures(lambda c: _texts(r.entries.get(c.name), block[c])))

    lines = [line("", [_left(say.plain(c.name), totals[c]) for c in block]), line("", figures(lambda c: [f.title for f in block[c]])), rule]
    lines += [row(r) for r in board.cells]
    if board.baselines:
        lines += [*([rule] if board.cells else []), *(row(r) for r in board.baselines)]
    return [*lines, rule, line("by chance", figures(lambda c: [f.chance(c) for f in block[c]]))]


def _texts(entry: Entry | None, figures: Sequence[_Figure]) -> list[str]:
    return [say.NOTHING if entry is None else f.of(entry) for f in figures]


def _widths(board: Board, column: Column, figures: Sequence[_Figure]) -> list[int]:
    rows = [_texts(e, figures) for _, e in board.entries(column)]
    return [max(len(f.title), len(f.chance(column)), *(len(r[i]) for r in rows)) for i, f in enumerate(figures)]


def _group_wide(board: Board, column: Column, figures: Sequence[_Figure]) -> int:
    widths = _widths(board, column, figures)
    return max(sum(widths) + _GAP * (len(widths) - 1), _wide(say.plain(column.name)))


def _wide(text: str) -> int:
    """Columns of a terminal."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _left(text: str, width: int) -> str:
    return text + " " * (width - _wide(text))


def _right(text: str, width: int) -> str:
    return " " * (width - _wide(text)) + text


def _cut(text: str, width: int, behind: int = 8) -> str:
    """A text that is too wide, without some of it in front of its last letters."""
    end = ""
    while _wide(text) + _wide(end) > width:
        text, end = (text if end else text[:-behind])[:-1], end or f"…{text[-behind:]}"
    return text + end


def csv_text(records: Sequence[Record]) -> str:
    """A line a run, with a head; empty where something is not known yet. by_length: `40:1 256:0.98`; of lengths and training each number by itself."""
    training = list(dict.fromkeys(name for r in records for name in (r["training"] or ())))
    head = [*_RUN, "train_from", "train_to", "test_from", "test_to", "by_length", *_MORE, *(f"training_{n}" for n in training)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for r in records:
        lengths = " ".join(f"{n}:{'' if score is None else f'{score:g}'}" for n, score in r["by_length"] or ())
        own = r["training"] or {}
        writer.writerow([*(r[n] for n in _RUN), *r["train"], *r["test"], lengths, *(r[n] for n in _MORE), *(own.get(n) for n in training)])
    return text.getvalue()
