"""A study as one page of HTML, with nothing beside it: the leaderboard, each task, the cells, the settings and every run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rnndsl.explore import wording
from rnndsl.explore.board import ENDED, Board, Column, Record, board_of
from rnndsl.explore.chart import Chart, charts
from rnndsl.explore.lines import DARK, DASHES, LIGHT, MARKS, style_of
from rnndsl.resources import resource_folder
from rnndsl.tools.bench.report import seconds_text


@dataclass(frozen=True)
class Task:
    """A task's part of the page. lengths: at which there are scores, the longest of training first."""

    column: Column
    charts: tuple[Chart, ...]
    lengths: tuple[int, ...]

    @property
    def has_bands(self) -> bool:
        return any(line.band for c in self.charts for line in c.lines)


def page(records: Sequence[Record], title: str) -> str:
    """The page of a study's records, as text to be written in UTF-8."""
    board = board_of(records)
    return _environment().get_template("explore/page.html.jinja").render(
        title=title,
        board=board,
        tasks=[_task(board, c) for c in board.columns],
        cells=list({r.cell: r for r in board.cells}.values()),
        by_name={c.name: c for c in board.columns},
        remarks=wording.remarks(board),
        settings=wording.settings_lines(board.settings),
        runs=records,
        ended=sum(r["status"] in ENDED for r in records),
        say=wording,
        seconds=_seconds,
        light=LIGHT,
        dark=DARK,
        dashes=DASHES,
    )  # fmt: skip


def _task(board: Board, column: Column) -> Task:
    lengths = {n for _, e in board.entries(column) for n, *_ in e.by_length}
    return Task(column, tuple(charts(board, column)), tuple(sorted(lengths)))


def _seconds(value: float | None) -> str:
    return wording.NOTHING if value is None else seconds_text(value)


@cache
def _environment() -> Environment:
    found = Environment(loader=FileSystemLoader(resource_folder("templates")), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    found.filters["plain"] = wording.plain
    found.filters["order"] = lambda column: "down" if column.is_rising else "up"
    found.filters["zip"] = zip
    found.filters["style"] = style_of
    found.filters["mark"] = lambda style: MARKS[style.mark]
    return found
